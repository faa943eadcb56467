//! Lists of jobs.

use axum::extract::{Query, State};
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

use super::{Parameters, error_of, given, groups};
use crate::{
    command::ui::{
        Page,
        page::{self, Part, View, foreign, href, table, text},
    },
    output::first_line,
};

/// Number of jobs on a page.
const PAGE: usize = 100;
/// Number of failed jobs to group.
const GROUPED: usize = 1000;

/// The properties by which jobs are found, with their labels.
const BY: [(&str, &str); 5] =
    [("name", "name"), ("tag", "tag"), ("object", "object"), ("root", "first job of a tree"), ("key", "key that they wait for")];
const STATES: [&str; 9] = ["failed", "blocked", "scheduled", "queued", "running", "retrying", "succeeded", "cancelled", "expired"];

pub(in crate::command::ui) async fn show(State(page): State<Page>, Query(given_by): Query<Parameters>, part: Part) -> Markup {
    let given = |name| given(&given_by, name);
    let by = BY.into_iter().find(|(name, _)| !given(name).is_empty());
    let (state, is_failed) = (given("state"), by.is_none() && matches!(given("state"), "" | "failed"));
    let (kind, message) = (given("kind"), given("message"));
    let is_group = !kind.is_empty() || !message.is_empty();
    let limit = if is_failed { GROUPED } else { PAGE + 1 }.to_string();
    let mut words = vec!["list".to_owned(), "--limit".to_owned(), limit];
    words.extend(by.map(|(name, _)| format!("--{name}={}", given(name))));
    words.extend((!state.is_empty()).then(|| format!("--state={state}")));
    words.extend((!given("before").is_empty()).then(|| format!("--before={}", given("before"))));
    let found = page.look(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let now = page.aws.clock.now();
    let is_shown = |record: &&Value| {
        !is_group || error_of(record) == (kind, text(&record["error"], "message")) && first_line(error_of(record).1) == message
    };
    let shown: Vec<_> = found.rows.iter().filter(is_shown).collect();
    let body = html! {
        (filters(&given_by))
        @if is_group {
            p { "Jobs that failed with " strong { (foreign(kind)) ": " (foreign(message)) } ". " a href="/jobs" { "All failed jobs" } }
        } @else if is_failed {
            (grouped(&shown, now))
        }
        @if shown.is_empty() { p { "No jobs." } } @else { (page::jobs("Jobs", shown.iter().take(PAGE).copied(), now)) }
        (older(&given_by, &shown))
    };
    View { title: "Jobs", path: "/jobs", every_s: Some(5), looks: &[&found], body }.render(&page, &part)
}

fn filters(given_by: &Parameters) -> Markup {
    html! {
        form.filters action="/jobs" {
            label { "State " select name="state" {
                option value="" selected[given(given_by, "state").is_empty()] { "any" }
                @for state in STATES { option value=(state) selected[given(given_by, "state") == state] { (state) } }
            } }
            @for (name, label) in BY {
                label { (label) " " input name=(name) value=(given(given_by, name)); }
            }
            button { "List" }
        }
    }
}

fn grouped(failed: &[&Value], now: Timestamp) -> Markup {
    let groups = groups(failed.iter().copied(), error_of);
    let rows = groups.iter().map(|group| {
        html! {
            td.number { a href=(href("/jobs", &[("kind", group.kind), ("message", &group.message)])) { (group.rows.len()) } }
            td { (foreign(group.kind)) }
            td.long { (foreign(&group.message)) }
            td { (page::when(&group.rows[0]["finished_at"], now)) }
        }
    });
    html! {
        @if !groups.is_empty() {
            h2 { "By reason" }
            (table("Failed jobs by reason", &["Jobs", "Kind", "Message", "Latest"], rows))
            h2 { "One by one" }
        }
    }
}

/// The link to the next page. A list is sorted by time, so the last row tells where the next page begins.
fn older(given_by: &Parameters, shown: &[&Value]) -> Markup {
    let Some(last) = shown.get(PAGE - 1).filter(|_| shown.len() > PAGE) else { return html! {} };
    let before = text(last, "listed_at");
    let kept = ["state", "kind", "message"].into_iter().chain(BY.map(|(name, _)| name)).map(|name| (name, given(given_by, name)));
    let parameters: Vec<_> = kept.chain([("before", before)]).collect();
    html! { @if !before.is_empty() { p { a rel="next" href=(href("/jobs", &parameters)) { "Older jobs" } } } }
}
