//! The dead-letter queue.

use super::*;
use crate::{Dlq, queue::MAX_BYTES};

async fn fatal(_: Arc<Attempt>) -> Result<Value, JobError> {
    Err(JobError::fatal("no such user\nat all"))
}

fn is_mark(write: &Write) -> bool {
    write.next.dlq == Some(Dlq::Sent)
}

#[tokio::test(start_paused = true)]
async fn a_failed_job_is_recorded_then_copied_then_marked_then_deleted() {
    let world = TestWorker::with(Policy::new(), fatal);
    let report = world.deliver("a").await;
    assert!(report.failures.is_empty());
    let writes: Vec<_> = world.store.writes().into_iter().flatten().map(|write| (write.next.state, write.next.dlq)).collect();
    assert_eq!(writes, [(State::Running, None), (State::Failed, Some(Dlq::Pending)), (State::Failed, Some(Dlq::Sent))]);
    let requests = world.store.requests();
    let sent = world.queue.timed().remove(0);
    assert_eq!(sent.1, Call::Send(DLQ.into(), 1));
    assert!(requests[1].at <= sent.0 && sent.0 <= requests[2].at);
    let copy = world.queue.messages(DLQ).remove(0);
    assert_eq!(copy.body, message("a").body);
    let attributes = ["sqjobs.id", "sqjobs.kind", "sqjobs.reason", "sqjobs.dead"].map(|name| copy.attributes[name].as_str());
    assert_eq!(attributes, ["a", "fatal", "no such user at all", "1"]);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_follows_the_last_failed_one() {
    let world = TestWorker::with(Policy::new().max_attempts(2), async |_| Err("no".into()));
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    world.clock.advance(seconds(10));
    assert!(world.handle([again("a")]).await.failures.is_empty());
    let record = world.record("a");
    assert_eq!(record.state, State::Failed);
    assert_eq!(record.attempts, 2);
    assert_eq!(record.dlq, Some(Dlq::Sent));
    assert_eq!(record.history.len(), 2);
    assert_eq!(world.queue.messages(DLQ)[0].attributes["sqjobs.dead"], "2");
}

#[tokio::test(start_paused = true)]
async fn the_next_delivery_makes_an_owed_copy_without_running_the_job() {
    let runs = Journal::default();
    let journal = runs.clone();
    let world = TestWorker::with(Policy::new(), move |attempt| {
        journal.note(attempt.id());
        fatal(attempt)
    });
    world.queue.refuse_sends(true);
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(world.record("a").dlq, Some(Dlq::Pending));
    assert!(world.queue.visibility("a").is_some_and(|wait| wait > 0));
    world.queue.refuse_sends(false);
    assert!(world.handle([again("a")]).await.failures.is_empty());
    assert_eq!(world.record("a").dlq, Some(Dlq::Sent));
    assert_eq!(world.queue.messages(DLQ).len(), 1);
    assert_eq!(runs.all(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_mark_whose_answer_was_lost_is_made_once() {
    let world = TestWorker::with(Policy::new(), fatal);
    world.store.on_write(is_mark, 0..1, StoreFault::LoseAnswer);
    assert!(world.deliver("a").await.failures.is_empty());
    assert_eq!(world.record("a").dlq, Some(Dlq::Sent));
    assert_eq!(world.queue.messages(DLQ).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_cannot_be_made_returns_the_message() {
    let world = TestWorker::with(Policy::new(), fatal);
    world.store.on_write(is_mark, .., StoreFault::Busy);
    assert_eq!(world.deliver("a").await.failures, returned(&["a"]));
    assert_eq!(world.record("a").dlq, Some(Dlq::Pending));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_leaves_little_room_gets_a_shorter_reason_and_then_none() {
    let world = TestWorker::with(Policy::new(), async |_| Err(JobError::fatal("why ".repeat(250))));
    let sized = |id: &str, bytes: usize| {
        let bare = json!({"name": "probe", "id": id, "args": ""}).to_string().len();
        with_body(id, json!({"name": "probe", "id": id, "args": "x".repeat(bytes - bare)}))
    };
    for (id, room, reason) in [("a", 2000, 1000), ("b", 500, 300), ("c", 100, 0), ("d", 20, 0), ("e", 0, 0)] {
        assert!(world.handle([sized(id, MAX_BYTES - room)]).await.failures.is_empty(), "{id} is dead");
        let copy = world.queue.messages(DLQ).pop().expect("a copy");
        let length = copy.attributes.get("sqjobs.reason").map_or(0, String::len);
        assert!(length >= reason && length <= reason + 200, "{id}: a reason of {length}");
        assert_eq!(copy.body.len(), MAX_BYTES - room);
        assert_eq!(world.record(id).dlq, Some(Dlq::Sent));
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_holds_no_character_that_the_queue_refuses() {
    let world = TestWorker::with(Policy::new(), async |_| Err(JobError::fatal("a\u{0}b\u{ffff}c").kind("d\u{1}\u{fffe}")));
    world.deliver("a").await;
    let copy = world.queue.messages(DLQ).remove(0);
    let odd = |char: char| char.is_control() || char == '\u{fffe}' || char == '\u{ffff}';
    assert!(copy.attributes.values().all(|value| !value.is_empty() && !value.contains(odd)), "{:?}", copy.attributes);
    assert_eq!(copy.attributes["sqjobs.reason"], "a b c");
}

#[tokio::test(start_paused = true)]
async fn a_copy_keeps_the_attributes_of_its_message() {
    let world = TestWorker::with(Policy::new(), fatal);
    let mut delivery = message("a");
    delivery.attributes = (0..10).map(|number| (format!("own{number}"), "value".into())).collect();
    assert!(world.handle([delivery]).await.failures.is_empty());
    let attributes = world.queue.messages(DLQ).remove(0).attributes;
    assert_eq!(attributes.len(), 10, "as many as a message may have");
    assert!(attributes.contains_key("own0") && attributes.contains_key("sqjobs.dead"));
}

#[tokio::test(start_paused = true)]
async fn a_redriven_job_has_all_attempts_again_and_another_copy_is_a_duplicate() {
    let world = TestWorker::with(Policy::new().max_attempts(1), async |_| Err("no".into()));
    world.deliver("a").await;
    let copy = world.queue.messages(DLQ).remove(0);
    // A redriven message has a new id, and is received from the original queue.
    let redriven = Message { id: "message-new".into(), receipt: receipt_of("new"), queue: QUEUE.into(), receives: 1, ..copy };
    assert!(world.handle([again("a")]).await.failures.is_empty());
    assert_eq!(world.record("a").generation, 1, "the message itself is a duplicate");
    world.handle([redriven.clone()]).await;
    let record = world.record("a");
    assert_eq!(record.state, State::Failed);
    assert_eq!(record.attempts, 1);
    assert_eq!(record.generation, 2);
    assert_eq!(record.dlq, Some(Dlq::Sent));
    assert_eq!(world.queue.messages(DLQ)[1].attributes["sqjobs.dead"], "2");
    assert!(world.handle([redriven]).await.failures.is_empty());
    assert_eq!(world.record("a").generation, 2, "the same copy counts once");
}

#[tokio::test(start_paused = true)]
async fn a_job_killed_at_its_last_attempt_becomes_a_dead_letter_without_a_run() {
    let world = TestWorker::with(Policy::new(), fatal);
    let seen = held(&world, "a", seconds(0));
    world.store.put(Record { attempts: 5, ..seen });
    world.clock.advance(seconds(6));
    assert!(world.handle([again("a")]).await.failures.is_empty());
    assert_eq!(world.state("a"), State::Failed);
    assert_eq!(world.record("a").attempts, 5);
    assert_eq!(world.queue.messages(DLQ)[0].attributes["sqjobs.kind"], "killed");
}
