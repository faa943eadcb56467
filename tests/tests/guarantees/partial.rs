//! AWS responses that the emulator never gives: partial results, or results in another order.

use aws_sdk_sqs::Client;
use serde_json::{Value, json};
use sqjobs::{
    Record,
    jiff::Timestamp,
    queue::{Outgoing, Queue as _, Sqs},
    store::{DynamoDb, Index as _, Store as _, StoreError, Write},
};

use crate::{
    due::now,
    function::Function,
    proxy::{Fault, Passed},
    schedule::minutely,
    world::World,
};

/// Returns the table, reached through the proxy.
fn store(world: &World) -> DynamoDb {
    let config = world.account.dynamodb.config().to_builder().endpoint_url(world.proxy.url());
    DynamoDb::new(sqjobs::aws_sdk_dynamodb::Client::from_conf(config.build()), "jobs")
}

/// Returns the queues, reached through the proxy.
fn queues(world: &World) -> Sqs {
    let config = world.account.sqs.config().to_builder().endpoint_url(world.proxy.url());
    Sqs::new(Client::from_conf(config.build()))
}

fn answer(world: &World, operation: &'static str, body: &str, answer: &Value) {
    world.proxy.arm(Fault::answer(operation, body, 200, answer.to_string()));
}

/// Returns the values of a field in the given requests.
fn asked(requests: &[Passed], name: &str) -> Vec<Value> {
    let body = |request: &Passed| serde_json::from_str::<Value>(&request.body).expect("JSON");
    requests.iter().map(|request| body(request)[name].clone()).collect()
}

fn record(id: &str) -> Record {
    let record = json!({"id": id, "name": "probe", "queue": "probes", "state": "queued", "attempts": 0, "max_attempts": 1});
    serde_json::from_value(record).expect("a record")
}

fn sent(entry: &str, message: &str) -> Value {
    json!({"Id": entry, "MessageId": message, "MD5OfMessageBody": "0"})
}

#[test]
fn a_message_that_sqs_could_not_take_for_now_is_sent_again_alone() {
    World::setup().test(async |world| {
        let failed = |entry: &str, is_ours: bool| json!({"Id": entry, "Code": "InternalError", "SenderFault": is_ours});
        let partial = json!({"Successful": [sent("0", "first")], "Failed": [failed("2", true), failed("1", false)]});
        answer(world, "SendMessageBatch", "", &partial);
        let answers = queues(world).send("probes", &["a", "b", "c"].map(Outgoing::new)).await;
        assert_eq!(answers[0].as_ref().ok().map(String::as_str), Some("first"));
        assert!(answers[1].is_ok() && answers[2].is_err(), "{answers:?}");
        let entries = &asked(&world.proxy.passed("SendMessageBatch"), "Entries")[1];
        assert_eq!(entries.as_array().map(Vec::len), Some(1));
        assert_eq!(entries[0]["MessageBody"], json!("b"));
        let messages = world.messages().await;
        assert_eq!(messages.len(), 1);
        assert_eq!(&*messages[0].body, "b");
    });
}

#[test]
fn a_message_gets_its_own_id_in_whatever_order_sqs_answers() {
    World::setup().test(async |world| {
        answer(world, "SendMessageBatch", "", &json!({"Successful": [sent("1", "second"), sent("0", "first")], "Failed": []}));
        let answers = queues(world).send("probes", &["a", "b"].map(Outgoing::new)).await;
        assert_eq!(answers.into_iter().map(|answer| answer.expect("sent")).collect::<Vec<_>>(), ["first", "second"]);
    });
}

#[test]
fn keys_that_dynamodb_leaves_out_are_read_again() {
    World::setup().test(async |world| {
        for id in ["a", "b"] {
            world.store().write(&[Write::insert(record(id))]).await.remove(0).expect("written");
        }
        let left_out = |ids: &[&str]| {
            let keys: Vec<_> = ids.iter().map(|id| json!({"id": {"S": id}})).collect();
            json!({"Responses": {"jobs": []}, "UnprocessedKeys": {"jobs": {"Keys": keys, "ConsistentRead": true}}})
        };
        let ids = ["a", "b", "c"].map(String::from);
        // `c` was requested, and does not exist.
        answer(world, "BatchGetItem", "", &left_out(&["a", "b"]));
        let found: Vec<_> = store(world).read(&ids).await.into_iter().map(|read| read.expect("an answer").map(|found| found.id)).collect();
        assert_eq!(found, [Some("a".into()), Some("b".into()), None]);
        answer(world, "BatchGetItem", "", &left_out(&["a", "b", "c"]));
        let unread = store(world).read(&ids).await;
        assert!(unread.iter().all(|read| matches!(read, Err(StoreError::Busy(_)))), "{unread:?}");
    });
}

#[test]
fn a_query_reads_pages_until_it_has_enough() {
    World::setup().test(async |world| {
        let page = |id: &str, is_last: bool| {
            let key = json!({"id": {"S": format!("tag:t\u{1f}{id}")}});
            let mut page = json!({"Items": [key], "Count": 1, "ScannedCount": 1});
            if !is_last {
                page["LastEvaluatedKey"] = key;
            }
            page
        };
        for (limit, pages) in [(10, vec!["1", "2", "3"]), (2, vec!["1", "2"])] {
            let (last, more) = pages.split_last().expect("a page");
            for id in more {
                answer(world, "Query", "", &page(id, false));
            }
            answer(world, "Query", "ExclusiveStartKey", &page(last, limit == 10));
            assert_eq!(store(world).listed("tag:t", limit).await.expect("an answer"), pages);
            assert!(world.proxy.is_spent());
        }
        assert_eq!(world.proxy.passed("Query").len(), 5);
    });
}

#[test]
fn a_statement_that_was_throttled_or_conflicts_can_be_tried_again() {
    World::setup().test(async |world| {
        for code in ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"] {
            let refusal = json!({"Error": {"Code": code, "Message": "armed"}, "TableName": "jobs"});
            answer(world, "BatchExecuteStatement", "", &json!({"Responses": [refusal, {"TableName": "jobs"}]}));
            let answers = store(world).write(&["a", "b"].map(|id| Write::insert(record(id)))).await;
            assert!(matches!(answers[0], Err(StoreError::Busy(_))) && answers[1].is_ok(), "{answers:?}");
        }
    });
}

#[test]
fn a_schedule_fires_although_its_transaction_conflicts() {
    World::setup().test(async |world| {
        let (beater, at) = (Function::beater(), Timestamp::from_second(now().as_second() / 60 * 60).expect("a minute"));
        world.deploy_beater(&beater).await;
        world.schedule(minutely(world, "minutely")).await;
        let reasons = json!([{"Code": "None"}, {"Code": "TransactionConflict", "Message": "armed"}, {"Code": "None"}]);
        let conflict = json!({"__type": "TransactionCanceledException", "Message": "armed", "CancellationReasons": reasons}).to_string();
        (0..2).for_each(|_| world.proxy.arm(Fault::answer("TransactWriteItems", "minutely", 400, &*conflict)));
        let tick = world.tick(&beater, at).await;
        assert_eq!(tick["fired"], json!(3), "{tick}");
        assert_eq!(tick["failed"], json!(0), "{tick}");
        assert!(world.proxy.is_spent());
    });
}
