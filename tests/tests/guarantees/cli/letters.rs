//! Commands for dead letters.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use super::{Ran, args, command, sqjobs};
use crate::{
    function::Function,
    proxy::{Fault, Hold},
    stack::succeed,
    wait,
    world::{PATIENCE, World},
};

/// Sends jobs that fail for good until the gate opens, and waits for their dead letters.
async fn fail(world: &World, ids: &[&str], tag: Option<&str>) {
    let before = world.dead_letters().await.len();
    for id in ids {
        let mut job = world.probe(id, &json!({"act": {"fail_until": world.effects.gate()}}));
        job["max_attempts"] = json!(1);
        job["tags"] = json!(tag.as_slice());
        world.send(&job).await;
    }
    world.dead_letters_when(before + ids.len()).await;
    world.drained().await;
}

fn ids(letters: &[Value]) -> Vec<&str> {
    let mut ids: Vec<_> = letters.iter().map(|letter| letter["id"].as_str().expect("an id")).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn an_unreadable_record_hides_neither_its_dead_letters_nor_other_jobs() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        fail(world, &["broken", "whole"], None).await;
        world.edit("broken", "attempts", Some(AttributeValue::S("many".into()))).await;
        let flaw = "the record of broken cannot be read: attempts";

        let listed = sqjobs(world, &["list", "--json"]);
        assert_eq!(ids(&listed.json()), ["whole"]);
        assert!(listed.no().contains(&format!("left out: {flaw}")));
        let found = sqjobs(world, &["doctor", "--json"]).json();
        let finding = found.iter().find(|finding| finding["rule"] == "record_unreadable").expect("it is found");
        assert!(finding["what"].as_str().is_some_and(|what| what.contains(flaw)), "{finding}");

        assert_eq!(ids(&sqjobs(world, &["dlq", "list", "--json"]).json()), ["broken", "whole"]);
        let table = sqjobs(world, &["dlq", "list", "--id", "broken"]).yes();
        assert!(table.contains("unreadable"), "{table}");
        assert!(sqjobs(world, &["dlq", "show", "probes", "broken"]).yes().contains("broken"));
        let kept = sqjobs(world, &["dlq", "redrive", "probes", "--id", "broken", "--yes"]);
        assert!(kept.said.contains(flaw), "{}", kept.said);
        assert_eq!(world.dead_letters().await.len(), 2);
        sqjobs(world, &["dlq", "purge", "probes", "--id", "broken", "--yes"]).yes();
        world.dead_letters_when(1).await;
    });
}

#[test]
fn a_list_of_failed_jobs_says_how_many_dead_letters_wait() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let list = || sqjobs(world, &["list"]);
        assert!(!list().said.contains("dead-letter"), "there is none");
        world.send("garbage").await;
        world.dead_letters_when(1).await;
        let one = list();
        assert_eq!(one.status, 0, "no record is made of what cannot be read");
        assert_eq!(one.printed, "", "no record is made of what cannot be read");
        assert!(one.said.starts_with("none\n"), "{}", one.said);
        assert!(
            one.said.ends_with("\n1 message waits in a dead-letter queue, and may have no record: `sqjobs dlq list` shows it.\n"),
            "{}",
            one.said
        );
        fail(world, &["a"], None).await;
        let two = sqjobs(world, &["list", "--json"]);
        assert_eq!(ids(&two.json()), ["a"]);
        assert!(two.said.contains("2 messages wait in dead-letter queues, and some may have no record: `sqjobs dlq list`"), "{}", two.said);
        assert!(!sqjobs(world, &["list", "--due"]).said.contains("dead-letter"), "they did not fail");

        let answer = json!({"__type": "AccessDenied", "message": "armed"}).to_string();
        let there = ["list", "--endpoint-url", &world.proxy.url()];
        for (request, told) in
            [("ListQueues", "Cannot count the messages in dead-letter queues: "), ("GetQueueAttributes", "not shown: probes-dlq: ")]
        {
            let body = if request == "ListQueues" { "" } else { "probes-dlq" };
            world.proxy.arm(Fault::answer(request, body, 400, answer.clone()));
            let denied = sqjobs(world, &there);
            assert_eq!(denied.status, 0, "{}", denied.said);
            let denied = denied.said;
            assert!(denied.contains(told), "{denied}");
        }
    });
}

