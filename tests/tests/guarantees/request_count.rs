//! What a batch costs in requests, counted between the function and the stack.

use serde_json::{Value, json};

use crate::{function::Function, world::World};

#[test]
fn ten_new_jobs_that_succeed_together_are_two_requests() {
    World::setup().test(async |world| {
        // On a busy machine one of ten may end later than the others wait for it; a fault of ours would cost each batch more.
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
        // On a busy machine an answer may take too long, and its request is made again.
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

/// Has ten jobs delivered in one batch, whether or not they ran before.
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
