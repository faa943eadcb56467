//! Schedules, with their next fires.

use axum::extract::{Query, State};
use futures_util::future::join3;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use maud::{Markup, html};
use serde_json::Value;

use super::{Parameters, given};
use crate::command::{
    runner,
    ui::{
        Page,
        page::{Part, View, foreign, href, jobs, table, text, when},
    },
};

/// Number of fires to show.
const FIRES: &str = "10";
/// The times in which runs are searched, in minutes: up to a week. The first one has at most 600 fires.
const PAST: [i64; 4] = [10, 60, 24 * 60, 7 * 24 * 60];
/// Number of runs to show.
const RUNS: usize = 10;

pub(in crate::command::ui) async fn show(State(page): State<Page>, part: Part) -> Markup {
    let found = page.look(&["schedule", "list"]).await;
    let now = page.aws.clock.now();
    let rows = found.rows.iter().map(|schedule| {
        let id = text(schedule, "id");
        let act = |action: &str| href("/act", &[("do", action), ("id", id)]);
        html! {
            td { a href=(href("/schedule", &[("id", id)])) { (foreign(id)) } }
            td { (foreign(text(schedule, "job"))) }
            td { code { (foreign(&fires(schedule))) } " " (foreign(text(schedule, "timezone"))) }
            td { (when(&schedule["next_fire"], now)) }
            td { span class={ "state " (text(schedule, "status")) } { (text(schedule, "status").replace('_', " ")) } }
            td {
                @if schedule["paused"] == true { a href=(act("schedule-resume")) { "resume" } } @else { a href=(act("schedule-pause")) { "pause" } }
                ", " a href=(act("schedule-run")) { "run now" } ", " a href=(href("/schedule", &[("id", id)])) { "edit" }
            }
        }
    });
    let body = html! {
        @if found.rows.is_empty() { @if found.is_answered() { p { "There are no schedules." } } }
        @else { (table("Schedules", &["Id", "Job", "Times", "Next fire", "Status", "Actions"], rows)) }
    };
    View { title: "Schedules", path: "/schedules", every_s: Some(5), looks: &[&found], body }.render(&page, &part)
}

/// The times of a schedule, as they are written.
fn fires(schedule: &Value) -> String {
    match schedule["every_s"].as_f64() {
        Some(seconds) => format!("every {seconds} s"),
        None => text(schedule, "cron").to_owned(),
    }
}

pub(in crate::command::ui) async fn one(State(page): State<Page>, Query(given_by): Query<Parameters>, part: Part) -> Markup {
    let id = given(&given_by, "id");
    let tried: Vec<_> = ["cron", "every", "timezone"]
        .into_iter()
        .filter(|name| !given(&given_by, name).is_empty())
        .map(|name| format!("--{name}={}", given(&given_by, name)))
        .collect();
    let preview: Vec<_> = match &tried[..] {
        [] => vec!["schedule", "preview", "--count", FIRES, "--", id],
        tried => ["schedule", "preview", "--count", FIRES].into_iter().chain(tried.iter().map(String::as_str)).collect(),
    };
    let (found, next, words) = join3(page.look(&["schedule", "list"]), page.look(&preview), page.read(&preview)).await;
    let now = page.aws.clock.now();
    let ran = last_runs(&page, id, now).await;
    let schedule = found.rows.iter().find(|schedule| schedule["id"] == id).unwrap_or(&Value::Null);
    let zone = if tried.is_empty() { text(schedule, "timezone") } else { given(&given_by, "timezone") };
    let body = html! {
        @if schedule.is_null() { @if found.is_answered() { p { "There is no schedule with this id." } } }
        @else {
            p { "Enqueues the job " (foreign(text(schedule, "job"))) ", " (foreign(words.first().map(String::as_str).unwrap_or_default())) }
            p.actions {
                @let act = |action: &str| href("/act", &[("do", action), ("id", id)]);
                @if schedule["paused"] == true { a.button href=(act("schedule-resume")) { "Resume" } } @else { a.button href=(act("schedule-pause")) { "Pause" } }
                a.button href=(act("schedule-run")) { "Run now" }
            }
            h2 { @if tried.is_empty() { "Next fires" } @else { "Fires with the times below, which are not saved yet" } }
            (upcoming(next.one(), zone))
            h2 { "Change the times" }
            (form(&page, schedule, &given_by))
            h2 { "Last runs" }
            @if ran.is_empty() { p { "No run of the last week has a record." } } @else { (jobs("Last runs", &ran, now)) }
        }
    };
    View { title: id, path: "/schedules", every_s: None, looks: &[&found, &next], body }.render(&page, &part)
}

