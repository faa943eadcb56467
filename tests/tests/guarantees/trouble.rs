//! Jobs that are recorded on trouble: their writes, and the guarantees that they give up.

use std::time::Duration;

use serde_json::json;

use crate::{function::Function, world::World};

#[test]
fn a_job_that_succeeds_unrecorded_leaves_no_record_and_no_message() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(world.job("quiet", "well", &json!({}))).await;
        world.drained().await;
        assert_eq!(world.effects.ids(), vec!["well".to_owned()]);
        assert_eq!(world.records().await.len(), 0);
        assert_eq!(world.dead_letters().await.len(), 0);
    });
}

#[test]
fn a_job_recorded_on_trouble_that_fails_first_counts_each_attempt() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(world.job("quiet", "tried", &json!({"act": "fail", "until": 3}))).await;
        let record = world.record_in("tried", "succeeded").await;
        assert_eq!(record.attempts, 3);
        assert_eq!(record.generation, 3);
        assert_eq!(record.result, Some(json!(3)));
        assert_eq!(record.history.iter().map(|past| past.kind.as_str()).collect::<Vec<_>>(), ["error", "error"]);
        assert_eq!(world.effects.runs_of("tried").iter().map(|run| run.attempt).collect::<Vec<_>>(), [1, 2, 3]);
        world.drained().await;
    });
}

#[test]
fn a_job_recorded_on_trouble_that_fails_for_good_can_be_redriven() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(world.job("quiet", "hopeless", &json!({"act": {"fail_until": world.effects.gate()}}))).await;
        let record = world.record_when("hopeless", "is dead-lettered", |record| record.dlq.as_deref() == Some("sent")).await;
        assert_eq!(record.state.as_str(), "failed");
        assert_eq!(record.attempts, 3);
        assert_eq!(record.kind(), Some("error"));
        let letters = world.dead_letters_when(1).await;
        assert_eq!(letters[0].attribute("sqjobs.dead"), record.generation.to_string());
        world.drained().await;
        world.effects.open_the_gate();
        world.redrive(&letters[0]).await;
        let again = world.record_in("hopeless", "succeeded").await;
        assert_eq!(again.attempts, 1, "what was redriven is claimed from the start");
        assert_eq!(again.generation, record.generation + 1, "what was redriven is claimed from the start");
    });
}

#[test]
fn a_job_recorded_on_trouble_resumes_from_its_checkpoint() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe().timeout(Duration::from_secs(6))).await;
        world.send(world.job("quiet", "long", &json!({"act": "resume"}))).await;
        let record = world.record_in("long", "succeeded").await;
        assert_eq!(record.attempts, 1, "an interruption costs nothing");
        assert_eq!(record.generation, 2, "an interruption costs nothing");
        assert_eq!(record.history.len(), 0, "an interruption costs nothing");
    });
}

#[test]
fn a_second_message_of_a_job_that_succeeded_unrecorded_runs_again() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let job = world.job("quiet", "twice", &json!({}));
        for _ in 0..2 {
            world.send(&job).await;
            world.drained().await;
        }
        assert_eq!(world.effects.ids(), vec!["twice".to_owned(); 2], "that is given up");
        assert_eq!(world.records().await.len(), 0, "that is given up");
    });
}
