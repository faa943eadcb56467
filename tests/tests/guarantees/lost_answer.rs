//! What happens when the table did as it was told and its answer never arrived, or when it did not.

use serde_json::{Value, json};

use crate::{function::Function, proxy::Fault, world::World};

const WRITE: &str = "BatchExecuteStatement";

#[test]
fn a_claim_whose_answer_was_lost_costs_no_attempt() {
    assert_runs_once_despite(Fault::swallow(WRITE, "INSERT"), 1);
}

#[test]
fn ten_claims_whose_answer_was_lost_cost_no_attempt() {
    assert_runs_once_despite(Fault::swallow(WRITE, "INSERT"), 10);
}

#[test]
fn a_finish_whose_answer_was_lost_is_not_run_again() {
    assert_runs_once_despite(Fault::swallow(WRITE, r#"{"S":"succeeded"}"#), 1);
}

#[test]
fn ten_finishes_whose_answer_was_lost_are_not_run_again() {
    assert_runs_once_despite(Fault::swallow(WRITE, r#"{"S":"succeeded"}"#), 10);
}

#[test]
fn a_claim_that_the_table_refused_to_make_costs_no_attempt() {
    assert_runs_once_despite(Fault::refuse(WRITE, "INSERT"), 1);
}

#[test]
fn a_finish_that_the_table_refused_to_make_is_not_run_again() {
    assert_runs_once_despite(Fault::refuse(WRITE, r#"{"S":"succeeded"}"#), 1);
}

fn assert_runs_once_despite(fault: Fault, jobs: usize) {
    World::setup().test(async |world| {
        let ids: Vec<_> = (0..jobs).map(|number| format!("job-{number}")).collect();
        let batch: Vec<Value> = ids.iter().map(|id| world.probe(id, &json!({}))).collect();
        world.proxy.arm(fault);
        world.send_together(&batch).await;
        world.deploy(&Function::probe()).await;
        world.drained().await;
        assert!(world.proxy.is_spent(), "the fault never happened");
        for id in ids {
            let record = world.record_in(&id, "succeeded").await;
            assert_eq!((record.attempts, record.generation), (1, 1), "{id}");
            assert_eq!(world.effects.runs_of(&id).len(), 1, "{id}");
        }
    });
}
