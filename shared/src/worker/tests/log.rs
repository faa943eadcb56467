//! Captures the log of a test.

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tracing::{Dispatch, Level, subscriber::DefaultGuard};

use super::faulty::lock;

/// Captures the log lines of this thread, in the format of functions, until it is dropped.
pub(super) struct Log {
    lines: Lines,
    _guard: DefaultGuard,
    /// A second subscriber. With only one, `tracing` may ask the thread of another test if a log line is wanted at all, and caches the
    /// answer.
    _second: Dispatch,
}

impl Log {
    pub(super) fn capture() -> Self {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_max_level(Level::TRACE);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        Self { lines, _second: Dispatch::new(tracing_subscriber::registry()), _guard: tracing::subscriber::set_default(subscriber) }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(lock(&self.lines.0).clone()).expect("text")
    }

    /// Returns the events with this message.
    pub(super) fn events(&self, message: &str) -> Vec<Value> {
        let events = self.text();
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        events.filter(|event| event["message"] == message).collect()
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
