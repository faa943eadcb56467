//! The priority of a job, and the queue that it stands for.

use serde::{Deserialize, Serialize};

/// The feature that a worker needs for a message with a priority. A worker of an earlier version parks the message.
pub(super) const FEATURE: &str = "priority";

/// The end of the name of a FIFO queue.
const FIFO: &str = ".fifo";

/// The priority of a job: the queue that it waits in.
///
/// For the queue `invoice`, these are `invoice-high`, `invoice` and `invoice-low`. For the queue `invoice.fifo`, they are
/// `invoice-high.fifo`, `invoice.fifo` and `invoice-low.fifo`. One function reads all of them. SQS and Lambda keep no order between queues.
///
/// ```
/// use sqjobs::Priority;
///
/// assert_eq!(Priority::High.queue("invoice"), "invoice-high");
/// assert_eq!(Priority::Low.queue("invoice.fifo"), "invoice-low.fifo");
/// assert_eq!(Priority::Default.queue("invoice-high"), "invoice");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Priority {
    /// The job waits in the queue whose name ends in `-high`.
    High,
    /// The job waits in the queue of its function.
    #[default]
    Default,
    /// The job waits in the queue whose name ends in `-low`.
    Low,
}

impl Priority {
    /// The priorities that have queues of their own.
    pub const OWN_QUEUES: [Self; 2] = [Self::High, Self::Low];

    /// Returns the priority as a message has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Default => "default",
            Self::Low => "low",
        }
    }

    /// Returns the queue for jobs of this priority, given the name of any queue of the function.
    pub fn queue(self, queue: &str) -> String {
        let (base, _, fifo) = parts(queue);
        format!("{base}{}{fifo}", self.suffix())
    }

    /// Returns the queue of a new job of this priority, given the queue that its producer names. The default priority does not change it.
    pub fn queue_for_job(self, queue: &str) -> String {
        if self.is_default() { queue.to_owned() } else { self.queue(queue) }
    }

    /// Returns the priority of the jobs that wait in a queue. The name of the queue decides.
    pub fn of_queue(queue: &str) -> Self {
        parts(queue).1
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::High => "-high",
            Self::Default => "",
            Self::Low => "-low",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

/// Returns `true` if two queues differ at most in the priority of their jobs. One function reads such queues.
pub(crate) fn are_of_one_function(one: &str, other: &str) -> bool {
    one == other || {
        let [(one, _, fifo), (other, _, other_fifo)] = [one, other].map(parts);
        (one, fifo) == (other, other_fifo)
    }
}

/// Returns the parts of the name of a queue: the base name, the priority and the ending of FIFO queues.
fn parts(queue: &str) -> (&str, Priority, &str) {
    let (name, fifo) = match queue.strip_suffix(FIFO) {
        Some(name) => (name, FIFO),
        None => (queue, ""),
    };
    for priority in Priority::OWN_QUEUES {
        if let Some(base) = name.strip_suffix(priority.suffix()).filter(|base| !base.is_empty()) {
            return (base, priority, fifo);
        }
    }
    (name, Priority::Default, fifo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_stands_for_a_queue_of_the_same_function() {
        let cases = [
            (Priority::High, "invoice", "invoice-high"),
            (Priority::Low, "prod-invoice.fifo", "prod-invoice-low.fifo"),
            (Priority::Default, "invoice", "invoice"),
            (Priority::High, "invoice-low", "invoice-high"),
            (Priority::Default, "invoice-low.fifo", "invoice.fifo"),
            (Priority::Low, "-low", "-low-low"),
        ];
        for (priority, queue, expected) in cases {
            assert_eq!(priority.queue(queue), expected);
            assert_eq!(Priority::of_queue(expected), priority, "{expected}");
            assert!(are_of_one_function(queue, expected), "{queue}");
        }
        for (one, other) in [("invoice", "invoice.fifo"), ("invoice-high", "report-high"), ("invoice", "invoice-dlq"), ("a", "-high")] {
            assert!(!are_of_one_function(one, other), "{one} {other}");
        }
    }
}
