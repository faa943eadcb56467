//! The AWS adapters behave like the in-memory adapters: one suite for each port runs on both.

use std::time::Duration;

use aws_sdk_sqs::Client;
use futures_util::future::join_all;
use serde_json::json;
use sqjobs::{
    Record,
    jiff::Timestamp,
    queue::{Outgoing, Queue as _, QueueError, Source as _, Sqs, Visibility},
    store::{DynamoDb, Index as _, Link, Listing, Store as _, StoreError, Write, Written},
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
        let store = store(world, "jobs");
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
        world.proxy.arm(Fault::answer(put, "\\u001f7\"", 400, &*refused));
        assert!(matches!(store.enlist(&[listing(7)]).await[..], [Err(StoreError::Invalid(_))]), "it is not sent again");
    });
}

/// Returns a table as a store whose requests pass the proxy.
fn store(world: &World, table: &str) -> DynamoDb {
    let config = world.account.dynamodb.config().to_builder().endpoint_url(world.proxy.url());
    DynamoDb::new(sqjobs::aws_sdk_dynamodb::Client::from_conf(config.build()), table)
}

/// Makes DynamoDB refuse the requests with this body, as many times as halves of eight parts contain one of them.
fn refuse_one_of_eight(world: &World, operation: &'static str, body: &str) {
    let refused = json!({"__type": "ValidationException", "message": "armed"}).to_string();
    (0..4).for_each(|_| world.proxy.arm(Fault::answer(operation, body, 400, &*refused)));
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|id| format!("job-{id}")).collect()
}

#[test]
fn a_record_that_dynamodb_refuses_takes_no_other_along() {
    World::setup().test(async |world| {
        let store = store(world, "jobs");
        let is_refused = |answer: bool, id: usize| assert_eq!(answer, id == 5, "job-{id}");
        let insert = |id| {
            let mut record = Record::default();
            record.id = id;
            Write::insert(record)
        };
        let writes: Vec<_> = ids(8).into_iter().map(insert).collect();
        refuse_one_of_eight(world, "BatchExecuteStatement", "\"job-5\"");
        let written = store.write(&writes).await;
        written.iter().enumerate().for_each(|(id, answer)| is_refused(matches!(answer, Err(StoreError::Invalid(_))), id));
        assert_eq!(written.iter().filter(|answer| matches!(answer, Ok(Written::Done))).count(), 7);
        assert_eq!(world.proxy.passed("BatchExecuteStatement").len(), 7, "the whole, and both parts of each refused request");

        refuse_one_of_eight(world, "BatchGetItem", "\"job-5\"");
        let read = store.read(&ids(8)).await;
        read.iter().enumerate().for_each(|(id, answer)| is_refused(matches!(answer, Err(StoreError::Invalid(_))), id));
        assert_eq!(read.iter().filter(|answer| matches!(answer, Ok(Some(_)))).count(), 7);
        assert_eq!(world.proxy.passed("BatchGetItem").len(), 7, "the whole, and both parts of each refused request");
        assert!(world.proxy.is_spent());
    });
}

#[test]
fn a_missing_table_is_an_error_of_each_part_of_a_request() {
    World::setup().test(async |world| {
        let store = store(world, "missing");
        let read = store.read(&ids(3)).await;
        assert_eq!(read.len(), 3);
        assert!(read.iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))), "{read:?}");
    });
}

#[test]
fn a_query_goes_on_after_a_page_with_few_items() {
    World::setup().test(async |world| {
        let key = json!({"id": {"S": "job-1"}});
        let page = json!({"Items": [{"id": {"S": "job-0"}}], "LastEvaluatedKey": key}).to_string();
        world.proxy.arm(Fault::answer("Query", "", 200, page));
        world.proxy.arm(Fault::answer("Query", "ExclusiveStartKey", 200, json!({"Items": [{"id": {"S": "job-1"}}]}).to_string()));
        let found = store(world, "jobs").due(1, Timestamp::UNIX_EPOCH, 10).await;
        assert_eq!(found.expect("two pages"), ids(2));
        assert!(world.proxy.is_spent());
    });
}

#[test]
fn the_parts_of_a_large_request_fill_the_requests_to_aws() {
    World::setup().test(async |world| {
        let links: Vec<_> = ids(60).into_iter().map(|id| Link::Register { id, dependents: ["a".to_owned()].into(), states: &[] }).collect();
        assert_eq!(store(world, "jobs").link(&links).await.len(), 60);
        assert_eq!(world.proxy.passed("BatchExecuteStatement").len(), 3);

        let config = world.account.sqs.config().to_builder().endpoint_url(world.proxy.url());
        let queues = Sqs::new(Client::from_conf(config.build()));
        queues.send("probes", &vec![Outgoing::new("{}"); 30]).await;
        let mut receipts = Vec::new();
        while receipts.len() < 30 {
            let messages = queues.receive("probes", 10, Duration::from_mins(1)).await.expect("the queue answers");
            receipts.extend(messages.into_iter().map(|message| message.receipt));
        }
        let longer = |receipt: &String| Visibility { receipt: receipt.clone(), timeout: Duration::from_mins(2) };
        let changed = queues.set_visibility("probes", &receipts.iter().map(longer).collect::<Vec<_>>()).await;
        assert!(changed.iter().all(Result::is_ok), "{changed:?}");
        let deleted = queues.delete("probes", &receipts).await;
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
        for operation in ["SendMessageBatch", "ChangeMessageVisibilityBatch", "DeleteMessageBatch"] {
            assert_eq!(world.proxy.passed(operation).len(), 3, "{operation}");
        }
    });
}

#[test]
fn a_queue_that_does_not_exist_is_refused() {
    World::setup().test(async |world| {
        let queues = Sqs::new(world.account.sqs.clone());
        assert!(queues.find("probes").await.is_ok());
        let refused = queues.find("missing").await.expect_err("there is no such queue");
        assert!(matches!(&refused, QueueError::Refused(reason) if reason.to_string().contains("missing")), "{refused}");
        let sent = queues.send("missing", &[Outgoing::new("{}")]).await;
        assert!(matches!(sent[..], [Err(QueueError::Refused(_))]), "{sent:?}");
        // A throttled or broken lookup says nothing about the queue.
        let config = world.account.sqs.config().to_builder().endpoint_url(world.proxy.url());
        (0..3).for_each(|_| world.proxy.arm(Fault::refuse("GetQueueUrl", "")));
        let unknown = Sqs::new(Client::from_conf(config.build())).find("probes").await;
        assert!(matches!(unknown, Err(QueueError::Unknown(_))), "{unknown:?}");
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
