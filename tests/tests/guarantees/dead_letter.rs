//! The contents and reasons of dead letters, and their redrive.

use serde_json::{Value, json};

use crate::{function::Function, message::Message, world::World};

#[test]
fn an_exhausted_job_is_a_dead_letter_with_a_reason_and_can_be_redriven() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let job = world.probe("tried", &json!({"act": {"fail_until": world.effects.gate()}}));
        world.send(&job).await;
        let record = world.record_when("tried", "is dead-lettered", |record| record.dlq.as_deref() == Some("sent")).await;
        assert_eq!(record.state.as_str(), "failed");
        assert_eq!(record.attempts, 3);
        assert_eq!(record.kind(), Some("error"));
        let letters = world.dead_letters_when(1).await;
        assert_tells(&letters[0], "tried", "error", "failed as told");
        assert_eq!(letters[0].attribute("sqjobs.dead"), record.generation.to_string());
        assert_eq!(letters[0].body, job.to_string());
        world.drained().await;

        world.effects.open_the_gate();
        world.redrive(&letters[0]).await;
        let again = world.record_in("tried", "succeeded").await;
        assert_eq!(again.attempts, 1);
        assert_eq!(again.generation, record.generation + 1);
        world.drained().await;
    });
}

#[test]
fn a_redriven_job_without_an_id_keeps_its_first_message_id() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let mut job = world.probe("", &json!({"act": {"fail_until": world.effects.gate()}}));
        job.as_object_mut().expect("an object").remove("id");
        let id = world.send(&job).await;
        let letters = world.dead_letters_when(1).await;
        let failed = world.record_in(&id, "failed").await;
        world.effects.open_the_gate();
        world.redrive(&letters[0]).await;
        let again = world.record_in(&id, "succeeded").await;
        assert_eq!(again.attempts, 1);
        assert_eq!(again.generation, failed.generation + 1);
    });
}

#[test]
fn a_fatal_error_is_dead_lettered_at_once() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.send(world.probe("hopeless", &json!({"act": "fatal"}))).await;
        let letters = world.dead_letters_when(1).await;
        assert_tells(&letters[0], "hopeless", "fatal", "gave up as told");
        let record = world.record_in("hopeless", "failed").await;
        assert_eq!(record.attempts, 1);
        assert_eq!(world.effects.runs_of("hopeless").len(), 1);
        world.drained().await;
    });
}

#[test]
fn a_second_message_of_a_failed_job_does_not_run_it() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let job = world.probe("hopeless", &json!({"act": "fatal"}));
        world.send(&job).await;
        world.dead_letters_when(1).await;
        world.drained().await;
        world.send(&job).await;
        world.drained().await;
        assert_eq!(world.effects.runs_of("hopeless").len(), 1);
        assert_eq!(world.dead_letters().await.len(), 1);
    });
}

#[test]
fn an_unreadable_message_is_a_dead_letter_whose_reason_names_the_flaw() {
    let deep = format!(r#"{{"name": "probe", "args": {}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let long = json!({"name": "probe", "id": "i".repeat(10_000)}).to_string();
    let flaws = [
        ("!", &["body", "neither JSON nor base64"][..]),
        (r#"{"args": [1]}"#, &["name"]),
        (r#"{"name": "probe", "args": {"effects": 7}}"#, &["args.effects", "integer"]),
        (r#"{"name": "probe", "args": {}}"#, &["args", "effects"]),
        (r#"{"name": "probe", "max_attempts": "5"}"#, &["max_attempts", "whole number"]),
        (&deep, &["body", "nested"]),
        (&long, &["id", "10000 bytes"]),
    ];
    World::setup().test(async |world| {
        world.send(world.probe("good", &json!({}))).await;
        for (body, _) in flaws {
            world.send(body).await;
        }
        world.deploy(&Function::probe()).await;
        world.record_in("good", "succeeded").await;
        world.drained().await;
        let letters = world.dead_letters_when(flaws.len()).await;
        for (body, words) in flaws {
            let letter = letters.iter().find(|letter| letter.body == body).expect("a letter has its message's body");
            let reason = letter.attribute("sqjobs.reason");
            assert!(words.iter().all(|word| reason.contains(word)), "{words:?} in {reason:?}");
        }
        assert_eq!(world.effects.ids(), ["good"]);
    });
}

#[test]
fn a_message_for_an_unknown_job_waits_for_a_worker_that_knows_it() {
    World::setup().test(async |world| {
        world.send_together(&[json!({"name": "stranger", "id": "unknown"}), world.probe("known", &json!({}))]).await;
        world.deploy(&Function::probe()).await;
        world.record_in("known", "succeeded").await;
        let waiting = world.messages_when("holds only the unknown job", |messages| messages.len() == 1).await;
        assert!(waiting[0].body.contains("stranger"), "{waiting:?}");
        world.messages_when("has the unknown job received again", |them| them.iter().all(|it| it.receives >= 2)).await;
        assert!(world.record("unknown").await.is_none(), "what was not run costs nothing");
        assert_eq!(world.dead_letters().await.len(), 0);
    });
}

#[test]
fn a_failed_job_is_logged_as_an_error_and_a_retry_as_a_warning() {
    World::setup().test(async |world| {
        let probe = Function::probe().env("RUST_LOG", "warn");
        world.deploy(&probe).await;
        world.send(world.probe("succeeds", &json!({}))).await;
        world.send(world.probe("fails", &json!({"act": "fail"}))).await;
        world.send(json!({"name": "probe", "id": "unreadable", "args": {"effects": 7}})).await;
        world.record_in("succeeds", "succeeded").await;
        world.dead_letters_when(2).await;
        world.drained().await;
        let printed = world.printed(&probe).await;
        let events: Vec<Value> = printed.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let logged = |id: &str| {
            let of_it = events.iter().filter(|event| event["id"] == id);
            of_it
                .map(|event| (event["level"].as_str().unwrap_or_default(), event["outcome"].as_str().unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        assert_eq!(logged("fails"), [("WARN", "retried"), ("WARN", "retried"), ("ERROR", "failed")]);
        assert_eq!(logged("unreadable"), [("ERROR", "rejected")]);
        assert_eq!(logged("succeeds"), []);
    });
}

fn assert_tells(letter: &Message, id: &str, kind: &str, reason: &str) {
    assert_eq!(letter.attribute("sqjobs.id"), id);
    assert_eq!(letter.attribute("sqjobs.kind"), kind);
    assert!(letter.attribute("sqjobs.reason").contains(reason), "{letter:?}");
}
