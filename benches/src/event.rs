//! The events that every subject receives.

use axum::body::Bytes;
use serde_json::{Value, json};
use sqjobs::Clock;

/// Number of messages in a batch.
pub(crate) const BATCH: usize = 10;

/// The content of a batch of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// New jobs that succeed.
    First,
    /// Redelivered messages of jobs that have succeeded.
    Redelivered,
    /// New messages of jobs that have succeeded.
    Repeated,
    /// New jobs that fail and are retried.
    Failing,
    /// Six jobs that succeed, three duplicates of a job that has succeeded, and one job that fails.
    Mixed,
    /// New jobs on a FIFO queue, in five groups of two.
    Fifo,
}

/// The expected outcome of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    New,
    Known { receives: u32 },
    Fails,
}

impl Scenario {
    pub(crate) const ALL: [Self; 6] = [Self::First, Self::Redelivered, Self::Repeated, Self::Failing, Self::Mixed, Self::Fifo];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::First => "first deliveries",
            Self::Redelivered => "duplicates: delivered again",
            Self::Repeated => "duplicates: sent again",
            Self::Failing => "failures",
            Self::Mixed => "mixed",
            Self::Fifo => "FIFO, five groups of two",
        }
    }

    fn parts(self) -> [Part; BATCH] {
        let known = |receives| Part::Known { receives };
        match self {
            Self::First | Self::Fifo => [Part::New; BATCH],
            Self::Redelivered => [known(2); BATCH],
            Self::Repeated => [known(1); BATCH],
            Self::Failing => [Part::Fails; BATCH],
            Self::Mixed => std::array::from_fn(|place| match place {
                0..6 => Part::New,
                6..9 => known(2),
                _ => Part::Fails,
            }),
        }
    }

    /// Number of messages that the subject must return as failures.
    pub(crate) fn failures(self) -> usize {
        self.parts().iter().filter(|part| **part == Part::Fails).count()
    }

    /// Returns event `number`. No two events share a new job.
    pub(crate) fn event(self, number: usize) -> Bytes {
        let parts = self.parts().into_iter().enumerate();
        event(&parts.map(|(place, part)| self.record(number, place, part)).collect::<Vec<_>>())
    }

    fn record(self, number: usize, place: usize, part: Part) -> Value {
        let (id, receives, args) = match part {
            Part::New => (format!("adder-{number:08}-{place}"), 1, json!([number, place, 3])),
            Part::Known { receives } => (known(place), receives, json!([1, place, 3])),
            Part::Fails => (format!("adder-{number:08}-{place}"), 1, json!([-1 - i64::try_from(number).unwrap_or(0), 0, 0])),
        };
        let group = (self == Self::Fifo).then(|| format!("group-{}", place / 2));
        record(&id, receives, &args, group.as_deref())
    }
}

fn known(place: usize) -> String {
    format!("adder-known-{place}")
}

/// Returns the first deliveries of the jobs that the duplicates repeat.
pub(crate) fn seed() -> Bytes {
    let records: Vec<_> = (0..BATCH).map(|place| record(&known(place), 1, &json!([1, place, 3]), None)).collect();
    event(&records)
}

fn event(records: &[Value]) -> Bytes {
    json!({"Records": records}).to_string().into()
}

fn body(id: &str, args: &Value) -> String {
    json!({"name": "adder", "id": id, "args": args}).to_string()
}

/// Builds one message in the format of Lambda.
fn record(id: &str, receives: u32, args: &Value, group: Option<&str>) -> Value {
    let now = Clock::system().now().as_millisecond().to_string();
    let mut attributes = json!({
        "ApproximateReceiveCount": receives.to_string(),
        "SentTimestamp": now,
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "ApproximateFirstReceiveTimestamp": now,
    });
    if let Some(group) = group {
        attributes["MessageGroupId"] = group.into();
        attributes["MessageDeduplicationId"] = id.into();
        attributes["SequenceNumber"] = "18849496460467696128".into();
    }
    let queue = if group.is_some() { "adder.fifo" } else { "adder" };
    json!({
        "messageId": uuid::Uuid::new_v4().to_string(),
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a".repeat(5),
        "body": body(id, args),
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{queue}"),
        "awsRegion": "us-east-1",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_events_have_a_new_job_in_common() {
        let ids = |number| {
            let event: Value = serde_json::from_slice(&Scenario::Mixed.event(number)).expect("JSON");
            let records = event["Records"].as_array().expect("records").clone();
            let bodies = records.iter().map(|record| serde_json::from_str::<Value>(record["body"].as_str().expect("text")).expect("JSON"));
            bodies.map(|body| body["id"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
        };
        let common: Vec<_> = ids(1).into_iter().filter(|id| ids(2).contains(id)).collect();
        assert_eq!(common, ["adder-known-6", "adder-known-7", "adder-known-8"]);
    }
}
