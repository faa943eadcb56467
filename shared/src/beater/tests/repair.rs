//! Jobs whose messages are gone, and messages that SQS itself has moved to the dead-letter queue.

use super::*;
use crate::{
    Dlq, Enqueue, Otherwise,
    names::shard,
    queue::{Message, Outgoing, Queue, Source},
    store::{Store, Write},
};

const START: &str = "2026-05-04T10:00:00Z";

fn body(id: &str) -> String {
    json!({"name": "note", "id": id, "args": "as sent"}).to_string()
}

/// Returns a job in the given state that has lost its message and stores a copy of it.
fn stranded(id: &str, state: State) -> Record {
    Record {
        id: id.into(),
        name: "note".into(),
        queue: "note".into(),
        state,
        attempts: 1,
        max_attempts: 3,
        generation: 1,
        runs: 1,
        owner: Some("gone".into()),
        envelope: Some(body(id)),
        ..Record::default()
    }
}

fn minutes_ago(minutes: i64) -> Timestamp {
    instant(START) - jiff::SignedDuration::from_mins(minutes)
}

impl TestBeater {
    async fn plant(&self, records: impl IntoIterator<Item = Record>) {
        let writes: Vec<_> = records.into_iter().map(Write::insert).collect();
        assert!(self.local.store.write(&writes).await.iter().all(Result::is_ok));
    }

    /// Moves a message to the dead-letter queue as SQS does.
    async fn move_to_dlq(&self, body: &str, attributes: &[(&str, &str)]) {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let sent = self.local.queue.send(DLQ, &[Outgoing { attributes, ..Outgoing::new(body) }]).await;
        assert!(sent[0].is_ok());
        self.local.queue.moved_from("note");
    }

    fn letters(&self) -> Vec<Message> {
        self.local.queue.messages(DLQ)
    }
}

#[tokio::test]
async fn a_job_whose_message_is_gone_is_sent_once_more() {
    let world = TestBeater::at(START);
    let lapsed = Record { lease_until: Some(minutes_ago(20).as_millisecond()), ..stranded("killed", State::Running) };
    let late = Record { run_at: Some(minutes_ago(20)), ..stranded("retrying", State::Retrying) };
    let lost = Record { run_at: Some(minutes_ago(20)), envelope: None, ..stranded("lost", State::Scheduled) };
    let lost = Record { due: Some(shard("lost")), ..lost };
    let overdue = Record { run_at: Some(minutes_ago(25 * 60)), envelope: None, ..stranded("overdue", State::Retrying) };
    world.plant([lapsed, late, lost, overdue]).await;
    let report = world.tick_now().await;
    assert_eq!(report.repaired, 3);
    assert_eq!(report.overdue, 1);
    assert_eq!(report.wrong, 0);
    assert_eq!(report.failed, 0);
    world.pass(60);
    let report = world.tick_now().await;
    assert_eq!(report.sent, 2);
    assert_eq!(report.repaired, 0);
    assert_eq!(report.overdue, 1);
    world.work().await;
    assert_eq!(world.ran(), ["retrying as sent", "killed as sent"], "what may kill its process again comes last");
    let records = world.records();
    assert_eq!(records["lost"].state, State::Failed);
    assert_eq!(records["overdue"].state, State::Retrying);
    assert_eq!(records["killed"].attempts, 2);
    assert_eq!(records["killed"].history.len(), 1);
}

#[tokio::test]
async fn a_job_that_expires_in_the_index_is_ended_there() {
    let world = TestBeater::at(START);
    let envelope = json!({"name": "note", "args": "never", "expires_at": "2026-05-05T00:00:00Z"}).to_string();
    let expiring = Record { envelope: Some(envelope), run_at: Some(minutes_ago(-9000)), ..stranded("expiring", State::Scheduled) };
    world.plant([Record { due: Some(shard("expiring")), ..expiring }]).await;
    assert_eq!(world.tick_now().await.repaired, 0);
    world.pass(86_400);
    assert_eq!(world.tick_now().await.repaired, 1);
    assert_eq!(world.records()["expiring"].state, State::Expired);
}

