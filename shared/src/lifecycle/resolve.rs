//! Resolves writes whose answer was lost or refused.

use crate::record::Record;

/// The state of a write whose answer was lost or refused, after a look at the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Resolution {
    /// The write was made: the record is as this write leaves it.
    Ours,
    /// The write was not made, and still can be.
    Open,
    /// Another write was first.
    Refused(Option<Box<Record>>),
}

/// Resolves a write from `seen` to `next` by what is `stored`.
pub(crate) fn resolve(next: &Record, seen: Option<&Record>, stored: Option<Record>) -> Resolution {
    let version = stored.as_ref().map(Record::version);
    if version == Some(next.version()) {
        Resolution::Ours
    } else if version == seen.map(Record::version) {
        Resolution::Open
    } else {
        Resolution::Refused(stored.map(Box::new))
    }
}
