//! The AWS adapters behave like the in-memory adapters: one suite for each port runs on both.

use std::time::Duration;

use aws_sdk_sqs::Client;
use futures_util::future::join_all;
use serde_json::json;
use sqjobs::{
    jiff::Timestamp,
    queue::{Outgoing, Queue as _, Sqs},
    store::{DynamoDb, Index as _, Listing},
    testing::conformance,
};
use tokio::time::{Instant, interval_at};

use crate::{proxy::Fault, world::World};

#[test]
fn the_dynamodb_store_passes_the_conformance_suite() {
    World::setup().test(async |world| conformance::store(&world.store()).await);
}

#[test]
fn the_dynamodb_rows_of_schedules_pass_the_conformance_suite() {
    World::setup().test(async |world| conformance::schedules(&world.account.dynamodb, "schedules", "jobs").await);
}

#[test]
fn a_listing_that_dynamodb_refuses_takes_no_other_along() {
    World::setup().test(async |world| {
        let config = world.account.dynamodb.config().to_builder().endpoint_url(world.proxy.url());
        let store = DynamoDb::new(sqjobs::aws_sdk_dynamodb::Client::from_conf(config.build()), "jobs");
        let listing = |id: usize| Listing { list: "tag:t".into(), id: id.to_string(), at: Timestamp::UNIX_EPOCH, purge_at: 4_000_000_000 };
        let (put, refused) = ("BatchWriteItem", json!({"__type": "ValidationException", "message": "armed"}).to_string());
        let throttled = json!({"__type": "ThrottlingException", "message": "armed"}).to_string();
        let left_out = json!({"UnprocessedItems": {"jobs": [{"PutRequest": {"Item": {"id": {"S": "tag:t\u{1f}7"}}}}]}}).to_string();
        // Ids are in text order: the second request has 5 to 9, then 7 to 9, then 7 alone.
        (0..2).for_each(|_| world.proxy.arm(Fault::answer(put, "\\u001f7\"", 400, &*refused)));
        // The SDK itself makes three attempts.
        (0..3).for_each(|_| world.proxy.arm(Fault::answer(put, "\\u001f20\"", 400, &*throttled)));
        let answers = store.enlist(&(0..30).map(listing).collect::<Vec<_>>()).await;
        let errors: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).map(ToString::to_string).collect();
        assert!(errors.is_empty() && world.proxy.is_spent(), "{errors:?}");
        let put_before = world.proxy.passed(put).len();
        world.proxy.arm(Fault::answer(put, "\\u001f7\"", 200, left_out));
        let answers = store.enlist(&[listing(7), listing(8)]).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let again = world.proxy.passed(put).split_off(put_before);
        assert!(again.len() == 2 && !again[1].body.contains("\\u001f8\""), "{again:?}");
    });
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
fn the_sqs_queues_pass_the_conformance_suite() {
    const POLL: Duration = Duration::from_millis(100);
    World::setup().test(async |world| {
        let (queues, standard, fifo) = world.other_queues().await;
        let tick = async || {
            interval_at(Instant::now() + POLL, POLL).tick().await;
        };
        conformance::queue(&queues, &standard, &fifo, tick).await;
    });
}