#[test]
fn dead_letters_are_shown_with_their_reasons_and_redriven_by_filter() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        fail(world, &["a", "b"], None).await;
        fail(world, &["c"], Some("urgent")).await;
        world.send("garbage").await;
        world.dead_letters_when(4).await;

        let letters = sqjobs(world, &["dlq", "list", "probes", "--json"]).json();
        assert_eq!(letters.len(), 4);
        assert_eq!(sqjobs(world, &["dlq", "list", "--json"]).json().len(), 4, "of all queues");
        let of = |filter: &[&str]| sqjobs(world, &[&["dlq", "list", "probes", "--json"], filter].concat()).json();
        assert_eq!(ids(&of(&["--kind", "error"])), ["a", "b", "c"]);
        assert_eq!(ids(&of(&["--tag", "urgent"])), ["c"]);
        assert_eq!(ids(&of(&["--name", "probe", "--id", "b"])), ["b"]);
        assert_eq!(ids(&of(&["--older-than", "1h"])), [""; 0]);
        assert_eq!(of(&["--newer-than", "1h"]).len(), 4);
        let rejected = &of(&["--kind", "rejected"])[0];
        assert_eq!(rejected["body"], "garbage");
        assert_eq!(rejected["record"], Value::Null);
        assert!(rejected["reason"].as_str().is_some_and(|reason| reason.contains("not JSON")), "{rejected}");
        let table = sqjobs(world, &["dlq", "list", "probes", "--id", "a"]).yes();
        let row = table.lines().nth(1).expect("a row");
        assert!(row.starts_with("probes  a  ") && row.contains("failed") && row.contains("failed as told"), "{table}");
        let shown = sqjobs(world, &["dlq", "show", "probes", "a"]).yes();
        assert!(shown.starts_with("a  error\n") && shown.contains("body          {\"args\"") && shown.contains("\na  failed\n"), "{shown}");
        let shown = &sqjobs(world, &["dlq", "show", "probes", "a", "--json"]).json()[0];
        assert_eq!(shown["id"], "a");
        assert_eq!(shown["record"]["state"], "failed");
        assert!(sqjobs(world, &["dlq", "show", "probes", "x"]).no().contains("no dead letter of x"));

        world.effects.open_the_gate();
        let asked = sqjobs(world, &["dlq", "redrive", "probes", "--tag", "urgent"]);
        assert!(asked.status == 2 && asked.said.contains("1 to be redriven. Continue? There is no terminal"), "{}", asked.said);
        let dry = &sqjobs(world, &["dlq", "redrive", "probes", "--dry-run", "--json"]).json()[0];
        assert_eq!(dry["meant"], json!([{"kind": "error", "name": "probe", "count": 3}, {"kind": "rejected", "name": "", "count": 1}]));
        let would = sqjobs(world, &["dlq", "redrive", "probes", "--tag", "urgent", "--dry-run"]);
        assert_eq!(would.printed, "1 would be redriven\n");
        assert_eq!(would.said, "       1  error  probe\n");
        assert_eq!(world.dead_letters().await.len(), 4, "nothing was done");

        assert_eq!(sqjobs(world, &["dlq", "redrive", "probes", "--tag", "urgent", "--yes"]).yes(), "1 redriven, 3 not selected\n");
        world.record_in("c", "succeeded").await;
        let done = &sqjobs(world, &["dlq", "redrive", "probes", "--kind", "error", "--rate", "100", "--yes", "--json"]).json()[0];
        assert_eq!(done["redriven"], 2);
        assert_eq!(done["left"], 1);
        assert_eq!(done["failed"], 0);
        for id in ["a", "b"] {
            world.record_in(id, "succeeded").await;
        }
        assert_eq!(
            sqjobs(world, &["dlq", "purge", "probes", "--dry-run"]).yes(),
            "1 would be purged (the arguments of the jobs are deleted too)\n"
        );
        let none = sqjobs(world, &["dlq", "purge", "probes", "--name", "probe", "--yes"]).no();
        assert_eq!(none, "1 not selected\nno dead letter of a job with the name probe was found\n");
        assert_eq!(sqjobs(world, &["dlq", "purge", "probes", "--yes", "--json"]).json()[0]["purged"], 1);
        assert_eq!(world.dead_letters().await.len(), 0);
        assert_eq!(sqjobs(world, &["dlq", "list"]).said, "none\n");
    });
}

