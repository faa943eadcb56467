//! What a producer may ask for, and whether this worker can do it.

use super::{CURRENT, Envelope, excerpt};

/// What an entry of [`Envelope::needs`] may name, because this worker has it. Anything else parks
/// the message.
pub const FEATURES: &[&str] = &[
    "depth",        // how many jobs came before, counted on in what this one enqueues
    "expires_at",   // a job past this instant is dropped instead of run
    "kwargs",       // keyword arguments, alone or beside positional ones
    "max_attempts", // the attempt budget of the message, instead of the job's own
    "meta",         // free data of the producer, kept in the record
    "parent_id",    // the job that caused this one, kept in the record
    "root_id",      // the first job of the tree, kept in the record
    "run_at",       // an instant before which the job does not run
    "tags",         // labels, kept in the record
    "timeout_s",    // the time for one attempt, instead of the job's own
    "traceparent",  // the producer's W3C trace context, continued
];

impl Envelope {
    /// The first thing in it that this version cannot honour, if any. Such a message must wait for
    /// a worker that can: to ignore a wish of the producer would be worse than to be late.
    pub fn unsupported(&self) -> Option<String> {
        if self.v > CURRENT {
            return Some(format!("version {} of the contract, while this worker knows version {CURRENT}", self.v));
        }
        let missing = self.needs.iter().find(|need| !FEATURES.contains(&need.as_str()));
        missing.map(|need| format!("the feature `{}`, which this worker lacks", excerpt(need))).or_else(|| self.unbuilt())
    }

    fn unbuilt(&self) -> Option<String> {
        let wishes =
            [("unique_key", self.unique_key.is_some()), ("depends_on", !self.depends_on.is_empty()), ("priority", self.priority.is_some())];
        let (field, _) = wishes.into_iter().find(|(_, wished)| *wished)?;
        Some(format!("the field `{field}`, which this worker cannot honour yet"))
    }
}
