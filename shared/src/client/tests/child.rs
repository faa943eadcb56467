//! What a job enqueues.

use super::*;

#[tokio::test]
async fn what_a_job_enqueues_is_its_child_and_of_its_tree() {
    let (eager, worker) = family();
    enqueue(&eager.client(), parent(">>").id("first").with(|envelope| envelope.traceparent = Some("00-1-2-01".into()))).await;
    eager.run(&worker).await;
    let records = eager.records();
    let child_of = |parent: &str| records.iter().find(|record| record.parent_id.as_deref() == Some(parent)).expect("a child");
    let child = child_of("first");
    let grandchild = child_of(&child.id);
    assert_eq!(records.len(), 3);
    assert_eq!(child.root_id.as_deref(), Some("first"));
    assert_eq!(grandchild.root_id.as_deref(), Some("first"));

    enqueue(&eager.client(), parent("hook").id("hooked")).await;
    eager.run(&worker).await;
    assert_eq!(eager.record("by the hook").expect("a record").parent_id.as_deref(), Some("hooked"));
}

#[tokio::test]
async fn a_child_goes_on_with_its_parents_trace_and_a_root_of_its_own_does_not() {
    let (eager, worker) = family();
    enqueue(&eager.client(), parent(">>").id("first").with(|envelope| envelope.traceparent = Some("00-1-2-01".into()))).await;
    eager.run_due(&worker).await;
    enqueue(&eager.client(), parent("").detached().id("apart")).await;
    let apart = &eager.enqueued("family")[0];
    assert_eq!(apart.parent_id.as_ref(), None);
    assert_eq!(apart.depth, 0);
    assert_eq!(apart.traceparent.as_ref(), None);
}

#[tokio::test]
async fn a_detached_job_has_no_parent() {
    let (eager, worker) = family();
    enqueue(&eager.client(), parent("detach").id("first")).await;
    eager.run(&worker).await;
    let detached = eager.record("detached").expect("a record");
    assert_eq!(detached.parent_id, None);
    assert_eq!(detached.root_id, None);
}

#[tokio::test]
async fn a_chain_of_jobs_that_goes_on_for_ever_ends_after_a_hundred() {
    let (eager, worker) = family();
    enqueue(&eager.client(), parent("for ever")).await;
    eager.run(&worker).await;
    let records = eager.records();
    assert_eq!(records.len(), 101);
    let failed: Vec<_> = records.iter().filter(|record| record.state == State::Failed).collect();
    let reason = &failed[0].error.as_ref().expect("an error").message;
    assert!(failed.len() == 1 && reason.contains("depth: it is 101") && reason.contains("Enqueue::detached"), "{reason}");
}
