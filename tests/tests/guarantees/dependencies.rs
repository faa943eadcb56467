//! Jobs that wait for other jobs, in deployed functions.

use serde_json::{Value, json};

use crate::{
    cli::{piped, sqjobs},
    function::Function,
    producer::python,
    proxy::Fault,
    wait,
    world::{PATIENCE, World},
};

/// Returns the message of a probe that waits for other jobs.
fn after(world: &World, id: &str, orders: &Value, dependencies: &[&str]) -> Value {
    let mut message = world.probe(id, orders);
    message["depends_on"] = json!(dependencies);
    message["needs"] = json!(["dependencies"]);
    message
}

#[test]
fn a_chain_sent_by_python_in_reverse_runs_in_order() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let effects = world.effects.file();
        python(world, &["chain", effects.to_str().expect("a path")]);
        for id in ["third", "second"] {
            let record = world.record_in(id, "blocked").await;
            assert_eq!(record.attempts, 0);
        }
        world.drained().await; // nothing waits in the queue
        world.send(world.probe("first", &json!({}))).await;
        world.record_in("third", "succeeded").await;
        world.drained().await;
        assert_eq!(world.effects.ids(), ["first", "second", "third"]);
    });
}

#[test]
fn a_group_releases_its_last_job_once() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let ids: Vec<_> = (0..20).map(|number| format!("member-{number}")).collect();
        let members: Vec<_> = ids.iter().map(|id| world.probe(id, &json!({}))).collect();
        world.send(after(world, "close", &json!({}), &ids.iter().map(String::as_str).collect::<Vec<_>>())).await;
        world.send_all(&members).await;
        world.record_in("close", "succeeded").await;
        world.drained().await;
        let runs = world.effects.ids();
        assert_eq!(runs.len(), 21);
        assert_eq!(runs.last().map(String::as_str), Some("close"));
    });
}

