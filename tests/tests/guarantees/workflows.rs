//! Workflows: many jobs in one message, in deployed functions.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use serde_json::{Value, json};
use sqjobs::{Client, Clock, Enqueue, queue::Sqs};

use crate::{
    cli::{piped, sqjobs},
    function::Function,
    producer::python,
    wait,
    world::{PATIENCE, World},
};

/// Returns a job of a workflow that waits for others of it.
fn step(world: &World, id: &str, orders: &Value, after: &[&str]) -> Value {
    let mut step = world.probe(id, orders);
    step["depends_on"] = json!(after);
    step["queue"] = json!("probes");
    step
}

/// Returns the message of a workflow.
fn workflow(world: &World, id: &str, jobs: &[Value]) -> Value {
    let mut message = world.probe(id, &json!({}));
    message["jobs"] = json!(jobs);
    message["needs"] = json!(["workflow"]);
    message
}

#[test]
fn two_thousand_jobs_in_one_message_run_once_although_a_function_dies() {
    World::setup().visibility_s(6).test(async |world| {
        let effects = world.effects.file();
        let send = |jobs: &str| python(world, &["workflow", effects.to_str().expect("a path"), jobs]);
        world.proxy.cut_after(90); // in the middle of the expansion
        world.deploy(&Function::probe()).await;
        send("2000");
        wait::until("the function dies", PATIENCE, async || world.proxy.mend_if_cut().then_some(()).ok_or("it lives")).await;
        world.record_in("podcast", "succeeded").await;
        world.drained().await;
        let runs = world.effects.ids();
        let different: BTreeSet<_> = runs.iter().collect();
        assert_eq!([runs.len(), different.len()], [2001, 2001]);
        assert_eq!(runs.last().map(String::as_str), Some("podcast"));
        // The same message again, and another one with the same id.
        send("2000");
        send("3");
        wait::until("the other workflow is refused", PATIENCE, async || {
            let letters = world.dead_letters().await;
            let is_named = |reason: &String| reason.contains("id podcast belongs to a workflow with other jobs or arguments");
            let refused =
                letters.iter().filter_map(|letter| letter.attributes.get("sqjobs.reason")).filter(|reason| is_named(reason)).count();
            (refused == 1).then_some(()).ok_or(format!("{letters:?}"))
        })
        .await;
        world.drained().await;
        assert_eq!(world.effects.ids().len(), 2001);
    });
}

#[test]
fn a_group_of_hundreds_closes_once() {
    close_a_group(450);
}

/// Run by `./check --full`.
#[test]
#[ignore = "takes minutes: tests/deep.sh runs it"]
fn a_group_of_ten_thousand_closes_once() {
    close_a_group(10_000);
}

/// Enqueues a group twice, and waits until its closing job has ended.
fn close_a_group(count: usize) {
    World::setup().test(async |world| {
        let start = Instant::now();
        world.deploy(&Function::probe()).await;
        let args = |id: &str| world.probe(id, &json!({}))["args"].clone();
        let job = |id: &str| Enqueue::named("probe", args(id)).queue("probes").id(id);
        let members: Vec<_> = (0..count).map(|number| job(&format!("member-{number}"))).collect();
        let queue = Sqs::new(world.account.sqs.clone());
        let client = Client::new(Arc::new(queue), Arc::new(world.store()), Clock::system(), "");
        for _ in 0..2 {
            let sent = client.enqueue_group(job("close"), members.clone()).await.expect("the table answers");
            assert!(sent.iter().all(Result::is_ok), "{sent:?}");
        }
        wait::until("the closing job ends", 10 * PATIENCE, async || match world.record("close").await {
            Some(record) if record.state == "succeeded" => Ok(()),
            _ => Err(format!("{} runs", world.effects.ids().len())),
        })
        .await;
        world.drained().await;
        let runs = world.effects.ids();
        assert_eq!(runs.len(), count + 1);
        assert_eq!(runs.iter().collect::<BTreeSet<_>>().len(), count + 1, "each job runs once");
        assert_eq!(runs.last().map(String::as_str), Some("close"));
        let requests = world.proxy.passed("").len();
        println!("a group of {count}, enqueued twice: {requests} requests of functions, {:.0} s", start.elapsed().as_secs_f64());
    });
}

