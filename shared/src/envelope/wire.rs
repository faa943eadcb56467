//! Serializes the fields of the native format that serde's defaults do not cover.

use super::CURRENT;
use serde::{Deserialize, Deserializer, Serializer};
use serde_json::{Map, Value};
use std::num::NonZeroU32;

/// The fields of the native format. Other fields are unknown; they are kept and ignored.
pub(super) const FIELDS: &[&str] = &[
    "v",
    "name",
    "id",
    "args",
    "kwargs",
    "run_at",
    "expires_at",
    "max_attempts",
    "timeout_s",
    "priority",
    "tags",
    "meta",
    "parent_id",
    "root_id",
    "depth",
    "traceparent",
    "tracestate",
    "depends_on",
    "when",
    "otherwise",
    "max_blocked_s",
    "jobs",
    "dependents",
    "limit_key",
    "limit",
    "rate_key",
    "rate",
    "exclusive_key",
    "unique_key",
    "unique_for",
    "on_conflict",
    "needs",
];

pub(super) fn current() -> u32 {
    CURRENT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
pub(super) fn is_current(v: &u32) -> bool {
    *v == CURRENT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
pub(super) fn is_nought(number: &u32) -> bool {
    *number == 0
}

pub(super) fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let v = Option::<NonZeroU32>::deserialize(deserializer)?;
    Ok(v.map_or(CURRENT, NonZeroU32::get))
}

pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Writes the unknown fields, except for those with the name of a known field.
pub(super) fn strangers<S: Serializer>(unknown: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(unknown.iter().filter(|(field, _)| !FIELDS.contains(&field.as_str())))
}