#[test]
fn a_retry_takes_the_dead_letter_of_its_job_along() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        fail(world, &["a", "b", "c"], None).await;
        world.effects.open_the_gate();
        let orders = args(world, &json!({"act": {"fail_until": world.effects.gate()}}));
        assert_eq!(sqjobs(world, &["retry", "a", &orders]).yes(), "a runs again; its dead letter is deleted\n");
        let retried = sqjobs(world, &["retry", "b", &orders, "--json"]).json();
        assert_eq!(retried, [json!({"id": "b", "retried": true, "dead_letters_deleted": 1})]);

        let answer = json!({"__type": "AccessDeniedException", "message": "armed"}).to_string();
        world.proxy.arm(Fault::answer("DeleteMessageBatch", "", 400, answer));
        let retried = sqjobs(world, &["retry", "c", &orders, "--endpoint-url", &world.proxy.url()]);
        assert!(
            retried.said.contains("its dead letter was not deleted: SQS did not delete it; delete it with `sqjobs dlq purge probes --id c"),
            "{}",
            retried.said
        );
        assert_eq!(retried.yes(), "c runs again\n");
        for id in ["a", "b", "c"] {
            world.record_in(id, "succeeded").await;
        }
        assert_eq!(ids(&sqjobs(world, &["dlq", "list", "--json"]).json()), ["c"], "it is visible");
    });
}