#[test]
fn every_job_of_a_workflow_runs_once_wherever_its_functions_are_cut_off() {
    World::setup().visibility_s(6).test(async |world| {
        world.deploy(&Function::probe()).await;
        let mut places = 0;
        loop {
            let id = format!("w{places}");
            let mut apology = step(world, "apology", &json!({}), &["bad"]);
            apology["when"] = json!("failed");
            let mut off = step(world, "off", &json!({}), &["bad"]);
            off["otherwise"] = json!("cancel");
            let bad = step(world, "bad", &json!({"act": "fatal"}), &[]);
            let mut message = workflow(world, &id, &[step(world, "a", &json!({}), &[]), bad, apology, off]);
            message["depends_on"] = json!(["a", "off", "apology"]);
            message["when"] = json!("ended");
            world.proxy.cut_after(places);
            world.send(message).await;
            places += 1;
            let ends = [
                ("/a", "succeeded", 1),
                ("/bad", "failed", 1),
                ("/off", "cancelled", 0),
                ("/apology", "succeeded", 1),
                ("", "succeeded", 1),
            ];
            let mut was_cut = false;
            wait::until("each job ends", PATIENCE, async || {
                was_cut |= world.proxy.mend_if_cut();
                for (job, end, _) in ends {
                    let state = world.record(&format!("{id}{job}")).await.map(|record| record.state);
                    if state.as_deref() != Some(end) {
                        return Err(format!("{id}{job} is {state:?}"));
                    }
                }
                Ok(())
            })
            .await;
            for (job, _, runs) in ends {
                let seen = world.effects.runs_of(&format!("{id}{job}")).len();
                // A process that cannot record the end of a job repeats the body.
                assert!(seen == runs || was_cut && runs == 1 && seen == 2, "{id}{job} ran {seen} times");
            }
            if !was_cut {
                break;
            }
        }
        world.proxy.mend();
        world.drained().await;
        assert!(places > 10, "{places} places to die");
    });
}

#[test]
fn a_rejected_workflow_is_sent_again_and_not_retried_without_its_jobs() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let right = workflow(world, "w", &[step(world, "a", &json!({}), &[])]);
        let mut wrong = right.clone();
        wrong["args"] = json!([1]);
        let mut unknown = right.clone();
        unknown["id"] = json!("v");
        unknown["jobs"][0]["depends_on"] = json!(["nothere"]);
        for message in [wrong, unknown] {
            let id = message["id"].as_str().expect("an id").to_owned();
            world.send(message).await;
            world.record_in(&id, "failed").await;
            world.drained().await;
            let explained = sqjobs(world, &["explain", &id]).yes();
            assert!(explained.contains("Do not use `sqjobs retry`, which would run the job without the other jobs."), "{explained}");
            let args = right["args"].to_string();
            let refused = sqjobs(world, &["retry", &id, &args]).error();
            assert!(refused.contains("This command runs the job without them.") && refused.contains("add --yes"), "{refused}");
            assert_eq!(world.record(&id).await.expect("a record").state, "failed");
        }
        let line = right.to_string();
        assert_eq!(piped(world, &["enqueue", "--from", "-", "--queue", "probes"], &line).yes(), "1 job enqueued\n");
        world.record_in("w", "succeeded").await;
        world.drained().await;
        assert_eq!(world.effects.ids(), ["w/a", "w"]);
        sqjobs(world, &["retry", "v", &right["args"].to_string(), "--yes"]).yes();
        world.record_in("v", "succeeded").await;
    });
}

#[test]
fn a_workflow_that_is_enqueued_again_from_a_file_is_a_duplicate() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let message = workflow(world, "w", &[step(world, "a", &json!({}), &[])]);
        let enqueue = |message: &Value| piped(world, &["enqueue", "--from", "-", "--queue", "probes"], &message.to_string());
        enqueue(&message).yes();
        world.record_in("w", "succeeded").await;
        assert_eq!(enqueue(&message).yes(), "0 jobs enqueued; duplicates that do not run again: 1\n");
        let other = workflow(world, "w", &[step(world, "b", &json!({}), &[])]);
        let refused = enqueue(&other).no();
        assert!(refused.contains("The id belongs to a workflow with other jobs or arguments"), "{refused}");
    });
}

#[test]
fn a_retry_names_the_dead_letters_of_its_own_jobs_only() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let mended = world.effects.file().with_file_name("mended");
        let mut bad = step(world, "bad", &json!({"act": {"fail_until": mended}}), &[]);
        bad["max_attempts"] = json!(1);
        world.send(workflow(world, "w", &[bad])).await;
        world.send(world.probe("other", &json!({"act": "fatal"}))).await;
        world.record_in("w/bad", "failed").await;
        world.record_in("other", "failed").await;
        world.drained().await;
        std::fs::write(&mended, "").expect("the file can be written");
        let retried = sqjobs(world, &["retry", "--tree", "w"]);
        assert!(retried.said.ends_with("`sqjobs dlq redrive probes --id w/bad`\n"), "{}", retried.said);
        assert_eq!(retried.yes(), "1 job runs again: w/bad\n");
        world.record_in("w", "succeeded").await;
        world.drained().await;
        sqjobs(world, &["dlq", "redrive", "probes", "--id", "w/bad", "--yes"]).yes();
        world.drained().await;
        let left: Vec<_> = world.dead_letters().await.iter().map(|letter| letter.attributes["sqjobs.id"].clone()).collect();
        assert_eq!(left, ["other"]);
        assert_eq!(world.effects.runs_of("w/bad").len(), 2);
    });
}

