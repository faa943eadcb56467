//! Commands for jobs and schedules.

use std::{
    collections::BTreeSet,
    fs, io,
    process::{Command, Stdio},
    sync::Arc,
};

use aws_sdk_sqs::types::MessageAttributeValue;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqjobs::{Client, Clock, Envelope, queue::Sqs};

use super::{Ran, alone, args, command, piped, sqjobs};
use crate::{
    function::{Function, program},
    proxy::{Fault, Hold},
    wait,
    world::{PATIENCE, World},
};

#[test]
fn a_job_is_enqueued_followed_read_explained_and_run_again_by_command() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let orders = args(world, &json!({}));
        let enqueue =
            ["enqueue", "probe", &orders, "--queue", "probes", "--id", "a", "--tag", "urgent", "--meta", "tenant=7", "--recorded"];
        let followed = sqjobs(world, &[&enqueue[..], &["--wait", "--json"]].concat()).json();
        let last = followed.last().expect("a line");
        assert_eq!(last["state"], "succeeded");
        assert_eq!(last["result"], 1);
        assert_eq!(last["meta"]["tenant"], 7);

        let read = sqjobs(world, &["get", "a", "--json"]).json();
        let stored: Value = serde_dynamo::from_item(world.item("a").await).expect("plain data");
        assert_eq!(read, [stored], "the JSON is the record as it is stored");
        let shown = sqjobs(world, &["get", "a"]).yes();
        assert!(shown.starts_with("a  succeeded\n") && shown.contains("tags          [\"urgent\"]"), "{shown}");
        let explained = sqjobs(world, &["explain", "a"]).yes();
        assert!(explained.contains("It is a \"probe\" job") && explained.contains("It succeeded at"), "{explained}");

        let asked = sqjobs(world, &["retry", "a", &orders]).error();
        assert!(
            asked.contains("a succeeded at") && asked.contains("Run it again? There is no terminal for the question; add --yes"),
            "{asked}"
        );
        assert_eq!(world.effects.runs_of("a").len(), 1, "it was not asked for");
        assert_eq!(sqjobs(world, &["retry", "a", &orders, "--yes"]).yes(), "a runs again\n");
        assert!(sqjobs(world, &["watch", "a"]).yes().ends_with("succeeded, attempt 1 of 3  1\n"));
        assert_eq!(world.effects.runs_of("a").len(), 2);
        let again = &sqjobs(world, &["get", "a", "--json"]).json()[0];
        assert_eq!(again["history"][0]["kind"], "succeeded", "its first ending is remembered");
        assert_eq!(again["history"][0]["at"], last["finished_at"], "its first ending is remembered");
        let explained = sqjobs(world, &["explain", "a"]).yes();
        assert!(explained.contains("It succeeded at") && explained.contains(", and was then enqueued again."), "{explained}");

        assert_eq!(sqjobs(world, &["watch", "a", "--json"]).json()[0]["state"], "succeeded");
        let story = &sqjobs(world, &["explain", "a", "--json"]).json()[0];
        assert_eq!(story["id"], "a");
        assert_eq!(story["state"], "succeeded");
        assert_eq!(sqjobs(world, &["explain", "b", "--json"]).json()[0]["state"], Value::Null);

        assert!(sqjobs(world, &["get", "b"]).no().contains("b has no record"));
        assert!(sqjobs(world, &["explain", "b"]).no().contains("There is no record of \"b\""));
        assert!(sqjobs(world, &["retry", "b", "1"]).error().contains("sqjobs enqueue"));
        let nobody = sqjobs(world, &["watch", "b", "--within", "1s"]).no();
        assert!(nobody.contains("no attempt of b has started yet") && nobody.contains("has not ended after 1.0s"), "{nobody}");
    });
}

#[test]
fn what_has_failed_is_listed_by_command_until_it_is_run_again() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let fatal = args(world, &json!({"act": "fatal"}));
        let ended = sqjobs(world, &["enqueue", "probe", &fatal, "--queue", "probes", "--id", "a", "--wait"]).no();
        assert!(ended.contains("failed, attempt 1 of 3  fatal: gave up as told"), "{ended}");
        let failed = sqjobs(world, &["list", "--json"]).json();
        assert_eq!(failed.iter().map(|record| &record["id"]).collect::<Vec<_>>(), ["a"]);
        let table = sqjobs(world, &["list"]).yes();
        let row: Vec<_> = table.lines().nth(1).expect("a row").split_whitespace().collect();
        assert_eq!(row[..4], ["a", "probe", "failed", "1/3"], "{table}");
        assert_eq!(table.lines().count(), 2, "{table}");
        let explained = sqjobs(world, &["explain", "a"]).yes();
        assert!(
            explained.contains("with fatal: gave up as told") && explained.contains("`sqjobs dlq redrive probes --id a`"),
            "{explained}"
        );
        assert!(explained.contains("with other arguments: `sqjobs retry a ARGS`, which keeps its dead letter"), "{explained}");
        assert!(explained.contains("A copy of its message was sent to the dead-letter queue."), "{explained}");

        sqjobs(world, &["dlq", "purge", "probes", "--id", "a", "--yes"]).yes();
        let explained = sqjobs(world, &["explain", "a"]).yes();
        assert!(
            explained.contains("A copy of its message was sent to the dead-letter queue, but is no longer there: it was deleted"),
            "{explained}"
        );
        assert!(explained.contains("then run the job again: `sqjobs retry a ARGS`.") && !explained.contains("redrive"), "{explained}");

        sqjobs(world, &["retry", "a", &args(world, &json!({}))]).yes();
        world.record_in("a", "succeeded").await;
        let none = sqjobs(world, &["list"]);
        assert!(
            (none.status, &*none.printed) == (0, "") && none.said.starts_with("none\nThe list contains the jobs that failed for good"),
            "{}",
            none.said
        );
    });
}

#[test]
fn a_job_that_waits_is_found_moved_and_called_off_by_command() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let orders = args(world, &json!({}));
        sqjobs(world, &["enqueue", "probe", &orders, "--queue", "probes", "--id", "a", "--delay", "1h"]).yes();
        world.record_in("a", "scheduled").await;
        let due = || sqjobs(world, &["list", "--due", "--json"]).json();
        assert_eq!(due()[0]["id"], "a");
        let moved = sqjobs(world, &["move", "a", "--at", "2100-01-01T00:00:00Z", "--json"]).json();
        assert_eq!(moved, [json!({"id": "a", "moved": true, "run_at": "2100-01-01T00:00:00Z"})]);
        assert_eq!(due()[0]["run_at"], "2100-01-01T00:00:00.000Z");
        let explained = sqjobs(world, &["explain", "a"]).yes();
        assert!(explained.contains("It waits in the due index until 2100-01-01T00:00:00Z"), "{explained}");
        sqjobs(world, &["cancel", "a"]).yes();
        let none = sqjobs(world, &["list", "--due"]);
        assert!(
            none.printed.is_empty()
                && none.said.starts_with("none\nThe list contains the waiting jobs that are delayed by more than 15 minutes"),
            "{}",
            none.said
        );
        assert!(sqjobs(world, &["cancel", "a"]).no().contains("had already ended (cancelled at"));
        assert!(sqjobs(world, &["move", "a", "--in", "1h"]).no().contains("it has ended (cancelled at"));
        let left = sqjobs(world, &["move", "a", "--in", "1h", "--json"]);
        assert_eq!(left.status, 1);
        assert_eq!(left.json(), vec![json!({"id": "a", "moved": false, "run_at": null})]);
        assert!(sqjobs(world, &["cancel", "a", "b"]).error().contains("add --yes"), "nobody is there to ask");
        assert_eq!(world.record("a").await.expect("a record").state, "cancelled");
    });
}

#[test]
fn jobs_are_found_by_tag_and_object_and_as_a_tree_by_command() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let orders = args(world, &json!({}));
        let enqueue = |id: &str, more: &[&str]| {
            sqjobs(world, &[&["enqueue", "probe", &orders, "--queue", "probes", "--id", id, "--listed"], more].concat()).yes();
        };
        enqueue("first", &["--tag", "urgent"]);
        let child =
            json!({"name": "probe", "id": "child", "args": world.probe("", &json!({}))["args"], "parent_id": "first", "root_id": "first"});
        let printed =
            piped(world, &["enqueue", "--from", "-", "--queue", "probes", "--listed", "--object", "order:17"], &child.to_string()).yes();
        assert_eq!(printed, "1 job enqueued\n");
        world.record_in("child", "succeeded").await;
        world.record_in("first", "succeeded").await;
        let ids = |by: &[&str]| {
            let found = sqjobs(world, &[&["list", "--json"], by].concat()).json();
            found.into_iter().map(|record| record["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&["--tag", "urgent"]), ["first"]);
        assert_eq!(sqjobs(world, &["tag", "child", "--add", "late", "--add", "b"]).yes(), "child has the tags late, b\n");
        let tagged = sqjobs(world, &["tag", "first", "--add", "late", "--remove", "urgent", "--json"]).json();
        assert_eq!(tagged, [json!({"id": "first", "tags": ["late"]})]);
        assert_eq!(ids(&["--tag", "late"]), ["child", "first"]);
        assert_eq!(ids(&["--tag", "urgent"]), [""; 0]);
        assert_eq!(sqjobs(world, &["tag", "first", "--remove", "late"]).yes(), "first has no tags\n");
        assert!(sqjobs(world, &["tag", "unknown", "--add", "x"]).no().contains("unknown has no record, so no tag was changed"));
        assert_eq!(sqjobs(world, &["tag", "unknown", "--add", "x", "--json"]).json(), [json!({"id": "unknown", "tags": null})]);
        assert!(sqjobs(world, &["tag", "first", "--add", "x", "--remove", "x"]).error().contains("both added and removed"));
        assert_eq!(ids(&["--object", "order:17"]), ["child"]);
        assert_eq!(ids(&["--name", "probe", "--state", "succeeded"]), ["child", "first"]);
        assert_eq!(ids(&["--name", "probe", "--state", "running"]), [""; 0]);
        assert_eq!(ids(&["--state", "scheduled"]), [""; 0]);
        assert!(sqjobs(world, &["list", "--state", "running"]).error().contains("add --name"));
        let cut = sqjobs(world, &["list", "--name", "probe", "--limit", "1"]);
        assert!(
            cut.said.starts_with("only the first 1 are shown; --limit shows more\nA search by name, tag or tree finds only jobs"),
            "{}",
            cut.said
        );
        assert_eq!(cut.printed.lines().count(), 2, "{}", cut.printed);
        let all = sqjobs(world, &["list", "--object", "order:17"]).said;
        assert_eq!(all, "The list contains the jobs that were enqueued with this object (--object, or `Enqueue::object`).\n");
        let tree = sqjobs(world, &["tree", "child"]);
        assert!(tree.said.contains("and the listed jobs of the same tree"), "{}", tree.said);
        let tree = tree.yes();
        let shown: Vec<_> = tree.lines().map(|line| line.rsplit_once("  ").expect("it tells when").0).collect();
        assert_eq!(shown, ["  first  probe  succeeded", "*   child  probe  succeeded"]);
        assert_eq!(sqjobs(world, &["tree", "child", "--json"]).json().len(), 2);
    });
}

