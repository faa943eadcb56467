//! Jobs that wait for their run time, for their backoff, or after a snooze.

use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::{function::Function, world::World};

#[test]
fn a_retry_waits_out_of_sight_until_it_is_due() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(world.job("patient", "later", &json!({"act": "fail"}))).await;
        let record = world.record_in("later", "retrying").await;
        let (due, failed) = (record.run_at.expect("a retry has its time"), record.history[0].at);
        assert!(due >= failed + 100.seconds(), "half of the backoff at least: {failed}, {due}");
        assert!(due <= failed + 200.seconds(), "the whole of the backoff at most: {failed}, {due}");
        // Visibility is set in whole seconds.
        let waits = |visible_at: i64| (visible_at - due.as_second()).abs() <= 3;
        world.messages_when("holds the job until it is due", |them| them.iter().all(|it| waits(it.visible_at))).await;
        assert_eq!(world.effects.runs_of("later").len(), 1);
    });
}

#[test]
fn a_job_does_not_run_before_its_time() {
    World::setup().test(async |world| {
        // Avoid a cold start, which would take longer than the wait.
        world.deploy(&Function::probe()).await;
        world.send(world.probe("warm", &json!({}))).await;
        world.record_in("warm", "succeeded").await;
        let due = now() + 8.seconds();
        let mut job = world.probe("timely", &json!({}));
        job["run_at"] = json!(due);
        world.send(job).await;
        let record = world.record_in("timely", "succeeded").await;
        assert!(record.started_at >= Some(due - 1.second()), "not before {due}: {record:?}");
        assert_eq!(record.attempts, 1, "the wait costs nothing");
        assert_eq!(record.generation, 1, "the wait costs nothing");
    });
}

#[test]
fn a_job_whose_time_has_passed_does_not_run() {
    World::setup().test(async |world| {
        let mut job = world.probe("late", &json!({}));
        job["expires_at"] = json!(now());
        world.send(job).await;
        world.deploy(&Function::probe()).await;
        let record = world.record_in("late", "expired").await;
        assert_eq!(record.attempts, 0);
        assert_eq!(world.effects.runs().len(), 0);
        world.drained().await;
    });
}

#[test]
fn a_job_that_snoozes_pays_nothing() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(world.probe("sleepy", &json!({"act": {"snooze_until": world.effects.gate()}}))).await;
        world.record_when("sleepy", "has snoozed twice", |record| record.generation >= 2 && record.state == "queued").await;
        world.effects.open_the_gate();
        let record = world.record_in("sleepy", "succeeded").await;
        assert_eq!(record.attempts, 1);
        assert!(record.past().is_empty());
        world.drained().await;
    });
}

#[expect(clippy::disallowed_methods, reason = "a producer knows the time by itself")]
fn now() -> Timestamp {
    Timestamp::now()
}
