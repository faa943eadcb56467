//! The effects of a delivery on its job, on the other messages of the batch, and on other deliveries of the job.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    function::Function,
    wait,
    world::{PATIENCE, World},
};

#[test]
fn a_job_runs_and_its_result_is_read_back() {
    World::setup().test(async |world| {
        world.deploy(&Function::adder()).await;
        world.send(json!({"name": "adder", "id": "sum", "args": [1, 2, 3]})).await;
        let record = world.record_in("sum", "succeeded").await;
        assert_eq!(record.result, Some(json!(6)));
        assert_eq!(record.attempts, 1);
        assert!(record.purge_at.is_some(), "a finished record knows when it may go");
        world.drained().await;
    });
}

#[test]
fn a_job_without_an_id_is_known_by_its_message_id() {
    World::setup().test(async |world| {
        world.deploy(&Function::adder()).await;
        let id = world.send(json!({"name": "adder", "args": [1, 2, 3]})).await;
        assert_eq!(world.record_in(&id, "succeeded").await.result, Some(json!(6)));
    });
}

#[test]
fn a_message_delivered_five_times_runs_its_job_once() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        for _ in 0..5 {
            world.send(world.probe("once", &json!({}))).await;
            world.drained().await;
        }
        assert_eq!(world.effects.ids(), ["once"]);
        assert_eq!(world.record_in("once", "succeeded").await.attempts, 1);
    });
}

#[test]
fn five_copies_of_a_message_in_one_batch_run_their_job_once() {
    World::setup().test(async |world| {
        let copies = [(); 5].map(|()| world.probe("once", &json!({})));
        world.send_together(&copies).await;
        world.deploy(&Function::probe()).await;
        world.drained().await;
        assert_eq!(world.effects.ids(), ["once"]);
        assert_eq!(world.record_in("once", "succeeded").await.attempts, 1);
    });
}

#[test]
fn a_discarded_duplicate_is_logged_and_one_with_other_arguments_warns() {
    World::setup().test(async |world| {
        let probe = Function::probe();
        let other = world.probe("once", &json!({"act": "fatal"}));
        world.send(world.probe("once", &json!({}))).await;
        world.deploy(&probe).await;
        let record = world.record_in("once", "succeeded").await;
        world.send(world.probe("once", &json!({}))).await;
        world.send(&other).await;
        world.drained().await;
        // A message may be delivered more than once, and its log line may arrive late.
        let discarded = async |id: &str, expected: &[&str]| {
            wait::until("each duplicate is logged", PATIENCE, async || {
                let printed = world.printed(&probe).await;
                let events = printed.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                let those = events.filter(|event| event["id"] == id && event["outcome"] == "duplicate");
                let told: BTreeSet<_> = those.map(|event| event["level"].as_str().unwrap_or_default().to_owned()).collect();
                if expected.iter().all(|level| told.contains(*level)) { Ok(()) } else { Err(format!("{told:?}")) }
            })
            .await;
        };
        discarded("once", &["INFO", "WARN"]).await;
        assert_eq!(world.effects.runs_of("once").len(), 1);
        assert_eq!(world.record_in("once", "succeeded").await.generation, record.generation);
    });
}

#[test]
fn a_message_with_a_field_of_the_command_warns_and_runs() {
    World::setup().test(async |world| {
        let probe = Function::probe();
        world.deploy(&probe).await;
        for id in ["a", "b"] {
            let mut job = world.probe(id, &json!({}));
            (job["delay"], job["colour"]) = (json!("5m"), json!("red"));
            world.send(job).await;
            world.record_in(id, "succeeded").await;
        }
        wait::until("the warning is logged", PATIENCE, async || {
            let printed = world.printed(&probe).await;
            let events: Vec<_> = printed.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect();
            let fields: Vec<_> = events.iter().filter(|event| event["level"] == "WARN").map(|event| &event["field"]).collect();
            let said = events.iter().any(|event| event["message"].as_str().is_some_and(|text| text.contains("DelaySeconds")));
            // A process logs each field once; the two messages may have reached two processes.
            if said && fields.iter().all(|field| *field == "delay") && fields.len() <= 2 { Ok(()) } else { Err(format!("{events:?}")) }
        })
        .await;
    });
}

#[test]
fn a_failing_job_among_nine_good_ones_is_retried_alone() {
    World::setup().test(async |world| {
        world.send_together(&nine_and(world.probe("bad", &json!({"act": "fail", "until": 2})), world)).await;
        world.deploy(&Function::probe()).await;
        let waiting = world.messages_when("holds only the failing job", |messages| messages.len() == 1).await;
        assert!(waiting[0].body.contains("bad"), "{waiting:?}");
        assert_eq!(world.record_in("bad", "succeeded").await.attempts, 2);
        world.drained().await;
        assert_each_of_nine_ran_once(world).await;
        assert_eq!(world.effects.runs_of("bad").len(), 2);
    });
}

#[test]
fn a_panic_costs_one_attempt_of_one_job() {
    World::setup().test(async |world| {
        world.send_together(&nine_and(world.probe("bad", &json!({"act": "panic", "until": 2})), world)).await;
        world.deploy(&Function::probe()).await;
        let record = world.record_in("bad", "succeeded").await;
        assert_eq!(record.attempts, 2);
        assert_eq!(record.past(), vec!["panic"]);
        assert!(record.history[0].message.contains("panicked as told"), "{record:?}");
        assert_each_of_nine_ran_once(world).await;
        assert_eq!(world.broken_invocations(), [""; 0]);
    });
}

#[test]
fn two_functions_that_race_for_a_job_let_one_run() {
    World::setup().test(async |world| {
        let job = world.probe("contested", &json!({"act": {"wait_for": world.effects.gate()}}));
        world.send_together(&[job.clone(), job]).await;
        world.deploy(&Function::probe().batch_size(1)).await;
        // A second delivery, after the first lease would have expired, finds the job still claimed.
        world.messages_when("was received again", |messages| messages.iter().any(|message| message.receives >= 2)).await;
        assert_eq!(world.effects.ids(), ["contested"]);
        world.effects.open_the_gate();
        world.drained().await;
        assert_eq!(world.effects.ids(), ["contested"]);
        assert_eq!(world.record_in("contested", "succeeded").await.attempts, 1);
    });
}

/// Returns a batch of ten: nine messages that succeed, with `other` among them.
fn nine_and(other: serde_json::Value, world: &World) -> Vec<serde_json::Value> {
    let mut batch: Vec<_> = nine().map(|id| world.probe(&id, &json!({}))).collect();
    batch.insert(4, other);
    batch
}

fn nine() -> impl Iterator<Item = String> {
    (1..=9).map(|number| format!("good-{number}"))
}

async fn assert_each_of_nine_ran_once(world: &World) {
    for id in nine() {
        assert_eq!(world.record_in(&id, "succeeded").await.attempts, 1, "{id}");
        assert_eq!(world.effects.runs_of(&id).len(), 1, "{id}");
    }
}