#[test]
fn a_retry_loses_no_other_arguments() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        fail(world, &["a", "b"], None).await;
        world.effects.open_the_gate();
        let other = world.probe("a", &json!({"act": "fatal"})).to_string();
        world.account.sqs.send_message().queue_url(&world.queues.dlq_url).message_body(other).send().await.expect("it is sent");
        let orders = args(world, &json!({"act": {"fail_until": world.effects.gate()}}));
        let kept = |id: &str| {
            format!(
                "kept 1 dead letter with this id, because the job or its arguments differ from yours: `sqjobs dlq show probes {id}` shows the \
                 arguments, `sqjobs dlq purge probes --id {id}` deletes all dead letters with this id\n"
            )
        };
        let retried = sqjobs(world, &["retry", "a", &orders]);
        assert_eq!(retried.printed, "a runs again; its dead letter is deleted\n");
        assert_eq!(retried.said, kept("a"));
        world.record_in("a", "succeeded").await;

        // Mistyped arguments are rejected.
        let retried = sqjobs(world, &["retry", "b", r#"{"effects": 7}"#]);
        assert_eq!(retried.printed, "b runs again\n");
        assert_eq!(retried.said, kept("b"));
        world.dead_letters_when(3).await;
        world.record_in("b", "failed").await;
        let redriven = sqjobs(world, &["dlq", "redrive", "probes", "--id", "b", "--yes"]).no();
        assert!(redriven.contains("b: the job with this id has other arguments"), "{redriven}");
        world.dead_letters_when(3).await;
        world.drained().await;
        let retried = sqjobs(world, &["retry", "b", &orders]);
        assert_eq!(retried.printed, "b runs again; its dead letter is deleted\n");
        assert_eq!(retried.said, kept("b"));
        world.record_in("b", "succeeded").await;
        // The kept dead letters are the only copies of their arguments.
        let redriven = sqjobs(world, &["dlq", "redrive", "probes", "--yes"]).no();
        assert!(redriven.contains("2 kept") && redriven.contains("b: the job with this id has other arguments"), "{redriven}");
        let bodies: Vec<_> = world.dead_letters().await.into_iter().map(|letter| letter.body).collect();
        assert!(bodies.len() == 2 && bodies.iter().all(|body| body.contains("fatal") || body.contains(r#""effects":7"#)), "{bodies:?}");
    });
}

#[test]
fn a_purge_keeps_dead_letters_of_other_queues() {
    World::setup().test(async |world| {
        let (_, other, _) = world.other_queues().await;
        world.plant(json!({"id": "a", "name": "probe", "queue": "probes", "state": "failed", "attempts": 1, "generation": 1})).await;
        let dlq_url = world.queues.dlq_url.replace("probes-dlq", &format!("{other}-dlq"));
        for id in ["a", "b"] {
            let body = world.probe(id, &json!({})).to_string();
            world.account.sqs.send_message().queue_url(&dlq_url).message_body(body).send().await.expect("it is sent");
        }
        let reason = "a: its job belongs to queue probes; send the message there, or run the job by `sqjobs retry ID ARGS`";
        let would = sqjobs(world, &["dlq", "purge", &other, "--dry-run"]).no();
        let plan = "1 would be purged (the arguments of the jobs are deleted too), 1 would be kept (the job belongs to another queue)";
        assert!(would.contains(plan) && would.contains(reason), "{would}");
        let purged = sqjobs(world, &["dlq", "purge", &other, "--yes"]).no();
        assert!(purged.contains("1 kept (the job belongs to another queue), 1 purged") && purged.contains(reason), "{purged}");
        assert_eq!(ids(&sqjobs(world, &["dlq", "list", &other, "--json"]).json()), ["a"]);

        for change in ["redrive", "purge"] {
            for (option, what) in [("--name", "a job with the name nosuch"), ("--tag", "a job with the tag nosuch"), ("--id", "nosuch")] {
                let none = sqjobs(world, &["dlq", change, &other, option, "nosuch", "--yes"]).no();
                assert!(none.contains(&format!("no dead letter of {what} was found")), "{none}");
            }
            let none = sqjobs(world, &["dlq", change, &other, "--kind", "timeuot", "--yes"]).no();
            assert!(none.contains("no dead letter of kind timeuot was found; the kinds are misdirected"), "{none}");
        }
    });
}

#[test]
fn a_letter_whose_job_has_succeeded_since_is_dropped_and_not_run() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        fail(world, &["a", "b"], None).await;
        world.effects.open_the_gate();
        let job = world.probe("a", &json!({"act": {"fail_until": world.effects.gate()}}));
        // `Client::retry` leaves the dead letter.
        let client = sqjobs::Client::new(
            std::sync::Arc::new(sqjobs::queue::Sqs::new(world.account.sqs.clone())),
            std::sync::Arc::new(world.store()),
            sqjobs::Clock::system(),
            "",
        );
        assert!(client.retry(sqjobs::Enqueue::named("probe", job["args"].clone()).queue("probes").id("a")).await.expect("filed"));
        world.record_in("a", "succeeded").await;
        let runs = world.effects.runs_of("a").len();
        let would = sqjobs(world, &["dlq", "redrive", "probes", "--dry-run"]).yes();
        assert!(would.starts_with("1 would be redriven, 1 would be dropped (the job has ended, or"), "{would}");
        let done = &sqjobs(world, &["dlq", "redrive", "probes", "--yes", "--json"]).json()[0];
        assert_eq!(done["redriven"], 1);
        assert_eq!(done["dropped"], 1);
        world.record_in("b", "succeeded").await;
        world.drained().await;
        assert_eq!(world.effects.runs_of("a").len(), runs);
        assert_eq!(world.dead_letters().await.len(), 0);
    });
}

