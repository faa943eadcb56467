//! Jobs that a beater recovers when no message is left, and messages that SQS itself has moved to the dead-letter queue.

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::{
    due::{each_runs_once, now},
    function::Function,
    message::Message,
    wait,
    world::{PATIENCE, World},
};

/// Returns the record of a job whose process died in its first attempt and whose message is gone.
fn killed(world: &World, id: &str) -> Value {
    let body = world.probe(id, &json!({})).to_string();
    json!({
        "id": id, "name": "probe", "queue": "probes", "state": "running", "attempts": 1, "max_attempts": 5, "generation": 1,
        "runs": 1, "owner": "dead", "lease_until": (now() - 20.minutes()).as_millisecond(), "envelope": body,
    })
}

/// Ticks until the field `what` of a tick is not zero. Each tick examines one part of the table.
async fn tick_until(world: &World, beater: &Function, what: &str) -> Timestamp {
    let start = now() - 3.hours();
    for minute in 0..60 {
        let at = start + minute.minutes();
        // On a busy machine a request may time out; then the same tick is repeated.
        let tick = wait::until("a tick is done whole", PATIENCE, async || {
            let tick = world.tick(beater, at).await;
            if tick["failed"] == json!(0) || tick[what].as_u64() > Some(0) { Ok(tick) } else { Err(tick.to_string()) }
        })
        .await;
        assert_eq!(tick["wrong"], json!(0), "{tick}");
        if tick[what] != json!(0) {
            return at;
        }
    }
    panic!("within an hour nothing was {what}");
}

#[test]
fn a_job_whose_message_is_gone_is_found_within_an_hour_and_runs() {
    World::setup().test(async |world| {
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        world.plant(killed(world, "killed")).await;
        let late = json!({"id": "late", "name": "probe", "queue": "probes", "state": "retrying", "run_at": now() - 25.hours()});
        world.plant(late).await;
        tick_until(world, &beater, "repaired").await;
        assert_eq!(world.tick(&beater, now()).await["sent"], json!(1));
        each_runs_once(world, &["killed".to_owned()]).await;
        let record = world.record("killed").await.expect("a record");
        assert_eq!(record.attempts, 2);
        assert_eq!(record.past(), vec!["killed"]);
        tick_until(world, &beater, "overdue").await;
        assert_eq!(world.record("late").await.expect("a record").state, "retrying", "its message may still come");
    });
}

#[test]
fn a_filed_job_with_wrong_arguments_fails_once_with_one_dead_letter() {
    World::setup().test(async |world| {
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        world.deploy(&Function::probe()).await;
        let body = json!({"name": "probe", "id": "wrong", "args": {"effects": 7}}).to_string();
        world
            .plant(json!({
                "id": "wrong", "name": "probe", "queue": "probes", "state": "scheduled", "max_attempts": 3, "owner": "filer",
                "envelope": body, "due": "due#0", "run_at": now() - 1.minute(),
            }))
            .await;
        assert_eq!(world.tick(&beater, now()).await["sent"], json!(1));
        let record = world.record_when("wrong", "is dead-lettered", |record| record.dlq.as_deref() == Some("sent")).await;
        assert_eq!(record.state.as_str(), "failed");
        assert_eq!(record.kind(), Some("rejected"));
        assert_eq!(record.attempts, 0);
        assert_eq!(kinds(&world.dead_letters_when(1).await), ["rejected"]);
        world.drained().await;
        // Regression test: a beater filed such a job again each day.
        let later = now() + 26.hours();
        for minute in 0..60 {
            let tick = world.tick(&beater, later + minute.minutes()).await;
            assert_eq!(tick["repaired"], json!(0), "{tick}");
            assert_eq!(tick["sent"], json!(0), "{tick}");
        }
        assert_eq!(world.dead_letters().await.len(), 1);
    });
}

