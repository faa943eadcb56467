//! The adapters for AWS do what those in memory do: one suite for each port runs on both.

use std::time::Duration;

use sqjobs::testing::conformance;
use tokio::time::{Instant, interval_at};

use crate::world::World;

#[test]
fn the_store_in_dynamodb_does_what_every_store_must() {
    World::setup().test(async |world| conformance::store(&world.store()).await);
}

#[test]
fn the_queues_in_sqs_do_what_all_queues_must() {
    const POLL: Duration = Duration::from_millis(100);
    World::setup().test(async |world| {
        let (queues, standard, fifo) = world.other_queues().await;
        let tick = async || {
            interval_at(Instant::now() + POLL, POLL).tick().await;
        };
        conformance::queue(&queues, &standard, &fifo, tick).await;
    });
}
