//! Logs: JSON lines in Lambda, plain lines on standard error elsewhere. A subscriber that the program has set stays.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, fmt::layer, layer::SubscriberExt, registry, util::SubscriberInitExt};

use crate::config;

/// Logs as Lambda wants them, from `info` unless `RUST_LOG` says otherwise.
#[cfg(feature = "lambda")]
pub(crate) fn in_lambda() {
    let (targets, flaw) = targets(LevelFilter::INFO);
    registry().with(layer().json().flatten_event(true).with_current_span(false)).with(targets).try_init().ok();
    flaw.inspect(warn);
}

/// Logs for a person at a terminal, from `error` unless `RUST_LOG` says otherwise.
pub(crate) fn eager() {
    let (targets, flaw) = targets(LevelFilter::ERROR);
    registry().with(layer().with_writer(io::stderr).with_target(false)).with(targets).try_init().ok();
    flaw.inspect(warn);
}

/// What is logged, and what is wrong with what `RUST_LOG` says of it.
fn targets(default: LevelFilter) -> (Targets, Option<String>) {
    let usual = Targets::new().with_default(default);
    match config::log().map(|text| text.parse::<Targets>()) {
        None => (usual, None),
        Some(Ok(targets)) => (targets, None),
        Some(Err(error)) => (usual.with_target("sqjobs", LevelFilter::WARN), Some(error.to_string())),
    }
}

fn warn(flaw: &String) {
    tracing::warn!("RUST_LOG cannot be read: {flaw}; set it to a level, or to pairs such as sqjobs=debug,info");
}
