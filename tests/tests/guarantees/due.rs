//! Jobs that wait longer than a queue can delay: they wait in the due index of the table, and a beater sends them in time.

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::{function::Function, producer::python, world::World};

#[test]
fn a_job_that_python_enqueues_twenty_minutes_ahead_runs_in_its_second() {
    runs_in_its_second(SignedDuration::from_mins(20));
}

#[test]
fn a_job_that_python_enqueues_three_days_ahead_runs_in_its_second() {
    runs_in_its_second(SignedDuration::from_hours(3 * 24));
}

/// Variable with the seconds by which the clock of a function is ahead.
const AHEAD: &str = "SQJOBS_CLOCK_AHEAD_S";

/// Sets the clocks of the functions ahead instead of waiting. On a busy machine one job may start late, so the next is
/// checked; none may start early.
fn runs_in_its_second(wait: SignedDuration) {
    World::setup().test(async |world| {
        world.deploy(&Function::adder()).await;
        let first = Timestamp::from_second((now() + wait).as_second()).expect("a whole second");
        let due: Vec<_> = (0..6).map(|number| first + (5 * number).seconds()).collect();
        let told: Vec<_> = due.iter().map(ToString::to_string).collect();
        python(world, &[&["later"], &*told.iter().map(String::as_str).collect::<Vec<_>>()].concat());
        for (number, due) in due.iter().enumerate() {
            let filed = world.record_in(&format!("later-{number}"), "scheduled").await;
            assert_eq!(filed.run_at, Some(*due));
            assert_eq!(filed.attempts, 0);
        }
        world.drained().await;

        let tick = at(world, first - 20.seconds(), Function::adder()).await;
        assert_eq!(tick["sent"], json!(due.len()), "{tick}");
        assert_eq!(tick["failed"], json!(0), "{tick}");
        // Avoid a cold start, which would take longer than the second.
        world.send(json!({"name": "adder", "id": "warm", "args": [1]})).await;
        world.record_in("warm", "succeeded").await;
        let mut late = Vec::new();
        for (number, due) in due.iter().enumerate() {
            let record = world.record_in(&format!("later-{number}"), "succeeded").await;
            assert_eq!(record.attempts, 1);
            assert_eq!(record.generation, 1);
            let started = record.started_at.expect("it ran");
            assert!(started >= *due, "started at {started}, due at {due}");
            if started.as_second() == due.as_second() {
                return;
            }
            late.push(format!("started at {started}, due at {due}"));
        }
        panic!("each is late: {late:?}");
    });
}

#[test]
fn a_retry_in_an_hour_leaves_the_queue_and_comes_back_with_its_history() {
    World::setup().test(async |world| {
        let patient = world.job("hourly", "flaky", &json!({"act": "fail", "until": 2}));
        world.deploy(&Function::probe()).await;
        world.send(patient).await;
        let filed = world.record_in("flaky", "scheduled").await;
        assert_eq!(filed.attempts, 1);
        assert_eq!(filed.kind(), Some("error"));
        world.drained().await;

        at(world, filed.run_at.expect("a retry has its time"), Function::probe()).await;
        let record = world.record_in("flaky", "succeeded").await;
        assert_eq!(record.attempts, 2);
        assert_eq!(record.past(), vec!["error"]);
        assert_eq!(world.effects.runs_of("flaky").len(), 2);
        world.drained().await;
    });
}

#[test]
fn beaters_at_once_and_a_tick_that_comes_twice_run_each_job_once() {
    World::setup().test(async |world| {
        let ids: Vec<_> = (0..30).map(|number| format!("due-{number}")).collect();
        for id in &ids {
            world.plant(due_now(world, id)).await;
        }
        let (beater, at) = (Function::beater(), now());
        world.deploy_beater(&beater).await;
        join_all((0..3).map(|_| world.tick(&beater, at))).await;
        world.tick(&beater, at).await;
        each_runs_once(world, &ids).await;
    });
}

#[test]
fn a_beater_that_dies_at_any_step_loses_no_job_and_runs_none_twice() {
    World::setup().test(async |world| {
        let beater = Function::beater().mortal();
        world.deploy_beater(&beater).await;
        let mut ids = Vec::new();
        loop {
            let steps = ids.len();
            ids.push(format!("after-{steps}-steps"));
            world.plant(due_now(world, &ids[steps])).await;
            world.proxy.cut_after(steps);
            world.tick(&beater, now()).await;
            let died = world.proxy.mend();
            world.tick(&beater, now()).await; // the tick of the next minute
            if !died {
                break;
            }
        }
        assert!(ids.len() > 16, "each shard is a step: {ids:?}");
        each_runs_once(world, &ids).await;
    });
}

pub(crate) async fn each_runs_once(world: &World, ids: &[String]) {
    world.deploy(&Function::probe()).await;
    for id in ids {
        world.record_in(id, "succeeded").await;
    }
    world.drained().await;
    for id in ids {
        assert_eq!(world.effects.runs_of(id).len(), 1, "{id}");
    }
}

/// Redeploys the functions with their clocks at `instant`, and ticks. Returns the result of the tick.
pub(crate) async fn at(world: &World, instant: Timestamp, function: Function) -> Value {
    let ahead = until(instant).to_string();
    world.retire().await;
    let beater = Function::beater().env(AHEAD, &ahead);
    world.deploy_beater(&beater).await;
    let tick = world.tick(&beater, instant).await;
    world.deploy(&function.env(AHEAD, ahead)).await;
    tick
}

/// Returns the whole seconds from now until `instant`.
fn until(instant: Timestamp) -> i64 {
    instant.duration_since(now()).as_secs()
}

/// Returns the record of a filed job that has been due for a second.
fn due_now(world: &World, id: &str) -> Value {
    let body = world.probe(id, &json!({})).to_string();
    let shard = id.len() % 16;
    json!({
        "id": id, "name": "probe", "queue": "probes", "state": "scheduled", "max_attempts": 5, "owner": "filer",
        "run_at": now() - 1.second(), "due": format!("due#{shard}"), "envelope": body,
    })
}

#[expect(clippy::disallowed_methods, reason = "a producer knows the time by itself")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
