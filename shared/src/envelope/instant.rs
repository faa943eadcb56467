//! Instants in the envelope: RFC 3339 in UTC, written with milliseconds.

use jiff::Timestamp;
use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serializer};

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
pub(super) fn serialize<S: Serializer>(instant: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match instant {
        Some(instant) => serializer.collect_str(&format_args!("{instant:.3}")),
        None => serializer.serialize_none(),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse(&text).ok_or_else(|| refusal(&text))).transpose()
}

fn refusal<E: Error>(text: &str) -> E {
    E::invalid_value(Unexpected::Str(text), &"an RFC 3339 instant")
}

fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|_| is_rfc3339(text))
}

/// Returns `true` for RFC 3339. The parser also accepts other text (a missing time, a zone in brackets), which must not become
/// part of the contract.
fn is_rfc3339(text: &str) -> bool {
    let shape = text.replace(|c: char| c.is_ascii_digit(), "0").to_ascii_uppercase();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else {
        return false;
    };
    let zone = rest.strip_prefix(".0").map_or(rest, |fraction| fraction.trim_start_matches('0'));
    matches!(zone, "Z" | "+00:00" | "-00:00")
}
