//! Limits of an envelope. Excessive values are refused when the envelope is read, with the limit in the reason, and not later
//! by a table or a queue.

use super::{Envelope, Unreadable};
use serde_json::{Map, Value};

pub(super) const ID_BYTES: usize = 512;
/// Maximum number of records that a job tells of its end by the field `dependents`.
pub(super) const DEPENDENTS: usize = 100;
const NAME_BYTES: usize = 128;
const TAGS: usize = 32;
const TAG_BYTES: usize = 128;
const ATTEMPTS: u32 = 1000;
pub(super) const DEPTH: u32 = 100; // Lambda's own loop detection, which must be turned off, ends a chain after 16
const TIMEOUT_S: f64 = 43_200.0; // the longest visibility timeout that SQS accepts
pub(super) const TRACEPARENT_BYTES: usize = 128;
pub(super) const TRACESTATE_BYTES: usize = 512; // "Tracestate Limits" in W3C Trace Context
const META_LEVELS: usize = 24; // DynamoDB allows 32 levels, and the record itself uses several
const LARGEST: f64 = 1e126; // DynamoDB's numbers are smaller
const SMALLEST: f64 = 1e-130; // and, except for zero, larger

/// The characters after the id of a job in the id of a record that connects jobs. No id of a job or of a listing has them.
pub(crate) const LINK: &str = "\u{1f}\u{1f}";

/// Returns the valid values of a field, for the end of the reason.
pub(super) fn remedy(field: &str) -> &'static str {
    match field {
        "v" => "it must be a whole number from 1",
        "name" | "class" => "it must be a string of 1 to 128 bytes without control characters and without white space at its ends",
        "id" | "jid" | "parent_id" | "root_id" | "limit_key" | "rate_key" | "exclusive_key" | "unique_key" => {
            "it must be a string of 1 to 512 bytes without control characters"
        }
        "kwargs" => "it must be an object",
        "run_at" | "expires_at" => "it must be an RFC 3339 instant such as `2026-05-04T12:00:00Z`, up to 9999-12-30T22:00:00Z",
        "depth" => {
            "it must be a whole number from 0 to 100; a job that enqueues its successor for ever must make it a root of its own, \
             by `Enqueue::detached`"
        }
        "max_attempts" => "it must be a whole number from 1 to 1000",
        "timeout_s" => "it must be a number of seconds above 0 and up to 43200",
        "priority" => "it must be `high`, `default` or `low`",
        "tags" => "it must be an array of at most 32 strings of at most 128 bytes",
        "meta" => {
            "it must be an object of at most 24 levels, with keys that are not empty and numbers that DynamoDB holds \
             (zero, or between 1e-130 and 1e126, of either sign)"
        }
        "traceparent" => "it must be a string of at most 128 bytes",
        "tracestate" => "it must be a string of at most 512 bytes",
        "depends_on" => "it must be an array of at most 20 different ids of other jobs, each a string of 1 to 512 bytes",
        "when" => "it must be `succeeded`, `ended` or `failed`, beside `depends_on`",
        "otherwise" => "it must be `hold` or `cancel`, beside `depends_on`, and only `hold` with a `when` other than `succeeded`",
        "max_blocked_s" => "it must be a number of seconds above 0 and up to ten years, beside `depends_on` or a key",
        "jobs" => {
            "it must be an array of at most 2000 objects, each a job such as {\"name\": \"adder\", \"id\": \"first\", \"args\": [1, 2]}"
        }
        "queue" => "it must be the name of a queue, without the prefix of the environment",
        "dependents" => "it must be an array of at most 100 ids; the library writes it, so leave it out",
        "limit" => "it must be a whole number from 1 to 100, beside `limit_key`",
        "rate" => {
            "it must be an object such as {\"limit\": 5, \"period_s\": 1}, beside `rate_key`: at most 100 attempts a second, a period of up to \
             86400 seconds, and, if you want, a `burst` from 1 to 1000"
        }
        "unique_for" => "it must be `ended`, `started` or a number of seconds above 0 and up to a year, beside `unique_key`",
        "on_conflict" => "it must be `drop`, `replace` or `fail`, beside `unique_key`",
        "needs" => "it must be an array of strings",
        _ => "it must be a string",
    }
}

