//! The metrics of ticks.

use serde_json::Value;

use super::*;
use crate::metrics::Metrics;

/// Returns the line that a beater writes about a tick.
fn line(report: Option<&Report>) -> Value {
    let text = Arc::new(Mutex::new(String::new()));
    let written = Arc::clone(&text);
    let metrics = Metrics::new(move |line| written.lock().expect("nobody panics with the lock").push_str(line));
    metrics.tick("prod-beater", report.map(Report::figures).as_ref(), instant("2026-05-04T12:00:00Z"), "request");
    let text = text.lock().expect("nobody panics with the lock");
    assert_eq!(text.lines().count(), 1);
    serde_json::from_str(&text).expect("JSON")
}

/// Returns the names of the metrics of a line.
fn names(line: &Value) -> Vec<&str> {
    let directives = line["_aws"]["CloudWatchMetrics"].as_array().expect("directives");
    assert_eq!(directives.iter().map(|directive| directive["Dimensions"].clone()).collect::<Vec<_>>(), [json!([["beater"]])]);
    directives
        .iter()
        .filter_map(|directive| directive["Metrics"].as_array())
        .flatten()
        .filter_map(|metric| metric["Name"].as_str())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_tick_writes_how_late_its_schedules_are_and_what_it_did() {
    let beater = TestBeater::at("2026-05-04T12:00:00Z");
    let idle = line(Some(&beater.tick_now().await));
    assert_eq!(names(&idle), ["Ticks", "ColdStarts"]);
    assert_eq!([&idle["beater"], &idle["Ticks"], &idle["ScheduleLateness"]], [&json!("prod-beater"), &json!(1), &Value::Null]);
    beater.put(note("minutely", cron("* * * * *", "UTC")).catch_up(CatchUp::All)).await;
    let report = beater.tick_now().await;
    let on_time = line(Some(&report));
    assert_eq!([&on_time["ScheduleLateness"], &on_time["Fired"]], [&json!(0), &json!(report.fired)]);
    assert!(report.fired > 0, "{report:?}");
    beater.pass(600);
    let report = beater.tick_now().await;
    let late = line(Some(&report));
    // The fires until 12:02 were sent ahead.
    assert_eq!([&late["ScheduleLateness"], &late["Fired"]], [&json!(7 * 60_000), &json!(report.fired)]);
}

#[tokio::test(start_paused = true)]
async fn the_latest_of_the_schedules_that_fired_counts() {
    let beater = TestBeater::at("2026-05-04T12:00:00Z");
    beater.put(note("hourly", cron("30 * * * *", "UTC"))).await;
    beater.tick_now().await;
    beater.pass(31 * 60);
    let late = line(Some(&beater.tick_now().await));
    assert_eq!([&late["ScheduleLateness"], &late["Fired"]], [60_000, 1]);
}

#[test]
fn a_tick_that_cannot_read_its_tables_is_no_tick() {
    let failed = line(None);
    assert_eq!(names(&failed), ["FailedActions", "ColdStarts"]);
}
