//! Jobs that the transaction of an application enqueues.

use std::{sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, Put, TransactWriteItem},
};
use futures_util::future::join;
use serde_json::json;
use sqjobs::{By, Client, Clock, Enqueue, Error, Keys, Workflow, queue::Sqs};

use crate::{
    due::now,
    function::Function,
    producer::python,
    world::{TABLE, World},
};

/// The items of the application. They are in the table of the jobs, so that the test needs no other.
const ITEM: &str = "an order";

fn client(world: &World) -> Client {
    Client::new(Arc::new(Sqs::new(world.account.sqs.clone())), Arc::new(world.store()), Clock::system(), "")
}

fn job(world: &World, id: &str) -> Enqueue {
    Enqueue::named("probe", world.probe(id, &json!({}))["args"].clone()).queue("probes").id(id)
}

/// Commits an item of the application, which must not exist, together with these parts. Returns `false` if the transaction is cancelled.
async fn commit(world: &World, item: &str, parts: Vec<TransactWriteItem>) -> bool {
    let put =
        Put::builder().table_name(TABLE).item("id", AttributeValue::S(item.to_owned())).item("purge_at", AttributeValue::N("1".into()));
    let put = put.condition_expression("attribute_not_exists(id)").build().expect("complete");
    let parts = [TransactWriteItem::builder().put(put).build()].into_iter().chain(parts).collect();
    match world.account.dynamodb.transact_write_items().set_transact_items(Some(parts)).send().await {
        Ok(_) => true,
        Err(error) => {
            let is_cancelled = matches!(error.as_service_error(), Some(TransactWriteItemsError::TransactionCanceledException(_)));
            assert!(is_cancelled, "{error:?}");
            false
        }
    }
}

#[test]
fn a_job_runs_once_if_its_transaction_succeeds_and_never_otherwise() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let client = client(world);
        let placed = client.outbox(job(world, "placed").tag("mail").tag("mail").listed()).expect("a good job");
        assert!(matches!(client.send_outbox([&*placed.id]).await[0], Err(Error::NotFound(_))), "it is not committed yet");
        assert!(commit(world, ITEM, placed.parts.clone()).await);
        let sent = client.send_outbox([&*placed.id]).await.remove(0).expect("it is committed");
        assert!(!sent.message_id.is_empty());
        world.record_in("placed", "succeeded").await;
        let listed = client.list(By::Tag("mail"), 10).await.expect("the table answers");
        assert_eq!(listed.iter().map(|record| &*record.id).collect::<Vec<_>>(), ["placed"]);

        let unplaced = client.outbox(job(world, "unplaced")).expect("a good job");
        assert!(!commit(world, ITEM, unplaced.parts).await, "the item exists");
        assert!(matches!(client.send_outbox([&*unplaced.id]).await[0], Err(Error::NotFound(_))));

        assert!(!commit(world, "another order", placed.parts).await, "the job exists");
        let again = client.send_outbox([&*placed.id]).await.remove(0).expect("it is known");
        assert_eq!(again.message_id, "", "it was sent before");
        world.drained().await;
        assert_eq!(world.effects.ids(), ["placed"]);
    });
}

#[test]
fn a_beater_sends_a_committed_job_whose_process_died() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        let client = client(world);
        for (id, also_sends) in [("left", false), ("raced", true)] {
            let parts = client.outbox(job(world, id)).expect("a good job").parts;
            assert!(commit(world, &format!("order of {id}"), parts).await);
            let tick = world.tick(&beater, now());
            let send = async { if also_sends { client.send_outbox([id]).await } else { Vec::new() } };
            join(tick, send).await;
            world.record_in(id, "succeeded").await;
        }
        world.drained().await;
        assert_eq!(world.effects.ids(), ["left", "raced"]);
    });
}

#[test]
fn a_job_in_an_outbox_may_be_awaited_delayed_or_of_a_fifo_queue() {
    World::setup().fifo().test(async |world| {
        world.deploy(&Function::probe()).await;
        let client = client(world);
        let fifo = |id: &str| job(world, id).queue("probes.fifo").group("g");
        let waits = client.enqueue_one(fifo("waits").after(["awaited"])).await.expect("it is sent");
        world.record_in(&waits.id, "blocked").await;
        let later = fifo("later").delay(Duration::from_hours(1));
        let jobs = [fifo("awaited"), later].map(|job| client.outbox(job).expect("a good job"));
        let ids = jobs.each_ref().map(|job| job.id.clone());
        assert!(commit(world, ITEM, jobs.into_iter().flat_map(|job| job.parts).collect()).await);
        assert!(client.send_outbox(ids).await.iter().all(Result::is_ok));
        world.record_in("waits", "succeeded").await;
        world.drained().await;
        assert_eq!(world.effects.ids(), ["awaited", "waits"]);
        assert_eq!(world.record("later").await.expect("a record").state, "scheduled");

        let workflow = Workflow::new(job(world, "closing")).job(job(world, "member")).build().expect("a good workflow");
        let error = client.outbox(workflow).expect_err("it is refused").to_string();
        assert!(error.contains("put a job into the outbox that enqueues the workflow"), "{error}");
        let error = client.outbox(fifo("again").dedup("other")).expect_err("it is refused").to_string();
        assert!(error.contains("leave it out"), "{error}");
        let unique = job(world, "unique").keys(Keys::new().unique("k")).delay(Duration::from_hours(1));
        let error = client.outbox(unique).expect_err("it is refused").to_string();
        assert!(error.contains("leave out the delay or the key"), "{error}");
        let large = Enqueue::named("probe", "x".repeat(390_000).into());
        let error = client.outbox(large).expect_err("it is refused").to_string();
        assert!(error.contains("bytes"), "{error}");
    });
}

#[test]
fn python_enqueues_in_a_transaction_and_a_beater_sends() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        python(world, &["outbox", &world.probe("from-python", &json!({})).to_string()]);
        world.tick(&beater, now()).await;
        world.record_in("from-python", "succeeded").await;
        world.drained().await;
        assert_eq!(world.effects.ids(), ["from-python"]);
    });
}
