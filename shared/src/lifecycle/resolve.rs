//! Resolves writes whose answer was lost or was a refusal.

use crate::record::Record;

/// The result of a write whose answer was lost or was a refusal, according to the stored record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Resolution {
    /// The write was made: the record is as this write leaves it.
    Ours,
    /// The write was not made, and can be repeated.
    Open,
    /// Another write was first.
    Refused(Option<Box<Record>>),
}

/// Resolves a write from `seen` to `next`, given the `stored` record.
pub(crate) fn resolve(next: &Record, seen: Option<&Record>, stored: Option<Record>) -> Resolution {
    let version = stored.as_ref().map(Record::version);
    if version == Some(next.version()) {
        Resolution::Ours
    } else if version == seen.map(Record::version) && !has_new_dependents(next, seen, stored.as_ref()) {
        Resolution::Open
    } else {
        Resolution::Refused(stored.map(Box::new))
    }
}

/// Returns `true` if the write was refused because a job has registered as a dependent since the record was read.
fn has_new_dependents(next: &Record, seen: Option<&Record>, stored: Option<&Record>) -> bool {
    seen.zip(stored).is_some_and(|(seen, stored)| seen.needs_dependents_for(next) && stored.dependents != seen.dependents)
}
