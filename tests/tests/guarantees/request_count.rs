//! The number of requests for a batch, counted between the function and the stack.

use serde_json::{Value, json};

use crate::{function::Function, world::World};

#[test]
fn ten_new_jobs_that_succeed_together_are_two_requests() {
    World::setup().test(async |world| {
        // On a busy machine one of ten may end too late to share a request. A real regression would affect every batch.
        let mut counts = Vec::new();
        while counts.last() != Some(&2) && counts.len() < 5 {
            run_ten(world, &format!("series-{}", counts.len())).await;
            let operations = operations(world);
            assert!(operations.iter().all(|operation| operation == "DynamoDB_20120810.BatchExecuteStatement"), "{operations:?}");
            counts.push(operations.len());
            world.retire().await;
            world.proxy.forget();
        }
        assert_eq!(counts.last(), Some(&2), "{counts:?}");
    });
}

#[test]
fn ten_duplicates_are_at_most_two_requests() {
    World::setup().test(async |world| {
        run_ten(world, "sum").await;
        // On a busy machine a response may be late, and its request is repeated.
        let mut counts = Vec::new();
        while counts.last().is_none_or(|count| *count > 2) && counts.len() < 5 {
            world.retire().await;
            world.proxy.forget();
            run_ten(world, "sum").await;
            counts.push(operations(world).len());
        }
        assert!(counts.last() <= Some(&2), "{counts:?}");
    });
}

#[test]
fn ten_jobs_that_succeed_unrecorded_are_no_request() {
    World::setup().test(async |world| {
        let ten: Vec<Value> = (0..10).map(|number| world.job("quiet", &format!("job-{number}"), &json!({}))).collect();
        world.send_together(&ten).await;
        world.deploy(&Function::probe()).await;
        world.drained().await;
        assert!(operations(world).is_empty());
        assert_eq!(world.effects.runs().len(), 10);
    });
}

#[test]
fn trouble_with_an_unrecorded_job_is_one_write_more_than_what_follows() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(world.job("quiet", "hopeless", &json!({"act": "fatal"}))).await;
        world.record_when("hopeless", "is dead-lettered", |record| record.dlq.as_deref() == Some("sent")).await;
        world.drained().await;
        let (write, read) = ("DynamoDB_20120810.BatchExecuteStatement", "DynamoDB_20120810.BatchGetItem");
        assert_eq!(operations(world), [write, "AmazonSQS.SendMessageBatch", write], "the failure, its dead letter and the mark");
        world.proxy.forget();
        world.send(world.job("quiet", "tried", &json!({"act": "fail", "until": 2}))).await;
        world.record_in("tried", "succeeded").await;
        let second = [read, write, write];
        assert_eq!(
            operations(world),
            [&[write, "AmazonSQS.ChangeMessageVisibilityBatch"][..], &second].concat(),
            "the failure, and an attempt"
        );
    });
}

/// Delivers ten jobs in one batch, whether or not they ran before.
async fn run_ten(world: &World, series: &str) {
    let ten: Vec<Value> = (0..10).map(|number| json!({"name": "adder", "id": format!("{series}-{number}"), "args": [1, number]})).collect();
    world.send_together(&ten).await;
    world.deploy(&Function::adder()).await;
    world.drained().await;
    for number in 0..10 {
        assert_eq!(world.record_in(&format!("{series}-{number}"), "succeeded").await.result, Some(json!(1 + number)));
    }
}

fn operations(world: &World) -> Vec<String> {
    world.proxy.passed("").into_iter().map(|request| request.operation).collect()
}