#[tokio::test]
async fn a_message_that_sqs_has_moved_gets_its_reason_and_can_be_redriven() {
    let world = TestBeater::at(START);
    world.move_to_dlq(&body("given-up"), &[]).await;
    world.move_to_dlq("garbage", &[]).await;
    let report = world.tick_now().await;
    assert_eq!(report.explained, 2);
    assert_eq!(report.failed, 0);
    let record = &world.records()["given-up"];
    assert_eq!(record.state, State::Failed);
    assert_eq!(record.dlq, Some(Dlq::Sent));
    assert_eq!(record.queue.as_str(), "note");
    assert_eq!(record.enqueued_at, Some(world.now()));
    let kinds: Vec<_> = world.letters().iter().map(|letter| letter.attributes["sqjobs.kind"].clone()).collect();
    assert_eq!(kinds, ["redriven", "rejected"]);
    assert_eq!(world.tick_now().await.explained, 0, "once");
    let letter = world.letters().remove(0);
    world.local.queue.send("note", &[Outgoing { attributes: letter.attributes, ..Outgoing::new(letter.body) }]).await;
    world.work().await;
    assert_eq!(world.ran(), ["given-up as sent"]);
}

#[tokio::test]
async fn a_message_sent_to_the_dead_letter_queue_itself_ends_no_record() {
    let world = TestBeater::at(START);
    let waiting = stranded("direct", State::Queued);
    world.plant([waiting]).await;
    world.local.queue.send(DLQ, &[Outgoing::new(body("direct"))]).await.remove(0).expect("sent");
    assert_eq!(world.tick_now().await.explained, 1);
    let letters = world.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].attributes["sqjobs.kind"].as_str(), "misdirected");
    assert_eq!(world.records()["direct"].state, State::Queued, "its own message may still come");
    assert_eq!(world.tick_now().await.explained, 0, "once");
}

#[tokio::test]
async fn a_dead_letter_with_its_reason_stays_visible() {
    let world = TestBeater::at(START);
    for number in 0..25 {
        let id = format!("letter-{number}");
        let letter = Outgoing { attributes: [("sqjobs.kind".into(), "error".into())].into(), ..Outgoing::new(body(&id)) };
        world.local.queue.send(DLQ, &[letter]).await;
    }
    assert_eq!(world.tick_now().await.explained, 0);
    assert_eq!(world.letters().len(), 25);
    assert!(world.letters().iter().all(|letter| letter.receives <= 1), "no more than ten are looked at");
    let seen = world.local.queue.receive(DLQ, 25, Duration::from_secs(1)).await.expect("queues in memory");
    assert_eq!(seen.len(), 25, "at once");
}

#[tokio::test]
async fn a_moved_message_of_an_ended_job_is_deleted() {
    let world = TestBeater::at(START);
    let client = world.local.client();
    client.enqueue_one(crate::Enqueue::named("note", json!("done")).id("done")).await.expect("enqueued");
    world.work().await;
    world.move_to_dlq(&body("done"), &[]).await;
    assert_eq!(world.tick_now().await.explained, 1);
    assert!(world.letters().is_empty());
    assert_eq!(world.ran(), ["done done"]);
}

#[tokio::test]
async fn a_redriven_message_that_sqs_moves_again_gets_a_new_reason() {
    let world = TestBeater::at(START);
    world.plant([stranded("twice", State::Queued)]).await;
    world.move_to_dlq(&body("twice"), &[("sqjobs.kind", "error"), ("sqjobs.dead", "0"), ("sqjobs.id", "twice")]).await;
    assert_eq!(world.tick_now().await.explained, 1);
    let letters = world.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].attributes["sqjobs.kind"].as_str(), "redriven");
    assert_eq!(letters[0].attributes["sqjobs.dead"], "1");
}

#[tokio::test]
async fn a_missing_dead_letter_is_made_from_the_message_that_is_sent_again() {
    let world = TestBeater::at(START);
    let error = Some(crate::Failure { kind: "fatal".into(), message: "never".into(), ..crate::Failure::default() });
    let failed = Record { dlq: Some(Dlq::Pending), error, finished_at: Some(minutes_ago(25 * 60)), ..stranded("failed", State::Failed) };
    world.plant([failed]).await;
    assert_eq!(world.tick_now().await.repaired, 1);
    assert_eq!(world.local.queue.messages("note").len(), 1);
    world.work().await;
    assert_eq!(world.letters().len(), 1);
    assert_eq!(world.records()["failed"].dlq, Some(Dlq::Sent));
}

