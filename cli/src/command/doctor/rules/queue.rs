//! Rules about a queue and its dead-letter queue.

use std::time::Duration;

use serde_json::json;
use sqjobs::{
    queue::{MAX_BYTES, is_fifo},
    setup::dlq_name,
};

use super::Findings;
use crate::{
    command::{dlq::walk::ways_back, doctor::facts::Queue, queue::create_dlq},
    time::brief,
};

/// Minimum of `maxReceiveCount`: receives that start no attempt count too.
const FUSE: u64 = 100;
/// Minimum retention of a queue: a waiting message is sent again after two days.
const RETENTION: Duration = Duration::from_hours(4 * 24);
/// The size of the largest message that the library sends, in bytes. SQS accepts it by default.
const MESSAGE: u64 = MAX_BYTES as u64;

impl Findings<'_> {
    pub(super) fn queue(&mut self, queue: &Queue) {
        let at = format!("queue {}", queue.name);
        match (&queue.dlq, queue.max_receives) {
            (None, _) => {
                let why = "a message that always fails is received again and again, until SQS deletes it";
                let dlq = dlq_name(&queue.name);
                let fifo = if is_fifo(&dlq) { ",FifoQueue=true" } else { "" };
                let remedy = format!(
                    "`aws sqs create-queue --queue-name {dlq} --attributes MessageRetentionPeriod={}{fifo}`, then {}",
                    queue.retention.as_secs(),
                    redrive_policy(queue, &queue.arn.replace(&queue.name, &dlq))
                );
                self.add("dlq_missing", &at, "it has no dead-letter queue", why, remedy);
            }
            (Some(dlq), receives) => {
                if receives.is_some_and(|receives| receives < FUSE) {
                    let what = format!("SQS moves a message to the dead-letter queue after {} receives", receives.unwrap_or_default());
                    let why = "SQS also counts receives that start no attempt, so a job can become a dead letter before its last attempt";
                    let remedy = format!("allow 1000 receives: {}", redrive_policy(queue, &dlq.arn));
                    self.add("redrive_early", &at, what, why, remedy);
                }
                if !dlq.exists {
                    let what = format!("its dead-letter queue {} cannot be read", dlq.name);
                    self.add(
                        "dlq_missing",
                        &at,
                        what,
                        "jobs that fail for good are lost",
                        format!("{}, or check --profile", create_dlq(&dlq.name)),
                    );
                } else if dlq.retention < queue.retention {
                    let what = format!(
                        "its dead-letter queue keeps messages for {}, but the queue itself for {}",
                        brief(dlq.retention),
                        brief(queue.retention)
                    );
                    let why = "a message keeps its age when SQS moves it, so SQS may delete the dead letter at once";
                    let url = queue.url.replace(&queue.name, &dlq.name);
                    let remedy = set(&url, "MessageRetentionPeriod", &queue.retention.as_secs().to_string());
                    self.add("dlq_retention", &at, what, why, remedy);
                }
            }
        }
        let dlqs = queue.dlq.iter().filter(|dlq| dlq.exists);
        for (name, bytes) in [(&queue.name, queue.max_bytes)].into_iter().chain(dlqs.clone().map(|dlq| (&dlq.name, dlq.max_bytes))) {
            if bytes < MESSAGE {
                let what = format!("it accepts messages of up to {bytes} bytes, but a job can have up to {MESSAGE} bytes");
                let why = "SQS refuses larger jobs, and the reasons of larger dead letters are shortened";
                let url = queue.url.replace(&queue.name, name);
                self.add("message_size", &format!("queue {name}"), what, why, set(&url, "MaximumMessageSize", &MESSAGE.to_string()));
            }
        }
        // The dead letters of all priorities are reported once.
        for dlq in dlqs.filter(|dlq| dlq.count > 0 && !queue.shares_dlq()) {
            let messages = if dlq.count == 1 { "1 message waits".into() } else { format!("{} messages wait", dlq.count) };
            let why = "each message is a failed job, or it cannot be read as a job; SQS deletes the message when its retention ends";
            self.add(
                "dead_letters",
                &at,
                format!("{messages} in its dead-letter queue {}", dlq.name),
                why,
                ways_back(&queue.short, &queue.arn),
            );
        }
        if queue.retention < RETENTION {
            let what = format!("it keeps messages for {}, but must keep them for at least {}", brief(queue.retention), brief(RETENTION));
            let why = "SQS may delete the message of a job that still waits";
            self.add("retention_short", &at, what, why, set(&queue.url, "MessageRetentionPeriod", "1209600"));
        }
        if is_fifo(&queue.name) && !queue.delay.is_zero() {
            let what = format!("it delays each message by {}", brief(queue.delay));
            let why = "SQS also delays a message that returns to the queue, and this blocks its message group";
            self.add("fifo_delay", &at, what, why, set(&queue.url, "DelaySeconds", "0"));
        }
        if let Some(record) = queue.deleted_early.as_ref() {
            let what = format!("the record of job {} is deleted earlier than the message of the job", record.id);
            let why = "if SQS delivers the message again after that, the ended job runs again";
            self.add("retention_long", &at, what, why, "raise the `retention` in the job's policy, or lower the retention of the queue");
        }
    }
}

/// Returns the command that sets an attribute of the queue at this URL.
pub(super) fn set(url: &str, attribute: &str, value: &str) -> String {
    format!("`aws sqs set-queue-attributes --queue-url {url} --attributes {attribute}={value}`")
}

/// Returns the command that sets the redrive policy of a queue.
fn redrive_policy(queue: &Queue, dlq_arn: &str) -> String {
    let policy = json!({"deadLetterTargetArn": dlq_arn, "maxReceiveCount": "1000"}).to_string();
    let attributes = json!({"RedrivePolicy": policy});
    format!("`aws sqs set-queue-attributes --queue-url {} --attributes '{attributes}'`", queue.url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_policy_is_printed_as_a_whole_command() {
        let queue = Queue { url: "https://sqs/1/adder".into(), ..Queue::default() };
        let attributes =
            r#"{"RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:eu-west-1:1:adder-dlq\",\"maxReceiveCount\":\"1000\"}"}"#;
        assert_eq!(
            redrive_policy(&queue, "arn:aws:sqs:eu-west-1:1:adder-dlq"),
            format!("`aws sqs set-queue-attributes --queue-url https://sqs/1/adder --attributes '{attributes}'`")
        );
    }
}
