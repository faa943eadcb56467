//! Logs: JSON lines in Lambda, plain lines on standard error elsewhere. A subscriber that the program has set stays.
//!
//! Whatever a stranger or a job's error holds, a line stays a line, and moves nothing on the terminal that shows it.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, fmt::layer, layer::SubscriberExt, registry, util::SubscriberInitExt};

use crate::{config, panics};

/// Logs as Lambda wants them, from `info` unless `RUST_LOG` says otherwise.
#[cfg(feature = "lambda")]
pub(crate) fn in_lambda() {
    let (targets, flaw) = targets(Targets::new().with_default(LevelFilter::INFO));
    registry()
        .with(layer().json().flatten_event(true).with_current_span(false).with_writer(|| Lines(io::stdout())))
        .with(targets)
        .try_init()
        .ok();
    flaw.inspect(warn);
    warn_of_aborts();
}

/// Logs for a person at a terminal, from `error` unless `RUST_LOG` says otherwise.
pub(crate) fn eager() {
    // The program prints how each delivery ends, as a record or as a line of its own.
    let usual = Targets::new().with_default(LevelFilter::ERROR).with_target(DELIVERIES, LevelFilter::OFF);
    let (targets, flaw) = targets(usual);
    registry().with(layer().with_writer(|| Lines(io::stderr())).with_target(false)).with(targets).try_init().ok();
    flaw.inspect(warn);
    warn_of_aborts();
}

/// Logs an error where a panic ends the process.
fn warn_of_aborts() {
    if panics::ABORT {
        tracing::error!("{}", panics::WARNING);
    }
}

/// The module that logs how deliveries end.
const DELIVERIES: &str = "sqjobs::worker::delivery";

/// Returns the targets that are logged, `usual` unless `RUST_LOG` says otherwise, and what is wrong with that variable.
fn targets(usual: Targets) -> (Targets, Option<String>) {
    match config::log().map(|text| text.parse::<Targets>()) {
        None => (usual, None),
        Some(Ok(targets)) => (targets, None),
        Some(Err(error)) => (usual.with_target("sqjobs", LevelFilter::WARN), Some(error.to_string())),
    }
}

fn warn(flaw: &String) {
    tracing::warn!("RUST_LOG cannot be read: {flaw}; set it to a level, or to pairs such as sqjobs=debug,info");
}

/// Logs at a level that is known at run time only: an error, a warning, or information.
macro_rules! log_at {
    ($level:expr, $($event:tt)*) => {
        match $level {
            tracing::Level::ERROR => tracing::error!($($event)*),
            tracing::Level::WARN => tracing::warn!($($event)*),
            _ => tracing::info!($($event)*),
        }
    };
}
pub(crate) use log_at;

/// Writes each event, which comes whole and ends its line, as [`harmless`] text.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (text, end) = event.strip_suffix(b"\n").map_or((event, ""), |text| (text, "\n"));
        match harmless(&String::from_utf8_lossy(text)) {
            Cow::Borrowed(_) => self.0.write_all(event)?,
            Cow::Owned(text) => self.0.write_all((text + end).as_bytes())?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The same text with what a terminal or a reader would act on, and not show, as JSON escapes it.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut harmless = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if acts(char) {
            write!(harmless, "\\u{:04x}", u32::from(char)).ok();
        } else {
            harmless.push(char);
        }
    }
    Cow::Owned(harmless)
}

/// Control characters but for the tab, ends of lines, what turns the direction of text, and what has no width. All of
/// them have four digits.
fn acts(char: char) -> bool {
    match char {
        '\t' => false,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        char => char.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(event: &str) -> String {
        let mut lines = Lines(Vec::new());
        lines.write_all(event.as_bytes()).expect("memory takes all");
        String::from_utf8(lines.0).expect("text")
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped_and_json_reads_it_back() {
        let directions = ['\u{61c}', '\u{200e}', '\u{200f}'].into_iter().chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        let others = ['\u{7f}', '\u{9b}', '\u{85}', '\u{ad}', '\u{200b}', '\u{2028}', '\u{2029}', '\u{2060}', '\u{206f}', '\u{feff}'];
        for char in directions.chain(others) {
            let event = format!("{{\"id\":\"a{char}b\"}}\n");
            let line = written(&event);
            assert!(!line.contains(char), "{line:?}");
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
            assert_eq!(read(&line), read(&event));
        }
    }

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(written("first\nsecond\u{1b}[2J\n"), "first\\u000asecond\\u001b[2J\n");
        assert_eq!(written("a line\twith ñ and 🦀\n"), "a line\twith ñ and 🦀\n");
    }
}
