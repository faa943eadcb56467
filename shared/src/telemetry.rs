//! Logs: JSON lines in Lambda and in polling workers, plain lines on standard error elsewhere. A subscriber that the program has already set stays in use.
//!
//! Untrusted text stays on a single line and cannot control the terminal that shows it.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

use tracing::level_filters::LevelFilter;
#[cfg(all(feature = "lambda", feature = "otel"))]
use tracing_subscriber::Layer;
use tracing_subscriber::{filter::Targets, fmt::layer, layer::SubscriberExt, registry, util::SubscriberInitExt};

use crate::{config, panics};

#[cfg(all(feature = "lambda", feature = "otel"))]
mod export;
#[cfg(all(feature = "lambda", not(feature = "otel")))]
mod untraced;
#[cfg(all(feature = "lambda", feature = "otel"))]
pub(crate) use self::export::Traces;
#[cfg(all(feature = "lambda", not(feature = "otel")))]
pub(crate) use self::untraced::Traces;

/// Sets up logs and traces for Lambda. Logs start at level `info` unless `RUST_LOG` is set; traces have all spans of this level.
#[cfg(all(feature = "lambda", feature = "otel"))]
pub(crate) fn in_lambda() -> Traces {
    // The crates of OpenTelemetry warn of wrong variables before the subscriber that exports spans exists.
    let early = registry().with(layer().json().flatten_event(true).with_writer(|| Lines(io::stdout())).with_filter(LevelFilter::WARN));
    let (traces, unusable) = tracing::subscriber::with_default(early, Traces::from_env);
    let usual = Targets::new().with_default(LevelFilter::INFO).with_target("opentelemetry", LevelFilter::WARN);
    let (targets, flaw) = targets(usual);
    let lines = layer().json().flatten_event(true).with_current_span(false).with_writer(|| Lines(export::WithIds(io::stdout())));
    // This library and the runtime of Lambda have spans for logs, which would repeat those of the trace.
    let silent = ["sqjobs::", "lambda_runtime", "opentelemetry"].map(|target| (target, LevelFilter::OFF));
    let spans = Targets::new().with_default(LevelFilter::INFO).with_targets(silent);
    let exported = traces.tracer().map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer).with_filter(spans));
    registry().with(lines.with_filter(targets)).with(exported).try_init().ok();
    flaw.inspect(warn);
    if let Some(error) = unusable {
        tracing::error!(%error, "there are no traces; correct the variables OTEL_EXPORTER_OTLP_*");
    }
    warn_of_aborts();
    traces
}

/// Sets up logs for Lambda, from level `info` unless `RUST_LOG` is set.
#[cfg(all(feature = "lambda", not(feature = "otel")))]
pub(crate) fn in_lambda() -> Traces {
    let (targets, flaw) = targets(Targets::new().with_default(LevelFilter::INFO));
    registry()
        .with(layer().json().flatten_event(true).with_current_span(false).with_writer(|| Lines(io::stdout())))
        .with(targets)
        .try_init()
        .ok();
    flaw.inspect(warn);
    warn_of_aborts();
    Traces
}

/// Sets up logs for a terminal, from level `error` unless `RUST_LOG` is set.
pub(crate) fn eager() {
    // The program prints the end of each delivery itself, as a record or as a separate line.
    let usual =
        Targets::new().with_default(LevelFilter::ERROR).with_target(ENDINGS, LevelFilter::OFF).with_target(DECODING, LevelFilter::WARN);
    let (targets, flaw) = targets(usual);
    registry().with(layer().with_writer(|| Lines(io::stderr())).with_target(false)).with(targets).try_init().ok();
    flaw.inspect(warn);
    warn_of_aborts();
}

/// Logs an error if a panic would end the process.
fn warn_of_aborts() {
    if panics::ABORT {
        tracing::error!("{}", panics::WARNING);
    }
}

/// The target of the warnings about fields of a message.
const DECODING: &str = "sqjobs::worker::decode";
/// The target of the log lines that [`log_ending`] writes.
pub(crate) const ENDINGS: &str = "sqjobs::ending";

/// Returns the targets to log, by default `usual`, and the flaw in `RUST_LOG`, if any.
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

/// Logs the end of a delivery at a level that is known only at run time: an error, a warning, or information.
macro_rules! log_ending {
    ($level:expr, $($event:tt)*) => {
        match $level {
            tracing::Level::ERROR => tracing::error!(target: $crate::telemetry::ENDINGS, $($event)*),
            tracing::Level::WARN => tracing::warn!(target: $crate::telemetry::ENDINGS, $($event)*),
            _ => tracing::info!(target: $crate::telemetry::ENDINGS, $($event)*),
        }
    };
}
pub(crate) use log_ending;

/// Writes each event as [`harmless`] text. Each write must contain a whole event with its line end.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (text, end) = event.strip_suffix(b"\n").map_or((event, ""), |text| (text, "\n"));
        // Almost every event is plain ASCII, and to decode its characters would be a fourth of the cost of a log line.
        if text.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            self.0.write_all(event)?;
            return Ok(event.len());
        }
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

/// Returns the text with invisible or controlling characters escaped as in JSON.
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

/// Returns `true` for control characters except the tab, for line ends, for characters that change the text direction, and for
/// those without width. All of them have four hexadecimal digits.
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
    fn control_characters_are_escaped_and_stay_valid_json() {
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
