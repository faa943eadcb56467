//! Feeds untrusted input to the library: nothing may panic, and all parsed values must satisfy their rules.
//! `tests/fuzz` generates such input; `cargo test` runs the saved corpus.

use std::{str, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqjobs::{
    Arguments, Context, Envelope, Job, JobError, Policy, Record, Schedule, State, Worker,
    envelope::Form,
    lifecycle::{self, Claim, Decision, Ending, Next, Outcome, Repair, Request},
    testing::Eager,
};

/// The name and the function of a fuzz target.
pub type Target = (&'static str, fn(&[u8]));

/// All fuzz targets.
pub const TARGETS: [Target; 4] = [("envelope", envelope), ("event", event), ("record", record), ("schedule", schedule)];

/// Parses a message body in any format. A parsed envelope must stay the same when it is written and parsed again.
///
/// # Panics
///
/// When the envelope differs.
pub fn envelope(data: &[u8]) {
    let Ok(body) = str::from_utf8(data) else { return };
    let Ok(envelope) = Envelope::parse(body) else { return };
    envelope.bind::<Value>().ok();
    envelope.bind::<Vec<i64>>().ok();
    if envelope.v == 1 && envelope.check().is_ok() {
        let written = envelope.to_body();
        let again = Envelope::parse(&written).unwrap_or_else(|error| panic!("{written} cannot be read again: {error}"));
        let mut native = envelope;
        native.form = Form::Native;
        // In an older format, a field may have the name of a native field but be unknown. Such fields are not written.
        native.unknown.retain(|name, _| again.unknown.contains_key(name));
        // Instants are written in milliseconds; smaller fractions are cut off.
        for instant in [&mut native.run_at, &mut native.expires_at] {
            *instant = instant.and_then(|at| Timestamp::from_millisecond(at.as_nanosecond().div_euclid(1_000_000).try_into().ok()?).ok());
        }
        assert_eq!(again, native, "{written}");
    }
}

/// Adds numbers.
#[derive(Serialize, Deserialize)]
struct Adder(Vec<i64>);

impl Arguments for Adder {
    const NAME: &'static str = "adder";
}

impl Job for Adder {
    const ALIASES: &'static [&'static str] = &["Sum"];
    type Output = i64;

    async fn run(&self, _ctx: &Context) -> Result<i64, JobError> {
        Ok(self.0.iter().fold(0, |sum, number| sum.wrapping_add(*number)))
    }
}

/// Handles an SQS event. Each message is either returned as failed, or its job has a record or a dead letter.
///
/// # Panics
///
/// When a message is lost.
pub fn event(data: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Value>(data) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let (eager, worker) = (Eager::new(), Worker::new(()).job::<Adder>());
        let Ok(answer) = eager.handle(&worker, event.clone()).await else { return };
        let failures = answer["batchItemFailures"].as_array().into_iter().flatten();
        let back: Vec<_> = failures.map(|failure| &failure["itemIdentifier"]).collect();
        let given: Vec<_> = event["Records"].as_array().into_iter().flatten().map(|message| &message["messageId"]).collect();
        assert!(back.iter().all(|id| given.contains(id)), "{answer} names a message that was not given");
        let is_known = eager.records().len() + eager.dead_letters().len() > 0;
        assert!(is_known || given.iter().all(|id| back.contains(id)), "messages go of which nothing is known: {answer}");
    });
}

/// Returns the first instant of these tests.
fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_hours(56 * 8766)
}

/// Reads an item of the table with any content. All decisions about it must satisfy the rules for records.
///
/// # Panics
///
/// When a rule is violated.
pub fn record(data: &[u8]) {
    let Ok(item) = serde_json::from_slice::<Map<String, Value>>(data) else { return };
    let Ok(item) = serde_dynamo::to_item::<_, serde_dynamo::Item>(item) else { return };
    let Ok(record) = serde_dynamo::from_item::<_, Record>(item) else { return };
    let mut request = Request::default();
    (request.id, request.name, request.queue) = (record.id.clone(), record.name.clone(), record.queue.clone());
    request.body = r#"{"name":"adder"}"#.into();
    let claim = Claim { owner: "fuzz".into(), lease: Duration::from_secs(30) };
    let policy = Policy::new();
    for days in [0, 1, 400, 100_000] {
        let now = start() + Duration::from_hours(24 * days);
        for dead in [None, Some(record.generation)] {
            request.dead = dead;
            match lifecycle::decide(Some(&record), &request, &policy, &claim, now) {
                Decision::Run { next, .. } => runs(&record, &next, now),
                Decision::End { next, .. } => ends(&record, &next),
                Decision::Leave(_) => {}
            }
            lifecycle::abandoned(Some(&record), &request, None, "fuzz", now);
            for ending in [Ending::Rejected, Ending::Parked] {
                lifecycle::refuse(Some(&record), &request, &ending, sqjobs::Failure::default(), "fuzz", now);
            }
        }
        if let Repair::Write(next) = lifecycle::repair(&record, None, "fuzz", now) {
            assert!(!record.state.is_terminal(), "what has ended is not repaired: {next:?}");
        }
        if let Some(next) = lifecycle::cancel(Some(&record), &request, &policy, now) {
            assert!(next.cancel_requested || next.state == State::Cancelled);
        }
        lifecycle::is_filed(&record, now);
    }
}

fn runs(seen: &Record, next: &Record, now: Timestamp) {
    assert_eq!((next.state, next.owner.as_deref()), (State::Running, Some("fuzz")));
    assert!(next.attempts <= next.max_attempts, "{} attempts of {}", next.attempts, next.max_attempts);
    assert!(next.generation > seen.generation || seen.generation == u64::MAX, "generations grow");
    for how in [Next::Retry(None), Next::GiveUp, Next::Snooze(Duration::MAX), Next::Cancel, Next::Resume, Next::Return] {
        let (ended, _) = lifecycle::finish(next, Outcome::Failure(sqjobs::Failure::default(), how), &Policy::new(), 0.5, now);
        ends(next, &ended);
    }
}

fn ends(seen: &Record, next: &Record) {
    assert_eq!(next.purge_at.is_some(), next.state.is_terminal(), "only what has ended is purged");
    assert!(next.history.len() <= 10.max(seen.history.len()), "histories are bounded");
}

/// Reads lines with an expression, a time zone, and the second since the epoch after which fires are computed.
///
/// # Panics
///
/// When a fire is wrong.
pub fn schedule(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let (Some(expression), Some(zone)) = (lines.next(), lines.next()) else { return };
    let Some(after) = lines.next().and_then(|second| Timestamp::from_second(second.parse().ok()?).ok()) else { return };
    let Ok(timetable) = Schedule::cron(expression).timezone(zone).timetable(after) else { return };
    assert!(!timetable.to_string().is_empty());
    let mut last = after;
    for _ in 0..3 {
        let Some(next) = timetable.next(last) else { return };
        assert!(next > last, "{next} does not follow {last}");
        assert_eq!(timetable.latest(last, next), Some(next), "looked at from behind");
        last = next;
    }
    timetable.preview(after).take(2).for_each(drop);
}
