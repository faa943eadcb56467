//! Features that a producer may ask for, and fields that it must not send yet.

use super::{CURRENT, Envelope, Unreadable, excerpt};

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
    /// Returns what this version cannot do of what [`Envelope::v`] and [`Envelope::needs`] ask for, if anything. Such a message
    /// waits for a worker that can: to ignore it would be worse than to be late.
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

    /// Refuses a message with a reserved field.
    pub(crate) fn check_reserved(&self) -> Result<(), Unreadable> {
        self.reserved()
            .map_or(Ok(()), |field| Err(Unreadable::new(field, "it is reserved, and no version supports it yet", "do not send it")))
    }
}
