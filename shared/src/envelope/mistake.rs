//! Unknown fields that a producer probably mistook for fields of the message.

use std::sync::atomic::{AtomicU16, Ordering};

use super::{Envelope, Form};

/// Fields that only a line of `sqjobs enqueue --from` has, and misspelled fields, each with its remedy.
const MISTAKES: [(&str, &str); 13] = [
    ("delay", "set the DelaySeconds of the message, or its field run_at"),
    ("queue", "send the message to that queue"),
    ("group", "set the MessageGroupId of the message"),
    ("dedup", "set the MessageDeduplicationId of the message"),
    ("recorded", "enqueue the job by sqjobs, or by sqjobs::Client"),
    ("listed", "enqueue the job by sqjobs, or by sqjobs::Client"),
    ("objects", "enqueue the job by sqjobs, or by sqjobs::Client"),
    ("after", "its field is depends_on"),
    ("max_blocked", "its field is max_blocked_s"),
    ("at", "its field is run_at"),
    ("expires", "its field is expires_at"),
    ("timeout", "its field is timeout_s"),
    ("arguments", "its fields are args and kwargs"),
];

/// The mistakes that a process has already reported, one bit each.
#[derive(Debug)]
pub(crate) struct Reported(AtomicU16);

impl Reported {
    pub(crate) const fn new() -> Self {
        Self(AtomicU16::new(0))
    }

    /// Returns the unreported mistakes of a message, each with its remedy. A message without unknown fields costs one comparison.
    pub(crate) fn new_in(&self, envelope: &Envelope) -> impl Iterator<Item = (&'static str, &'static str)> {
        let is_new = |bit: usize| self.0.fetch_or(1 << bit, Ordering::Relaxed) & (1 << bit) == 0;
        envelope.mistakes().filter(move |(bit, _)| is_new(*bit)).map(|(_, mistake)| mistake)
    }
}

impl Envelope {
    /// Returns the unknown fields that are probably mistakes, each with its remedy.
    #[cfg(feature = "operator")]
    pub fn mistaken_fields(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.mistakes().map(|(_, mistake)| mistake)
    }

    fn mistakes(&self) -> impl Iterator<Item = (usize, (&'static str, &'static str))> {
        // The fields of older systems have other meanings.
        let is_looked_at = !self.unknown.is_empty() && self.form == Form::Native;
        let mistakes = MISTAKES.into_iter().enumerate().take(if is_looked_at { MISTAKES.len() } else { 0 });
        mistakes.filter(|(_, (field, _))| self.unknown.contains_key(*field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistaken_field_is_reported_once() {
        let reported = Reported::new();
        let fields = |body: &str| {
            let envelope = Envelope::parse(body).expect("an envelope");
            reported.new_in(&envelope).map(|(field, _)| field).collect::<Vec<_>>()
        };
        assert_eq!(fields(r#"{"name": "adder", "colour": "red", "id": "a"}"#), [""; 0]);
        assert_eq!(fields(r#"{"class": "Adder", "args": [], "queue": "default"}"#), [""; 0]);
        assert_eq!(fields(r#"{"name": "adder", "delay": "5m"}"#), ["delay"]);
        assert_eq!(fields(r#"{"name": "adder", "delay": "5m", "queue": "other", "objects": []}"#), ["queue", "objects"]);
        assert_eq!(fields(r#"{"name": "adder", "queue": "other"}"#), [""; 0]);
        assert_eq!(fields(r#"{"name": "adder", "expires": "5m", "arguments": []}"#), ["expires", "arguments"]);
    }
}
