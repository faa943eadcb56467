//! Unknown fields that a producer probably mistook for fields of the message.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Envelope, Form, limit, wire::FIELDS};

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

const _: () = assert!(2 * MISTAKES.len() + FIELDS.len() <= 64, "each mistake has a bit of `Reported`");

/// The mistakes that a process has already reported, one bit each.
#[derive(Debug)]
pub(crate) struct Reported(AtomicU64);

impl Reported {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Returns the unreported mistakes of a message, each with its remedy. A message without unknown fields costs one comparison.
    pub(crate) fn new_in<'a>(&self, envelope: &'a Envelope) -> impl Iterator<Item = (&'a str, Cow<'static, str>)> {
        let is_new = |bit: usize| self.0.fetch_or(1 << bit, Ordering::Relaxed) & (1 << bit) == 0;
        envelope.mistakes().filter(move |(bit, _)| is_new(*bit)).map(|(_, mistake)| mistake)
    }
}

impl Envelope {
    /// Returns the unknown fields that are probably mistakes, each with its remedy.
    #[cfg(feature = "operator")]
    pub fn mistaken_fields(&self) -> impl Iterator<Item = (&str, Cow<'static, str>)> {
        self.mistakes().map(|(_, mistake)| mistake)
    }

    fn mistakes(&self) -> impl Iterator<Item = (usize, (&str, Cow<'static, str>))> {
        // The fields of older systems have other meanings.
        let is_looked_at = !self.unknown.is_empty() && self.form == Form::Native;
        let own = is_looked_at.then_some(&self.unknown);
        own.into_iter().flat_map(|unknown| unknown.keys()).filter_map(|field| {
            let (bit, remedy) = mistake(field)?;
            Some((bit, (field.as_str(), remedy)))
        })
    }
}

/// Returns the number of a mistake, and its remedy.
fn mistake(field: &str) -> Option<(usize, Cow<'static, str>)> {
    if let Some(place) = MISTAKES.iter().position(|(known, _)| *known == field) {
        return Some((place, MISTAKES[place].1.into()));
    }
    let known = || FIELDS.iter().copied().chain(MISTAKES.iter().map(|(known, _)| *known));
    let place = known().position(|known| is_nearly(field, known))?;
    let meant = known().nth(place)?;
    // A known field remains only if its value is ignored.
    let remedy = if meant == field { limit::remedy(field).into() } else { format!("perhaps {meant} is meant").into() };
    Some((MISTAKES.len() + place, remedy))
}

/// Returns `true` if two names have the same letters in order, except for one that is missing, added, wrong or exchanged with the next.
/// Case and punctuation do not count.
pub(super) fn is_nearly(field: &str, known: &str) -> bool {
    let letters = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    let (field, known) = (letters(field), letters(known));
    let same = field.iter().zip(&known).take_while(|(one, other)| one == other).count();
    let (field_rest, known_rest) = (&field[same..], &known[same..]);
    match (field_rest, known_rest) {
        ([], []) => true,
        _ if known.len() < 3 => false,
        ([_, after @ ..], known) if after == known => true,
        (field, [_, after @ ..]) if field == after => true,
        ([_, field @ ..], [_, known @ ..]) if field == known => true,
        ([a, b, field @ ..], [c, d, known @ ..]) => (a, b) == (d, c) && field == known,
        _ => false,
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
            reported.new_in(&envelope).map(|(field, _)| field.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(fields(r#"{"name": "adder", "colour": "red", "id": "a"}"#), [""; 0]);
        assert_eq!(fields(r#"{"class": "Adder", "args": [], "queue": "default"}"#), [""; 0]);
        assert_eq!(fields(r#"{"name": "adder", "delay": "5m"}"#), ["delay"]);
        assert_eq!(fields(r#"{"name": "adder", "delay": "5m", "queue": "other", "objects": []}"#), ["objects", "queue"]);
        assert_eq!(fields(r#"{"name": "adder", "queue": "other"}"#), [""; 0]);
        assert_eq!(fields(r#"{"name": "adder", "expires": "5m", "arguments": []}"#), ["arguments", "expires"]);
        assert_eq!(fields(r#"{"name": "adder", "depend_on": ["a"]}"#), ["depend_on"]);
        assert_eq!(fields(r#"{"name": "adder", "dependson": ["a"]}"#), [""; 0], "the same mistake");
        assert_eq!(fields(r#"{"name": "adder", "traceparent": null, "tracestate": "a=b"}"#), [""; 0]);
        assert_eq!(fields(r#"{"name": "adder", "traceparent": 1}"#), ["traceparent"], "its value is ignored");
    }

    #[test]
    fn a_misspelled_field_is_named_with_the_one_that_is_meant() {
        let cases = [
            ("job", "jobs"),
            ("depend_on", "depends_on"),
            ("dependsOn", "depends_on"),
            ("runat", "run_at"),
            ("RunAt", "run_at"),
            ("max_attemtps", "max_attempts"),
            ("arg", "args"),
            ("othrewise", "otherwise"),
            ("ID", "id"),
            ("dealy", "delay"),
        ];
        for (field, meant) in cases {
            assert_eq!(mistake(field).map(|(_, remedy)| remedy), Some(format!("perhaps {meant} is meant").into()), "{field}");
        }
        for other in ["", "i", "ip", "colour", "user"] {
            assert_eq!(mistake(other), None, "{other}");
        }
    }
}
