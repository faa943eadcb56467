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
/// Number of failed jobs to read, of which a page shows some, and maximum number of others.
const READ: usize = 500;
const MOST: usize = 1000;

/// The properties by which jobs are found, with their labels.
const BY: [(&str, &str); 5] =
    [("name", "name"), ("tag", "tag"), ("object", "object"), ("root", "first job of a tree"), ("key", "key that they wait for")];

pub(in crate::command::ui) async fn show(State(page): State<Page>, Query(given_by): Query<Parameters>, part: Part) -> Markup {
    let given = |name| given(&given_by, name);
    let is_failed = BY.into_iter().all(|(name, _)| given(name).is_empty()) && matches!(given("state"), "" | "failed");
    let (kind, message) = (given("kind"), given("message"));
    let is_group = !kind.is_empty() || !message.is_empty();
    let read = if is_failed { READ } else { given("limit").parse().unwrap_or(PAGE).clamp(1, MOST) };
    let mut words = vec!["list".to_owned(), "--limit".to_owned(), read.to_string()];
    if is_failed {
        words.extend((!given("before").is_empty()).then(|| format!("--before={}", given("before"))));
    } else {
        // The command refuses two properties at once.
        let by = BY.into_iter().map(|(name, _)| name).chain(["state"]).filter(|name| !given(name).is_empty());
        words.extend(by.map(|name| format!("--{name}={}", given(name))));
    }
    let found = page.look(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let now = page.aws.clock.now();
    let is_shown = |record: &&Value| !is_group || error_of(record).0 == kind && first_line(error_of(record).1) == message;
    let matching: Vec<_> = found.rows.iter().filter(is_shown).collect();
    let shown = if is_failed { &matching[..page_of(&matching)] } else { &matching };
    let is_full = found.rows.len() >= read;
    let body = html! {
        (filters(&given_by))
        @if is_group {
            p { "Jobs that failed with " strong { (foreign(kind)) ": " (foreign(message)) } ". " a href="/jobs" { "All failed jobs" } }
        } @else if is_failed {
            (grouped(&matching, is_full, now))
        }
        @if !shown.is_empty() { (page::jobs("Jobs", shown.iter().copied(), now)) }
        @else if found.is_answered() { p { "No jobs." } }
        @if is_failed { (older(&given_by, shown, &matching, is_full.then(|| found.rows.last()).flatten())) }
        @else if is_full && read < MOST { (more(&given_by, read)) }
    };
    View { title: "Jobs", path: "/jobs", every_s: Some(15), looks: &[&found], body }.render(&page, &part)
}

/// The number of failed jobs that a page shows. Jobs that failed in the same millisecond are on one page, because the next one begins with a
/// time.
fn page_of(failed: &[&Value]) -> usize {
    let Some(last) = failed.get(PAGE - 1) else { return failed.len() };
    PAGE + failed[PAGE..].iter().take_while(|record| record["listed_at"] == last["listed_at"]).count()
}

fn filters(given_by: &Parameters) -> Markup {
    html! {
        form.filters action="/jobs" {
            label { "state " select name="state" {
                option value="" selected[given(given_by, "state").is_empty()] { "failed, or any with another filter" }
                @for state in page::STATES { option value=(state) selected[given(given_by, "state") == state] { (state) } }
            } }
            @for (name, label) in BY {
                label { (label) " " input name=(name) value=(given(given_by, name)); }
            }
            button { "List" }
        }
    }
}

fn grouped(failed: &[&Value], is_full: bool, now: Timestamp) -> Markup {
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
            @if is_full { p { "Only the " (failed.len()) " jobs that failed last are grouped." } }
            (table("Failed jobs by reason", &["#Jobs", "Kind", "Message", "Latest"], rows))
            h2 { "Failed jobs" }
        }
    }
}

/// The address of this list with another parameter.
fn with(given_by: &Parameters, name: &str, value: &str) -> String {
    let kept = ["state", "kind", "message"].into_iter().chain(BY.map(|(name, _)| name)).map(|name| (name, given(given_by, name)));
    href("/jobs", &kept.chain([(name, value)]).collect::<Vec<_>>())
}

/// The link to the next page of failed jobs, which begins at the time of the last job of this page, or of the last one that was read.
fn older(given_by: &Parameters, shown: &[&Value], matching: &[&Value], last_read: Option<&Value>) -> Markup {
    let last = if matching.len() > shown.len() { shown.last().copied() } else { last_read };
    html! { @if let Some(last) = last { p { a rel="next" href=(with(given_by, "before", text(last, "listed_at"))) { "Older jobs" } } } }
}

/// The link to a longer list.
fn more(given_by: &Parameters, read: usize) -> Markup {
    html! { p { a rel="next" href=(with(given_by, "limit", &(read * 10).min(MOST).to_string())) { "More jobs" } } }
}