#[test]
fn a_running_job_is_tagged_without_a_loss_for_its_attempt() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let orders = args(world, &json!({"act": {"wait_for": world.effects.gate()}}));
        sqjobs(world, &["enqueue", "probe", &orders, "--queue", "probes", "--id", "a", "--tag", "old"]).yes();
        world.record_in("a", "running").await;
        // Changes at the same time are all made.
        let client = Client::new(Arc::new(Sqs::new(world.account.sqs.clone())), Arc::new(world.store()), Clock::system(), "");
        let changes = ["t1", "t2", "t3"].map(|tag| {
            let client = client.clone();
            async move { client.tag("a", &[tag], &["old"]).await.expect("an answer").expect("a record") }
        });
        join_all(changes).await;
        world.effects.open_the_gate();
        world.record_in("a", "succeeded").await;
        let stored = client.get("a").await.expect("an answer").expect("a record");
        let mut tags = stored.tags;
        tags.sort_unstable();
        assert_eq!(tags, ["t1", "t2", "t3"]);
        assert_eq!(stored.attempts, 1);
        assert_eq!(world.effects.runs_of("a").len(), 1);
    });
}

#[test]
fn a_wait_for_a_rejected_message_ends_with_its_reason() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let waited = sqjobs(world, &["enqueue", "probe", "[1]", "--queue", "probes", "--id", "bad", "--wait"]).no();
        assert!(waited.starts_with("bad\n") && waited.contains("failed  rejected: "), "{waited}");
        let explained = sqjobs(world, &["explain", "bad"]).yes();
        assert!(explained.contains("rejected: ") && explained.contains("`sqjobs dlq show probes bad`"), "{explained}");
        assert!(!explained.contains("dlq redrive"), "{explained}");

        sqjobs(world, &["enqueue", "stranger", "[1]", "--queue", "probes", "--id", "parked"]).yes();
        wait::until("the message is parked", PATIENCE, async || {
            let explained = sqjobs(world, &["explain", "parked"]).no();
            if explained.contains("parked the message of this job. The reason: the function does not have the job.") {
                Ok(())
            } else {
                Err(explained)
            }
        })
        .await;
        let explained = sqjobs(world, &["explain", "another"]).no();
        assert!(explained.contains("There is no record") && !explained.contains("parked"), "the parked message is of another: {explained}");
        let late = "The counts of SQS may be a minute late.";
        assert_eq!(explained.matches("may be a minute late").count(), explained.matches(late).count(), "{explained}");
        assert_eq!(explained.matches(late).count(), 1, "{explained}");
        let watched = sqjobs(world, &["watch", "parked", "--within", "1s"]).no();
        assert!(
            watched.contains("no attempt of parked has started yet") && watched.contains("the function does not have the job"),
            "{watched}"
        );
    });
}

#[test]
fn a_message_rejected_for_a_field_is_explained_by_the_id_in_its_body() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(json!({"name": "probe", "id": "field", "max_attempts": "five"})).await;
        world.dead_letters_when(1).await;
        let explained = sqjobs(world, &["explain", "field"]).yes();
        assert!(explained.contains("rejected: max_attempts") && explained.contains("`sqjobs dlq show probes field`"), "{explained}");
        assert!(sqjobs(world, &["dlq", "show", "probes", "field"]).yes().contains("max_attempts"), "the command that is named works");
        sqjobs(world, &["dlq", "purge", "probes", "--id", "field", "--yes"]).yes();
        assert!(world.dead_letters().await.is_empty());
    });
}

#[test]
fn a_message_sent_to_a_dead_letter_queue_is_refused_or_explained_as_such() {
    World::setup().test(async |world| {
        let direct = json!({"name": "probe", "id": "direct", "args": [1]}).to_string();
        world.account.sqs.send_message().queue_url(&world.queues.dlq_url).message_body(direct).send().await.expect("it is sent");
        let explained = sqjobs(world, &["explain", "direct"]).no();
        assert!(explained.contains("misdirected: a producer sent the message directly to the dead-letter queue"), "{explained}");
        assert!(!explained.contains("moved by SQS") && explained.contains("`sqjobs dlq redrive probes --id direct`"), "{explained}");
        assert_eq!(sqjobs(world, &["dlq", "list", "--json"]).json()[0]["kind"], "misdirected");

        let line = json!({"name": "probe", "queue": "probes-dlq"}).to_string();
        let refusals = [
            sqjobs(world, &["enqueue", "probe", "[1]", "--queue", "probes-dlq"]).error(),
            sqjobs(world, &["enqueue", "probes-dlq", "[1]"]).error(),
            sqjobs(world, &["schedule", "add", "nightly", "probe", "--cron", "1 0 * * *", "--queue", "probes-dlq"]).error(),
            piped(world, &["enqueue", "--from", "-"], &line).no(),
        ];
        for refusal in refusals {
            assert!(
                refusal.contains("queue probes-dlq is a dead-letter queue")
                    && refusal.contains("name its source queue instead: --queue probes"),
                "{refusal}"
            );
        }
        assert_eq!(world.dead_letters().await.len(), 1, "nothing was sent");

        // A dead letter of another queue's job is not sent to this queue.
        sqjobs(world, &["queue", "create", "adder"]).yes();
        let strayed = json!({"name": "adder", "id": "strayed", "args": [1]}).to_string();
        world.account.sqs.send_message().queue_url(&world.queues.dlq_url).message_body(strayed).send().await.expect("it is sent");
        let belongs = "Its job belongs to queue adder. A redrive would send the message to queue probes, whose function may not have the \
                       job. Enqueue the job again: `sqjobs enqueue adder ARGS --id strayed`. Then delete the dead letter: `sqjobs dlq \
                       purge probes --id strayed`.";
        let explained = sqjobs(world, &["explain", "strayed"]).no();
        assert!(explained.contains(belongs) && !explained.contains("dlq redrive"), "{explained}");
        let shown = sqjobs(world, &["dlq", "show", "probes", "strayed"]);
        assert!(shown.said.contains(belongs), "{}", shown.said);
        assert!(!sqjobs(world, &["dlq", "show", "probes", "direct"]).said.contains("belongs"));
    });
}

#[test]
fn a_job_whose_queue_was_purged_is_explained_and_can_be_enqueued_again() {
    World::setup().test(async |world| {
        let orders = args(world, &json!({}));
        let enqueue = ["enqueue", "probe", &orders, "--queue", "probes", "--id", "a", "--recorded"];
        sqjobs(world, &enqueue).yes();
        let waits = sqjobs(world, &["explain", "a"]).yes();
        assert!(waits.contains("it waits in its queue") && !waits.contains("is gone"), "{waits}");
        sqjobs(world, &["queue", "purge", "probes", "--yes"]).yes();
        world.drained().await;
        let explained = sqjobs(world, &["explain", "a"]).yes();
        assert!(explained.contains("the message is lost, for example because the queue was purged"), "{explained}");
        assert!(explained.contains("`sqjobs enqueue probe ARGS --id a --queue probes`"), "{explained}");
        let table = sqjobs(world, &["get", "a"]).yes();
        assert!(table.contains("unknown until the function starts the job"), "{table}");
        world.deploy(&Function::probe()).await;
        let again = sqjobs(world, &[&enqueue[..], &["--wait"]].concat());
        assert!(again.said.contains("with the same arguments; it runs only once"), "{}", again.said);
        again.yes();

        // The process of another job was killed, and its message is lost.
        let record = json!({
            "id": "b", "name": "probe", "queue": "probes", "state": "running", "attempts": 1, "max_attempts": 3, "generation": 1,
            "owner": "gone", "started_at": Clock::system().now(), "lease_until": 1_700_000_000_000_u64,
            "digest": Envelope::new("probe", serde_json::from_str(&orders).expect("JSON")).digest(),
        });
        world.plant(record).await;
        let explained = sqjobs(world, &["explain", "b"]).yes();
        assert!(explained.contains("so the attempt has died") && explained.contains("the message is lost"), "{explained}");
        assert!(explained.contains("`sqjobs enqueue probe ARGS --id b --queue probes`"), "{explained}");
        sqjobs(world, &["enqueue", "probe", &orders, "--id", "b", "--queue", "probes", "--wait"]).yes();
    });
}

