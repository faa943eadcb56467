//! Logs: JSON lines in Lambda, plain lines on standard error elsewhere. A subscriber that the program has set stays.

use std::io;

use tracing_subscriber::EnvFilter;

/// Logs as Lambda wants them, from `info` unless `RUST_LOG` says otherwise.
#[cfg(feature = "lambda")]
pub(crate) fn in_lambda() {
    let lines = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false);
    lines.with_env_filter(filter("info")).try_init().ok();
}

/// Logs for a person at a terminal, from `error` unless `RUST_LOG` says otherwise.
pub(crate) fn eager() {
    let lines = tracing_subscriber::fmt().with_writer(io::stderr).with_target(false);
    lines.with_env_filter(filter("error")).try_init().ok();
}

fn filter(default: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default))
}
