//! What a batch costs in requests, counted between the function and the stack.

use serde_json::{Value, json};

use crate::{function::Function, world::World};

#[test]
fn ten_new_jobs_that_succeed_together_are_two_requests() {
    World::setup().test(async |world| {
        run_ten(world).await;
        assert_eq!(operations(world), ["DynamoDB_20120810.BatchExecuteStatement"; 2]);
    });
}

#[test]
fn ten_duplicates_are_at_most_two_requests() {
    World::setup().test(async |world| {
        run_ten(world).await;
        world.retire().await;
        world.proxy.forget();
        run_ten(world).await;
        let operations = operations(world);
        assert!(operations.len() <= 2, "{operations:?}");
    });
}

/// Has ten jobs delivered in one batch, whether or not they ran before.
async fn run_ten(world: &World) {
    let ten: Vec<Value> = (0..10).map(|number| json!({"name": "adder", "id": format!("sum-{number}"), "args": [1, number]})).collect();
    world.send_together(&ten).await;
    world.deploy(&Function::adder()).await;
    world.drained().await;
    for number in 0..10 {
        assert_eq!(world.record_in(&format!("sum-{number}"), "succeeded").await.result, Some(json!(1 + number)));
    }
}

fn operations(world: &World) -> Vec<String> {
    world.proxy.passed("").into_iter().map(|request| request.operation).collect()
}
