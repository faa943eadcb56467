//! Messages that cannot be run, and log lines without arguments.

use serde::{Deserialize, Serialize};

use super::*;
use crate::{Arguments, Context, Job, Worker};

#[derive(Serialize, Deserialize)]
struct Typed {
    count: u8,
    #[serde(default)]
    secret: String,
}

impl Arguments for Typed {
    const NAME: &'static str = "probe";
}

impl Job for Typed {
    type Output = usize;

    async fn run(&self, ctx: &Context) -> Result<usize, JobError> {
        ctx.checkpoint(1).await?;
        match self.count {
            0 => Err("none at all".into()),
            1 => Err(JobError::fatal("only one")),
            2 => panic!("two"),
            _ => Ok(self.secret.len()),
        }
    }
}

/// A type whose deserialization panics.
#[derive(Serialize)]
struct Explosive;

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("I was not to be read")
    }
}

impl Arguments for Explosive {
    const NAME: &'static str = "explosive";
}

impl Job for Explosive {
    type Output = ();

    async fn run(&self, _: &Context) -> Result<(), JobError> {
        Ok(())
    }
}

fn world() -> TestWorker {
    TestWorker { jobs: Worker::new(()).job::<Typed>().job::<Explosive>().jobs().clone(), ..TestWorker::new() }
}