#[test]
fn a_held_job_goes_on_after_the_retry_of_the_failed_one() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let mut handler = after(world, "handler", &json!({}), &["bad"]);
        handler["when"] = json!("failed");
        let mut cancelled = after(world, "cancelled", &json!({}), &["bad"]);
        cancelled["otherwise"] = json!("cancel");
        world
            .send_all(&[after(world, "held", &json!({}), &["bad"]), handler, cancelled, world.probe("bad", &json!({"act": "fatal"}))])
            .await;
        world.record_in("handler", "succeeded").await;
        assert_eq!(world.record_in("cancelled", "cancelled").await.kind(), Some("dependency"));
        let explained = sqjobs(world, &["explain", "held"]).yes();
        assert!(explained.contains(r#"It waits for "bad", which is failed. This job is held until that one is retried"#), "{explained}");
        assert_eq!(world.effects.runs_of("held").len(), 0);
        let explained = sqjobs(world, &["explain", "bad"]).yes();
        assert!(explained.contains(r#"These jobs are held until it runs again and succeeds: "held"."#), "{explained}");
        let args = world.probe("bad", &json!({}))["args"].to_string();
        sqjobs(world, &["retry", "bad", &args, "--queue", "probes", "-y"]).yes();
        world.record_in("held", "succeeded").await;
        assert_eq!([world.effects.runs_of("held").len(), world.effects.runs_of("cancelled").len()], [1, 0]);
    });
}

#[test]
fn the_command_enqueues_completes_and_cancels_jobs_that_wait() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let args = world.probe("", &json!({}))["args"].to_string();
        let enqueue = |id: &str, more: &[&str]| {
            let all = [&["enqueue", "probe", &args, "--queue", "probes", "--id", id], more].concat();
            sqjobs(world, &all).yes();
        };
        enqueue("b", &["--after", "a"]);
        enqueue("c", &["--after", "b", "--when", "ended"]);
        enqueue("approved", &["--after", "approval"]);
        world.record_in("c", "blocked").await;
        world.record_in("b", "blocked").await;
        let explained = sqjobs(world, &["explain", "b"]).yes();
        assert!(explained.contains(r#"It waits for "a". No record shows a message with that id"#), "{explained}");
        let awaited = sqjobs(world, &["explain", "a"]).yes();
        assert!(awaited.contains("Other jobs wait for it, but no record shows a message with this id."), "{awaited}");
        assert!(awaited.contains("leaves no record when it succeeds") && awaited.contains(r#"These jobs wait for it: "b"."#), "{awaited}");
        assert!(!awaited.contains("waits in its queue") && !awaited.contains("overdue"), "{awaited}");
        sqjobs(world, &["cancel", "b", "-y"]).yes();
        world.record_in("c", "succeeded").await;
        assert_eq!(sqjobs(world, &["get", "c", "--json"]).json()[0]["dependencies"]["when"], "ended");
        world.record_in("approved", "blocked").await;
        sqjobs(world, &["complete", "approval", r#"{"by": "Ada"}"#]).yes();
        world.record_in("approved", "succeeded").await;
        assert_eq!(sqjobs(world, &["complete", "approval", "--json"]).json(), [json!({"id": "approval", "completed": false})]);
        enqueue("refused", &["--after", "no"]);
        world.record_in("refused", "blocked").await;
        let listed = sqjobs(world, &["list", "--state", "blocked", "--json"]).json();
        assert_eq!(listed.iter().map(|job| &job["id"]).collect::<Vec<_>>(), ["refused"]);
        let moved = sqjobs(world, &["move", "refused", "--delay", "1h"]).no();
        assert!(moved.contains("it waits for other jobs"), "{moved}");
        let deleted = sqjobs(world, &["queue", "delete", "probes", "--yes"]).error();
        assert!(deleted.contains("the job refused waits to be sent to it"), "{deleted}");
        sqjobs(world, &["cancel", "no", "-y"]).yes();
        let found = sqjobs(world, &["doctor", "--json"]).json();
        let held = found.iter().find(|finding| finding["rule"] == "blocked_held").expect("it is found");
        assert!(
            held["what"].as_str().is_some_and(|what| what == "1 blocked job is held: refused waits for no, which is cancelled"),
            "{held}"
        );
        let refused = sqjobs(world, &["complete", "no"]).no();
        assert!(refused.contains("a refusal is final") && refused.contains("--after NEW"), "{refused}");
        sqjobs(world, &["cancel", "refused", "-y"]).yes();
        assert_eq!(sqjobs(world, &["complete", "nobody", "--json"]).json(), [json!({"id": "nobody", "completed": false})]);
        assert!(world.record("nobody").await.is_none(), "nothing is written for an id for which no job waits");
        // Nobody has enqueued it, although others wait for it.
        enqueue("late", &["--after", "early"]);
        world.record_in("late", "blocked").await;
        enqueue("early", &[]);
        world.record_in("late", "succeeded").await;
        let refused = sqjobs(world, &["enqueue", "probe", &args, "--queue", "probes", "--when", "ended"]);
        let error = refused.error();
        assert!(error.contains("when: the message has no `depends_on`"), "{error}");
    });
}

#[test]
fn jobs_that_wait_for_each_other_are_explained() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let args = world.probe("c", &json!({}))["args"].to_string();
        for (id, other) in [("a", "b"), ("b", "c")] {
            world.send(after(world, id, &json!({}), &[other])).await;
            world.record_in(id, "blocked").await;
        }
        let refused = sqjobs(world, &["enqueue", "probe", &args, "--queue", "probes", "--id", "c", "--after", "a"]).error();
        assert!(refused.contains(r#""c" would wait for itself, because "b" waits for it"#), "{refused}");
        world.send(after(world, "c", &json!({}), &["a"])).await; // other producers do not check this
        world.record_in("c", "blocked").await;
        let found = sqjobs(world, &["doctor", "--json"]).json();
        let finding = found.iter().find(|finding| finding["rule"] == "blocked_cycle").expect("it is found");
        let what = "3 blocked jobs wait for each other in a circle, or for such jobs; for example, a";
        assert_eq!(finding["what"], what, "{finding}");
        let explained = sqjobs(world, &["explain", "a"]).yes();
        assert!(explained.contains(r#"It waits for itself, because "c" waits for it, so neither job runs."#), "{explained}");
        // The suggested commands.
        sqjobs(world, &["cancel", "c"]).yes();
        world.send(world.probe("d", &json!({}))).await;
        sqjobs(world, &["retry", "c", &args, "--after", "d"]).yes();
        world.record_in("a", "succeeded").await;
    });
}

#[test]
fn a_second_enqueue_with_other_dependencies_is_refused() {
    World::setup().test(async |world| {
        let enqueue =
            |more: &[&str]| sqjobs(world, &[&["enqueue", "probe", "[1]", "--queue", "probes", "--id", "b", "--recorded"], more].concat());
        enqueue(&["--after", "a"]).yes();
        for other in [&["--after", "c"][..], &["--after", "a", "--when", "ended"], &[]] {
            let refused = enqueue(other).no();
            assert!(refused.contains("and waits for a under its own conditions"), "{other:?}: {refused}");
        }
        enqueue(&["--after", "a"]).yes();
        for (field, remedy) in [("after", "its field is depends_on"), ("max_blocked", "its field is max_blocked_s")] {
            let line = json!({"name": "probe", "args": [1], "queue": "probes", field: "a"}).to_string();
            let refused = piped(world, &["enqueue", "--from", "-"], &line).no();
            assert!(refused.contains(&format!("line 1: the field {field} is unknown: {remedy}")), "{refused}");
        }
    });
}

#[test]
fn a_rejected_job_is_seen_by_jobs_that_wait_for_it_later() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(json!({"name": "probe", "id": "bad", "args": [1]})).await;
        assert_eq!(world.record_in("bad", "failed").await.kind(), Some("rejected"));
        world.send(json!({"id": "nameless"})).await;
        world.record_in("nameless", "failed").await;
        let mut handler = after(world, "handler", &json!({}), &["bad"]);
        handler["when"] = json!("failed");
        world.send_all(&[after(world, "held", &json!({}), &["bad"]), handler]).await;
        world.record_in("handler", "succeeded").await;
        world.record_in("held", "blocked").await;
        let explained = sqjobs(world, &["explain", "bad"]).yes();
        for part in ["It failed for good", "`sqjobs retry bad ARGS`", "`sqjobs dlq purge probes --id bad`", r#"succeeds: "held"."#] {
            assert!(explained.contains(part), "{part}: {explained}");
        }
        let explained = sqjobs(world, &["explain", "nameless"]).yes();
        for part in ["The name of its job cannot be read", "`sqjobs retry nameless ARGS --name NAME`", "`sqjobs dlq show probes nameless`"]
        {
            assert!(explained.contains(part), "{part}: {explained}");
        }
        // A right message with the same id runs, and so does a redrive.
        let args = world.probe("bad", &json!({}))["args"].to_string();
        sqjobs(world, &["enqueue", "probe", &args, "--queue", "probes", "--id", "bad", "--wait"]).yes();
        world.record_in("held", "succeeded").await;
        let redriven = sqjobs(world, &["dlq", "redrive", "probes", "--id", "nameless", "--yes"]).yes();
        assert!(redriven.contains("1 redriven"), "{redriven}");
    });
}

#[test]
fn a_job_that_waits_too_long_fails_and_names_what_it_waited_for() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let beater = Function::beater();
        world.deploy_beater(&beater).await;
        let mut message = after(world, "b", &json!({}), &["mistyped"]);
        message["max_blocked_s"] = json!(0.5);
        world.send(message).await;
        world.record_in("b", "blocked").await;
        let failed = wait::until("the beater fails it", PATIENCE, async || {
            world.tick(&beater, sqjobs::Clock::system().now()).await;
            let record = world.record("b").await.expect("a record");
            if record.state == "failed" { Ok(record) } else { Err(record.state) }
        });
        let failed = failed.await;
        assert_eq!(failed.kind(), Some("blocked_too_long"));
        assert_eq!(failed.error.expect("an error").message, "it waited too long for mistyped");
    });
}

