//! The overview: queues, the most frequent failures, and the findings of the doctor.

use axum::extract::State;
use futures_util::future::join3;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use maud::{Markup, html};
use serde_json::Value;

use super::{error_of, groups};
use crate::{
    command::ui::{
        Page,
        page::{Part, View, count, foreign, href, job_link, table, text, when},
        svg,
    },
    output::clean,
    time::{brief, exact},
};

/// Number of failed jobs to group.
const FAILED: usize = 100;
/// Number of groups of failures to show.
const GROUPS: usize = 5;

pub(in crate::command::ui) async fn show(State(page): State<Page>, part: Part) -> Markup {
    let limit = FAILED.to_string();
    let (queue_words, stat_words, failed_words) = (["queue", "list"], ["stats", "--days", "2"], ["list", "--failed", "--limit", &limit]);
    let (queues, stats, failed) = join3(page.look(&queue_words), page.look(&stat_words), page.look(&failed_words)).await;
    let now = page.aws.clock.now();
    let rows = queues.rows.iter().map(|queue| {
        let stat = stats.rows.iter().find(|stat| stat["queue"] == queue["name"]).unwrap_or(&Value::Null);
        row(queue, stat, now)
    });
    let head = [
        "Queue",
        "#Waiting",
        "#In flight",
        "#Delayed",
        "Last wait",
        "#Ended today",
        "#Failed today",
        "Last 24 hours",
        "#Dead letters",
        "Function",
    ];
    let groups = groups(&failed.rows, error_of);
    let body = html! {
        section aria-label="Findings" data-load="/doctor" { p { a href="/doctor" { "Faults of the system" } } }
        h2 { "Queues" }
        @if !queues.rows.is_empty() { (table("Queues", &head, rows)) }
        @else if queues.is_answered() { p { "There is no queue with a dead-letter queue." } }
        h2 { "Failures" }
        @if groups.is_empty() {
            @if failed.is_answered() { p { "No job has failed." } }
        } @else {
            @if groups.len() > GROUPS || failed.rows.len() >= FAILED {
                p { "The " (groups.len().min(GROUPS)) " most frequent of " (groups.len()) " reasons, among the last " (failed.rows.len()) " failed jobs." }
            }
            (table("Failures", &["#Jobs", "Kind", "Message", "Latest"], groups.iter().take(GROUPS).map(|group| html! {
                td.number { a href=(href("/jobs", &[("kind", group.kind), ("message", &group.message)])) { (group.rows.len()) } }
                td { (foreign(group.kind)) }
                td.long { (foreign(&group.message)) }
                td { (job_link(text(group.rows[0], "id"))) " " (when(&group.rows[0]["finished_at"], now)) }
            })))
            p { a href="/jobs" { "All failed jobs" } }
        }
    };
    View { title: "Overview", path: "/", every_s: Some(3), looks: &[&queues, &stats, &failed], body }.render(&page, &part)
}

fn row(queue: &Value, stat: &Value, now: Timestamp) -> Markup {
    let name = text(queue, "name");
    let today = now.to_zoned(TimeZone::UTC).date();
    let day = stat["days"].as_array().and_then(|days| days.iter().find(|day| day["day"] == today.to_string())).unwrap_or(&Value::Null);
    let ended = |ending: &str| count(&day["endings"], ending);
    let last_wait = stat["last_waited_ms"].as_u64().map(|ms| brief(std::time::Duration::from_millis(ms)));
    html! {
        td { a href=(href("/stats", &[("queue", name)])) { (foreign(name)) } }
        td.number { (count(queue, "waiting")) }
        td.number { (count(queue, "in_flight")) }
        td.number { (count(queue, "delayed")) }
        td { @if let Some(wait) = last_wait { (wait) ", " } (when(&stat["last_started_at"], now)) }
        td.number { (ended("succeeded") + ended("failed") + ended("cancelled") + ended("expired")) }
        td.number { (ended("failed")) }
        td { (svg::hours(&last_day(stat, now))) }
        td.number { @match count(queue, "dead") { 0 => { "0" }, dead => { a.bad href=(href("/dead", &[("queue", name)])) { (dead) } } } }
        td {
            (foreign(text(queue, "function")))
            @match (text(queue, "function"), text(queue, "mapping")) {
                ("", _) => { span.badge.bad { "no function" } },
                (_, "Enabled") => {},
                (_, "Disabled") => { " " span.badge.bad { "paused" } },
                (_, mapping) => { " " span.badge { (mapping) } },
            }
            " " a href=(href("/act", &[("do", if text(queue, "mapping") == "Disabled" { "queue-resume" } else { "queue-pause" }), ("queue", name)])) {
                @if text(queue, "mapping") == "Disabled" { "resume" } @else { "pause" }
            }
        }
    }
}

/// The numbers of endings and of failures in each of the last 24 hours, the oldest first.
fn last_day(stat: &Value, now: Timestamp) -> Vec<(u64, u64)> {
    let days = stat["days"].as_array().map(Vec::as_slice).unwrap_or_default();
    let hours = (0..24).rev().map(|ago| {
        let at = now.saturating_sub(i64::from(ago).hours()).unwrap_or(now).to_zoned(TimeZone::UTC);
        let day = days.iter().find(|day| day["day"] == at.date().to_string()).unwrap_or(&Value::Null);
        let counts = &day["hours"][at.hour().to_string()];
        (counts[0].as_u64().unwrap_or_default(), counts[1].as_u64().unwrap_or_default())
    });
    hours.collect()
}

/// The findings of the doctor. Its many requests cost more than the rest of the overview, so the browser asks for it once a page.
pub(in crate::command::ui) async fn doctor(State(page): State<Page>, part: Part) -> Markup {
    let findings = page.look(&["doctor"]).await;
    let body = html! {
        @if findings.rows.is_empty() && findings.is_whole() { p.good { "No faults were found at " (exact(page.aws.clock.now())) "." } }
        @for finding in &findings.rows {
            details.finding id={ "finding-" (text(finding, "rule")) "-" (text(finding, "at")) } {
                summary { strong { (foreign(text(finding, "at"))) } ": " (foreign(text(finding, "what"))) }
                p { "Why it matters: " (clean(text(finding, "why"))) "." }
                p { "What to do: " (clean(text(finding, "remedy"))) "." }
            }
        }
    };
    View { title: if part.is_wanted() { "" } else { "Faults" }, path: "/", every_s: None, looks: &[&findings], body }.render(&page, &part)
}
