//! Schedules that are changed while beaters run.

use super::*;
use crate::{
    Cancelled, When,
    queue::{Outgoing, Queue as _},
};

/// Returns a world ten seconds before a minute for which a beater has already sent the job.
pub(super) async fn sent_ahead() -> TestBeater {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    world.put(note("minutely", cron("* * * * *", "UTC"))).await;
    world.tick_now().await;
    world.work().await;
    world.pass(30);
    assert_eq!(world.fires("minutely"), ["2026-05-04T10:00:00Z"]);
    assert_eq!(world.records().len(), 3, "two are sent ahead");
    world
}

#[tokio::test]
async fn a_job_sent_ahead_runs_with_the_new_arguments() {
    let world = sent_ahead().await;
    world.put(Entry::named("minutely", cron("* * * * *", "UTC"), "note", json!("as told now"))).await;
    world.tick_now().await;
    world.pass(30);
    world.go_on(2).await;
    let ran = world.ran();
    assert_eq!(ran[1..], ["schedule:minutely:2026-05-04T10:01:00Z as told now", "schedule:minutely:2026-05-04T10:02:00Z as told now"]);
}

#[tokio::test]
async fn a_change_of_a_schedule_keeps_the_jobs_that_wait_for_its_jobs() {
    let world = sent_ahead().await;
    let (stays, goes) = ("schedule:minutely:2026-05-04T10:01:00Z", "schedule:minutely:2026-05-04T10:02:00Z");
    let jobs = [("a", stays, When::Succeeded), ("b", goes, When::Ended)];
    for (id, dependency, when) in jobs {
        let job = crate::Enqueue::named("note", json!("waits")).id(id).after([dependency]).when(when);
        world.local.client().enqueue_one(job).await.expect("enqueued");
    }
    world.work().await;
    assert_eq!(world.records()["a"].state, State::Blocked);
    world.put(Entry::named("minutely", cron("1-59/2 * * * *", "UTC"), "note", json!("as told now"))).await;
    world.tick_now().await;
    world.pass(30);
    world.go_on(2).await;
    let records = world.records();
    assert_eq!([records[stays].state, records[goes].state], [State::Succeeded, State::Cancelled]);
    assert_eq!([records["a"].state, records["b"].state], [State::Succeeded; 2]);
}

#[tokio::test]
async fn a_job_sent_ahead_outside_the_new_schedule_does_not_run() {
    let world = sent_ahead().await;
    world.put(note("minutely", cron("30 1-59/2 * * * *", "UTC"))).await;
    world.tick_now().await;
    world.pass(30);
    world.go_on(4).await;
    assert_eq!(world.fires("minutely"), ["2026-05-04T10:00:00Z", "2026-05-04T10:01:30Z", "2026-05-04T10:03:30Z"]);
}

#[tokio::test]
async fn a_paused_schedule_runs_no_sent_job_and_makes_up_for_no_missed_fire() {
    let world = sent_ahead().await;
    world.schedules().pause("minutely").await.expect("there is one");
    world.pass(30);
    world.tick(instant("2026-05-04T10:00:50Z")).await;
    let row = world.row().await.expect("there is one");
    assert_eq!(row.due, None);
    assert!(row.ahead.is_empty());
    world.go_on(5).await;
    assert_eq!(world.fires("minutely").len(), 1);
    assert_eq!(world.schedules().get("minutely").await.expect("an answer").map(|it| (it.paused, it.next_fire)), Some((true, None)));
    world.schedules().resume("minutely").await.expect("there is one");
    world.go_on(2).await;
    assert_eq!(world.fires("minutely"), ["2026-05-04T10:00:00Z", "2026-05-04T10:06:00Z", "2026-05-04T10:07:00Z"]);
}

#[tokio::test]
async fn a_deleted_schedule_cancels_its_jobs_sent_ahead() {
    let world = sent_ahead().await;
    world.schedules().delete("minutely").await.expect("there is one");
    assert_eq!(world.schedules().get("minutely").await.expect("an answer"), None);
    assert!(world.schedules().pause("minutely").await.is_err(), "there is none any more");
    world.tick_now().await;
    world.pass(30);
    world.go_on(3).await;
    assert_eq!(world.fires("minutely").len(), 1);
    assert!(world.rows.all().await.expect("rows in memory").is_empty());
    assert!(world.schedules().delete("minutely").await.is_err(), "there is none any more");
    let states: Vec<_> = world.records().into_values().map(|record| record.state).collect();
    assert_eq!(states, [State::Succeeded, State::Cancelled, State::Cancelled]);
}

