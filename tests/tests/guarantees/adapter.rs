//! The adapters for AWS do what those in memory do: one suite for each port runs on both.

use std::time::Duration;

use aws_sdk_sqs::Client;
use futures_util::future::join_all;
use sqjobs::{
    queue::{Outgoing, Queue as _, Sqs},
    testing::conformance,
};
use tokio::time::{Instant, interval_at};

use crate::world::World;

#[test]
fn the_store_in_dynamodb_does_what_every_store_must() {
    World::setup().test(async |world| conformance::store(&world.store()).await);
}

#[test]
fn a_queue_is_asked_for_its_url_once_however_many_send_at_once() {
    World::setup().test(async |world| {
        let config = world.account.sqs.config().to_builder().endpoint_url(world.proxy.url());
        let queues = Sqs::new(Client::from_conf(config.build()));
        let sent = join_all((0..20).map(async |_| queues.send("probes", &[Outgoing::new("{}")]).await.remove(0))).await;
        assert!(sent.iter().all(Result::is_ok), "{sent:?}");
        assert_eq!(world.proxy.passed("GetQueueUrl").len(), 1);
    });
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
