//! The frame of each view, and the pieces that views share.

use std::{convert::Infallible, fmt::Write as _};

use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Page, Shared};
use crate::{
    command::runner::Look,
    output::{clean, first_line},
    time::{exact, from_now},
};

const VIEWS: [(&str, &str); 5] =
    [("/", "Overview"), ("/jobs", "Jobs"), ("/dead", "Dead letters"), ("/schedules", "Schedules"), ("/stats", "Statistics")];
/// The states of jobs.
pub(super) const STATES: [&str; 9] =
    ["failed", "blocked", "scheduled", "queued", "running", "retrying", "succeeded", "cancelled", "expired"];
/// The characters that need no escape in a query (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Shared {
    /// Runs a command that can print JSON.
    pub(super) async fn look(&self, words: &[&str]) -> Look {
        self.runner.look(owned(words)).await
    }

    /// Runs a command, and returns the lines that it prints.
    pub(super) async fn read(&self, words: &[&str]) -> Vec<String> {
        self.runner.run(owned(words)).await.printed.lines().answers
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Look {
    /// Returns true if the command could answer, so that an empty answer means that there is nothing.
    pub(super) fn is_answered(&self) -> bool {
        self.error.is_none()
    }

    /// Returns true if it could answer in full.
    pub(super) fn is_whole(&self) -> bool {
        self.is_answered() && self.notes.is_empty()
    }

    /// Returns the only line of the answer.
    pub(super) fn one(&self) -> &Value {
        self.rows.first().unwrap_or(&Value::Null)
    }
}

/// True if only the content of the view is wanted, because the frame is there already.
pub(super) struct Part(bool);

impl Part {
    pub(super) fn is_wanted(&self) -> bool {
        self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Part {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.contains_key("x-part")))
    }
}

/// A view, ready to be sent.
pub(super) struct View<'a> {
    pub(super) title: &'a str,
    /// The path of the view in the navigation.
    pub(super) path: &'a str,
    /// The seconds after which the browser asks for the view again.
    pub(super) every_s: Option<u32>,
    pub(super) looks: &'a [&'a Look],
    pub(super) body: Markup,
}

impl View<'_> {
    pub(super) fn render(self, shared: &Shared, part: &Part) -> Markup {
        let content = self.content(shared);
        if part.0 {
            return content;
        }
        let place = &shared.aws.place;
        let region = shared.aws.sdk.region().map(ToString::to_string).unwrap_or_default();
        let system = [place.prefix.clone(), region, shared.aws.sdk.endpoint_url().unwrap_or_default().to_owned()];
        let system = system.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ");
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (clean(self.title)) " · sqjobs" }
                    link rel="stylesheet" href="/style.css";
                    script src="/page.js" defer {}
                }
                body {
                    a.skip href="#content" { "Skip to the content" }
                    header {
                        nav aria-label="Views" {
                            strong { "sqjobs" }
                            @for (path, name) in VIEWS {
                                a href=(path) aria-current=[(path == self.path).then_some("page")] { (name) }
                            }
                        }
                        form.find action="/job" role="search" {
                            input name="id" type="search" placeholder="Job id" aria-label="Job id" required;
                            button { "Find" }
                        }
                        p.system { (system) @if !shared.may_write { span.badge title="Start `sqjobs ui --write` to change something" { "read-only" } } }
                    }
                    p.bar {
                        label { input type="checkbox" id="live" checked; " Refresh" }
                        span id="refreshed" {}
                        span id="status" role="status" {}
                    }
                    main id="content" tabindex="-1" { (content) }
                }
            }
        }
    }

    fn content(&self, shared: &Shared) -> Markup {
        html! {
            @if let Some(seconds) = self.every_s { span data-every=(seconds) hidden {} }
            @if !self.title.is_empty() { h1 { bdi { (clean(self.title)) } } }
            @for look in self.looks {
                @if let Some(error) = &look.error {
                    p.error data-status="" { code { (foreign(&shared.runner.line(&look.words))) } ": " (clean(&shared.aws.place.with_options(error))) }
                }
            }
            (self.body)
            @let notes: Vec<_> = self.looks.iter().flat_map(|look| &look.notes).collect();
            @if !notes.is_empty() {
                ul.notes { @for note in notes { li { (clean(note)) } } }
            }
            @if !self.looks.is_empty() {
                details.cost id={ "cost-" (self.title) } {
                    summary { "Cost of this view" }
                    ul {
                        @for look in self.looks {
                            li { code { (foreign(&shared.runner.line(&look.words))) } " " (look.cost) }
                        }
                    }
                }
            }
        }
    }
}