#[test]
fn every_job_of_a_graph_runs_once_wherever_its_functions_are_cut_off() {
    World::setup().visibility_s(6).test(async |world| {
        world.deploy(&Function::probe()).await;
        let mut graphs = 0;
        loop {
            let ids = ["a", "b", "c", "handler"].map(|name| format!("{name}-{graphs}"));
            let [a, b, c, handler] = &ids;
            let mut apology = after(world, handler, &json!({}), &[b]);
            apology["when"] = json!("failed");
            world.proxy.cut_after(graphs);
            let graph = [after(world, c, &json!({}), &[a, b]), after(world, b, &json!({}), &[a]), apology, world.probe(a, &json!({}))];
            world.send_together(&graph).await;
            graphs += 1;
            let ends = ["succeeded", "succeeded", "succeeded", "cancelled"];
            let mut was_cut = false;
            wait::until("each job ends", PATIENCE, async || {
                was_cut |= world.proxy.mend_if_cut();
                for (id, end) in ids.iter().zip(ends) {
                    let state = world.record(id).await.map(|record| record.state);
                    if state.as_deref() != Some(end) {
                        return Err(format!("{id} is {state:?}"));
                    }
                }
                Ok(())
            })
            .await;
            for (id, runs) in ids.iter().zip([1, 1, 1, 0]) {
                let seen = world.effects.runs_of(id).len();
                // A process that cannot record its success repeats the body.
                assert!(seen == runs || was_cut && runs == 1 && seen == 2, "{id} ran {seen} times");
            }
            if !was_cut {
                break;
            }
        }
        world.proxy.mend();
        world.drained().await;
        assert!(graphs > 8, "{graphs} places to die");
    });
}

#[test]
fn changes_of_links_whose_answers_are_lost_are_repeated() {
    World::setup().test(async |world| {
        for part in ["set_add", "set_delete"] {
            for fault in [Fault::swallow("BatchExecuteStatement", part), Fault::refuse("BatchExecuteStatement", part)] {
                world.proxy.arm(fault);
            }
        }
        world.send(after(world, "b", &json!({}), &["a"])).await;
        world.deploy(&Function::probe()).await;
        world.record_in("b", "blocked").await;
        world.send(world.probe("a", &json!({}))).await;
        world.record_in("b", "succeeded").await;
        assert!(world.proxy.is_spent(), "each fault happened");
        assert_eq!(world.effects.ids(), ["a", "b"]);
    });
}
