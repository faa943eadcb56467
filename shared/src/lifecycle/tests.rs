//! The guarantees of the decisions, with a test for each, and two models in which no order of events breaks them.

mod claims;
mod endings;
mod model;
mod repairs;
mod world;
mod writes;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{claim::KEPT_BYTES, lease::free_from, *};
use crate::{
    Backoff, Policy, Recording,
    clock::{after, from_millis},
    envelope::Envelope,
    names::shard,
    record::{Dependencies, Dlq, Failure, Past, Record, State},
    store::Write,
};

const LEASE: Duration = Duration::from_secs(30);
/// 15 days: a queue may deliver a message for 14.
const REMEMBERED: i64 = 15 * 86_400;

/// Returns the instant that many milliseconds after a fixed start.
fn ms(millis: i64) -> Timestamp {
    from_millis(1_767_225_600_000 + millis)
}

/// Marks the message of a job as sent. The instant matters only for jobs with keys.
fn sent(waiting: &Record) -> Record {
    super::sent(waiting, at(0))
}

fn at(seconds: i64) -> Timestamp {
    ms(seconds * 1000)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn policy() -> Policy {
    Policy::new().max_attempts(3).backoff(Backoff::constant(secs(60))).retention(secs(0))
}

fn request() -> Request {
    Request {
        id: "job-1".into(),
        name: "greet".into(),
        queue: "mail".into(),
        sent_at: Some(at(-5)),
        tags: vec!["a label".into()],
        parent_id: Some("job-0".into()),
        body: "as sent".into(),
        ..Request::default()
    }
}

fn claim(owner: &str) -> Claim {
    Claim { owner: owner.into(), lease: LEASE }
}

/// Returns the decision of the next worker about a record.
fn decided(seen: &Record, now: Timestamp) -> Decision {
    decide(Some(seen), &request(), &policy(), &claim("next"), now)
}

fn granted(decision: Decision) -> Record {
    match decision {
        Decision::Run { next, .. } => *next,
        Decision::End { .. } | Decision::Leave(_) => panic!("not granted: {decision:?}"),
    }
}

fn closed(decision: Decision) -> (Record, Ending) {
    match decision {
        Decision::End { next, ending } => (*next, ending),
        Decision::Run { .. } | Decision::Leave(_) => panic!("not ended by a write: {decision:?}"),
    }
}

fn left(decision: Decision) -> Ending {
    match decision {
        Decision::Leave(ending) => ending,
        Decision::Run { .. } | Decision::End { .. } => panic!("not left alone: {decision:?}"),
    }
}

/// The job in its first attempt, started at 0 and held until 30 s.
fn running() -> Record {
    granted(decide(None, &request(), &policy(), &claim("first"), at(0)))
}

fn failure(kind: &str) -> Failure {
    Failure::new(kind, "it did not work".into(), at(10))
}

/// Returns the record and the ending of an attempt that ends at second 10 and requests `next`.
fn ended(running: &Record, next: FollowUp) -> (Record, Ending) {
    finish(running, Outcome::Failure(failure("error"), next), &policy(), 1.0, at(10))
}

/// The job after one failed attempt, due again at 70 s.
fn waiting() -> Record {
    ended(&running(), FollowUp::Retry(None)).0
}

fn failed_for_good() -> Record {
    ended(&running(), FollowUp::GiveUp).0
}

fn scheduled(run_at: Timestamp) -> Record {
    filed(None, &request(), &policy(), "filer", run_at)
}

/// Asserts the properties that all terminal records share.
fn assert_terminal(record: &Record, now: Timestamp) {
    assert!(record.state.is_terminal());
    assert_eq!(record.finished_at, Some(now));
    assert_eq!(record.purge_at, Some(now.as_second() + REMEMBERED), "remembered for as long as a queue may deliver, and a day");
    assert_eq!(record.lease_until, None);
    assert_eq!(record.run_at, None);
    assert_eq!(record.due, None);
    assert!(record.envelope.is_none() || record.dlq == Some(Dlq::Pending), "an envelope is kept for a dead letter that is owed");
}

/// A table with one record: a write is made if the record is as the writer saw it.
#[derive(Debug, Default)]
struct Table(Option<Record>);

impl Table {
    fn make(&mut self, write: &Write) -> bool {
        let made = self.0.as_ref().map(Record::version) == write.seen.as_deref().map(Record::version);
        if made {
            // An adapter writes only the fields that differ from those that were read.
            assert_eq!(self.0.as_ref(), write.seen.as_deref(), "one version is one record");
            self.0 = Some(Record::clone(&write.next));
        }
        made
    }

    fn resolve(&self, write: &Write) -> Resolution {
        resolve(&write.next, write.seen.as_deref(), self.0.clone())
    }
}

fn write(seen: Option<&Record>, next: Record) -> Write {
    Write { next: next.into(), seen: seen.cloned().map(Into::into) }
}

/// Files the job, or moves it, under a token of its own, as a claim has one.
fn filed_as(token: &str, seen: Option<&Record>, run_at: Timestamp) -> Record {
    filed(seen, &request(), &policy(), token, run_at)
}
