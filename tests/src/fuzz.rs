//! What strangers may send, put to the library: nothing of it may panic, and what is read must hold what it promises.
//! `tests/fuzz` makes such input; the corpus there is run by `cargo test`.

use std::{str, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqjobs::{
    Context, Envelope, Job, JobError, Policy, Record, Schedule, State, Worker,
    envelope::Form,
    lifecycle::{self, Claim, Decision, Ending, Next, Outcome, Repair, Request},
    testing::Eager,
};

/// Something that is fuzzed, and its name.
pub type Target = (&'static str, fn(&[u8]));

/// Everything that is fuzzed.
pub const TARGETS: [Target; 4] = [("envelope", envelope), ("event", event), ("record", record), ("schedule", schedule)];

/// A message body of any form: what is read is written, and read again as the same.
///
/// # Panics
///
/// When it is not.
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
        // In an older form, what the native one knows by that name is a stranger; it is not written.
        native.unknown.retain(|name, _| again.unknown.contains_key(name));
        // Instants are written to the millisecond; what is left of one is cut off.
        for instant in [&mut native.run_at, &mut native.expires_at] {
            *instant = instant.and_then(|at| Timestamp::from_millisecond(at.as_nanosecond().div_euclid(1_000_000).try_into().ok()?).ok());
        }
        assert_eq!(again, native, "{written}");
    }
}

/// Adds numbers.
#[derive(Serialize, Deserialize)]
struct Adder(Vec<i64>);

impl Job for Adder {
    const NAME: &'static str = "adder";
    const ALIASES: &'static [&'static str] = &["Sum"];
    type Output = i64;

    async fn run(&self, _ctx: &Context) -> Result<i64, JobError> {
        Ok(self.0.iter().fold(0, |sum, number| sum.wrapping_add(*number)))
    }
}

/// An event of SQS: each message of it ends, or comes back; none is both unknown and gone.
///
/// # Panics
///
/// When that does not hold.
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

/// The first instant of these tests.
fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_hours(56 * 8766)
}

/// An item of the table, written by anyone: whatever is decided of it keeps the rules that hold for any record.
///
/// # Panics
///
/// When one is broken.
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

/// Lines of an expression, a zone, and the second since the epoch from which it is asked.
///
/// # Panics
///
/// When a fire is not where it should be.
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