#[tokio::test]
async fn a_job_can_be_run_beside_its_fires() {
    let world = sent_ahead().await;
    let job = world.schedules().run_now("minutely").await.expect("enqueued");
    world.work().await;
    assert_eq!(world.ran().last().map(String::as_str), Some(format!("{} as first told", job.id).as_str()));
    assert!(world.schedules().run_now("hourly").await.is_err_and(|error| error.to_string().contains("\"hourly\"")));
    world.schedules().delete("minutely").await.expect("deleted");
    let removed = world.schedules().run_now("minutely").await;
    assert!(removed.is_err_and(|error| error.to_string().contains("it was removed")), "no beater has deleted its row yet");
}

#[tokio::test]
async fn a_wrong_entry_is_refused_with_its_field_named() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    let cases = [
        (note("a", cron("0 24 * * *", "UTC")), "hour"),
        (note("a", cron("0 0 * * *", "Europe/Madird")), "Europe/Madrid"),
        (note("a", Schedule::every(Duration::ZERO)), "every_s"),
        (note("", cron("0 0 * * *", "UTC")), "id"),
        (note("a", cron("0 0 * * *", "UTC")).max_attempts(0), "max_attempts"),
        (Entry::named("a", cron("0 0 * * *", "UTC"), "", json!(1)), "name"),
    ];
    for (entry, names) in cases {
        let error = world.schedules().put(&entry).await.expect_err("refused").to_string();
        assert!(error.contains(names), "{error}");
    }
    assert!(world.schedules().list().await.expect("an answer").is_empty());
}

#[tokio::test]
async fn the_jobs_own_policy_says_how_many_attempts_it_has() {
    let world = sent_ahead().await;
    let [ran, waits] = ["10:00", "10:01"].map(|minute| world.records()[&format!("schedule:minutely:2026-05-04T{minute}:00Z")].max_attempts);
    assert_eq!(ran, 5, "known once it is claimed");
    assert_eq!(waits, 0, "known once it is claimed");
}

#[tokio::test]
async fn a_change_of_a_row_that_was_seen_before_another_change_is_not_made() {
    let world = sent_ahead().await;
    let seen = world.rows.get("minutely").await.expect("rows in memory").expect("there is one").expect("readable");
    world.schedules().pause("minutely").await.expect("there is one");
    let job = crate::store::Write::insert(Record { id: "job".into(), ..Record::default() });
    let late = world.rows.change("minutely", Some(&seen), None, &[job]).await;
    assert_eq!(late.expect("rows in memory"), Changed::Refused);
    assert!(!world.records().contains_key("job"), "everything or nothing");
    let paused = world.rows.get("minutely").await.expect("rows in memory").expect("there is one").expect("readable");
    assert!(paused.paused);
}

#[tokio::test]
async fn a_job_that_was_sent_ahead_can_be_cancelled_and_moved() {
    let world = sent_ahead().await;
    let client = world.local.client();
    let [off, moved] = ["10:01", "10:02"].map(|minute| format!("schedule:minutely:2026-05-04T{minute}:00Z"));
    assert_eq!(client.cancel(&off).await.expect("an answer"), Cancelled::Waiting);
    assert!(client.reschedule(&moved, instant("2026-05-04T10:05:00Z")).await.expect("an answer"));
    world.rows.change("minutely", world.row().await.as_ref(), None, &[]).await.expect("rows in memory");
    world.pass(30);
    world.go_on(4).await;
    assert_eq!(world.fires("minutely"), ["2026-05-04T10:00:00Z"], "neither has run by 10:04:59");
    world.go_on(1).await;
    assert_eq!(world.ran()[1..], [format!("{moved} as first told")]);
    assert_eq!(world.records()[&moved].started_at, Some(instant("2026-05-04T10:05:00Z")));
    assert_eq!(world.records()[&off].state, State::Cancelled);
    assert_eq!(client.cancel(&off).await.expect("an answer"), Cancelled::Ended);
    assert!(!client.reschedule(&moved, world.now()).await.expect("an answer"), "it has run");
}

