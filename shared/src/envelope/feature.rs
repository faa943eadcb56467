//! Features that a producer may require, and fields that it must not send yet.

use super::{CURRENT, Envelope, Unreadable, excerpt};

/// The features of this worker, which [`Envelope::needs`] may name. A message that needs another feature is parked.
pub const FEATURES: &[&str] = &[
    "depth",        // number of jobs before this one; children get one more
    "expires_at",   // the job is discarded after this instant
    "kwargs",       // keyword arguments, alone or beside positional ones
    "max_attempts", // the attempt budget of the message, instead of the job's policy
    "meta",         // free data of the producer, kept in the record
    "parent_id",    // the job that caused this one, kept in the record
    "root_id",      // the first job of the tree, kept in the record
    "run_at",       // an instant before which the job does not run
    "tags",         // labels, kept in the record
    "timeout_s",    // the timeout of one attempt, instead of the job's policy
    "traceparent",  // the producer's W3C trace context, continued
];

impl Envelope {
    /// Returns the version or feature that [`Envelope::v`] and [`Envelope::needs`] require and this worker lacks. Such a message
    /// waits for a newer worker: running it without the feature would be worse than running it late.
    pub fn unsupported(&self) -> Option<String> {
        if self.v > CURRENT {
            return Some(format!("version {} of the contract, while this worker knows version {CURRENT}", self.v));
        }
        let missing = self.needs.iter().find(|need| !FEATURES.contains(&need.as_str()));
        missing.map(|need| format!("the feature `{}`, which this worker lacks", excerpt(need)))
    }

    /// Returns the first reserved field that is set, if any: `unique_key`, `priority` or `depends_on`. No version honours
    /// them yet, so a message with one is refused at once.
    pub fn reserved(&self) -> Option<&'static str> {
        let fields =
            [("unique_key", self.unique_key.is_some()), ("depends_on", !self.depends_on.is_empty()), ("priority", self.priority.is_some())];
        fields.into_iter().find_map(|(field, is_set)| is_set.then_some(field))
    }

    /// Refuses a message that contains a reserved field.
    pub(crate) fn check_reserved(&self) -> Result<(), Unreadable> {
        self.reserved()
            .map_or(Ok(()), |field| Err(Unreadable::new(field, "it is reserved, and no version supports it yet", "do not send it")))
    }
}
