//! The views.

pub(super) mod dead;
pub(super) mod job;
pub(super) mod jobs;
pub(super) mod overview;
pub(super) mod schedules;
pub(super) mod stats;

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    form::{Parameters, given},
    page::text,
};
use crate::output::first_line;

/// Failures of one kind with one message.
struct Group<'a> {
    kind: &'a str,
    message: String,
    rows: Vec<&'a Value>,
}

/// Groups rows by the kind and the first line of their error, the largest group first.
fn groups<'a>(rows: impl IntoIterator<Item = &'a Value>, error: impl Fn(&'a Value) -> (&'a str, &'a str)) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in rows {
        let (kind, message) = error(row);
        groups.entry((kind, first_line(message))).or_default().push(row);
    }
    let mut groups: Vec<_> = groups.into_iter().map(|((kind, message), rows)| Group { kind, message, rows }).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.rows.len()));
    groups
}

/// The kind and the message of a failed job.
fn error_of(record: &Value) -> (&str, &str) {
    (text(&record["error"], "kind"), text(&record["error"], "message"))
}
