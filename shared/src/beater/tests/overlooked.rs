//! Rows that need a tick although the index does not show them.

use super::*;
use crate::beater::rows::Row;

/// Returns a schedule at its second minute, after a change by hand that did not update the index.
async fn changed(change: impl FnOnce(Row) -> Row) -> TestBeater {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    world.put(note("minutely", cron("* * * * *", "UTC"))).await;
    world.tick_now().await;
    world.work().await;
    world.pass(30);
    let seen = world.row().await.expect("there is one");
    let next = change(seen.clone());
    world.rows.change("minutely", Some(&seen), Some(&next), &[]).await.expect("rows in memory");
    world.go_on(3).await;
    world
}

#[tokio::test]
async fn a_row_outside_the_index_still_fires() {
    for change in [|row| Row { due: None, ..row }, |row| Row { next_fire: None, ..row }, |row| Row { due: Some("due".into()), ..row }] {
        let world = changed(change).await;
        assert_eq!(world.fires("minutely").len(), 4);
    }
}

#[tokio::test]
async fn a_row_outside_the_index_fires_beside_one_inside() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    for id in ["minutely", "other"] {
        world.put(note(id, cron("* * * * *", "UTC"))).await;
    }
    let seen = world.row().await.expect("there is one");
    let next = Row { due: None, ..seen.clone() };
    world.rows.change("minutely", Some(&seen), Some(&next), &[]).await.expect("rows in memory");
    assert_eq!(world.tick_now().await.fired, 6);
}

#[tokio::test]
async fn the_first_tick_completes_the_row() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    world.put(note("minutely", cron("* * * * *", "UTC"))).await;
    let seen = world.row().await.expect("there is one");
    let by_hand = Row { created_at: None, ..seen.clone() };
    world.rows.change("minutely", Some(&seen), Some(&by_hand), &[]).await.expect("rows in memory");
    world.tick_now().await;
    let row = world.row().await.expect("there is one");
    assert!(row.is_current());
    assert_eq!(row.created_at, Some(world.now()));
}

#[tokio::test]
async fn a_row_that_was_changed_by_hand_alone_fires_as_it_is() {
    let entry = note("minutely", cron("0 11 * * *", "UTC"));
    let world = changed(|row| Row { entry, ..row }).await;
    assert_eq!(world.fires("minutely"), ["2026-05-04T10:00:00Z"], "what was sent ahead is called off");
}

#[tokio::test]
async fn a_row_that_was_paused_or_deleted_by_hand_alone_stops() {
    let world = changed(|row| Row { paused: true, ..row }).await;
    assert_eq!(world.fires("minutely").len(), 1);
    let world = changed(|row| Row { deleted: true, ..row }).await;
    assert_eq!(world.fires("minutely").len(), 1);
    assert_eq!(world.row().await, None);
}

#[tokio::test]
async fn new_rules_of_the_time_zones_hold_before_the_next_fire() {
    // The rules at that time gave another next fire.
    let old = |row| Row { tzdata: Some("2019a".into()), next_fire: Some("2027-01-01T00:00:00.000Z".into()), ..row };
    let world = changed(old).await;
    assert_eq!(world.fires("minutely").len(), 4);
}

#[tokio::test]
async fn a_schedule_that_has_ended_is_not_written_each_time() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    world.put(note("minutely", cron("30 0 10 4 5 ? 2026", "UTC"))).await;
    world.tick_now().await;
    world.pass(60);
    world.tick_now().await;
    let row = world.row().await;
    assert_eq!(row.as_ref().map(|row| (row.next_fire.clone(), row.due.clone())), Some((None, None)));
    world.tick_now().await;
    assert_eq!(world.row().await, row);
}