#[test]
fn an_owed_dead_letter_is_sent_though_no_message_is_left() {
    World::setup().test(async |world| {
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        world.deploy(&Function::probe()).await;
        let body = world.probe("owed", &json!({"act": "fatal"})).to_string();
        world
            .plant(json!({
                "id": "owed", "name": "probe", "queue": "probes", "state": "failed", "attempts": 1, "max_attempts": 3, "generation": 1,
                "runs": 1, "owner": "dead", "envelope": body, "dlq": "pending", "finished_at": now() - 20.minutes(),
                "error": {"kind": "fatal", "message": "gave up as told", "at": now() - 20.minutes()}, "purge_at": (now() + 400.hours()).as_second(),
            }))
            .await;
        tick_until(world, &beater, "repaired").await;
        let record = world.record_when("owed", "is dead-lettered", |record| record.dlq.as_deref() == Some("sent")).await;
        assert_eq!(record.state.as_str(), "failed");
        assert_eq!(record.kind(), Some("fatal"));
        assert_eq!(record.attempts, 1);
        let letters = world.dead_letters_when(1).await;
        assert_eq!(letters[0].attribute("sqjobs.kind"), "fatal");
        assert_eq!(letters[0].body, body);
        assert_eq!(world.effects.runs_of("owed").len(), 0, "it does not run again");
    });
}

#[test]
fn a_row_outside_the_index_is_found_within_an_hour() {
    World::setup().test(async |world| {
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        let job = world.probe("row", &json!({}));
        world.schedule_many(&[json!({"id": "row", "every_s": 86_400, "job": "probe", "queue": "probes", "args": job["args"]})]).await;
        tick_until(world, &beater, "fired").await;
        let row = world.scheduled("row").await.expect("a row");
        assert!(row["due"].is_string() && row["next_fire"].is_string(), "{row}");
    });
}

#[test]
fn a_message_that_sqs_has_moved_is_explained_and_a_redrive_runs_it() {
    World::setup().test(async |world| {
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        world.give_up_after(1).await;
        world.send(world.probe("given-up", &json!({}))).await;
        world.receive_until_moved(1).await;
        let tick = world.tick(&beater, now()).await;
        assert_eq!(tick["explained"], json!(1), "{tick}");
        assert_eq!(tick["failed"], json!(0), "{tick}");
        let record = world.record("given-up").await.expect("a record");
        assert_eq!(record.state.as_str(), "failed");
        assert_eq!(record.kind(), Some("redriven"));
        assert_eq!(record.dlq.as_deref(), Some("sent"));
        let letters = world.dead_letters().await;
        assert_eq!(kinds(&letters), ["redriven"]);
        assert_eq!(world.tick(&beater, now()).await["explained"], json!(0), "once");

        world.give_up_after(1000).await;
        world.redrive(&letters[0]).await;
        each_runs_once(world, &["given-up".to_owned()]).await;
    });
}

#[test]
fn a_beater_that_dies_explaining_leaves_failed_jobs_with_their_reasons() {
    World::setup().test(async |world| {
        let beater = Function::beater().mortal();
        world.deploy_beater(&beater).await;
        world.give_up_after(1).await;
        world.tick(&beater, now()).await;
        let look = world.proxy.passed("").iter().position(|passed| passed.operation.contains("ReceiveMessage"));
        // A warm beater makes fewer requests before it looks into the queue.
        let first = look.expect("it looks into the dead-letter queue").saturating_sub(8);
        let mut ids = Vec::new();
        loop {
            let steps = ids.len();
            ids.push(format!("after-{steps}-steps"));
            world.send(world.probe(&ids[steps], &json!({}))).await;
            world.receive_until_moved(1).await;
            world.proxy.cut_after(first + steps);
            world.tick(&beater, now()).await;
            // The local queue gives the same ten messages again and again, so there may be no more.
            if !world.proxy.mend() || ids.len() == 10 {
                break;
            }
            world.tick(&beater, now()).await;
        }
        assert!(ids.len() > 8, "a read, a write, a copy, a mark and a delete: {ids:?}");
        // Messages that a dead beater received stay invisible for a while.
        wait::until("each has its reason", PATIENCE, async || {
            world.tick(&beater, now()).await;
            let letters = world.dead_letters().await;
            if kinds(&letters).contains(&"") { Err(format!("{letters:?}")) } else { Ok(()) }
        })
        .await;
        for id in &ids {
            let record = world.record(id).await.expect("a record");
            assert_eq!(record.state.as_str(), "failed", "{id}");
            assert_eq!(record.dlq.as_deref(), Some("sent"), "{id}");
        }
        let letters = world.dead_letters().await;
        assert!(kinds(&letters).iter().all(|kind| *kind == "redriven"));
        for id in &ids {
            assert!(letters.iter().any(|letter| letter.attribute("sqjobs.id") == id), "{id} is there to be redriven");
        }
    });
}

fn kinds(letters: &[Message]) -> Vec<&str> {
    letters.iter().map(|letter| letter.attribute("sqjobs.kind")).collect()
}