#[tokio::test]
async fn a_job_that_is_moved_into_the_past_is_due_now() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    let client = world.local.client();
    client.enqueue_one(crate::Enqueue::named("note", json!("a")).id("a").delay(Duration::from_hours(1))).await.expect("enqueued");
    world.work().await;
    assert!(client.reschedule("a", instant("2026-05-01T10:00:00Z")).await.expect("an answer"));
    assert_eq!(world.records()["a"].run_at, Some(world.now()));
}

#[tokio::test]
async fn a_job_that_waits_in_the_index_can_be_cancelled_and_moved() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    let client = world.local.client();
    for id in ["unseen", "off", "earlier", "later"] {
        let job = crate::Enqueue::named("note", json!(id)).id(id).delay(Duration::from_hours(1));
        client.enqueue_one(job).await.expect("enqueued");
    }
    assert!(matches!(client.cancel("unseen").await.expect("an answer"), Cancelled::Unseen(_)));
    world.work().await;
    assert_eq!(world.records()["unseen"].state, State::Cancelled);
    assert_eq!(world.local.queue.messages("note").len(), 0);
    assert_eq!(client.cancel("off").await.expect("an answer"), Cancelled::Waiting);
    assert!(client.reschedule("earlier", instant("2026-05-04T10:20:00Z")).await.expect("an answer"));
    assert!(client.reschedule("later", instant("2026-05-04T11:20:00Z")).await.expect("an answer"));
    world.go_on(90).await;
    let started = |id: &str| world.records()[id].started_at.map(|at| at.to_string());
    assert_eq!(started("off"), None);
    assert_eq!(started("earlier").as_deref(), Some("2026-05-04T10:20:00Z"));
    assert_eq!(started("later").as_deref(), Some("2026-05-04T11:20:00Z"));
}

#[tokio::test]
async fn a_job_that_a_pause_cancelled_runs_if_resumed_in_time() {
    let world = sent_ahead().await;
    world.schedules().pause("minutely").await.expect("there is one");
    world.tick_now().await;
    world.schedules().resume("minutely").await.expect("there is one");
    world.pass(30);
    world.go_on(2).await;
    assert_eq!(world.fires("minutely"), ["2026-05-04T10:00:00Z", "2026-05-04T10:01:00Z", "2026-05-04T10:02:00Z"]);
}

#[tokio::test]
async fn two_changes_at_the_same_instant_both_count() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    world.put(note("minutely", cron("* * * * *", "UTC"))).await;
    let seen = world.row().await.expect("there is one");
    world.schedules().pause("minutely").await.expect("there is one");
    let late = world.rows.change("minutely", Some(&seen), None, &[]).await;
    assert_eq!(late.expect("rows in memory"), Changed::Refused);
}

#[tokio::test]
async fn a_late_tick_fires_nothing_for_a_time_before_the_schedule_was_written() {
    let world = TestBeater::at("2026-05-04T10:01:20Z");
    world.put(note("minutely", cron("5 * * * * *", "UTC"))).await;
    world.tick(instant("2026-05-04T10:00:00Z")).await;
    world.work().await;
    assert_eq!(world.fires("minutely"), Vec::<String>::new());
    assert_eq!(world.records().len(), 0);
}

#[tokio::test]
async fn a_fire_that_a_user_cancelled_stays_cancelled() {
    let world = sent_ahead().await;
    let fire = "schedule:minutely:2026-05-04T10:01:00Z";
    assert_eq!(world.local.client().cancel(fire).await.expect("an answer"), Cancelled::Waiting);
    world.schedules().pause("minutely").await.expect("there is one");
    world.schedules().resume("minutely").await.expect("there is one");
    world.pass(30);
    world.go_on(2).await;
    assert_eq!(world.fires("minutely"), ["2026-05-04T10:00:00Z", "2026-05-04T10:02:00Z"]);
}

/// Returns a world in which the fire of 10:01 has run, and waits to run again for an hour.
async fn to_run_again(fire: &str) -> TestBeater {
    let world = sent_ahead().await;
    world.pass(30);
    world.work().await;
    let again = crate::Enqueue::named("note", json!("as first told")).id(fire).delay(Duration::from_hours(1));
    assert!(world.local.client().retry(again).await.expect("an answer"));
    assert_eq!(world.records()[fire].state, State::Scheduled);
    world
}