#[test]
fn a_job_whose_queue_is_gone_is_explained_and_neither_moved_nor_retried() {
    World::setup().test(async |world| {
        let ago = Clock::system().now() - SignedDuration::from_hours(2);
        let record = |id: &str, state: &str, queue: &str, more: Value| {
            let mut record =
                json!({"id": id, "name": "probe", "queue": queue, "state": state, "attempts": 0, "max_attempts": 3, "enqueued_at": ago});
            record.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
            record
        };
        let filed = json!({"run_at": "2126-05-04T12:00:00Z", "due": "due#3", "envelope": "{}"});
        world.plant(record("filed", "scheduled", "gone", filed.clone())).await;
        world.plant(record("waits", "queued", "gone", json!({}))).await;
        world.plant(record("failed", "failed", "gone", json!({"attempts": 3, "generation": 3, "finished_at": ago, "dlq": "sent"}))).await;
        let explain = |id: &str| sqjobs(world, &["explain", id]).yes();
        let remedy = |so: &str, next: &str| {
            format!(
                "But its queue \"gone\" does not exist, so {so}. Create the queue with `sqjobs queue create gone`. After that, {next}. To \
                 cancel the job: "
            )
        };
        let explained = explain("filed");
        assert!(explained.contains(&remedy("no beater can send the job", "a beater sends the job")), "{explained}");
        assert!(!explained.contains("a beater sends it in time"), "{explained}");
        let explained = explain("failed");
        assert!(explained.contains("Its queue \"gone\" does not exist, so its dead letter cannot be sent back."), "{explained}");
        assert!(explained.contains("then run the job: `sqjobs retry failed ARGS`") && !explained.contains("redrive"), "{explained}");
        let explained = explain("waits");
        let again = "enqueue the job again with the same arguments: `sqjobs enqueue probe ARGS --id waits --queue gone`";
        assert!(explained.contains(&remedy("its message is lost", again)), "{explained}");
        assert!(!explained.contains("Possible reasons") && !explained.contains("cannot be read"), "{explained}");

        let create = "its queue gone does not exist; create it with `sqjobs queue create gone`";
        let refused = sqjobs(world, &["move", "filed", "--in", "1h"]).error();
        assert!(refused.contains(&format!("cannot move filed: {create}")), "{refused}");
        let refused = sqjobs(world, &["retry", "failed", "[1]", "--at", "2126-05-04T12:00:00Z"]).error();
        assert!(refused.contains(&format!("cannot run failed again: {create}")), "{refused}");
        assert_eq!(world.record("failed").await.expect("a record").state, "failed");
        let run_at = sqjobs(world, &["get", "filed", "--json"]).json()[0]["run_at"].clone();
        assert_eq!(run_at, "2126-05-04T12:00:00.000Z");

        world.schedule_many(&[json!({"id": "nightly", "cron": "1 0 * * *", "job": "probe", "queue": "gone", "paused": true})]).await;
        let resumed = sqjobs(world, &["schedule", "resume", "nightly"]).yes();
        assert_eq!(resumed, "nightly fires again when queue gone exists: `sqjobs queue create gone`\n");
        assert_eq!(sqjobs(world, &["schedule", "resume", "nightly", "--json"]).json()[0]["status"], "queue_missing");
        assert!(sqjobs(world, &["schedule", "run", "nightly"]).error().contains("`sqjobs queue create gone`"));

        sqjobs(world, &["queue", "create", "gone"]).yes();
        sqjobs(world, &["move", "filed", "--in", "1h"]).yes();
        let explained = explain("filed");
        assert!(explained.contains("EventBridge invokes no beater for these tables") && !explained.contains("in time"), "{explained}");

        // The messages in the queue may belong to other jobs.
        world.plant(record("purged", "queued", "probes", json!({}))).await;
        world.plant(record("held", "retrying", "probes", json!({"attempts": 1, "generation": 1, "run_at": ago, "envelope": "{}"}))).await;
        world.plant(record("new", "queued", "probes", json!({"enqueued_at": Clock::system().now()}))).await;
        world.send(world.probe("other", &json!({}))).await;
        let holds =
            "Queue probes holds messages (1), but SQS does not show whether the message of this job is among them. If the message was purged, ";
        let explained = explain("purged");
        assert!(explained.contains(&format!("{holds}enqueue the job again")), "{explained}");
        assert!(explain("held").contains(&format!("{holds}a beater sends the job again within about a day")), "{}", explain("held"));
        assert!(!explain("new").contains("purged"), "{}", explain("new"));
    });
}

#[test]
fn an_expired_dead_letter_is_explained_without_a_redrive() {
    World::setup().test(async |world| {
        world.plant(json!({"id": "a", "name": "probe", "queue": "probes", "state": "failed", "attempts": 1, "dlq": "sent"})).await;
        for id in ["a", "b"] {
            let body = json!({"name": "probe", "id": id, "args": [1], "expires_at": "2026-01-01T00:00:00Z"}).to_string();
            let kind = MessageAttributeValue::builder().data_type("String").string_value("error").build().expect("an attribute");
            let send = world.account.sqs.send_message().queue_url(&world.queues.dlq_url).message_body(body);
            send.message_attributes("sqjobs.kind", kind).send().await.expect("it is sent");
        }
        let failed = sqjobs(world, &["explain", "a"]).yes();
        assert!(failed.contains("The job has expired, so a redrive would not run it. `sqjobs dlq show probes a` shows"), "{failed}");
        assert!(failed.contains("To run it: `sqjobs retry a ARGS`.") && !failed.contains("dlq redrive"), "{failed}");
        let unrecorded = sqjobs(world, &["explain", "b"]).no();
        assert!(unrecorded.contains("Enqueue it again: `sqjobs enqueue probe ARGS --id b --queue probes`"), "{unrecorded}");
        assert!(!unrecorded.contains("dlq redrive"), "{unrecorded}");

        world
            .plant(json!({
                "id": "c", "name": "probe", "queue": "probes", "state": "cancelled", "attempts": 1, "generation": 1,
                "error": {"kind": "cancelled", "message": "not needed"},
            }))
            .await;
        let cancelled = sqjobs(world, &["explain", "c"]).yes();
        assert!(cancelled.contains("It was cancelled: not needed."), "{cancelled}");
    });
}

#[test]
fn a_waiting_job_whose_record_is_incomplete_is_reported() {
    World::setup().test(async |world| {
        for id in ["bare", "unlisted"] {
            let envelope = json!({"name": "probe", "id": id, "args": [1]}).to_string();
            let mut record = json!({"id": id, "name": "probe", "queue": "probes", "state": "scheduled", "attempts": 0});
            record["run_at"] = json!("2126-05-04T12:00:00Z");
            (record["envelope"], record["due"]) = (json!(envelope), json!("due#3"));
            world.plant(record).await;
        }
        world.edit("bare", "envelope", None).await;
        world.edit("unlisted", "due", None).await;
        let bare = "Its record has no attribute `envelope`, which holds the message, so no beater can send the job. Cancel it with `sqjobs \
                    cancel bare`, then run it with its arguments: `sqjobs retry bare ARGS`.";
        let explained = sqjobs(world, &["explain", "bare"]).yes();
        assert!(explained.contains(bare) && !explained.contains("in time"), "{explained}");
        let moved = sqjobs(world, &["move", "bare", "--delay", "2h"]).no();
        assert!(moved.contains(&format!("cannot move bare: {bare}")), "{moved}");
        let unlisted = "Its record has no attribute `due`, so no beater finds the job in the due index. A beater corrects the record within \
                        about a day. To correct it now: `sqjobs move unlisted --at INSTANT`.";
        let explained = sqjobs(world, &["explain", "unlisted"]).yes();
        assert!(explained.contains(unlisted) && !explained.contains("in time"), "{explained}");
        let incomplete = || {
            let found = sqjobs(world, &["doctor", "--json"]).json();
            let found = found.into_iter().filter(|finding| finding["rule"] == "record_incomplete").map(|finding| finding["remedy"].to_string());
            found.collect::<BTreeSet<_>>()
        };
        assert_eq!(incomplete(), [bare, unlisted].map(|remedy| json!(remedy).to_string()).into());

        // The printed remedies repair both.
        sqjobs(world, &["move", "unlisted", "--at", "2126-05-04T12:00:00Z"]).yes();
        assert!(!sqjobs(world, &["explain", "unlisted"]).yes().contains("no attribute"));
        sqjobs(world, &["cancel", "bare"]).yes();
        sqjobs(world, &["retry", "bare", "[1]", "--at", "2126-05-04T12:00:00Z"]).yes();
        assert!(incomplete().is_empty());
    });
}

#[test]
fn each_command_whose_jobs_need_a_beater_says_if_none_runs() {
    World::setup().test(async |world| {
        let filed = json!({
            "id": "a", "name": "probe", "queue": "probes", "state": "scheduled", "attempts": 0, "run_at": "2126-05-04T12:00:00Z",
            "due": "due#3", "envelope": json!({"name": "probe", "id": "a"}).to_string(),
        });
        world.plant(filed).await;
        let needy: [&[&str]; 7] = [
            &["schedule", "add", "nightly", "probe", "--cron", "1 0 * * *", "--queue", "probes"],
            &["schedule", "list"],
            &["schedule", "resume", "nightly"],
            &["enqueue", "probe", "{}", "--queue", "probes", "--delay", "16m"],
            &["enqueue", "probe", "{}", "--queue", "probes", "--after", "a"],
            &["list", "--due"],
            &["move", "a", "--delay", "3h"],
        ];
        let none = "EventBridge invokes no beater for these tables each minute, so no schedule fires, and no due job is sent.";
        for command in needy {
            let ran = sqjobs(world, command);
            assert!(ran.said.contains(none), "{command:?}: {}", ran.said);
            ran.yes();
        }
        let soon = sqjobs(world, &["enqueue", "probe", "{}", "--queue", "probes", "--delay", "14m"]);
        assert_eq!(soon.said, "");
        let of_file = |line: Value| piped(world, &["enqueue", "--from", "-"], &line.to_string()).said.contains(none);
        let line = |field: &str, value: Value| json!({"name": "probe", "queue": "probes", field: value});
        let needy = [line("delay", json!("16m")), line("run_at", json!("2126-05-04T12:00:00Z")), line("depends_on", json!(["a"]))];
        assert_eq!(needy.map(of_file), [true; 3]);
        assert!(!of_file(line("delay", json!("14m"))));
    });
}

