//! Features that a producer may require.

use super::{CURRENT, Envelope, Step, Unreadable, excerpt};

/// The features of this worker, which [`Envelope::needs`] may name. A message that needs another feature is parked.
pub const FEATURES: &[&str] = &[
    "dependencies", // other jobs that the job waits for: `depends_on`, `when`, `otherwise` and `max_blocked_s`
    "depth",        // number of jobs before this one; children get one more
    "expires_at",   // the job is discarded after this instant
    "keys",         // keys that the job shares with others: `limit_key`, `exclusive_key` and `unique_key`
    "kwargs",       // keyword arguments, alone or beside positional ones
    "max_attempts", // the attempt budget of the message, instead of the job's policy
    "meta",         // free data of the producer, kept in the record
    "outputs",      // references to the outputs of other jobs in the arguments: `{"$output": id}`
    "parent_id",    // the job that caused this one, kept in the record
    "priority",     // the priority, for which the producer has chosen the queue
    "rates",        // the maximum rate of a key: `rate_key`
    "root_id",      // the first job of the tree, kept in the record
    "run_at",       // an instant before which the job does not run
    "tags",         // labels, kept in the record
    "timeout_s",    // the timeout of one attempt, instead of the job's policy
    "traceparent",  // the producer's W3C trace context, continued
    "workflow",     // the jobs that run before this one: `jobs`; and the jobs that the library tells of its end: `dependents`
];

impl Envelope {
    /// Returns the version or feature that the message requires and this worker lacks. Such a message waits for a newer worker: running
    /// it without the feature would be worse than running it late.
    pub fn unsupported(&self) -> Option<String> {
        if self.v > CURRENT {
            return Some(format!("version {} of the contract, while this worker knows version {CURRENT}", self.v));
        }
        let lacks = |feature: &str| format!("the feature `{feature}`, which this worker lacks");
        let missing = self.needs.iter().find(|need| !FEATURES.contains(&need.as_str()));
        missing.map(|need| lacks(&excerpt(need)))
    }

    /// Refuses references to outputs of jobs that the job does not wait for.
    pub(crate) fn check_sendable(&self) -> Result<(), Unreadable> {
        if self.jobs.is_empty() {
            self.check_outputs(&self.depends_on)?;
        }
        let check = |(place, step): (usize, &Step)| step.job.check_sendable().map_err(|flaw| flaw.within(&format!("jobs[{place}]")));
        self.jobs.iter().enumerate().try_for_each(check)
    }
}
