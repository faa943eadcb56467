//! Job bodies that do not end by themselves are stopped in time and recorded, and never keep running.

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};

use crate::{function::Function, record::Record, world::World};

/// Timeout of the functions in these tests: long enough to stop and record a job body first.
const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn an_attempt_that_exceeds_the_timeout_of_its_policy_is_retried() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(world.job("hasty", "slow", &json!({"act": "hang", "until": 2}))).await;
        let record = world.record_in("slow", "retrying").await;
        assert_eq!(record.kind(), Some("timeout"));
        assert_eq!(record.attempts, 1);
        assert_eq!(world.record_in("slow", "succeeded").await.attempts, 2);
        world.drained().await;
        assert_eq!(world.broken_invocations(), [""; 0]);
    });
}

#[test]
fn an_attempt_running_at_the_functions_deadline_is_recorded_before_it() {
    World::setup().test(async |world| {
        let slow = world.probe("slow", &json!({"act": "hang", "until": 2}));
        world.send_together(&[world.probe("before", &json!({})), slow, world.probe("after", &json!({}))]).await;
        world.deploy(&Function::probe().timeout(LIMIT)).await;
        let record = world.record_in("slow", "retrying").await;
        assert_eq!(record.kind(), Some("deadline"));
        assert_eq!(record.attempts, 1);
        assert_eq!(world.record_in("slow", "succeeded").await.attempts, 2);
        world.drained().await;
        assert_eq!(world.effects.runs_of("before").len() + world.effects.runs_of("after").len(), 2);
        assert_eq!(world.broken_invocations(), [""; 0]);
    });
}

#[test]
fn a_job_interrupted_after_a_checkpoint_resumes_at_no_cost() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe().timeout(LIMIT)).await;
        world.send(world.probe("long", &json!({"act": "resume"}))).await;
        let record = world.record_in("long", "succeeded").await;
        assert_eq!(record.attempts, 1);
        assert_eq!(record.generation, 2);
        assert!(record.past().is_empty());
        assert_eq!(world.effects.runs_of("long").len(), 2);
        world.drained().await;
    });
}

#[test]
fn a_batch_of_blocked_threads_is_recorded_and_its_process_exits() {
    a_batch_that_cannot_be_stopped_is_recorded_and_its_process_goes("block");
}

#[test]
fn a_batch_of_endless_computations_is_recorded_then_exits() {
    a_batch_that_cannot_be_stopped_is_recorded_and_its_process_goes("spin");
}

fn a_batch_that_cannot_be_stopped_is_recorded_and_its_process_goes(act: &str) {
    World::setup().visibility_s(5).test(async |world| {
        let ids: Vec<_> = (0..10).map(|number| format!("stuck-{number}")).collect();
        let batch: Vec<Value> = ids.iter().map(|id| world.probe(id, &json!({"act": act, "until": 2}))).collect();
        world.send_together(&batch).await;
        world.deploy(&Function::probe().timeout(LIMIT)).await;
        for id in &ids {
            let record = world.record_in(id, "succeeded").await;
            assert_eq!(record.attempts, 2, "{id}: {record:?}");
            assert!(was_stopped(&record), "{id}: {record:?}");
        }
        world.drained().await;
        assert_eq!(timed_out(world), 0, "Lambda had to end the function");
        assert!(processes(world, 1).is_disjoint(&processes(world, 2)), "a process went on after it was stuck");
    });
}

fn was_stopped(record: &Record) -> bool {
    matches!(record.past()[..], ["timeout" | "deadline"])
}

fn timed_out(world: &World) -> usize {
    world.broken_invocations().iter().filter(|line| line.contains("timed out")).count()
}

fn processes(world: &World, attempt: u32) -> HashSet<u32> {
    world.effects.runs().iter().filter(|run| run.attempt == attempt).map(|run| run.pid).collect()
}

#[test]
fn a_killed_attempt_counts_and_the_next_delivery_takes_over() {
    World::setup().visibility_s(5).test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(world.probe("killed", &json!({"act": "abort", "until": 2}))).await;
        let record = world.record_in("killed", "succeeded").await;
        assert_eq!(record.attempts, 2);
        assert_eq!(record.past(), vec!["killed"]);
        assert_eq!(world.effects.runs_of("killed").len(), 2);
        world.drained().await;
    });
}

#[test]
fn with_fast_recovery_a_crash_does_not_wait_for_the_queue() {
    World::setup().visibility_s(720).test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(world.job("swift", "killed", &json!({"act": "abort", "until": 2}))).await;
        assert_eq!(world.record_in("killed", "succeeded").await.attempts, 2);
        world.drained().await;
    });
}

#[test]
fn a_job_that_was_killed_runs_after_all_others_of_its_batch_and_alone() {
    World::setup().visibility_s(10).test(async |world| {
        for id in ["deadly", "doubtful"] {
            let killed = json!({"id": id, "name": "probe", "queue": "probes", "state": "running", "attempts": 1, "max_attempts": 3,
                "generation": 1, "runs": 1, "owner": "gone", "lease_until": 1, "started_at": "2026-01-01T00:00:00Z"});
            world.plant(killed).await;
        }
        let mut batch = vec![world.probe("deadly", &json!({"act": "abort", "until": 3}))];
        let innocents = ["a", "b", "c", "d"];
        batch.extend(innocents.iter().map(|id| world.probe(id, &json!({}))));
        batch.push(world.probe("doubtful", &json!({})));
        world.send_together(&batch).await;
        world.deploy(&Function::probe()).await;
        world.record_in("deadly", "succeeded").await;
        for id in innocents {
            assert_eq!(world.record_in(id, "succeeded").await.attempts, 1, "{id}");
        }
        assert_eq!(world.record_in("doubtful", "succeeded").await.attempts, 2);
    });
}

#[test]
fn a_job_that_kills_its_process_fails_and_hits_its_neighbours_once() {
    // Longer than a lease and its margin, so that no delivery comes too early.
    World::setup().visibility_s(10).test(async |world| {
        let mut batch = vec![world.probe("deadly", &json!({"act": "abort"}))];
        let innocents = ["a", "b", "c", "d"];
        batch.extend(innocents.iter().map(|id| world.probe(id, &json!({}))));
        world.send_together(&batch).await;
        world.deploy(&Function::probe()).await;
        let record = world.record_in("deadly", "failed").await;
        assert_eq!(record.attempts, 3);
        assert_eq!(record.past(), vec!["killed"; 3]);
        for id in innocents {
            let record = world.record_in(id, "succeeded").await;
            assert!(record.attempts <= 2, "{id}: {record:?}");
        }
        let letters = world.dead_letters_when(1).await;
        assert_eq!(letters[0].attribute("sqjobs.kind"), "killed");
    });
}