#[test]
fn a_job_that_may_succeed_without_a_record_is_named_as_such() {
    World::setup().test(async |world| {
        let blocked = sqjobs(world, &["cancel", "a", "--unseen"]).yes();
        assert!(blocked.contains("This does not stop a job whose policy writes no record if the first attempt succeeds"), "{blocked}");
        let watched = sqjobs(world, &["watch", "b", "--within", "1ms"]).no();
        let unseen = "If the policy of the job records it only on trouble, a success leaves no record, and this command does not see it.";
        assert!(watched.contains(unseen), "{watched}");

        // A function that ends before it starts a job leaves its messages in flight.
        world.deploy(&Function::probe()).await;
        sqjobs(world, &["queue", "pause", "probes"]).yes();
        world.send(world.probe("c", &json!({}))).await;
        let received =
            world.account.sqs.receive_message().queue_url(&world.queues.url).wait_time_seconds(0).send().await.expect("it is received");
        assert_eq!(received.messages().len(), 1);
        let explained = sqjobs(world, &["explain", "c"]).no();
        let log = format!("log group /aws/lambda/{}.", world.account.name(&Function::probe()));
        assert!(
            explained.contains("If its messages stay in flight, read the log of the function") && explained.contains(&log),
            "{explained}"
        );
    });
}

#[test]
fn a_dead_letter_of_the_id_of_another_job_is_explained() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let other = json!({"id": "a", "name": "other", "queue": "probes", "state": "succeeded", "attempts": 1, "max_attempts": 1});
        world.plant(other).await;
        assert!(!sqjobs(world, &["explain", "a"]).yes().contains("Another message"));
        world.send(world.probe("a", &json!({}))).await;
        let kind = wait::until("it is a dead letter", PATIENCE, async || {
            let letters = sqjobs(world, &["dlq", "list", "--json"]).json();
            letters.first().map(|letter| letter["kind"].clone()).ok_or_else(|| "none".to_owned())
        })
        .await;
        let explained = sqjobs(world, &["explain", "a"]).yes();
        assert!(explained.contains("Another message with this id is a dead letter of queue probes"), "{kind} {explained}");
        assert!(explained.contains("To delete the dead letters with this id: `sqjobs dlq purge probes --id a`"), "{explained}");
        sqjobs(world, &["dlq", "purge", "probes", "--id", "a", "--yes"]).yes();
        assert!(!sqjobs(world, &["explain", "a"]).yes().contains("Another message"));
    });
}

#[test]
fn a_job_that_was_cancelled_and_retried_is_explained_as_it_stands() {
    World::setup().test(async |world| {
        let orders = args(world, &json!({}));
        sqjobs(world, &["enqueue", "probe", &orders, "--queue", "probes", "--id", "a", "--recorded"]).yes();
        sqjobs(world, &["cancel", "a"]).yes();
        assert!(sqjobs(world, &["explain", "a"]).yes().contains("To run the job: `sqjobs retry a ARGS`"));
        assert_eq!(sqjobs(world, &["retry", "a", &orders]).yes(), "a runs again\n");
        let explained = sqjobs(world, &["explain", "a"]).yes();
        assert!(explained.contains("No attempt has started.") && explained.contains("It was cancelled at"), "{explained}");
        assert!(explained.contains(", and was then enqueued again.") && !explained.contains("run again"), "{explained}");
        world.deploy(&Function::probe()).await;
        world.record_in("a", "succeeded").await;
        world.drained().await;
        assert_eq!(world.effects.runs_of("a").len(), 1, "the message of before the cancel is a duplicate");
    });
}

#[test]
fn a_rejected_job_is_enqueued_again_or_retried_with_right_arguments() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        sqjobs(world, &["enqueue", "probe", "[1]", "--queue", "probes", "--id", "bad", "--wait"]).no();
        let orders = args(world, &json!({}));
        // A rejected message does not use up its id.
        sqjobs(world, &["enqueue", "probe", &orders, "--id", "bad", "--queue", "probes", "--wait"]).yes();
        sqjobs(world, &["enqueue", "probe", "[1]", "--queue", "probes", "--id", "worse", "--wait"]).no();
        let retried = sqjobs(world, &["retry", "worse", &orders]);
        assert_eq!(retried.printed, "worse runs again\n");
        assert!(retried.said.contains("`sqjobs dlq purge probes --id worse`"), "{}", retried.said);
        world.record_in("worse", "succeeded").await;
        sqjobs(world, &["dlq", "purge", "probes", "--id", "worse", "--yes"]).yes();
        sqjobs(world, &["dlq", "purge", "probes", "--id", "bad", "--yes"]).yes();
        assert!(world.dead_letters().await.is_empty());
    });
}

#[test]
fn a_retry_that_another_command_overtook_says_so() {
    World::setup().test(async |world| {
        let orders = args(world, &json!({}));
        world.plant(json!({"id": "a", "name": "probe", "queue": "probes", "state": "failed", "attempts": 3, "generation": 3})).await;
        let (hold, proxy) = (Hold::default(), world.proxy.url());
        world.proxy.arm(Fault::hold("BatchExecuteStatement", &hold));
        let late = ["retry", "a", &orders, "--endpoint-url", &proxy];
        let late_retry = command(world).args(late).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        hold.arrived().await;
        assert_eq!(sqjobs(world, &["retry", "a", &orders]).yes(), "a runs again\n");
        hold.release();
        let told = Ran::of(&late, &late_retry.wait_with_output().expect("it ends")).no();
        let changed = "a was not run again by this command, because another command changed the job in the meantime; `sqjobs explain a ";
        assert!(told.contains(changed), "{told}");
        assert_eq!(world.messages().await.len(), 1);
    });
}

#[test]
fn a_job_that_waits_in_its_queue_is_cancelled_as_unseen() {
    World::setup().test(async |world| {
        world.send(world.probe("a", &json!({}))).await;
        let refused = sqjobs(world, &["cancel", "a"]).no();
        assert!(refused.contains("the job still waits in its queue") && refused.contains("discards the message"), "{refused}");
        sqjobs(world, &["cancel", "a", "--unseen"]).yes();
        world.deploy(&Function::probe()).await;
        world.drained().await;
        assert_eq!(world.effects.runs().len(), 0);
        assert!(world.dead_letters().await.is_empty(), "the message was discarded");
    });
}

#[test]
fn a_parked_message_that_is_cancelled_ends_at_its_next_delivery() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        sqjobs(world, &["enqueue", "stranger", "[1]", "--queue", "probes", "--id", "a"]).yes();
        world.messages_when("the message is parked", |messages| messages.iter().any(|message| message.receives > 0)).await;
        sqjobs(world, &["cancel", "a", "--unseen"]).yes();
        world.drained().await;
        assert!(world.dead_letters().await.is_empty(), "it was discarded, and has no dead letter");
    });
}

#[test]
fn an_unknown_id_is_cancelled_only_where_that_is_asked_for() {
    World::setup().test(async |world| {
        let refused = sqjobs(world, &["cancel", "nothere"]).no();
        assert!(refused.contains("nothere has no record") && refused.contains("--unseen"), "{refused}");
        assert!(world.record("nothere").await.is_none());
        let blocked = sqjobs(world, &["cancel", "nothere", "--unseen", "--json"]).json();
        assert_eq!(blocked[0]["outcome"], "blocked");
        let again = sqjobs(world, &["enqueue", "probe", "[1]", "--queue", "probes", "--id", "nothere"]).no();
        assert!(again.contains("was cancelled") && again.contains("sqjobs retry nothere ARGS --name probe"), "{again}");

        // The suggested command removes the block.
        world.deploy(&Function::probe()).await;
        let orders = args(world, &json!({}));
        let unnamed = sqjobs(world, &["retry", "nothere", &orders]).error();
        assert!(unnamed.contains("give the name with --name"), "{unnamed}");
        sqjobs(world, &["retry", "nothere", &orders, "--name", "probe", "--queue", "probes"]).yes();
        world.record_in("nothere", "succeeded").await;
    });
}

#[test]
fn an_id_that_is_used_again_with_other_arguments_is_refused() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let orders = args(world, &json!({}));
        let enqueue =
            |args: &str, more: &[&str]| sqjobs(world, &[&["enqueue", "probe", args, "--queue", "probes", "--id", "a"], more].concat());
        enqueue(&orders, &["--wait"]).yes();
        let same = enqueue(&orders, &[]);
        assert!(same.status == 0 && same.said.contains("with the same arguments"), "{}", same.said);
        for more in [&[][..], &["--wait"]] {
            let other = enqueue("[7]", more).no();
            assert!(other.contains("a already ended at") && other.contains("these arguments did not run"), "{other}");
        }
        assert!(!sqjobs(world, &["explain", "a"]).yes().contains("discarded"), "nothing was sent");
        world.send(world.probe("a", &json!({"act": "fatal"}))).await;
        wait::until("the discarded duplicate is explained", PATIENCE, async || {
            let told = sqjobs(world, &["explain", "a"]).yes();
            let is_told = told.contains("Since yesterday a duplicate with other arguments was discarded, so those arguments did not run.");
            if is_told { Ok(()) } else { Err(told) }
        })
        .await;

        // A job that waits in the queue has no record yet.
        world.send(world.probe("b", &json!({}))).await;
        let late = sqjobs(world, &["enqueue", "probe", "[7]", "--queue", "probes", "--id", "b", "--delay", "2s", "--wait"]).no();
        assert!(late.contains("these arguments did not run"), "{late}");

        let again = world.probe("a", &json!({})).to_string();
        let same = piped(world, &["enqueue", "--from", "-", "--queue", "probes"], &format!("{again}\n{again}"));
        assert_eq!(same.yes(), "0 jobs enqueued; duplicates that do not run again: 1; repeated lines, not sent: 1\n");
        let other = json!({"name": "probe", "id": "a", "args": [7]}).to_string();
        let other = piped(world, &["enqueue", "--from", "-", "--queue", "probes"], &other);
        assert_eq!(other.status, 1);
        assert_eq!(other.printed, "0 jobs enqueued; refused lines: 1\n");
        assert!(other.said.contains("line 1: a already ended at ") && other.said.contains("these arguments did not run"), "{}", other.said);
    });
}