/// The answer to an unknown address.
pub(super) async fn missing(State(page): State<Page>, part: Part) -> Response {
    let body = html! { p { "There is no such view." } };
    (StatusCode::NOT_FOUND, View { title: "Not found", path: "", every_s: None, looks: &[], body }.render(&page, &part)).into_response()
}

/// Returns the address of a view with these parameters, without empty ones.
pub(super) fn href(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut address = path.to_owned();
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        let sign = if address.contains('?') { '&' } else { '?' };
        write!(address, "{sign}{name}={}", utf8_percent_encode(value, ESCAPED)).ok();
    }
    address
}

pub(super) fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

pub(super) fn count(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_default()
}

/// A text that someone else has chosen.
pub(super) fn foreign(text: &str) -> Markup {
    html! { bdi { (clean(text)) } }
}

pub(super) fn job_link(id: &str) -> Markup {
    html! { a.id href=(href("/job", &[("id", id)])) { (foreign(id)) } }
}

/// A state, in its colour. A text that is none, such as the kind of a failure, has none.
pub(super) fn state(state: &str) -> Markup {
    let colour = if STATES.contains(&state) { state } else { "" };
    html! { span class={ "state " (colour) } { (foreign(state)) } }
}

/// A text of several lines that someone else has chosen.
pub(super) fn foreign_lines(text: &str) -> Markup {
    let lines = text.lines().map(clean).collect::<Vec<_>>().join("\n");
    html! { bdi { (lines) } }
}

/// An instant, as the time from now, with its exact value as the title.
pub(super) fn when(instant: &Value, now: Timestamp) -> Markup {
    let at: Option<Timestamp> = instant.as_str().and_then(|text| text.parse().ok());
    html! { @if let Some(at) = at { time datetime=(at) title=(exact(at)) { (from_now(at, now)) } } }
}

/// The first line of an error, with its kind.
pub(super) fn error_line(error: &Value) -> String {
    match (text(error, "kind"), text(error, "message")) {
        ("", "") => String::new(),
        (kind, message) => format!("{kind}: {}", first_line(message)),
    }
}

/// A table that scrolls by itself on a narrow screen. The name of a column of numbers begins with `#`.
pub(super) fn table(label: &str, head: &[&str], rows: impl IntoIterator<Item = Markup>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr { @for name in head { th scope="col" class=[name.starts_with('#').then_some("number")] { (name.trim_start_matches('#')) } } } }
                tbody { @for row in rows { tr { (row) } } }
            }
        }
    }
}

/// Jobs, one per row.
pub(super) fn jobs<'a>(label: &str, records: impl IntoIterator<Item = &'a Value>, now: Timestamp) -> Markup {
    let rows = records.into_iter().map(|record| {
        let at = ["finished_at", "started_at", "run_at", "enqueued_at"].into_iter().find(|at| !record[*at].is_null()).unwrap_or_default();
        let attempts = match count(record, "max_attempts") {
            0 => count(record, "attempts").to_string(),
            most => format!("{}/{most}", count(record, "attempts")),
        };
        html! {
            td { (job_link(text(record, "id"))) }
            td { (foreign(text(record, "name"))) }
            td { (state(text(record, "state"))) }
            td.number { (attempts) }
            td { (when(&record[at], now)) }
            td.long { (foreign(&error_line(&record["error"]))) }
        }
    });
    table(label, &["Id", "Name", "State", "#Attempts", "When", "Error"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_parameter_contains_stays_one_parameter() {
        assert_eq!(href("/job", &[("id", "a b&c=d#é/\"<"), ("queue", "")]), "/job?id=a%20b%26c%3Dd%23%C3%A9%2F%22%3C");
        assert_eq!(href("/jobs?state=failed", &[("name", "n")]), "/jobs?state=failed&name=n");
    }

    #[test]
    fn markup_and_direction_marks_of_others_are_shown_and_not_obeyed() {
        let shown = job_link("<script>alert(1)</script>\u{202e}\"").into_string();
        assert!(!shown.contains("<script>") && !shown.contains('\u{202e}'), "{shown}");
        assert!(shown.contains("&lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}&quot;</bdi>"), "{shown}");
    }
}