#[test]
fn of_dead_letters_of_one_id_the_first_is_redriven_and_others_are_kept() {
    World::setup().test(async |world| {
        let letters = [("a", json!({})), ("a", json!({})), ("a", json!({"act": "fatal"})), ("b", json!({}))];
        let send = async |letters: &[(&str, Value)]| {
            for (id, orders) in letters {
                let body = world.probe(id, orders).to_string();
                world.account.sqs.send_message().queue_url(&world.queues.dlq_url).message_body(body).send().await.expect("it is sent");
            }
        };
        send(&letters).await;
        let counts = |done: &Value| ["redriven", "dropped", "kept", "failed"].map(|field| done[field].as_u64().expect("a count"));
        let redrive = |more: &[&str]| sqjobs(world, &[&["dlq", "redrive", "probes"], more].concat());
        assert_eq!(counts(&redrive(&["--dry-run", "--json"]).json()[0]), [2, 1, 1, 0]);
        let would = redrive(&["--dry-run"]).no();
        assert!(
            would.starts_with("2 would be redriven, 1 would be dropped (")
                && would.contains("), 1 would be kept (the message would not run)")
                && would.contains("the job with this id has other arguments"),
            "{would}"
        );
        let done = redrive(&["--yes", "--json"]);
        assert_eq!(done.status, 1);
        assert_eq!(counts(&done.json()[0]), [2, 1, 1, 0]);
        assert!(done.said.contains("a: the job with this id has other arguments"), "{}", done.said);
        assert_eq!(world.messages().await.len(), 2);
        let kept = world.dead_letters().await;
        assert!(kept.len() == 1 && kept[0].body.contains("fatal"), "{kept:?}");

        // Each dead letter is read alone.
        sqjobs(world, &["dlq", "purge", "probes", "--yes"]).yes();
        send(&[("c", json!({})), ("c", json!({"act": "fatal"}))]).await;
        assert_eq!(counts(&redrive(&["--rate", "1", "--yes", "--json"]).json()[0]), [1, 0, 1, 0]);
        sqjobs(world, &["dlq", "purge", "probes", "--yes"]).yes();

        // The record says that the job waits, and its message must come first.
        let orders = args(world, &json!({}));
        sqjobs(world, &["enqueue", "probe", &orders, "--queue", "probes", "--id", "d", "--recorded"]).yes();
        send(&[("d", json!({"act": "fatal"}))]).await;
        assert_eq!(counts(&redrive(&["--yes", "--json"]).json()[0]), [0, 0, 1, 0]);
        world.deploy(&Function::probe()).await;
        for id in ["a", "b", "d"] {
            world.record_in(id, "succeeded").await;
        }
        assert_eq!(world.effects.runs_of("a").len(), 1);
    });
}

#[test]
fn what_fails_again_or_is_rejected_again_is_redriven_once_and_here_again() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        fail(world, &["fatal"], None).await;
        // Its record waits, and fails with the rejected message.
        sqjobs(world, &["enqueue", "probe", r#"{"effects": 7}"#, "--id", "wrong", "--queue", "probes", "--recorded"]).yes();
        world.send("garbage").await;
        world.dead_letters_when(3).await;
        world.drained().await;
        let warning =
            "warning: the function refused 2 of these messages (rejected), and will refuse them again unless the function was changed.";
        let would = sqjobs(world, &["dlq", "redrive", "probes", "--dry-run"]);
        assert!(would.said.contains(warning) && would.said.contains("`sqjobs dlq purge probes --kind rejected"), "{}", would.said);
        assert_eq!(would.yes(), "3 would be redriven\n");
        let ran = sqjobs(world, &["dlq", "redrive", "probes", "--yes", "--json"]);
        assert!(ran.status == 0 && ran.said.contains(warning), "{}", ran.said);
        let done = &ran.json()[0];
        let counts = ["redriven", "dropped", "failed", "left"].map(|field| &done[field]);
        assert_eq!(counts, [3, 0, 0, 0].map(|count| json!(count)).each_ref(), "each message is counted once: {done}");
        world.drained().await;
        world.dead_letters_when(3).await;
        assert_eq!(world.effects.runs_of("fatal").len(), 2);
        assert_eq!(world.record("wrong").await.expect("a record").state, "failed");
        let missing = sqjobs(world, &["dlq", "redrive", "probes-dlq", "--id", "x", "--yes"]).no();
        assert!(
            missing.contains("3 not selected") && missing.contains("no dead letter of x"),
            "the name of the dead-letter queue stands for its queue"
        );
    });
}

#[test]
fn letters_of_a_fifo_queue_go_back_in_their_groups() {
    World::setup().fifo().test(async |world| {
        world.deploy(&Function::probe()).await;
        let job = |id: &str| world.probe(id, &json!({"act": {"fail_until": world.effects.gate()}}));
        // More than the ten of one group that SQS shows at a time.
        let ids: Vec<_> = (0..12).map(|number| format!("job-{number}")).collect();
        let mut jobs: Vec<_> = ids.iter().map(|id| ("g", job(id))).chain([("h", job("other"))]).collect();
        for (_, job) in &mut jobs {
            job["max_attempts"] = json!(1);
        }
        for jobs in jobs.chunks(10) {
            world.send_in_groups(jobs).await;
        }
        wait::until("all are dead letters", PATIENCE, async || {
            let listed = sqjobs(world, &["dlq", "list", "probes.fifo", "--json"]).yes();
            if listed.lines().count() == jobs.len() { Ok(()) } else { Err(listed) }
        })
        .await;
        world.drained().await;
        world.effects.open_the_gate();
        assert_eq!(sqjobs(world, &["dlq", "redrive", "probes.fifo", "--yes"]).yes(), "13 redriven\n");
        for id in ids.iter().map(String::as_str).chain(["other"]) {
            world.record_in(id, "succeeded").await;
        }
    });
}

