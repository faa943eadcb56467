//! Requests that the table executes although the response is lost, and requests that it refuses.

use serde_json::{Value, json};

use crate::{function::Function, proxy::Fault, world::World};

const WRITE: &str = "BatchExecuteStatement";
const SUCCESS: &str = r#"{"S":"succeeded"}"#;
/// The SDK itself makes three attempts; the library sees the failure after as many refusals.
const TRIES: usize = 3;

#[test]
fn a_claim_whose_answer_was_lost_costs_no_attempt() {
    World::setup().test(async |world| runs_once_despite(world, &Fault::swallow(WRITE, "INSERT"), 1, 1).await);
}

#[test]
fn ten_claims_whose_answer_was_lost_cost_no_attempt() {
    World::setup().test(async |world| runs_once_despite(world, &Fault::swallow(WRITE, "INSERT"), 1, 10).await);
}

#[test]
fn a_finish_whose_answer_was_lost_is_not_run_again() {
    World::setup().test(async |world| {
        runs_once_despite(world, &Fault::swallow(WRITE, SUCCESS), 1, 1).await;
        was_delivered_once(world);
    });
}

#[test]
fn ten_finishes_whose_answer_was_lost_are_not_run_again() {
    World::setup().test(async |world| {
        runs_once_despite(world, &Fault::swallow(WRITE, SUCCESS), 1, 10).await;
        was_delivered_once(world);
    });
}

#[test]
fn a_claim_that_the_table_refused_to_make_costs_no_attempt() {
    World::setup().test(async |world| runs_once_despite(world, &Fault::refuse(WRITE, "INSERT"), TRIES, 1).await);
}

#[test]
fn a_finish_that_the_table_refused_to_make_is_not_run_again() {
    World::setup().test(async |world| runs_once_despite(world, &Fault::refuse(WRITE, SUCCESS), TRIES, 1).await);
}

#[test]
fn a_dead_letter_that_the_queue_refused_is_sent_on_a_later_delivery() {
    World::setup().test(async |world| {
        arm(world, &Fault::refuse("SendMessage", ""), TRIES);
        world.send(world.probe("hopeless", &json!({"act": "fatal"}))).await;
        world.deploy(&Function::probe()).await;
        world.drained().await;
        assert!(world.proxy.is_spent(), "the fault never happened");
        assert_eq!(world.dead_letters().await.len(), 1);
        assert_eq!(world.effects.runs_of("hopeless").len(), 1);
    });
}

async fn runs_once_despite(world: &World, fault: &Fault, times: usize, jobs: usize) {
    let ids: Vec<_> = (0..jobs).map(|number| format!("job-{number}")).collect();
    let batch: Vec<Value> = ids.iter().map(|id| world.probe(id, &json!({}))).collect();
    arm(world, fault, times);
    world.send_together(&batch).await;
    world.deploy(&Function::probe()).await;
    world.drained().await;
    assert!(world.proxy.is_spent(), "the fault never happened");
    for id in ids {
        let record = world.record_in(&id, "succeeded").await;
        assert_eq!(record.attempts, 1, "{id}");
        assert_eq!(record.generation, 1, "{id}");
        assert_eq!(world.effects.runs_of(&id).len(), 1, "{id}");
    }
}

fn arm(world: &World, fault: &Fault, times: usize) {
    for _ in 0..times {
        world.proxy.arm(fault.clone());
    }
}

/// Checks that there was one delivery: a second one would have started with a read.
fn was_delivered_once(world: &World) {
    let reads = world.proxy.passed("BatchGetItem");
    assert!(reads.is_empty(), "it was delivered again: {reads:?}");
}