/// The records of the jobs of the last fires, the newest first. A fire of a job that was recorded only on trouble may have none.
async fn last_runs(page: &Page, id: &str, now: Timestamp) -> Vec<Value> {
    let mut past = Vec::new();
    for window in PAST {
        let since = now.saturating_sub(SignedDuration::from_mins(window)).unwrap_or(Timestamp::MIN).to_string();
        let fires = page.look(&["schedule", "preview", "--count", "1000", "--after", &since, "--", id]).await;
        let fires = fires.one().as_array().into_iter().flatten().filter_map(|fire| fire.as_str()?.parse::<Timestamp>().ok());
        past = fires.filter(|fire| *fire <= now).collect();
        if past.len() >= RUNS {
            break;
        }
    }
    let ids: Vec<_> = past.iter().rev().take(RUNS).map(|fire| format!("schedule:{id}:{fire}")).collect();
    if ids.is_empty() {
        return Vec::new();
    }
    let words: Vec<_> = ["get", "--"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    page.look(&words).await.rows
}

/// The next fires in the zone and in UTC. Days on which the clocks change are marked.
fn upcoming(fires: &Value, zone: &str) -> Markup {
    let zone = if zone.is_empty() { TimeZone::UTC } else { TimeZone::get(zone).unwrap_or(TimeZone::UTC) };
    let fires: Vec<Timestamp> = fires.as_array().into_iter().flatten().filter_map(|fire| fire.as_str()?.parse().ok()).collect();
    let rows = fires.iter().map(|fire| {
        let local = fire.to_zoned(zone.clone());
        html! {
            td { (local.strftime("%a %Y-%m-%d %H:%M:%S %Z")) @if changes_clocks(&local) { " " span.badge { "the clocks change on this day" } } }
            td { (fire.strftime("%Y-%m-%d %H:%M:%S UTC")) }
        }
    });
    if fires.is_empty() {
        html! { p { "It does not fire again." } }
    } else {
        table("Next fires", &["In its time zone", "In UTC"], rows)
    }
}

/// Returns true if the day has not 24 hours.
fn changes_clocks(at: &jiff::Zoned) -> bool {
    let day = at.start_of_day().and_then(|start| Ok(start.tomorrow()?.timestamp().duration_since(start.timestamp())));
    day.is_ok_and(|length| length != SignedDuration::from_hours(24))
}

/// A form that shows the new times first, and then the command that saves them.
fn form(page: &Page, schedule: &Value, given_by: &Parameters) -> Markup {
    let or = |name: &str, stored: String| if given(given_by, name).is_empty() { stored } else { given(given_by, name).to_owned() };
    let every = schedule["every_s"].as_f64().map(|seconds| format!("{seconds}s"));
    let cannot: Vec<_> =
        ["kwargs", "meta", "timeout_s", "offset_s", "grace_s", "backlog"].into_iter().filter(|field| !schedule[*field].is_null()).collect();
    html! {
        @if cannot.is_empty() {
            form.filters action="/schedule" {
                input type="hidden" name="id" value=(text(schedule, "id"));
                @match every {
                    Some(every) => { label { "every " input name="every" value=(or("every", every)); } },
                    None => {
                        label { "cron " input name="cron" value=(or("cron", text(schedule, "cron").to_owned())); }
                        label { "time zone " input name="timezone" value=(or("timezone", text(schedule, "timezone").to_owned())); }
                    },
                }
                button { "Show the fires" }
                @if page.may_write { button formaction="/act" name="do" value="schedule-times" { "Save…" } }
            }
        } @else {
            p { "This form would lose its fields " (cannot.join(", ")) ". Change it with " code { (runner::line(&["schedule", "add", "--from", "FILE"].map(str::to_owned))) } "." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_on_which_the_clocks_change_are_marked() {
        let madrid = TimeZone::get("Europe/Madrid").expect("a zone");
        let shown = |at: &str| changes_clocks(&at.parse::<Timestamp>().expect("an instant").to_zoned(madrid.clone()));
        assert_eq!(
            ["2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T12:00:00Z"].map(shown),
            [false, true, true, false]
        );
    }
}
