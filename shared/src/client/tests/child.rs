//! What a job enqueues.

use super::*;
use crate::{
    Clock, Envelope,
    attempt::{Attempt, Origin},
    lifecycle::expand,
    traces::Span,
};
use std::sync::Arc;
use tokio::time::Instant;

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

/// Returns both fields of a job's trace.
fn trace(envelope: &Envelope) -> [Option<&str>; 2] {
    [envelope.traceparent.as_deref(), envelope.tracestate.as_deref()]
}

#[tokio::test]
async fn a_child_has_the_trace_of_its_parent() {
    let (traceparent, tracestate) = (Some("00-1-2-01".to_owned()), Some("vendor=1".to_owned()));
    let origin = Origin { traceparent, tracestate, ..Origin::default() };
    let attempt = Attempt::new(Arc::default(), None, Arc::default(), origin, Span::default(), Clock::system(), Instant::now());
    let child = || Enqueue::named("child", Value::Null);
    assert_eq!(trace(child().caused_by(&attempt).envelope()), [Some("00-1-2-01"), Some("vendor=1")]);
    let own = child().with(|envelope| envelope.traceparent = Some("00-3-4-01".into()));
    assert_eq!(trace(own.caused_by(&attempt).envelope()), [Some("00-3-4-01"), None], "its own trace has no state");
}

#[test]
fn a_job_of_a_workflow_has_the_trace_of_its_workflow() {
    let body = r#"{"name": "last", "traceparent": "00-1-2-01", "tracestate": "vendor=1", "jobs": [
        {"name": "a", "id": "a"}, {"name": "b", "id": "b", "traceparent": "00-3-4-01"}]}"#;
    let workflow = Envelope::parse(body).expect("a workflow");
    let expansion = expand(&workflow, "w", Clock::system().now());
    let traces: Vec<_> = expansion.jobs.iter().map(|(_, job)| trace(job)).collect();
    assert_eq!(traces, [[Some("00-1-2-01"), Some("vendor=1")], [Some("00-3-4-01"), None]]);
}