#[test]
fn a_second_line_of_an_id_is_refused_or_left_out() {
    World::setup().test(async |world| {
        let line = |change: Value| {
            let mut line = json!({"name": "probe", "id": "c", "args": [1], "queue": "probes", "delay": "1h"});
            line.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            line
        };
        let twice = |change: Value, more: &[&str]| {
            piped(world, &[&["enqueue", "--from", "-"], more].concat(), &format!("{}\n\n{}", line(json!({})), line(change)))
        };
        let others = [
            (json!({"name": "adder"}), "another name"),
            (json!({"queue": "nowhere"}), "another queue"),
            (json!({"args": [2]}), "other arguments"),
            (json!({"depends_on": ["b"]}), "other dependencies"),
            (json!({"delay": "2h"}), "another time"),
            (json!({"delay": null, "run_at": "2126-05-04T12:00:00Z"}), "another time"),
        ];
        for (change, what) in others {
            let ran = twice(change, &[]);
            assert_eq!(ran.status, 1);
            assert_eq!(ran.printed, "1 job enqueued; refused lines: 1\n");
            assert!(ran.said.contains(&format!("line 3: id c is in line 1 with {what}; give each job")), "{}", ran.said);
        }
        let same = twice(json!({}), &[]);
        assert!(same.said.contains("line 3: not sent: line 1 has the same id c"), "{}", same.said);
        assert_eq!(same.yes(), "1 job enqueued; repeated lines, not sent: 1\n");
        let answers = twice(json!({}), &["--json"]).json();
        assert_eq!(answers[0], json!({"line": 3, "id": "c", "repeats_line": 1}));
    });
}

#[test]
fn a_job_without_a_record_is_not_compared_with_and_the_help_says_so() {
    let help = alone(&["enqueue", "--help"]).yes();
    let id = help.split_once("--id <ID>").expect("the option").1.split_once("--queue").expect("the next one").0;
    assert!(id.contains("still waits") && id.contains("--recorded") && id.contains("--wait"), "{id}");
    World::setup().test(async |world| {
        let enqueue = |id: &str, args: &str, more: &[&str]| {
            sqjobs(world, &[&["enqueue", "probe", args, "--queue", "probes", "--id", id], more].concat())
        };
        for args in ["[1]", "[2]"] {
            assert_eq!(enqueue("plain", args, &[]).yes(), "plain\n");
        }
        enqueue("recorded", "[1]", &["--recorded"]).yes();
        assert!(enqueue("recorded", "[2]", &[]).no().contains("these arguments did not run"));

        // The other command writes its record after this one has read.
        let (hold, proxy) = (Hold::default(), world.proxy.url());
        world.proxy.arm(Fault::hold("SendMessageBatch", &hold));
        let late = ["enqueue", "probe", "[2]", "--queue", "probes", "--id", "late", "--recorded", "--endpoint-url", &proxy];
        let late_enqueue = command(world).args(late).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        hold.arrived().await;
        enqueue("late", "[1]", &["--recorded"]).yes();
        hold.release();
        let told = Ran::of(&late, &late_enqueue.wait_with_output().expect("it ends")).no();
        assert!(told.contains("late is enqueued, but another job with this id has other arguments"), "{told}");
    });
}

#[test]
fn a_recorded_duplicate_does_not_delay_the_first_job() {
    World::setup().test(async |world| {
        let orders = args(world, &json!({}));
        let enqueue =
            |id: &str, more: &[&str]| sqjobs(world, &[&["enqueue", "probe", &orders, "--queue", "probes", "--id", id], more].concat());
        enqueue("recorded", &["--recorded", "--at", "2126-05-04T12:00:00Z"]).yes();
        let other = enqueue("recorded", &["--at", "2126-05-04T13:00:00Z"]).no();
        assert!(
            other.contains("recorded is already queued, due at 2126-05-04T12:00:00Z, and keeps its time, so nothing was enqueued"),
            "{other}"
        );
        let same = enqueue("recorded", &["--recorded", "--at", "2126-05-04T12:00:00Z"]);
        assert!(same.status == 0 && same.said.contains("with the same arguments"), "{}", same.said);
        let waits = world.record("recorded").await.expect("a record");
        assert_eq!(waits.run_at.map(|at| at.to_string()).as_deref(), Some("2126-05-04T12:00:00Z"));
    });
}

#[test]
fn an_empty_input_enqueues_nothing_and_says_so() {
    World::setup().test(async |world| {
        for more in [&[][..], &["--json"]] {
            let nothing = |command: &[&str]| piped(world, &[command, &["--from", "-"], more].concat(), "\n").no();
            assert_eq!(nothing(&["enqueue"]), "no job was enqueued: the input is empty\n");
            assert_eq!(nothing(&["schedule", "add"]), "no schedule was added: the input is empty\n");
        }
    });
}

#[test]
fn records_and_listings_that_could_not_be_written_are_reported() {
    World::setup().test(async |world| {
        let answer = json!({"__type": "AccessDeniedException", "message": "armed"}).to_string();
        world.proxy.arm(Fault::answer("BatchWriteItem", "", 400, answer));
        let proxy = world.proxy.url();
        let ran = sqjobs(world, &["enqueue", "probe", "[1]", "--queue", "probes", "--id", "a", "--listed", "--endpoint-url", &proxy]).no();
        assert!(ran.contains("a is enqueued, but it is missing from some lists"), "{ran}");
        let deny = || {
            let answer = json!({"__type": "AccessDeniedException", "message": "armed"}).to_string();
            world.proxy.arm(Fault::answer("BatchExecuteStatement", "INSERT", 400, answer));
        };
        let enqueue = ["enqueue", "probe", "[1]", "--queue", "probes", "--id", "b", "--recorded", "--endpoint-url", &proxy];
        deny();
        let ran = sqjobs(world, &enqueue).no();
        assert!(ran.contains("b is enqueued, but its record could not be written"), "{ran}");
        deny();
        let ran = sqjobs(world, &[&enqueue[..], &["--json"]].concat());
        assert_eq!(ran.status, 1, "{}", ran.said);
        assert!(ran.json()[0]["unrecorded"].is_string());
    });
}