/// Returns a world in which the job `b` still waits for the ended job `a`, because its release was lost.
async fn unreleased(state: State, otherwise: Otherwise) -> TestBeater {
    let world = TestBeater::at(START);
    let job = Enqueue::named("note", json!("waits")).id("b").after(["a"]).otherwise(otherwise);
    world.local.client().enqueue_one(job).await.expect("enqueued");
    world.work().await;
    let records = world.records();
    assert_eq!(records["b"].state, State::Blocked);
    let ended = Record { finished_at: Some(world.now()), ..stranded("a", state) };
    assert!(world.local.store.write(&[Write::replace(records["a"].clone(), ended)]).await[0].is_ok());
    world.pass(3600);
    world
}

#[tokio::test]
async fn a_blocked_job_whose_release_was_lost_is_released() {
    let world = unreleased(State::Succeeded, Otherwise::Hold).await;
    let report = world.tick_now().await;
    assert_eq!(report.repaired, 1);
    assert_eq!(report.failed, 0);
    world.work().await;
    world.tick_now().await;
    world.work().await;
    assert_eq!(world.ran(), ["b waits"]);
}

#[tokio::test]
async fn a_blocked_job_whose_cancel_was_lost_is_cancelled() {
    let world = unreleased(State::Failed, Otherwise::Cancel).await;
    let report = world.tick_now().await;
    assert_eq!(report.repaired, 0);
    assert_eq!(report.failed, 0);
    assert_eq!(world.records()["b"].state, State::Cancelled);
}

#[tokio::test]
async fn a_blocked_job_ends_when_its_wait_is_over_and_so_do_its_dependents() {
    let world = TestBeater::at(START);
    let wait = |id: &str, after: &str| Enqueue::named("note", json!("waits")).id(id).after([after]);
    let expires_at = instant("2026-05-04T10:30:00Z");
    let (late, expiring) = (wait("late", "x").max_blocked(Duration::from_mins(20)), wait("expiring", "x").expires_at(expires_at));
    for job in [late, expiring, wait("next", "late").otherwise(Otherwise::Cancel)] {
        world.local.client().enqueue_one(job).await.expect("enqueued");
    }
    world.work().await;
    let listed = world.local.client().list(crate::By::Blocked, 10).await.expect("a list");
    assert_eq!(listed.iter().map(|job| &*job.id).collect::<Vec<_>>(), ["late", "expiring", "next"]);
    assert!(world.local.client().list(crate::By::Due, 10).await.expect("a list").is_empty());
    let hand_over = async || {
        let horizon = world.now() + jiff::SignedDuration::from_mins(2);
        super::super::hand_over::hand_over(&world.local.due(), horizon, Instant::now() + Duration::from_mins(1)).await.expect("memory").done
    };
    world.pass(19 * 60);
    assert_eq!(hand_over().await, 0, "its wait is not over");
    world.pass(60);
    assert_eq!(hand_over().await, 1);
    let records = world.records();
    assert_eq!(["late", "expiring"].map(|id| records[id].state), [State::Failed, State::Blocked]);
    assert_eq!(records["late"].error.as_ref().map(|error| &*error.kind), Some("blocked_too_long"));
    assert_eq!(hand_over().await, 1, "its dependent learns of its end");
    world.pass(10 * 60);
    assert_eq!(hand_over().await, 1);
    let records = world.records();
    assert_eq!(["next", "expiring"].map(|id| records[id].state), [State::Cancelled, State::Expired]);
}

#[tokio::test]
async fn a_redriven_message_that_sqs_moves_unread_is_kept() {
    let world = TestBeater::at(START);
    world.plant([Record { dlq: Some(Dlq::Sent), finished_at: Some(world.now()), ..stranded("failed", State::Failed) }]).await;
    world.move_to_dlq(&body("failed"), &[("sqjobs.dead", "1"), ("sqjobs.id", "failed")]).await;
    assert_eq!(world.tick_now().await.explained, 0);
    assert_eq!(world.letters().len(), 1);
}