fn good(id: &str) -> Message {
    with_body(id, json!({"name": "probe", "id": id, "args": {"count": 3}}))
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_is_a_dead_letter_and_fails_alone() {
    let deep = format!(r#"{{"name": "probe", "args": {}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let cases = [
        ("not json".to_owned(), "body: "),
        (String::new(), "body: it is empty"),
        ("[1, 2]".into(), "body: it is an array"),
        (r#"{"args": {"count": 3}}"#.into(), "body: it has neither `name` nor `class`"),
        (r#"{"name": "probe", "args": {"count": "three"}}"#.into(), "args.count: invalid type: string"),
        (r#"{"name": "probe", "args": {"count": 300}}"#.into(), "args.count: invalid value: integer `300`, expected u8"),
        (r#"{"name": "probe", "args": {}}"#.into(), "args: missing field `count`"),
        (r#"{"name": "probe", "max_attempts": "5"}"#.into(), "max_attempts: invalid type: string"),
        (json!({"name": "probe", "id": "x".repeat(10_000)}).to_string(), "id: it has 10000 bytes"),
        (deep, "body: it is JSON nested deeper than 127 levels"),
    ];
    let world = world();
    let bad = cases.iter().enumerate().map(|(place, (body, _))| Message { id: place.to_string(), ..with_body("bad", body) });
    let report = world.handle(bad.chain([good("a")])).await;
    assert!(report.failures.is_empty());
    assert_eq!(world.state("a"), State::Succeeded);
    let copies = world.queue.messages(DLQ);
    assert_eq!(copies.len(), cases.len());
    assert_eq!(report.rejected.len(), cases.len());
    for (copy, (body, reason)) in copies.iter().zip(&cases) {
        assert!(copy.attributes["sqjobs.reason"].starts_with(reason), "{body:.40}: {:?}", copy.attributes);
        assert_eq!(copy.attributes["sqjobs.kind"], "rejected");
        assert_eq!(copy.body.trim(), body);
    }
    let touched: Vec<_> =
        world.store.requests().into_iter().flat_map(|request| request.writes).filter(|write| write.next.id != "a").collect();
    assert_eq!(touched, [], "no record is made of it");
}

#[tokio::test(start_paused = true)]
async fn arguments_whose_reading_panics_are_a_dead_letter_and_fail_alone() {
    let world = world();
    let report = world.handle([with_body("bad", json!({"name": "explosive", "id": "bad"})), good("a")]).await;
    assert!(report.failures.is_empty());
    assert_eq!(world.state("a"), State::Succeeded);
    assert!(world.queue.messages(DLQ)[0].attributes["sqjobs.reason"].contains("panicked"));
}

#[tokio::test(start_paused = true)]
async fn a_message_for_a_newer_worker_waits_for_a_day() {
    let wishes = [
        ("parked", json!({"name": "unknown", "id": "a"})),
        ("contract", json!({"name": "probe", "id": "a", "v": 2})),
        ("contract", json!({"name": "probe", "id": "a", "needs": ["teleport"]})),
    ];
    for (kind, wish) in wishes {
        let world = world();
        for receives in [1, 5, 100] {
            let report = world.handle([Message { receives, ..with_body("a", &wish) }]).await;
            assert_eq!(report.failures, returned(&["a"]), "{wish}");
            assert_eq!(report.rejected.len(), 0, "{wish}");
            assert!(world.queue.visibility("a").is_some_and(|wait| (1..=300).contains(&wait)), "{wish}");
        }
        assert!(world.queue.visibility("a").is_some_and(|wait| wait >= 150), "at last some minutes");
        assert_eq!(world.queue.messages(DLQ).len(), 0);
        world.clock.advance(Duration::from_hours(24));
        let report = world.handle([with_body("a", &wish)]).await;
        assert_eq!(report.failures.len(), 0, "{wish}");
        assert_eq!(report.rejected.len(), 1, "{wish}");
        assert_eq!(world.queue.messages(DLQ)[0].attributes["sqjobs.kind"], kind);
        let record = world.record("a");
        assert_eq!(record.state, State::Failed, "jobs that wait for it learn of its end");
        assert_eq!(record.dlq, Some(crate::Dlq::Sent));
        assert_eq!(record.error.expect("a reason").kind, kind);
    }
}

/// Returns messages with the id `a` that are rejected, and the name that their record has.
fn rejected() -> [(Message, &'static str); 4] {
    [
        (with_body("a", json!({"name": "probe", "id": "a", "args": {"count": "three"}})), "probe"),
        (with_body("a", json!({"name": "probe", "id": "a", "max_attempts": "five"})), "probe"),
        (with_body("a", json!({"id": "a"})), ""),
        (with_body("a", json!({"name": "probe", "id": "a", "priority": "urgent", "args": {"count": 3}})), "probe"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_rejected_job_leaves_a_record_that_later_dependents_see() {
    for (message, name) in rejected() {
        let world = world();
        assert_eq!(world.handle([message.clone()]).await.rejected.len(), 1);
        let record = world.record("a");
        assert_eq!(record.state, State::Failed, "{}", message.body);
        assert_eq!(&*record.name, name, "{}", message.body);
        assert_eq!(&*record.queue, QUEUE, "{}", message.body);
        assert_eq!(record.dlq, Some(crate::Dlq::Sent));
        assert_eq!(world.queue.messages(DLQ).len(), 1);
        let waits = json!({"name": "probe", "id": "b", "args": {"count": 3}, "depends_on": ["a"], "when": "failed"});
        world.handle([with_body("b", waits)]).await;
        assert_eq!(world.state("b"), State::Succeeded, "{}", message.body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_be_stored_leaves_a_record_without_its_message() {
    let world = world();
    world.store.on_write(|write| write.next.state == State::Blocked, .., StoreFault::Invalid);
    let waits = json!({"name": "probe", "id": "a", "args": {"count": 3}, "depends_on": ["b"]});
    assert_eq!(world.handle([with_body("a", waits)]).await.rejected.len(), 1);
    assert_eq!(world.record("a").error.expect("a reason").kind, "unstorable");
    assert_eq!(world.queue.messages(DLQ).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_leaves_a_job_with_its_id_as_it_is() {
    for (message, _) in rejected() {
        for state in [State::Running, State::Succeeded, State::Failed, State::Expired] {
            let world = world();
            let job = if state == State::Running { held(&world, "a", seconds(30)) } else { ended(&world, "a", state) };
            world.store.put(job.clone());
            world.handle([message.clone()]).await;
            assert_eq!(world.record("a"), job, "{state:?}: {}", message.body);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_waits_while_its_record_cannot_be_written() {
    for (message, _) in rejected() {
        let world = world();
        world.store.on_write(|_| true, .., StoreFault::Busy);
        assert_eq!(world.handle([message.clone()]).await.failures, returned(&["a"]));
        assert_eq!(world.queue.messages(DLQ).len(), 0);
        world.store.heal();
        world.store.on_write(|_| true, .., StoreFault::Invalid);
        assert!(world.handle([message]).await.failures.is_empty(), "the dead letter says what the record cannot");
        assert_eq!(world.queue.messages(DLQ).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redriven_rejected_job_runs_once_its_function_can_read_it() {
    for (message, _) in rejected() {
        let old = world();
        old.handle([message]).await;
        let letter = crate::Letter::open(Message { id: "letter".into(), ..old.queue.messages(DLQ).remove(0) });
        let record = old.record("a");
        let crate::Redrive::Send(back) = letter.redrive(Some(&record), QUEUE) else { panic!("it is sent") };
        let new = world();
        new.store.put(record);
        // A corrected function can read it. Here the message is corrected instead.
        let body = json!({"name": "probe", "id": "a", "args": {"count": 3}}).to_string();
        new.handle([Message { body, attributes: back.attributes, ..with_body("back", "") }]).await;
        assert_eq!(new.state("a"), State::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_that_belongs_to_another_job_is_no_duplicate_but_a_dead_letter() {
    for delivery in [good("a"), Message { receives: 2, ..good("a") }] {
        let world = world();
        let theirs = Record { name: "theirs".into(), ..ended(&world, "a", State::Succeeded) };
        world.store.put(theirs.clone());
        let report = world.handle([delivery]).await;
        assert!(report.failures.is_empty());
        let copy = world.queue.messages(DLQ).remove(0);
        assert_eq!(copy.attributes["sqjobs.kind"], "id_in_use");
        assert!(copy.attributes["sqjobs.reason"].contains("theirs"));
        assert_eq!(world.record("a"), theirs, "untouched");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_with_an_unknown_priority_is_a_dead_letter_at_once() {
    let world = world();
    let body = json!({"name": "probe", "id": "a", "priority": "urgent", "args": {"count": 3}});
    assert!(world.handle([with_body("a", body)]).await.failures.is_empty());
    let copy = world.queue.messages(DLQ).remove(0);
    assert_eq!(copy.attributes["sqjobs.kind"], "rejected");
    assert_eq!(copy.attributes["sqjobs.reason"], "priority: unknown variant; it must be `high`, `default` or `low`");
}

/// Returns the record of a job that a beater has sent, with these arguments.
fn filed(args: &Value) -> Record {
    let body = json!({"name": "probe", "id": "a", "args": args}).to_string();
    Record { id: "a".into(), name: "probe".into(), queue: QUEUE.into(), envelope: Some(body), max_attempts: 5, ..Record::default() }
}

/// Returns a redelivered message of that job, whose arguments cannot be read.
fn wrong() -> Message {
    Message { receives: 2, ..with_body("a", json!({"name": "probe", "id": "a", "args": {"count": "three"}})) }
}

#[tokio::test(start_paused = true)]
async fn a_filed_job_whose_arguments_cannot_be_read_fails_as_rejected() {
    let world = world();
    world.store.put(filed(&json!({"count": "three"})));
    let report = world.handle([wrong()]).await;
    assert_eq!(report.failures.len(), 0);
    assert_eq!(report.rejected.len(), 1);
    let record = world.record("a");
    assert_eq!(record.state, State::Failed);
    assert_eq!(record.dlq, Some(crate::Dlq::Sent));
    assert_eq!(record.attempts, 0);
    let error = record.error.expect("a reason");
    assert_eq!(error.kind.as_str(), "rejected");
    assert!(error.message.starts_with("args.count: invalid type: string"));
    assert_eq!(world.queue.messages(DLQ)[0].attributes["sqjobs.kind"], "rejected");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_ends_the_record_that_its_id_can_have() {
    let nameless = with_body("a", json!({"name": "probe", "args": {"count": "three"}}));
    let cases = [
        ("a", Message { receives: 1, ..wrong() }, 1),
        ("message-a", Message { receives: 2, ..nameless.clone() }, 1),
        ("message-a", nameless, 0),
    ];
    for (id, delivery, reads) in cases {
        let world = world();
        world.store.put(Record { id: id.into(), ..filed(&json!({"count": "three"})) });
        assert!(world.handle([delivery]).await.failures.is_empty());
        let expected = if reads > 0 { State::Failed } else { State::Queued };
        assert_eq!(world.state(id), expected);
        let read = world.store.requests().iter().filter(|request| !request.reads.is_empty()).count();
        assert_eq!(read, reads, "the id of SQS is new in its first delivery: no record can have it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_job_whose_dead_letter_is_owed_gets_it_at_the_next_delivery() {
    let world = world();
    world.store.put(filed(&json!({"count": "three"})));
    world.queue.refuse_sends(true);
    assert_eq!(world.handle([wrong()]).await.failures, returned(&["a"]));
    assert_eq!(world.record("a").dlq, Some(crate::Dlq::Pending));
    world.queue.refuse_sends(false);
    assert!(world.handle([wrong()]).await.failures.is_empty());
    assert_eq!(world.record("a").dlq, Some(crate::Dlq::Sent));
    assert_eq!(world.queue.messages(DLQ).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_with_the_arguments_of_its_record_where_its_message_is_wrong() {
    let world = world();
    world.store.put(filed(&json!({"count": 3})));
    assert!(world.handle([wrong()]).await.failures.is_empty());
    assert_eq!(world.state("a"), State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_message_with_the_id_of_another_filed_job_is_a_dead_letter() {
    let world = world();
    let theirs = Record { name: "theirs".into(), ..filed(&json!({"count": 3})) };
    world.store.put(theirs.clone());
    assert!(world.handle([wrong()]).await.failures.is_empty());
    assert_eq!(world.queue.messages(DLQ)[0].attributes["sqjobs.kind"], "rejected");
    assert_eq!(world.record("a"), theirs, "untouched");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_run_waits_while_the_store_is_busy() {
    let world = world();
    let job = filed(&json!({"count": "three"}));
    world.store.put(job.clone());
    world.store.on_read(.., StoreFault::Busy);
    assert_eq!(world.handle([wrong()]).await.failures, returned(&["a"]), "its record cannot be read");
    world.store.heal();
    world.store.on_write(|_| true, .., StoreFault::Busy);
    assert_eq!(world.handle([wrong()]).await.failures, returned(&["a"]), "its record cannot be written");
    assert_eq!(world.record("a"), job);
    assert_eq!(world.queue.messages(DLQ).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_run_does_not_wait_for_a_broken_record() {
    let world = world();
    let job = filed(&json!({"count": "three"}));
    world.store.put(job.clone());
    world.store.on_read(.., StoreFault::Invalid);
    assert!(world.handle([wrong()]).await.failures.is_empty());
    assert_eq!(world.record("a"), job);
    assert_eq!(world.queue.messages(DLQ).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_run_leaves_a_job_that_starts_meanwhile() {
    let world = world();
    let (store, running) = (world.store.clone(), held(&world, "a", seconds(30)));
    world.store.put(filed(&json!({"count": "three"})));
    world.store.on_write(|_| true, 0..1, StoreFault::Meanwhile(Arc::new(move |_| store.put(running.clone()))));
    assert_eq!(world.handle([wrong()]).await.failures, returned(&["a"]));
    assert_eq!(world.state("a"), State::Running);
    assert_eq!(world.queue.messages(DLQ).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_that_died_needs_no_dead_letter_of_a_wrong_message() {
    let world = world();
    world.store.put(Record { cancel_requested: true, ..held(&world, "a", seconds(0)) });
    world.clock.advance(seconds(6));
    assert!(world.handle([wrong()]).await.failures.is_empty());
    assert_eq!(world.state("a"), State::Cancelled);
    assert_eq!(world.queue.messages(DLQ).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_parked_message_leaves_its_live_record_for_a_day_and_then_ends_it() {
    let world = world();
    let job = Record { name: "unknown".into(), ..filed(&json!({})) };
    world.store.put(job.clone());
    let delivery = || Message { receives: 2, ..with_body("a", json!({"name": "unknown", "id": "a"})) };
    assert_eq!(world.handle([delivery()]).await.failures, returned(&["a"]));
    assert_eq!(world.record("a"), job, "another worker may know the job");
    world.clock.advance(Duration::from_hours(24));
    assert!(world.handle([delivery()]).await.failures.is_empty());
    let record = world.record("a");
    assert_eq!(record.state, State::Failed);
    assert_eq!(record.dlq, Some(crate::Dlq::Sent));
    assert_eq!(record.error.expect("a reason").kind, "parked");
    assert_eq!(world.queue.messages(DLQ)[0].attributes["sqjobs.kind"], "parked");
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_cancelled_job_that_cannot_be_run_ends_at_once() {
    let unknown = with_body("a", json!({"name": "unknown", "id": "a"}));
    let newer = with_body("a", json!({"name": "probe", "id": "a", "v": 2}));
    for delivery in [unknown.clone(), Message { receives: 7, ..unknown }, newer, wrong()] {
        let world = world();
        world.store.put(Record { id: "a".into(), state: State::Cancelled, ..Record::default() });
        assert!(world.handle([delivery]).await.failures.is_empty());
        assert_eq!(world.state("a"), State::Cancelled);
        assert_eq!(world.queue.messages(DLQ).len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_without_an_id_uses_the_id_of_sqs() {
    let world = world();
    world.handle([with_body("a", json!({"name": "probe", "args": {"count": 3}}))]).await;
    assert_eq!(world.state("message-a"), State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn arguments_never_appear_in_logs() {
    const SECRET: &str = "correct horse battery staple";
    let log = Log::capture();
    let world = world();
    let bodies = [
        json!({"name": "probe", "id": "a", "args": {"count": 3, "secret": SECRET}, "meta": {"secret": SECRET}}),
        json!({"name": "probe", "id": "b", "args": {"count": 0, "secret": SECRET}}),
        json!({"name": "probe", "id": "c", "args": {"count": 1, "secret": SECRET}}),
        json!({"name": "probe", "id": "d", "args": {"count": 2, "secret": SECRET}}),
        json!({"name": "probe", "id": "e", "args": {"count": SECRET}}),
        json!({"name": "probe", "id": "f", "args": [SECRET]}),
        json!({"name": "unknown", "id": "g", "args": [SECRET]}),
        json!({"id": "h", "args": [SECRET]}),
        format!(r#"{{"name": "probe", "args": "{SECRET}"#).into(),
        json!({"name": "probe", "id": "j", "args": {"count": 3, "secret": SECRET}}),
    ];
    world.store.on_write(|write| write.next.id == "j", .., StoreFault::Unknown);
    world.queue.refuse_sends(true);
    let text = |body: &Value| body.as_str().map_or_else(|| body.to_string(), str::to_owned);
    let batch = bodies.iter().enumerate().map(|(place, body)| Message { id: place.to_string(), ..with_body("a", text(body)) });
    world.handle(batch).await;
    let log = log.text();
    for expected in ["job ended", "message not run", "cannot claim", "dead-letter queue", "none at all", "args.count"] {
        assert!(log.contains(expected), "the log says {expected:?}");
    }
    assert!(!log.contains(SECRET) && !log.contains("battery"), "{log}");
}

/// A job that writes its own line to the log.
#[derive(Serialize, Deserialize)]
struct Talkative;

impl Arguments for Talkative {
    const NAME: &'static str = "talkative";
}

impl Job for Talkative {
    type Output = ();

    async fn run(&self, _: &Context) -> Result<(), JobError> {
        tracing::info!("a line of the job");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_a_job_logs_names_the_job_and_has_no_key_twice() {
    let log = Log::capture();
    let world = TestWorker { jobs: Worker::new(()).job::<Talkative>().jobs().clone(), ..TestWorker::new() };
    world.handle([with_body("a", json!({"name": "talkative", "id": "a"}))]).await;
    let log = log.text();
    let line = log.lines().find(|line| line.contains("a line of the job")).expect("it is logged");
    let span = &serde_json::from_str::<Value>(line).expect("JSON")["span"];
    assert_eq!(span["name"], json!("attempt"));
    assert_eq!(span["job"], json!("talkative"));
    assert_eq!(span["id"], json!("a"));
    let (_, written) = line.split_once(r#""span":{"#).expect("a span");
    assert_eq!(written.split('}').next().expect("its fields").matches(r#""name":"#).count(), 1, "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_parked_message_is_logged_with_the_names_of_the_jobs() {
    let log = Log::capture();
    world().handle([with_body("a", json!({"name": "unknown", "id": "a"}))]).await;
    let reason = &log.events("message not run")[0]["reason"];
    assert_eq!(reason, "there is no job named \"unknown\" here; this worker has explosive, probe");
}

#[tokio::test(start_paused = true)]
async fn stored_arguments_that_do_not_fit_fail_the_job() {
    let world = world();
    let stored = json!({"name": "probe", "id": "a", "args": {"count": "three"}}).to_string();
    let waiting = Record { state: State::Retrying, lease_until: None, envelope: Some(stored), ..held(&world, "a", seconds(0)) };
    world.store.put(waiting);
    assert!(world.handle([Message { receives: 2, ..good("a") }]).await.failures.is_empty());
    assert_eq!(world.state("a"), State::Failed);
    assert_eq!(world.record("a").error.expect("an error").kind, "rejected");
}