#[tokio::test]
async fn a_late_tick_after_a_change_keeps_the_generation_of_a_retried_fire() {
    let fire = "schedule:minutely:2026-05-04T10:01:00Z";
    let world = to_run_again(fire).await;
    let before = &world.records()[fire];
    world.put(Entry::named("minutely", cron("* * * * *", "UTC"), "note", json!("as told now"))).await;
    world.tick(instant("2026-05-04T10:00:50Z")).await;
    let after = &world.records()[fire];
    assert_ne!(after.envelope, before.envelope, "it was changed");
    assert_eq!(after.generation, before.generation);
}

#[tokio::test]
async fn a_fire_that_has_run_is_not_filed_again_after_a_pause() {
    let fire = "schedule:minutely:2026-05-04T10:01:00Z";
    let world = to_run_again(fire).await;
    world.schedules().pause("minutely").await.expect("there is one");
    world.tick(instant("2026-05-04T10:00:50Z")).await;
    assert_eq!(world.records()[fire].state, State::Cancelled);
    world.schedules().resume("minutely").await.expect("there is one");
    world.tick(instant("2026-05-04T10:00:50Z")).await;
    world.go_on(2).await;
    assert_eq!(world.records()[fire].state, State::Cancelled);
    assert_eq!(world.fires("minutely"), ["2026-05-04T10:00:00Z", "2026-05-04T10:01:00Z", "2026-05-04T10:02:00Z"]);
}

#[tokio::test]
async fn a_schedule_that_never_fires_again_is_refused() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    let refused = world.schedules().put(&note("old", cron("0 0 12 1 1 * 2025", "UTC"))).await.expect_err("it has ended").to_string();
    assert!(refused.contains("year: it does not fire any more; choose a later year"), "{refused}");
    world.put(note("new", cron("0 0 12 1 1 * 2027", "UTC"))).await;
}

#[tokio::test]
async fn a_long_wait_keeps_the_group_and_the_attributes_of_the_message() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    let mut sent = Outgoing::new(json!({"name": "note", "id": "a", "args": "x", "run_at": "2026-05-04T11:00:00Z"}).to_string());
    (sent.group, sent.attributes) = (Some("tenant".into()), [("origin".to_owned(), "shop".to_owned())].into());
    world.local.queue.send("note", &[sent]).await.remove(0).expect("sent");
    world.work().await;
    assert_eq!(world.records()["a"].state, State::Scheduled);
    assert_eq!(world.local.queue.messages("note").len(), 0);
    world.pass(3600);
    world.tick_now().await;
    let [message] = &world.local.queue.messages("note")[..] else { panic!("one message") };
    assert_eq!(message.group.as_deref(), Some("tenant"));
    assert_eq!(message.attributes.get("origin").map(|it| &**it), Some("shop"));
    world.work().await;
    let ended = &world.records()["a"];
    assert_eq!(ended.state, State::Succeeded);
    assert_eq!(ended.message_group, None);
    assert_eq!(ended.message_attributes.len(), 0);
}

#[tokio::test]
async fn a_job_run_again_at_once_on_a_fifo_queue_runs_in_its_group() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    let client = world.local.client();
    let job = || crate::Enqueue::named("note", json!("x")).queue("note.fifo").id("a").group("tenant");
    client.enqueue_one(job()).await.expect("enqueued");
    world.work().await;
    for runs in 2..4 {
        assert!(client.retry(job()).await.expect("an answer"));
        world.tick_now().await;
        let [message] = &world.local.queue.messages("note.fifo")[..] else { panic!("one message") };
        assert_eq!(message.group.as_deref(), Some("tenant"));
        world.work().await;
        assert_eq!(world.ran().len(), runs);
    }
}

#[tokio::test]
async fn a_deleted_schedule_that_is_put_back_fires_again() {
    let world = sent_ahead().await;
    world.schedules().delete("minutely").await.expect("there is one");
    world.put(note("minutely", cron("* * * * *", "UTC"))).await;
    world.tick_now().await;
    world.pass(30);
    world.go_on(2).await;
    assert_eq!(world.fires("minutely"), ["2026-05-04T10:00:00Z", "2026-05-04T10:01:00Z", "2026-05-04T10:02:00Z"]);
}

