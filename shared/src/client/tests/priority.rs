//! Jobs with a priority, and the queues that they wait in.

use super::*;
use crate::{Entry, Priority, Schedule, Workflow};

/// Returns the ids and the priorities of the messages in a queue.
fn sent(eager: &Eager, queue: &str) -> Vec<(String, Priority)> {
    eager.enqueued(queue).into_iter().map(|envelope| (envelope.id.unwrap_or_default(), envelope.priority)).collect()
}

fn queue(eager: &Eager, id: &str) -> String {
    eager.record(id).expect("a record").queue
}

#[tokio::test]
async fn a_priority_selects_the_queue_of_a_job() {
    let (eager, worker) = family();
    let client = eager.client();
    for (id, priority) in [("a", Priority::High), ("b", Priority::Default), ("c", Priority::Low)] {
        enqueue(&client, parent("").id(id).priority(priority)).await;
    }
    enqueue(&client, parent("").id("d").queue("other.fifo").priority(Priority::Low)).await;
    assert_eq!(sent(&eager, "family-high"), [("a".to_owned(), Priority::High)]);
    assert_eq!(sent(&eager, "family"), [("b".to_owned(), Priority::Default)]);
    assert_eq!(sent(&eager, "family-low"), [("c".to_owned(), Priority::Low)]);
    assert_eq!(sent(&eager, "other-low.fifo"), [("d".to_owned(), Priority::Low)]);
    assert_eq!(eager.enqueued("family-high")[0].needs, ["priority"], "an older worker parks it");
    eager.run(&worker).await;
    assert_eq!(["a", "b", "c", "d"].map(|id| queue(&eager, id)), ["family-high", "family", "family-low", "other-low.fifo"]);
}

#[tokio::test]
async fn a_message_with_a_priority_runs_from_any_queue() {
    let (eager, worker) = family();
    // A producer that knows only SQS.
    let body = json!({"name": "parent", "id": "a", "args": "", "priority": "high"}).to_string();
    let sent_raw = eager.client().queue.send("family", &[crate::queue::Outgoing::new(body)]).await;
    assert!(sent_raw[0].is_ok());
    assert_eq!(sent(&eager, "family"), [("a".to_owned(), Priority::High)]);
    eager.run(&worker).await;
    let record = eager.record("a").expect("a record");
    assert_eq!((record.state, record.queue.as_str()), (State::Succeeded, "family"));
}

#[tokio::test]
async fn a_second_message_with_another_priority_is_a_duplicate() {
    let (eager, worker) = family();
    let client = eager.client();
    enqueue(&client, parent("").id("a").priority(Priority::High)).await;
    enqueue(&client, parent("").id("a")).await;
    enqueue(&client, parent("").id("a").priority(Priority::Low)).await;
    eager.run(&worker).await;
    let record = eager.record("a").expect("a record");
    assert_eq!((record.state, record.generation), (State::Succeeded, 1));
    assert_eq!(eager.dead_letters().len(), 0);
}

#[tokio::test]
async fn delayed_and_retried_jobs_go_to_the_queue_of_their_priority() {
    let (eager, worker) = family();
    let client = eager.client();
    let job = || parent("").id("a").priority(Priority::High);
    enqueue(&client, job().delay(Duration::from_hours(1))).await;
    eager.run_due(&worker).await;
    assert_eq!(eager.record("a").expect("a record").state, State::Scheduled);
    assert_eq!(sent(&eager, "family-high"), []);
    eager.run(&worker).await;
    assert_eq!(queue(&eager, "a"), "family-high");
    assert!(client.retry(job()).await.expect("an answer"));
    assert_eq!(sent(&eager, "family-high"), [("a".to_owned(), Priority::High)]);
    eager.run(&worker).await;
    assert!(client.retry(parent("").id("a")).await.expect("an answer"), "a retry may change it");
    assert_eq!(sent(&eager, "family"), [("a".to_owned(), Priority::Default)]);
    eager.run(&worker).await;
    assert_eq!(eager.record("a").expect("a record").generation, 3);
}

#[tokio::test]
async fn the_jobs_of_a_workflow_go_to_the_queues_of_their_priorities() {
    let (eager, worker) = family();
    let closing = parent("").id("w").priority(Priority::Low);
    let jobs = [Priority::High, Priority::Default].map(|priority| parent("").id(priority.as_str()).priority(priority));
    enqueue(&eager.client(), Workflow::new(closing).chain(jobs).build().expect("a workflow")).await;
    eager.run(&worker).await;
    let queues = ["w/high", "w/default", "w"].map(|id| queue(&eager, id));
    assert_eq!(queues, ["family-high", "family", "family-low"]);
    assert_eq!(eager.record("w").expect("a record").state, State::Succeeded);
}

#[tokio::test]
async fn a_waiting_job_is_moved_to_another_priority() {
    let (eager, worker) = family();
    let client = eager.client();
    enqueue(&client, parent("").id("delayed").delay(Duration::from_hours(1))).await;
    enqueue(&client, parent("").id("blocked").after(["other"]).priority(Priority::Low)).await;
    enqueue(&client, parent("").id("queued")).await;
    assert!(!client.set_priority("queued", Priority::High).await.expect("an answer"), "its message cannot be moved");
    eager.run_due(&worker).await;
    assert_eq!(queue(&eager, "blocked"), "family-low");
    for id in ["delayed", "blocked"] {
        assert!(client.set_priority(id, Priority::High).await.expect("an answer"));
        let record = eager.record(id).expect("a record");
        assert_eq!(record.queue.as_str(), "family-high");
        let body = crate::Envelope::parse(record.envelope.as_deref().expect("a message")).expect("it is read");
        assert_eq!(body.priority, Priority::High);
    }
    let run_at = eager.record("delayed").expect("a record").run_at;
    assert_eq!(run_at, Some(after(eager.now(), Duration::from_hours(1))), "its time stays");
    client.complete("other", ()).await.expect("an answer");
    assert_eq!(sent(&eager, "family-high"), [("blocked".to_owned(), Priority::High)]);
    eager.run(&worker).await;
    for id in ["delayed", "blocked"] {
        let record = eager.record(id).expect("a record");
        assert_eq!((record.state, record.queue.as_str()), (State::Succeeded, "family-high"), "{id}");
        assert!(!client.set_priority(id, Priority::Low).await.expect("an answer"), "it has ended");
    }
    assert!(!client.set_priority("unknown", Priority::Low).await.expect("an answer"));
}

#[test]
fn the_jobs_of_a_schedule_go_to_the_queue_of_their_priority() {
    let entry = |priority| Entry::named("a", Schedule::cron("* * * * *"), "note", json!(null)).priority(priority);
    assert_eq!(entry(Priority::High).queue_name(), "note-high");
    assert_eq!(entry(Priority::Low).queue("q.fifo").queue_name(), "q-low.fifo");
    assert_eq!(entry(Priority::Default).queue("q-high").queue_name(), "q-high");
    let row = serde_json::to_value(entry(Priority::High)).expect("JSON");
    assert_eq!(row["priority"], "high");
    assert_eq!(serde_json::to_value(entry(Priority::Default)).expect("JSON").get("priority"), None);
}
