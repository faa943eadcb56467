//! Moves a clock minute by minute through the days on which clocks change.

use super::*;

/// Fires a fixed and an interval job during the two days around a change. Returns the fires of both.
async fn through(start: &str, zone: &str, fixed: &str, interval: &str) -> [Vec<String>; 2] {
    let world = TestBeater::at(start);
    world.put(note("fixed", cron(fixed, zone))).await;
    world.put(note("interval", cron(interval, zone))).await;
    world.go_on(2 * 24 * 60).await;
    for (run, at) in world.runs.lock().expect("nobody panics with the lock").iter() {
        let (_, fire) = run.split_once("Z ").map(|(id, _)| id.split_at(id.len() - 19)).expect("an id ends with its instant");
        assert_eq!(format!("{fire}Z"), at.to_string(), "each runs in its second");
    }
    [world.fires("fixed"), world.fires("interval")]
}

/// Returns every half hour in real time, regardless of clock changes.
fn half_hours(start: &str) -> Vec<String> {
    let start = instant(start);
    (0..2 * 48).map(|step| crate::clock::after(start, Duration::from_mins(30 * step)).to_string()).collect()
}

#[tokio::test]
async fn madrid_goes_forward() {
    let [fixed, interval] = through("2026-03-28T00:00:00Z", "Europe/Madrid", "30 2 * * *", "*/30 * * * *").await;
    assert_eq!(fixed, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"], "what is left out fires after the gap");
    assert_eq!(interval, half_hours("2026-03-28T00:00:00Z"));
}

#[tokio::test]
async fn madrid_goes_back() {
    let [fixed, interval] = through("2026-10-24T00:00:00Z", "Europe/Madrid", "30 2 * * *", "*/30 * * * *").await;
    assert_eq!(fixed, ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z"], "what comes twice fires the first time");
    assert_eq!(interval, half_hours("2026-10-24T00:00:00Z"));
}

#[tokio::test]
async fn new_york_goes_forward() {
    let [fixed, interval] = through("2026-03-07T00:00:00Z", "America/New_York", "30 2 * * *", "*/30 * * * *").await;
    assert_eq!(fixed, ["2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z"]);
    assert_eq!(interval, half_hours("2026-03-07T00:00:00Z"));
}

#[tokio::test]
async fn new_york_goes_back() {
    let [fixed, interval] = through("2026-10-31T00:00:00Z", "America/New_York", "30 1 * * *", "*/30 * * * *").await;
    assert_eq!(fixed, ["2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z"]);
    assert_eq!(interval, half_hours("2026-10-31T00:00:00Z"));
}

#[tokio::test]
async fn lord_howe_goes_forward_by_half_an_hour() {
    let [fixed, interval] = through("2026-10-02T12:00:00Z", "Australia/Lord_Howe", "15 2 * * *", "*/30 * * * *").await;
    assert_eq!(fixed, ["2026-10-02T15:45:00Z", "2026-10-03T15:30:00Z"]);
    assert_eq!(interval, half_hours("2026-10-02T12:00:00Z"));
}

#[tokio::test]
async fn lord_howe_goes_back_by_half_an_hour() {
    let [fixed, interval] = through("2026-04-03T12:00:00Z", "Australia/Lord_Howe", "45 1 * * *", "*/30 * * * *").await;
    assert_eq!(fixed, ["2026-04-03T14:45:00Z", "2026-04-04T14:45:00Z"]);
    assert_eq!(interval, half_hours("2026-04-03T12:00:00Z"));
}