#[test]
fn a_workflow_whose_queue_is_missing_is_explained_and_not_retried() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let mut lost = step(world, "lost", &json!({}), &[]);
        lost["queue"] = json!("nowhere");
        world.send(workflow(world, "w", &[lost])).await;
        world.record_in("w/lost", "scheduled").await;
        sqjobs(world, &["cancel", "w/lost"]).yes();
        let refused = sqjobs(world, &["retry", "--tree", "w"]).error();
        assert!(refused.contains("cannot run w again: its queue nowhere does not exist"), "{refused}");
        assert_eq!(world.record("w/lost").await.expect("a record").state, "cancelled");

        // A job that no function has started is no mistyped id.
        sqjobs(world, &["queue", "create", "nowhere"]).yes();
        let mut unread = step(world, "unread", &json!({}), &[]);
        unread["queue"] = json!("nowhere");
        world.send(workflow(world, "v", &[unread])).await;
        world.record_in("v", "blocked").await;
        let explained = sqjobs(world, &["explain", "v"]).yes();
        assert!(explained.contains(r#"It waits for "v/unread", a job of its workflow that no function has started yet"#), "{explained}");
        let explained = sqjobs(world, &["explain", "v/unread"]).yes();
        assert!(explained.contains(r#"It is a job of workflow "v". No function has started it yet."#), "{explained}");
    });
}

#[test]
fn the_command_shows_cancels_and_retries_a_whole_workflow() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let wide: Vec<String> = (0..25).map(|number| format!("m{number}")).collect();
        let mut jobs: Vec<_> = wide.iter().map(|id| step(world, id, &json!({}), &[])).collect();
        let mended = world.effects.file().with_file_name("mended");
        let mut bad = step(world, "bad", &json!({"act": {"fail_until": mended}}), &["m1"]);
        bad["max_attempts"] = json!(1);
        jobs.push(bad);
        jobs.push(step(world, "next", &json!({}), &["bad"]));
        let last: Vec<_> = wide.iter().map(String::as_str).chain(["next"]).collect();
        let mut message = workflow(world, "w", &jobs);
        message["depends_on"] = json!(last);
        world.send(message).await;
        world.record_in("w/bad", "failed").await;
        world.record_in("w", "blocked").await;
        world.drained().await;
        let tree = sqjobs(world, &["tree", "w"]);
        assert!(tree.said.contains("To retry the jobs that did not succeed: `sqjobs retry --tree w`"), "{}", tree.said);
        let drawn = tree.yes();
        assert!(drawn.contains("26 of 28 jobs have ended, 1 failed") && drawn.contains("waits for w/bad"), "{drawn}");
        let of_member = sqjobs(world, &["tree", "w/next", "--json"]).json();
        assert_eq!(of_member.len(), 28);
        assert_eq!(of_member[26]["depends_on"], json!(["w/bad"]));
        let explained = sqjobs(world, &["explain", "w"]).yes();
        assert!(explained.contains(r#"It waits for "w/next", which is blocked."#), "{explained}");
        let explained = sqjobs(world, &["explain", "w/m1"]).yes();
        assert!(!explained.contains("cannot"), "{explained}");
        std::fs::write(&mended, "").expect("the file can be written");
        let before = world.effects.ids().len();
        assert_eq!(sqjobs(world, &["retry", "--tree", "w", "--json"]).json(), [json!({"id": "w", "retried": ["w/bad"]})]);
        assert!(sqjobs(world, &["watch", "--tree", "w", "--within", "2m"]).yes().contains("28 of 28 jobs have ended, 0 failed"));
        world.drained().await;
        assert_eq!(world.effects.ids()[before..], ["w/bad", "w/next", "w"]);
        let none = sqjobs(world, &["retry", "--tree", "w"]).no();
        assert!(none.contains("nothing was changed"), "{none}");

        let held = workflow(world, "v", &[step(world, "a", &json!({"act": "fatal"}), &[]), step(world, "b", &json!({}), &["a"])]);
        world.send(held).await;
        world.record_in("v/b", "blocked").await;
        world.record_in("v/a", "failed").await;
        let cancelled = sqjobs(world, &["cancel", "--tree", "v", "--yes", "--json"]).json();
        assert_eq!(cancelled, [json!({"id": "v", "cancelled": 2, "asked_to_stop": 0, "ended": 1})]);
        let unknown = sqjobs(world, &["cancel", "--tree", "nothing", "--yes"]).error();
        assert!(unknown.contains("there is no workflow \"nothing\""), "{unknown}");
    });
}
