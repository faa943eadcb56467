//! Feeds untrusted input to the library: nothing may panic, and all parsed values must satisfy their rules.
//! `tests/fuzz` generates such input; `cargo test` runs the saved corpus.

use std::str;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqjobs::{
    Arguments, Context, Envelope, Job, JobError, Record, Schedule, Worker,
    envelope::Form,
    testing::{Eager, decisions},
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

/// Reads an item of the table with any content. All decisions about it must satisfy the rules for records.
///
/// # Panics
///
/// When a rule is violated.
pub fn record(data: &[u8]) {
    let Ok(item) = serde_json::from_slice::<Map<String, Value>>(data) else { return };
    let Ok(item) = serde_dynamo::to_item::<_, serde_dynamo::Item>(item) else { return };
    let Ok(record) = serde_dynamo::from_item::<_, Record>(item) else { return };
    decisions::check(&record);
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