pub(super) fn check(envelope: &Envelope) -> Result<(), Unreadable> {
    ensure(envelope.v > 0, "v", || "it is 0".into())?;
    name("name", &envelope.name)?;
    optional(envelope.id.as_ref(), |it| id("id", it))?;
    optional(envelope.parent_id.as_ref(), |it| id("parent_id", it))?;
    optional(envelope.root_id.as_ref(), |it| id("root_id", it))?;
    ensure(envelope.depth <= DEPTH, "depth", || format!("it is {}", envelope.depth))?;
    optional(envelope.max_attempts.as_ref(), |it| max_attempts(*it))?;
    optional(envelope.timeout_s.as_ref(), |it| timeout(*it))?;
    tags(&envelope.tags)?;
    meta(&envelope.meta)
}

pub(super) fn name(field: &str, name: &str) -> Result<(), Unreadable> {
    ensure(name.trim() == name, field, || "it begins or ends with white space".into())?;
    text(field, name, NAME_BYTES)
}

/// Checks an id that was given separately from the envelope.
pub(crate) fn check_id(text: &str) -> Result<(), Unreadable> {
    id("id", text)
}

/// Checks the id of a job, or of one of the records that the library makes for its links.
pub(super) fn record_id(field: &str, text: &str) -> Result<(), Unreadable> {
    let job = text.split_once(LINK).map_or(text, |(job, _)| job);
    id(field, job)
}

pub(super) fn id(field: &str, id: &str) -> Result<(), Unreadable> {
    text(field, id, ID_BYTES)
}

fn text(field: &str, text: &str, limit: usize) -> Result<(), Unreadable> {
    ensure(!text.is_empty(), field, || "it is empty".into())?;
    // Almost all texts are plain ASCII, which needs no decoding.
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    ensure(is_plain || !text.contains(char::is_control), field, || "it has a control character".into())?;
    ensure(is_plain || text.chars().all(is_sendable), field, || "it has U+FFFE or U+FFFF, which SQS does not take in an attribute".into())?;
    at_most(field, field, text, limit)
}

fn at_most(field: &str, path: &str, text: &str, limit: usize) -> Result<(), Unreadable> {
    if text.len() <= limit {
        return Ok(());
    }
    Err(Unreadable::new(path, format!("it has {} bytes", text.len()), remedy(field)))
}

fn max_attempts(attempts: u32) -> Result<(), Unreadable> {
    ensure((1..=ATTEMPTS).contains(&attempts), "max_attempts", || format!("it is {attempts}"))
}

fn timeout(seconds: f64) -> Result<(), Unreadable> {
    ensure(seconds > 0.0 && seconds <= TIMEOUT_S, "timeout_s", || format!("it is {seconds}"))
}

pub(crate) fn tags(tags: &[String]) -> Result<(), Unreadable> {
    ensure(tags.len() <= TAGS, "tags", || format!("it has {} entries", tags.len()))?;
    tags.iter().enumerate().try_for_each(|(at, tag)| at_most("tags", &format!("tags[{at}]"), tag, TAG_BYTES))
}

fn meta(meta: &Map<String, Value>) -> Result<(), Unreadable> {
    storable_map(meta, META_LEVELS).map_err(|flaw| Unreadable::new("meta", flaw, remedy("meta")))
}

/// Checks that the table can store a value within this number of levels. It checks no deeper levels, however deeply the value
/// is nested.
pub(crate) fn storable(value: &Value, levels: usize) -> Result<(), &'static str> {
    match value {
        Value::Array(_) if levels == 0 => Err("it nests too deep"),
        Value::Array(items) => items.iter().try_for_each(|item| storable(item, levels - 1)),
        Value::Object(object) => storable_map(object, levels),
        Value::Number(number) if !is_storable(number.as_f64().unwrap_or(f64::NAN)) => Err("it has a number out of range"),
        _ => Ok(()),
    }
}

fn storable_map(object: &Map<String, Value>, levels: usize) -> Result<(), &'static str> {
    match levels {
        0 => Err("it nests too deep"),
        _ if object.contains_key("") => Err("it has an empty key"),
        _ => object.values().try_for_each(|value| storable(value, levels - 1)),
    }
}

fn is_storable(number: f64) -> bool {
    number == 0.0 || (SMALLEST < number.abs() && number.abs() < LARGEST)
}

fn optional<T>(value: Option<&T>, check: impl FnOnce(&T) -> Result<(), Unreadable>) -> Result<(), Unreadable> {
    value.map_or(Ok(()), check)
}

fn ensure(holds: bool, field: &str, found: impl FnOnce() -> String) -> Result<(), Unreadable> {
    if holds { Ok(()) } else { Err(Unreadable::new(field, found(), remedy(field))) }
}

/// Returns `true` if SQS accepts this character in a body or an attribute.
///
/// Source: `MessageBody` in the SQS API reference, `SendMessage`.
pub(crate) fn is_sendable(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..)
}