#[tokio::test]
async fn a_job_on_a_fifo_queue_is_sent_when_it_is_due_and_not_before() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    world.put(note("minutely", cron("* * * * *", "UTC")).queue("note.fifo")).await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        world.tick_now().await;
        sent.push(world.local.queue.messages("note.fifo").len());
        world.pass(30);
    }
    assert_eq!(sent, [1, 1, 2], "at the minute, half a minute later and at the next minute");
}

#[tokio::test]
async fn a_job_cancelled_and_run_again_on_a_fifo_queue_is_sent_again() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    let client = world.local.client();
    let job = || crate::Enqueue::named("note", json!("x")).queue("note.fifo").id("a").group("tenant");
    client.enqueue_one(job()).await.expect("enqueued");
    world.work().await;
    assert!(client.retry(job()).await.expect("an answer"));
    assert_eq!(client.cancel("a").await.expect("an answer"), Cancelled::Waiting);
    world.work().await;
    assert!(client.retry(job()).await.expect("an answer"));
    world.work().await;
    assert_eq!(world.ran(), ["a x", "a x"], "not while it was cancelled");
}

#[tokio::test]
async fn a_retry_takes_the_tags_data_and_lists_that_are_given() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    let client = world.local.client();
    let job = || crate::Enqueue::named("note", json!("x")).id("a");
    client.enqueue_one(job().tag("red").meta("k", "v")).await.expect("enqueued");
    world.work().await;
    assert!(client.retry(job().tag("blue").object("order:10")).await.expect("an answer"));
    let record = &world.records()["a"];
    assert_eq!(record.tags[..], ["blue".to_owned()][..]);
    assert_eq!(record.meta["k"], json!("v"));
    let listed = client.list(crate::By::Object("order:10"), 10).await.expect("an answer");
    assert_eq!(listed.iter().map(|record| &*record.id).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn a_blocked_id_that_is_run_after_all_has_the_attempts_of_its_policy() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    let client = world.local.client();
    client.cancel("a").await.expect("an answer");
    assert!(client.retry(crate::Enqueue::named("note", json!("x")).id("a")).await.expect("an answer"));
    assert_eq!(world.records()["a"].max_attempts, 0, "the function says how many");
    world.work().await;
    assert_eq!(world.records()["a"].state, State::Succeeded);
    assert!(world.records()["a"].max_attempts > 0);
}

#[tokio::test]
async fn a_schedule_shows_its_next_fire_or_that_a_tick_is_due() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    world.put(note("minutely", cron("* * * * *", "UTC"))).await;
    let next = async |at: &str| {
        let scheduled = world.schedules().get("minutely").await.expect("an answer").expect("there is one");
        scheduled.next(instant(at)).map(|next| next.to_string())
    };
    assert_eq!(next("2026-05-04T10:00:30Z").await.as_deref(), Some("2026-05-04T10:00:00Z"), "a tick must examine it");
    world.tick_now().await;
    for (at, expected) in [
        ("2026-05-04T10:00:00Z", "2026-05-04T10:01:00Z"),
        ("2026-05-04T10:01:00Z", "2026-05-04T10:02:00Z"),
        ("2026-05-04T10:02:00Z", "2026-05-04T10:03:00Z"),
        ("2026-05-04T10:03:00Z", "2026-05-04T10:03:00Z"),
        ("2026-05-04T10:05:00Z", "2026-05-04T10:03:00Z"),
    ] {
        assert_eq!(next(at).await.as_deref(), Some(expected), "{at}");
    }
    world.pass(30);
    world.put(Entry::named("minutely", cron("* * * * *", "UTC"), "note", json!("as told now"))).await;
    assert_eq!(next("2026-05-04T10:00:30Z").await.as_deref(), Some("2026-05-04T10:00:30Z"), "a tick must examine the change");
    world.put(note("minutely", cron("*/5 * * * *", "UTC"))).await;
    assert_eq!(next("2026-05-04T10:00:30Z").await.as_deref(), Some("2026-05-04T10:00:30Z"), "a tick must examine the change");
}
