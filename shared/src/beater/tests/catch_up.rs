//! Missing, duplicate and late ticks.

use super::*;
use crate::Enqueue;

/// A schedule of every ten minutes, with no beater from ten o'clock until eleven.
async fn after_an_hour_away(change: impl FnOnce(Entry) -> Entry) -> Vec<String> {
    let world = TestBeater::at("2026-05-04T09:58:00Z");
    world.put(change(note("often", cron("*/10 * * * *", "UTC")))).await;
    world.go_on(3).await;
    world.pass(59 * 60);
    world.go_on(11).await;
    world.fires("often")
}

fn at(minutes: &[&str]) -> Vec<String> {
    minutes.iter().map(|minute| format!("2026-05-04T{minute}:00Z")).collect()
}

#[tokio::test]
async fn after_an_outage_the_newest_fire_is_caught_up_with() {
    assert_eq!(after_an_hour_away(|entry| entry).await, at(&["10:00", "11:00", "11:10"]));
}

#[tokio::test]
async fn after_an_outage_fires_older_than_the_grace_are_skipped() {
    let skip = |entry: Entry| entry.catch_up(CatchUp::Skip).grace(Duration::from_mins(25));
    assert_eq!(after_an_hour_away(skip).await, at(&["10:00", "10:40", "10:50", "11:00", "11:10"]));
}

#[tokio::test]
async fn after_an_outage_all_requested_fires_are_caught_up_with() {
    let all = at(&["10:00", "10:10", "10:20", "10:30", "10:40", "10:50", "11:00", "11:10"]);
    assert_eq!(after_an_hour_away(|entry| entry.catch_up(CatchUp::All)).await, all);
    let some = |entry: Entry| entry.catch_up(CatchUp::All).backlog(2);
    assert_eq!(after_an_hour_away(some).await, at(&["10:00", "10:50", "11:00", "11:10"]));
}

#[tokio::test]
async fn a_tick_that_is_skipped_doubled_late_or_out_of_order_changes_nothing() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    world.put(note("each-minute", cron("* * * * *", "UTC"))).await;
    for minute in 0..20_u64 {
        let now = world.now();
        match minute {
            4 | 9 => {}
            7 => {
                world.tick(now).await;
                world.tick(now).await;
            }
            12 => {
                world.tick(now).await;
                world.tick(instant("2026-05-04T10:03:00Z")).await;
            }
            _ => {
                world.tick(now).await;
            }
        }
        world.work().await;
        world.pass(60);
    }
    let expected: Vec<_> = (0..20).map(|minute| format!("2026-05-04T10:{minute:02}:00Z")).collect();
    assert_eq!(world.fires("each-minute"), expected);
}

#[tokio::test]
async fn hundreds_of_fires_within_one_tick_are_all_made() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    world.put(note("each-second", Schedule::every(Duration::from_secs(1)))).await;
    let report = world.tick_now().await;
    assert_eq!(report.fired, 121);
    assert_eq!(report.failed, 0);
    let stands = world.schedules().get("each-second").await.expect("an answer").expect("there is one");
    assert_eq!(stands.next_fire, Some(instant("2026-05-04T10:02:01Z")));
    world.pass(121);
    world.work().await;
    assert_eq!(world.fires("each-second").len(), 121);
}

#[tokio::test]
async fn jitter_puts_a_fire_off_by_less_than_its_spread_and_leaves_its_instant() {
    let world = TestBeater::at("2026-05-04T09:59:00Z");
    let ids: Vec<_> = (0..20).map(|number| format!("spread-{number}")).collect();
    for id in &ids {
        world.put(note(id, cron("0 10 * * *", "UTC")).jitter(Duration::from_mins(10))).await;
    }
    world.tick_now().await;
    let due: Vec<_> = world.records().into_values().map(|record| record.run_at.expect("a time")).collect();
    let waits: std::collections::BTreeSet<_> = due.iter().map(|at| until(instant("2026-05-04T10:00:00Z"), *at)).collect();
    assert!(waits.iter().all(|wait| *wait < Duration::from_mins(10)), "{waits:?}");
    assert!(waits.len() > 10, "each has its own: {waits:?}");
    world.go_on(12).await;
    for id in &ids {
        assert_eq!(world.fires(id), ["2026-05-04T10:00:00Z"]);
    }
}

#[tokio::test]
async fn a_fire_is_sent_ahead_with_the_rest_of_its_time_as_the_delay() {
    let world = TestBeater::at("2026-05-04T09:58:30Z");
    world.put(note("ten", cron("0 10 * * *", "UTC"))).await;
    world.tick_now().await;
    assert_eq!(world.local.queue.next_visible("note"), Some(instant("2026-05-04T10:00:00Z")));
    let stands = world.schedules().get("ten").await.expect("an answer").expect("there is one");
    assert_eq!(stands.next_fire, Some(instant("2026-05-05T10:00:00Z")));
}

/// DynamoDB allows 4 MB in one transaction.
#[tokio::test]
async fn large_jobs_are_recorded_in_several_transactions() {
    let world = TestBeater::at("2026-05-04T09:58:00Z");
    let large = || Entry::named("large", cron("* * * * *", "UTC"), "note", json!("x".repeat(300_000))).catch_up(CatchUp::All);
    world.put(large()).await;
    world.go_on(1).await;
    world.pass(29 * 60);
    world.go_on(1).await;
    assert_eq!(world.fires("large").len(), 31);
}

#[tokio::test]
async fn a_schedule_whose_job_no_table_can_hold_is_wrong_and_records_nothing() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    world.put(Entry::named("large", cron("* * * * *", "UTC"), "note", json!("x".repeat(395_000)))).await;
    let report = world.tick_now().await;
    assert_eq!(report.wrong, 1, "{report:?}");
    assert_eq!(report.failed, 0, "{report:?}");
    assert_eq!(report.fired, 0, "{report:?}");
}

#[tokio::test]
async fn a_schedule_fires_although_a_job_already_waits_for_its_job() {
    let world = TestBeater::at("2026-05-04T09:50:00Z");
    world.put(note("nightly", cron("0 10 * * *", "UTC"))).await;
    let waits = Enqueue::named("note", json!("after")).id("waits").after(["schedule:nightly:2026-05-04T10:00:00Z"]);
    world.local.client().enqueue_one(waits).await.expect("a good job");
    world.go_on(15).await;
    assert_eq!(world.ran(), ["schedule:nightly:2026-05-04T10:00:00Z as first told", "waits after"]);
}