#[test]
fn a_redrive_that_is_killed_and_repeated_doubles_and_loses_nothing() {
    const JOBS: usize = 300;
    World::setup().test(async |world| {
        let names: Vec<_> = (0..JOBS).map(|number| format!("job-{number:03}")).collect();
        world.deploy(&Function::probe()).await;
        let jobs = names.iter().map(|id| {
            let mut job = world.probe(id, &json!({"act": {"fail_until": world.effects.gate()}}));
            job["max_attempts"] = json!(1);
            job
        });
        world.send_all(&jobs.collect::<Vec<_>>()).await;
        world.dead_letters_when(JOBS).await;
        world.drained().await;
        world.effects.open_the_gate();

        let proxy = world.proxy.url();
        let slowly = ["dlq", "redrive", "probes", "--rate", "100", "--yes", "--endpoint-url", &proxy];
        for (died_at, most_left) in [("SendMessageBatch", JOBS), ("DeleteMessageBatch", JOBS * 3 / 4)] {
            let mut killed = command(world).args(slowly).stdout(Stdio::null()).spawn().expect("it starts");
            wait::until("some are redriven", PATIENCE, async || {
                let left = world.dead_letters().await.len();
                if left <= most_left { Ok(()) } else { Err(format!("{left} are left")) }
            })
            .await;
            let hold = Hold::default();
            world.proxy.arm(Fault::hold(died_at, &hold));
            hold.arrived().await;
            killed.kill().expect("it runs"); // SIGKILL
            killed.wait().expect("it ends");
            hold.release();
        }
        // The messages that it held become visible again.
        wait::until("all are redriven", PATIENCE, async || {
            let done = &sqjobs(world, &["dlq", "redrive", "probes", "--yes", "--json"]).json()[0];
            assert_eq!(done["failed"], 0, "{done}");
            let left = world.dead_letters().await.len();
            if left == 0 { Ok(()) } else { Err(format!("{left} are left: {done}")) }
        })
        .await;
        wait::until("all have run", PATIENCE, async || match world.messages().await.len() {
            0 => Ok(()),
            left => Err(format!("{left} messages are left")),
        })
        .await;
        let mut runs: BTreeMap<String, usize> = BTreeMap::new();
        world.effects.runs().into_iter().for_each(|run| *runs.entry(run.id).or_default() += 1);
        assert_eq!(runs, names.into_iter().map(|id| (id, 2)).collect(), "each failed once and ran once more");
    });
}

#[test]
fn a_redrive_waits_for_a_dead_letter_that_another_reader_hides() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        fail(world, &["a"], None).await;
        world.effects.open_the_gate();
        let hidden = world.account.sqs.receive_message().queue_url(&world.queues.dlq_url).visibility_timeout(6).wait_time_seconds(0);
        assert_eq!(hidden.send().await.expect("the queue answers").messages().len(), 1);
        assert_eq!(sqjobs(world, &["dlq", "redrive", "probes", "--id", "a", "--yes"]).yes(), "1 redriven\n");
        world.record_in("a", "succeeded").await;
    });
}

#[test]
fn who_interrupts_a_redrive_is_told_how_far_it_came_and_how_to_go_on() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let names: Vec<_> = (0..30).map(|number| format!("job-{number:02}")).collect();
        fail(world, &names.iter().map(String::as_str).collect::<Vec<_>>(), None).await;
        let slowly = ["dlq", "redrive", "probes", "--rate", "2", "--yes"];
        let redrive = command(world).args(slowly).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        wait::until("some are redriven", PATIENCE, async || {
            let left = world.dead_letters().await.len();
            if left < names.len() { Ok(()) } else { Err(format!("{left} are left")) }
        })
        .await;
        succeed(Command::new("kill").args(["-INT", &redrive.id().to_string()]));
        let told = Ran::of(&slowly, &redrive.wait_with_output().expect("it ends")).no();
        assert!(told.contains(" redriven") && told.contains("interrupted; run the command again to continue"), "{told}");
    });
}