#[test]
fn each_line_of_a_file_names_its_message_group_which_runs_in_order() {
    World::setup().fifo().test(async |world| {
        let enqueue = ["enqueue", "--from", "-", "--queue", "probes.fifo"];
        let line = |(id, group): &(&str, &str)| {
            // The other messages of its group wait for its second attempt.
            let act = if *id == "a" { json!({"act": "fail", "until": 2}) } else { json!({}) };
            let mut line = world.probe(id, &act);
            line["group"] = json!(group);
            line["listed"] = json!(true);
            line.to_string() + "\n"
        };
        let lines: String = [("a", "g"), ("x", "h"), ("b", "g"), ("c", "g")].iter().map(line).collect();
        piped(world, &enqueue, &lines).yes();
        let messages = world.messages().await;
        assert!(messages.iter().all(|message| !message.body.contains("group") && !message.body.contains("listed")), "{messages:?}");
        assert_eq!(sqjobs(world, &["list", "--name", "probe", "--json"]).json().len(), 4);
        world.deploy(&Function::probe()).await;
        world.drained().await;
        let runs = world.effects.runs().into_iter().map(|run| run.id).filter(|id| id != "x");
        assert_eq!(runs.collect::<Vec<_>>(), ["a", "a", "b", "c"]);
        let wrong = piped(world, &enqueue, r#"{"name": "probe", "group": 5}"#).no();
        assert!(wrong.contains("line 1: ") && wrong.contains("group"), "{wrong}");
    });
}

#[test]
fn a_wrong_line_of_a_file_is_named_and_the_others_are_enqueued() {
    World::setup().test(async |world| {
        piped(world, &["enqueue", "probe", "-", "--queue", "probes", "--id", "x"], "[5]").yes();
        let body: Value = serde_json::from_str(&world.messages().await[0].body).expect("a message");
        assert_eq!(body["args"], json!([5]), "the arguments come from standard input");
        let file = "{\"name\": \"probe\", \"id\": \"a\"}\n\nnot json\n{\"id\": \"b\"}\n{\"name\": \"probe\", \"id\": \"c\"}\n";
        let ran = piped(world, &["enqueue", "--from", "-", "--queue", "probes"], file);
        assert_eq!(ran.status, 1);
        assert_eq!(ran.printed, "2 jobs enqueued; refused lines: 2\n");
        assert!(ran.said.contains("line 3: ") && ran.said.contains("line 4: "), "{}", ran.said);
        let answers = piped(world, &["enqueue", "--from", "-", "--queue", "probes", "--json"], file).json();
        assert_eq!(
            answers.iter().filter_map(|answer| answer["line"].as_u64()).collect::<std::collections::BTreeSet<_>>(),
            [1, 3, 4, 5].into()
        );
        assert_eq!(answers.iter().filter(|answer| answer["error"].is_string()).count(), 2);
        assert_eq!(world.messages().await.len(), 5);
    });
}

#[test]
fn a_line_with_a_misspelled_field_is_refused_also_in_a_workflow() {
    World::setup().test(async |world| {
        let job = json!({"name": "probe", "id": "a", "depend_on": ["b"]});
        let step = json!({"name": "probe", "id": "w", "jobs": [{"name": "probe", "id": "a", "dependson": ["b"]}]});
        let late = json!({"name": "probe", "id": "c", "dealy": "5m"});
        let ran = piped(world, &["enqueue", "--from", "-", "--queue", "probes"], &format!("{job}\n{step}\n{late}"));
        assert_eq!((ran.status, &*ran.printed), (1, "0 jobs enqueued; refused lines: 3\n"));
        assert!(ran.said.contains("line 1: the field depend_on is unknown: perhaps depends_on is meant"), "{}", ran.said);
        assert!(ran.said.contains("line 2: the field jobs[0].dependson is unknown: perhaps depends_on is meant"), "{}", ran.said);
        assert!(ran.said.contains("line 3: the field dealy is unknown: perhaps delay is meant"), "{}", ran.said);
        assert!(world.messages().await.is_empty());
    });
}

#[test]
fn a_thousand_jobs_run_once_though_their_enqueue_is_killed_and_repeated() {
    enqueue_with_a_kill(1_000);
}

#[test]
#[ignore = "takes minutes: tests/deep.sh runs it"]
fn ten_thousand_jobs_run_once_though_their_enqueue_is_killed_and_repeated() {
    enqueue_with_a_kill(10_000);
}

fn enqueue_with_a_kill(jobs: usize) {
    World::setup().test(async |world| {
        let file = tempfile::NamedTempFile::new().expect("there is room");
        let ids = (0..jobs).map(|number| format!("job-{number:05}"));
        let text: String = ids.clone().map(|id| world.probe(&id, &json!({})).to_string() + "\n").collect();
        std::fs::write(file.path(), text).expect("the file can be written");
        let path = file.path().to_str().expect("a path in UTF-8");
        let args = ["enqueue", "--from", path, "--queue", "probes"];
        let mut killed = command(world).args(args).stdout(Stdio::null()).spawn().expect("it starts");
        wait::until("half are enqueued", PATIENCE, async || {
            let sent = world.messages().await.len();
            if sent * 2 >= jobs { Ok(()) } else { Err(format!("{sent} are")) }
        })
        .await;
        killed.kill().expect("it runs"); // SIGKILL
        killed.wait().expect("it ends");
        assert_eq!(sqjobs(world, &args).yes(), format!("{jobs} jobs enqueued\n"));
        world.deploy(&Function::probe()).await;
        wait::until("all have run", PATIENCE * 3, async || match world.messages().await.len() {
            0 => Ok(()),
            left => Err(format!("{left} messages are left")),
        })
        .await;
        let mut runs: Vec<_> = world.effects.runs().into_iter().map(|run| run.id).collect();
        runs.sort_unstable();
        assert_eq!(runs, ids.collect::<Vec<_>>());
    });
}

#[test]
fn schedules_are_added_shown_paused_run_and_removed_by_command() {
    World::setup().test(async |world| {
        let add = ["schedule", "add", "nightly", "probe", "[1]", "--cron", "1 0 * * *", "--timezone", "Europe/Madrid", "--queue", "probes"];
        let added = sqjobs(world, &add);
        assert!(added.said.contains("EventBridge invokes no beater for these tables"), "{}", added.said);
        let added = added.yes();
        assert!(added.starts_with("nightly fires at 00:01 in Europe/Madrid; it fires next at 20"), "{added}");
        let shown = || sqjobs(world, &["schedule", "list", "--json"]).json();
        assert_eq!(shown()[0]["id"], "nightly");
        assert_eq!(shown()[0]["timezone"], "Europe/Madrid");
        assert_eq!(shown()[0]["paused"], false);
        sqjobs(world, &["schedule", "pause", "nightly"]).yes();
        assert_eq!(shown()[0]["paused"], true);
        let table = sqjobs(world, &["schedule", "list"]).yes();
        assert!(table.contains("at 00:01 in Europe/Madrid") && table.contains("paused"), "{table}");
        sqjobs(world, &["schedule", "resume", "nightly"]).yes();
        assert_eq!(shown()[0]["paused"], false);
        let add = ["schedule", "add", "nightly", "probe", "[1, 2]", "--cron", "5 0 * * *", "--queue", "probes"];
        let asked = sqjobs(world, &add).error();
        assert!(asked.contains("Replace schedule nightly? There is no terminal for the question; add --yes"), "{asked}");
        assert_eq!(shown()[0]["args"], json!([1]));
        let changed = sqjobs(world, &[&add[..], &["--yes"]].concat());
        let before = changed.said.lines().find(|line| line.starts_with('{')).expect("what was replaced").to_owned();
        let was = "nightly fires at 00:05 in UTC; changed: args, cron (was \"1 0 * * *\"), timezone (was \"Europe/Madrid\")";
        assert!(changed.yes().starts_with(was));
        let again = sqjobs(world, &add);
        assert_eq!(again.said.lines().count(), 1, "an identical one replaces nothing: {}", again.said);
        assert!(again.said.starts_with("EventBridge invokes no beater"), "{}", again.said);
        assert!(again.yes().starts_with("nightly fires at 00:05 in UTC; it fires next at 20"));
        let back = |more: &[&str]| piped(world, &[&["schedule", "add", "--from", "-"], more].concat(), &before);
        assert!(back(&[]).error().contains("Replace schedule nightly?"));
        back(&["--yes"]).yes();
        assert_eq!(shown()[0]["args"], json!([1]));
        assert_eq!(shown()[0]["timezone"], "Europe/Madrid");
        sqjobs(world, &[&add[..], &["--yes"]].concat()).yes();
        let id = sqjobs(world, &["schedule", "run", "nightly"]).yes();
        let body: Value = serde_json::from_str(&world.messages().await[0].body).expect("a message");
        assert_eq!(body["name"], "probe");
        assert_eq!(body["args"], json!([1, 2]));
        assert_eq!(body["id"].as_str(), Some(id.trim_end()));
        assert!(sqjobs(world, &["schedule", "remove", "nightly"]).error().contains("add --yes"));
        sqjobs(world, &["schedule", "remove", "nightly", "--yes"]).yes();
        assert!(shown().is_empty());
        assert!(sqjobs(world, &["schedule", "pause", "nightly"]).error().contains("there is no schedule \"nightly\""));
        let run = sqjobs(world, &["schedule", "run", "nightly"]).error();
        assert!(run.contains("cannot run schedule \"nightly\": it was removed") && run.contains("add it again"), "{run}");
        let wrong = sqjobs(world, &["schedule", "add", "x", "probe", "--cron", "61 * * * *"]).error();
        assert!(wrong.contains("minute: 61 is out of range"), "{wrong}");
    });
}

#[test]
fn schedules_are_copied_as_json_and_each_change_is_printed_as_json() {
    World::setup().test(async |world| {
        let add = ["schedule", "add", "nightly", "probe", "[1]", "--cron", "1 0 * * *", "--queue", "probes", "--json"];
        assert_eq!(sqjobs(world, &add).json()[0]["status"], "due");
        assert_eq!(sqjobs(world, &["schedule", "pause", "nightly", "--json"]).json()[0]["paused"], true);
        let lines = sqjobs(world, &["schedule", "list", "--json"]).yes();
        let removed = sqjobs(world, &["schedule", "remove", "nightly", "--yes", "--json"]).json();
        assert_eq!(removed, [json!({"id": "nightly", "removed": true})]);
        let wrong = piped(world, &["schedule", "add", "--from", "-"], "{\"id\": 1}\n").error();
        assert!(wrong.contains("line 1 is not a schedule: ") && wrong.contains("`sqjobs schedule list --json`"), "{wrong}");
        let twice = piped(world, &["schedule", "add", "--from", "-"], &format!("{lines}\n{lines}")).error();
        assert!(twice.contains("schedule \"nightly\" is in line 1 and in line 3"), "{twice}");
        assert_eq!(sqjobs(world, &["schedule", "list", "--json"]).yes(), "", "nothing was written");
        assert_eq!(piped(world, &["schedule", "add", "--from", "-"], &lines).yes(), "nightly fires at 00:01 in UTC; it is paused\n");
        let rows = [lines, sqjobs(world, &["schedule", "list", "--json"]).yes()].map(|line| {
            let mut row: Value = serde_json::from_str(&line).expect("one line");
            row["next_fire"].take(); // the next tick is to look at the copy
            row
        });
        assert_eq!(rows[0], rows[1]);
        assert_eq!(rows[0]["paused"], true);
        assert_eq!(sqjobs(world, &["schedule", "resume", "nightly", "--json"]).json()[0]["status"], "due");
        let sent = sqjobs(world, &["schedule", "run", "nightly", "--json"]).json();
        assert!(world.messages().await[0].body.contains(sent[0]["id"].as_str().expect("an id")));
    });
}

#[test]
fn the_fires_of_a_stored_schedule_are_previewed_by_its_id() {
    World::setup().test(async |world| {
        sqjobs(world, &["schedule", "add", "nightly", "probe", "--cron", "1 0 * * *", "--timezone", "Asia/Tokyo", "--queue", "probes"])
            .yes();
        let preview = |args: &[&str]| sqjobs(world, &[&["schedule", "preview", "nightly"], args].concat());
        let after = ["--after", "2026-05-04T00:00:00Z", "--count", "2"];
        assert_eq!(preview(&[&after[..], &["--json"]].concat()).json(), [json!(["2026-05-04T15:01:00Z", "2026-05-05T15:01:00Z"])]);
        assert!(preview(&["--cron", "* * * * *"]).error().contains("cannot be used with"));
        let none = sqjobs(world, &["schedule", "preview", "weekly"]).error();
        assert!(none.contains("there is no schedule \"weekly\"; `sqjobs schedule list` shows all"), "{none}");
    });
}

#[test]
fn a_schedule_says_that_its_queue_is_missing_or_that_it_is_overdue() {
    World::setup().test(async |world| {
        let at = |minutes: i64| format!("{:.3}", Clock::system().now() + SignedDuration::from_mins(minutes));
        let row = |id: &str, queue: &str, minutes: i64| {
            json!({"id": id, "cron": "1 0 * * *", "job": "probe", "queue": queue, "due": "due#1", "next_fire": at(minutes)})
        };
        let rows = [row("a", "nowhere", -5), row("b", "probes", -5), row("c", "probes", -1), row("d", "probes", 90)];
        world.schedule_many(&rows).await;
        let statuses = sqjobs(world, &["schedule", "list", "--json"]).json();
        let statuses: Vec<_> = statuses.iter().map(|row| row["status"].as_str().expect("a status")).collect();
        assert_eq!(statuses, ["queue_missing", "overdue", "due", "scheduled"]);
        let ran = sqjobs(world, &["schedule", "list"]);
        assert!(ran.said.contains("`sqjobs queue create nowhere`") && ran.said.contains("`sqjobs doctor`"), "{}", ran.said);
        let table = ran.yes();
        assert!(table.contains("when queue nowhere exists") && table.contains("no beater runs"), "{table}");
        assert!(!table.contains("ago"), "{table}");
        let refused = sqjobs(world, &["schedule", "add", "e", "probe", "--every", "5m"]).error();
        assert!(refused.contains("cannot add schedule \"e\": its queue probe does not exist; create it with `sqjobs queue create probe`"), "{refused}");
    });
}

#[test]
fn the_next_fire_of_a_schedule_is_shown_also_where_it_was_sent_ahead() {
    World::setup().test(async |world| {
        let (beater, now) = (Function::beater(), || Clock::system().now());
        world.deploy_beater(&beater).await;
        sqjobs(world, &["schedule", "add", "minutely", "probe", "--cron", "* * * * *", "--queue", "probes"]).yes();
        world.tick(&beater, now()).await;
        let row = world.scheduled("minutely").await.expect("a row");
        assert!(row["ahead"].as_array().is_some_and(|ahead| ahead.len() > 1), "{row}");
        let asked_at = now();
        let listed = sqjobs(world, &["schedule", "list", "--json"]).json();
        let listed = listed.iter().find(|row| row["id"] == "minutely").expect("it is listed");
        let next: Timestamp = listed["next_fire"].as_str().expect("a text").parse().expect("an instant");
        assert!(next > asked_at && next.duration_since(now()) <= SignedDuration::from_mins(1), "{next} {row}");
        assert_eq!(listed["status"], "scheduled");
        let table = sqjobs(world, &["schedule", "list"]).yes();
        let line = table.lines().find(|line| line.starts_with("minutely")).expect("a row");
        assert!(["in 1m", "in 2m"].iter().all(|late| !line.contains(late)), "{line}");

        // The tick withdraws the fires of the former times.
        let yearly = ["schedule", "add", "minutely", "probe", "--cron", "0 0 29 2 *", "--queue", "probes", "--yes"];
        sqjobs(world, &yearly).yes();
        world.tick(&beater, now()).await;
        let listed = sqjobs(world, &["schedule", "list", "--json"]).json();
        let row = listed.iter().find(|row| row["id"] == "minutely").expect("it is listed");
        assert!(row["next_fire"].as_str().is_some_and(|next| next.contains("-02-29T00:00:00")), "{row}");
    });
}

#[test]
fn a_change_of_a_schedule_says_that_a_fire_may_still_run() {
    World::setup().test(async |world| {
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        let still = "; a fire that was planned before this command may still run in the next minute\n";
        let add = |args: &str, more: &[&str]| {
            sqjobs(world, &[&["schedule", "add", "minutely", "probe", args, "--cron", "* * * * *", "--queue", "probes"], more].concat())
                .yes()
        };
        assert!(!add("[1]", &[]).contains("may still run"), "nothing was sent ahead of a new one");
        world.tick(&beater, Clock::system().now()).await;
        let changed = add("[2]", &["--yes"]);
        assert!(changed.contains("; changed: args;") && changed.ends_with(still), "{changed}");
        assert_eq!(sqjobs(world, &["schedule", "pause", "minutely"]).yes(), format!("minutely is paused{still}"));
        assert_eq!(sqjobs(world, &["schedule", "remove", "minutely", "--yes"]).yes(), format!("minutely is removed{still}"));
        let yearly = ["schedule", "add", "leap-day", "probe", "--cron", "0 0 29 2 *", "--queue", "probes"];
        sqjobs(world, &yearly).yes();
        world.tick(&beater, Clock::system().now()).await;
        assert_eq!(sqjobs(world, &["schedule", "pause", "leap-day"]).yes(), "leap-day is paused\n");
        assert_eq!(sqjobs(world, &["schedule", "remove", "leap-day", "--yes"]).yes(), "leap-day is removed\n");
    });
}

#[test]
fn a_new_schedule_says_from_when_it_fires() {
    World::setup().test(async |world| {
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        let added = |id: &str, more: &[&str]| {
            let added = sqjobs(world, &[&["schedule", "add", id, "probe", "--queue", "probes"], more].concat()).yes();
            let (_, next) = added.split_once("; it fires next at ").unwrap_or_else(|| panic!("{added}"));
            let (next, rest) = next.split_once([' ', '\n']).expect("an instant");
            (next.parse::<Timestamp>().expect("an instant"), rest.to_owned())
        };
        let minutely = ["--cron", "* * * * *"];
        let before = Clock::system().now();
        let (sure, rest) = added("minutely", &minutely);
        let early = "at the latest: a fire within the next minute may be missed\n";
        assert_eq!(rest, early);
        let (soon, rest) = added("leap-day", &["--cron", "0 0 29 2 *"]);
        assert!(soon > sure);
        assert_eq!(&*rest, "");

        // The first tick comes after the first minute.
        let minute = SignedDuration::from_mins(1);
        let first = sure - minute;
        assert!(first > before && first - minute <= before, "{first} {before}");
        let fire = |at: Timestamp| format!("schedule:minutely:{at}");
        world.tick(&beater, first + SignedDuration::from_secs(5)).await;
        assert!(world.record(&fire(first)).await.is_none(), "its first minute was before the tick");
        world.record_when(&fire(sure), "is filed", |_| true).await;

        // A cancelled fire stays cancelled until a tick.
        sqjobs(world, &["schedule", "remove", "minutely", "--yes"]).yes();
        world.tick(&beater, first + SignedDuration::from_secs(6)).await;
        world.record_in(&fire(sure), "cancelled").await;
        assert_eq!(added("minutely", &minutely).1, early);
        assert_eq!(world.record(&fire(sure)).await.expect("a record").state, "cancelled");
        world.tick(&beater, sure + SignedDuration::from_secs(5)).await;
        assert_eq!(world.record(&fire(sure)).await.expect("a record").state, "cancelled", "the tick came after it");
    });
}

#[test]
fn an_unknown_field_of_a_schedule_is_named_and_it_fires() {
    World::setup().test(async |world| {
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        let row = json!({"id": "typo", "cron": "1 0 * * *", "tz": "Asia/Tokyo", "colour": "red", "job": "probe", "queue": "probes"});
        world.schedule(row).await;
        let list = || sqjobs(world, &["schedule", "list", "--json"]);
        for _ in 0..2 {
            let said = list().said;
            assert!(said.contains("schedule typo has the unknown field tz, which has no effect; did you mean \"timezone\"?"), "{said}");
            assert!(
                said.contains("schedule typo has the unknown field colour, which has no effect; the fields of a schedule are id, "),
                "{said}"
            );
            let found = sqjobs(world, &["doctor", "--json"]).json();
            let finding = found.iter().find(|finding| finding["rule"] == "schedule_field").expect("it is found");
            assert_eq!(finding["what"], "its row has unknown fields, which have no effect: colour, tz");
            assert!(finding["remedy"].as_str().is_some_and(|remedy| remedy.contains("tz: did you mean \"timezone\"?")), "{finding}");
            world.tick(&beater, Clock::system().now()).await;
            let row = world.scheduled("typo").await.expect("a row");
            assert!(row["tz"] == "Asia/Tokyo" && row["next_fire"].as_str().is_some_and(|next| next.ends_with("T00:01:00.000Z")), "{row}");
        }
        let add = ["schedule", "add", "typo", "probe", "--queue", "probes", "--cron", "1 0 * * *", "--timezone", "Asia/Tokyo", "--yes"];
        sqjobs(world, &add).yes();
        assert!(!list().said.contains("unknown"), "{}", list().said);
    });
}

#[test]
fn a_file_of_schedules_with_a_wrong_line_is_refused_whole() {
    World::setup().test(async |world| {
        let good = json!({"id": "good", "job": "probe", "queue": "probes", "cron": "1 0 * * *", "paused": false});
        let wrong = [
            (json!({"tz": "Europe/Madrid"}), "line 2: a schedule has no field \"tz\"; did you mean \"timezone\"? Nothing was added"),
            (json!({"paused": "true"}), "line 2: its field \"paused\" is \"true\"; write true or false. Nothing was added"),
            (json!({"cron": "0 0 1 1 1 * 1999"}), "it does not fire any more"),
        ];
        for (change, part) in wrong {
            let mut bad = json!({"id": "bad", "job": "probe", "queue": "probes", "cron": "1 0 * * *"});
            bad.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            let refused = piped(world, &["schedule", "add", "--from", "-"], &format!("{good}\n{bad}")).error();
            assert!(refused.contains(part), "{refused}");
        }
        assert_eq!(sqjobs(world, &["schedule", "list", "--json"]).yes(), "", "nothing was added");
    });
}

#[test]
fn several_schedules_are_changed_only_where_each_exists() {
    World::setup().test(async |world| {
        for id in ["a", "b"] {
            sqjobs(world, &["schedule", "add", id, "probe", "--cron", "1 0 * * *", "--queue", "probes"]).yes();
        }
        let all = |command: &[&str], more: &[&str]| sqjobs(world, &[&["schedule"], command, &["a", "nope", "b", "no"], more].concat());
        for (command, more) in [("pause", &[][..]), ("resume", &[]), ("remove", &["--yes"])] {
            let refused = all(&[command], more).error();
            assert!(refused.contains("there is no schedule \"no\", \"nope\", so nothing was changed"), "{refused}");
        }
        let rows = sqjobs(world, &["schedule", "list", "--json"]).json();
        assert!(rows.len() == 2 && rows.iter().all(|row| row["paused"] == false), "{rows:?}");
        assert_eq!(sqjobs(world, &["schedule", "remove", "a", "b", "--yes"]).yes().lines().count(), 2);
    });
}

#[test]
fn a_schedule_whose_row_cannot_be_read_is_removed_or_replaced() {
    World::setup().test(async |world| {
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        let row = |id: &str| json!({"id": id, "cron": "1 0 * * *", "job": "probe", "queue": "probes", "paused": "false"});
        world.schedule_many(&[row("a"), row("b")]).await;
        let listed = sqjobs(world, &["schedule", "list"]);
        assert!(listed.said.contains("cannot read schedule a: ") && listed.said.contains("`sqjobs schedule remove a`"), "{}", listed.said);
        let refused = sqjobs(world, &["schedule", "pause", "a"]).error();
        assert!(refused.contains("cannot read schedule a: ") && refused.contains("`sqjobs schedule remove a`"), "{refused}");

        assert!(sqjobs(world, &["schedule", "remove", "a"]).error().contains("Remove a?"));
        let removed = sqjobs(world, &["schedule", "remove", "a", "--yes"]);
        assert!(removed.said.contains("cannot read schedule a: ") && removed.yes().starts_with("a is removed; a fire"));
        let add = ["schedule", "add", "b", "probe", "[1]", "--cron", "5 0 * * *", "--queue", "probes"];
        assert!(sqjobs(world, &add).error().contains("Replace schedule b, whose row cannot be read? The row will be lost."));
        let added = sqjobs(world, &[&add[..], &["--yes"]].concat());
        assert!(added.said.contains("cannot read schedule b: ") && added.yes().starts_with("b fires at 00:05 in UTC"));
        let rows = sqjobs(world, &["schedule", "list", "--json"]);
        assert!(!rows.said.contains("cannot read"), "{}", rows.said);
        assert_eq!(rows.json().len(), 1);
        assert_eq!(rows.json()[0]["args"], json!([1]));

        world.tick(&beater, Clock::system().now()).await;
        assert!(world.scheduled("a").await.is_none(), "the beater deletes the row");
        assert!(world.scheduled("b").await.is_some());
    });
}

#[test]
fn a_schedule_of_the_code_is_changed_only_after_a_yes() {
    World::setup().test(async |world| {
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        world.tick(&beater, Clock::system().now()).await;
        let shown = || sqjobs(world, &["schedule", "list", "--json"]).json().remove(0);
        assert_eq!(shown()["id"], "nightly-sum");
        assert_eq!(shown()["from_code"], true);
        let as_it_is = sqjobs(world, &["schedule", "list", "--json"]).yes();
        piped(world, &["schedule", "add", "--from", "-"], &as_it_is).yes();
        assert_eq!(shown()["from_code"], true, "what does not change it leaves it to the code");

        let add = ["schedule", "add", "nightly-sum", "adder", "[1, 2, 3]", "--cron", "5 0 * * *", "--timezone", "Europe/Madrid"];
        let asked = sqjobs(world, &add).error();
        assert!(asked.contains("Schedule nightly-sum is in the code of a beater") && asked.contains("add --yes"), "{asked}");
        assert_eq!(shown()["cron"], "1 0 * * *");
        let changed = sqjobs(world, &[&add[..], &["--yes"]].concat());
        assert!(changed.said.contains("nightly-sum is in the code of a beater"), "{}", changed.said);
        assert!(
            changed
                .yes()
                .starts_with("nightly-sum fires at 00:05 in Europe/Madrid; changed: cron (was \"1 0 * * *\"); it fires next at 20")
        );
        assert_eq!(shown()["cron"], "5 0 * * *");
        assert_eq!(shown()["from_code"], true);
        assert_eq!(shown()["overridden"], true);
        assert!(
            sqjobs(world, &["schedule", "list"])
                .said
                .contains("nightly-sum differs from the code of its beater: the beater undoes the change")
        );
        let again = ["schedule", "add", "nightly-sum", "adder", "[1]", "--cron", "5 0 * * *"];
        assert!(sqjobs(world, &again).error().contains("Schedule nightly-sum is in the code of a beater"));

        // Another process of the beater, as after a deployment.
        world.account.lambda.delete_function().function_name(world.account.name(&beater)).send().await.expect("it is deleted");
        world.create_function(&beater).await;
        world.tick(&beater, Clock::system().now()).await;
        assert_eq!(shown()["cron"], "1 0 * * *", "the code wins");
        assert_eq!(shown()["overridden"], false, "the code wins");
        let removed = sqjobs(world, &["schedule", "remove", "nightly-sum", "--yes"]);
        assert!(removed.said.contains("nightly-sum is in the code of a beater"), "{}", removed.said);
    });
}

#[test]
fn fires_are_previewed_by_command_without_aws() {
    let preview = |args: &[&str]| alone(&[&["schedule", "preview"], args].concat());
    let madrid = ["--cron", "30 2 * * *", "--timezone", "Europe/Madrid", "--after", "2026-03-28T00:00:00Z", "--count", "2"];
    let instants = preview(&[&madrid[..], &["--json"]].concat()).json();
    assert_eq!(instants, [json!(["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"])]);
    assert!(preview(&madrid).yes().contains("2026-03-29 03:00:00+02:00 (clocks go forward at 02:00)"));
    assert!(preview(&["--cron", "30 2 * * *", "--tz", "Mars/Base"]).error().contains("Mars/Base"));
    assert!(preview(&[]).error().contains("--cron"));
}

#[test]
fn a_missing_table_or_queue_is_named_with_the_command_that_creates_it() {
    World::setup().test(async |world| {
        let bare = ["--table", "jobs-2", "--schedules-table", "schedules-2", "--prefix", "test-"];
        let there = |args: &[&str]| sqjobs(world, &[args, &bare].concat());
        assert!(there(&["get", "a"]).error().contains("`sqjobs table create --table jobs-2 --schedules-table schedules-2 --prefix test-`"));
        assert!(there(&["schedule", "list"]).error().contains("`sqjobs table create --table jobs-2 "));
        assert!(there(&["enqueue", "adder", "[1]"]).error().contains("`sqjobs table create --table jobs-2 "));
        assert_eq!(there(&["table", "create"]).yes(), "table jobs-2 is ready\ntable schedules-2 is ready\n");
        assert!(there(&["enqueue", "adder", "[1]"]).error().contains("`sqjobs queue create adder --table jobs-2 "));
        let urls = there(&["queue", "create", "adder", "--timeout", "60s"]).yes();
        assert!(urls.lines().map(|url| url.rsplit('/').next().expect("a name")).eq(["test-adder", "test-adder-dlq"]), "{urls}");
        there(&["enqueue", "adder", "[1]", "--id", "a", "--recorded"]).yes();
        assert!(there(&["get", "a"]).yes().starts_with("a  queued\n"));
        assert!(there(&["schedule", "list"]).yes().is_empty());
        assert!(there(&["queue", "create", "adder", "--timeout", "3h"]).error().contains("at most 15m"));
    });
}

#[test]
fn a_wrong_command_says_what_would_be_right() {
    let ran = alone;
    assert!(ran(&["enqeue"]).error().contains("'enqueue'"));
    assert!(ran(&["get", "a", "--jsn"]).error().contains("'--json'"));
    assert!(ran(&["enqueue", "a", "1", "--delay", "5"]).error().contains("write one such as 90s, 1h30m or 2d"));
    assert!(ran(&["enqueue", "a", "hello"]).error().contains("cannot read the arguments, because the text is not JSON"));
    assert!(ran(&["move", "a"]).error().contains("--at"));
    assert!(ran(&["completions", "zsh"]).yes().contains("#compdef sqjobs"));
    assert!(ran(&["man"]).yes().contains(".TH sqjobs"));
    assert!(ran(&["--version"]).yes().starts_with("sqjobs 0."));
}

#[test]
fn missing_credentials_or_network_are_reported_in_one_sentence() {
    let ran = |variables: &[(&str, &str)]| {
        let mut command = Command::new(program("sqjobs"));
        command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());
        let args = ["get", "a", "--region", "eu-west-1"];
        Ran::of(&args, &command.args(args).output().expect("it starts")).error()
    };
    let nobody = ran(&[]);
    assert!(nobody.contains("aws sso login") && nobody.lines().count() == 1, "{nobody}");
    // The state after `aws login`, when the session has expired.
    let home = concat!(env!("CARGO_TARGET_TMPDIR"), "/login");
    fs::create_dir_all(home).expect("a folder");
    let config = format!("{home}/config");
    fs::write(&config, "[default]\nlogin_session = arn:aws:iam::123456789012:user/ada\n").expect("a file");
    let forgotten = ran(&[("HOME", home), ("AWS_CONFIG_FILE", &config)]);
    assert!(forgotten.contains("/.aws/login/cache/") && forgotten.contains("`aws login`"), "{forgotten}");
    let nowhere = ran(&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:9")]);
    assert!(nowhere.contains("--endpoint-url") && nowhere.lines().count() == 1, "{nowhere}");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_without_a_word() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(program("sqjobs"));
    command.args(["schedule", "preview", "--every", "1s", "--count", "1000"]).stdout(writer);
    let ran = Ran::of(&[], &command.stderr(Stdio::piped()).spawn().expect("it starts").wait_with_output().expect("it ends"));
    assert_eq!(ran.status, 0);
    assert_eq!(ran.said, "");
}
