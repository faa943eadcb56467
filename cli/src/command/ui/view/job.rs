//! One job: its timeline, what happens next, and its relatives.

use axum::extract::{Query, State};
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

use super::{Parameters, given};
use crate::{
    command::{
        data::remove_data,
        ui::{
            Page, Shared,
            page::{self, Part, View, count, foreign, foreign_lines, href, job_link, text, when},
            svg,
        },
    },
    output::clean,
    time::exact,
};

pub(in crate::command::ui) async fn show(State(page): State<Page>, Query(given_by): Query<Parameters>, part: Part) -> Markup {
    let id = given(&given_by, "id").trim();
    let found = page.look(&["get", "--", id]).await;
    let (record, now) = (found.one(), page.aws.clock.now());
    let ended = ["succeeded", "failed", "cancelled", "expired"].contains(&text(record, "state"));
    // Both read more than the record, so the browser asks for them again only when the job has changed.
    let version = format!("{} {} {}", text(record, "state"), count(record, "generation"), text(record, "run_at"));
    let load = |path: &str| href(path, &[("id", id), ("version", &version)]);
    let body = html! {
        @if record.is_null() {
            @if found.is_answered() { p { "There is no record of this job." } }
        } @else {
            p { (page::state(text(record, "state"))) " " (foreign(text(record, "name"))) " on queue " (foreign(page.aws.short(text(record, "queue")))) }
            (actions(&page, record, ended))
        }
        h2 { "What happened, and what happens next" }
        section data-load=(load("/explain")) { p { a href=(load("/explain")) { "Explain" } } }
        @if !record.is_null() {
            h2 { "Timeline" }
            (timeline(record, now))
            section data-load=(load("/tree")) { p { a href=(load("/tree")) { "Its workflow, or its relatives" } } }
            h2 { "Data" }
            (hidden("arguments", "Arguments", &arguments(record)))
            (hidden("result", "Result", &pretty(&record["result"])))
            (hidden("progress", "Progress", &pretty(&record["progress"])))
            (hidden("checkpoint", "Checkpoint", &pretty(&record["checkpoint"])))
            (hidden("meta", "Data of the producer", &pretty(&record["meta"])))
            (hidden("record", "The whole record", &pretty(&without_data(record))))
            (console(&page, record))
        }
    };
    let every_s = (!ended && !record.is_null()).then_some(2);
    View { title: id, path: "/jobs", every_s, looks: &[&found], body }.render(&page, &part)
}

/// The sentences of `explain`.
pub(in crate::command::ui) async fn explain(State(page): State<Page>, Query(given_by): Query<Parameters>, part: Part) -> Markup {
    let explained = page.look(&["explain", "--", given(&given_by, "id")]).await;
    let sentences = explained.one()["sentences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let body = html! { ul.sentences { @for sentence in sentences { li { (clean(sentence)) } } } };
    let title = if part.is_wanted() { "" } else { given(&given_by, "id") };
    View { title, path: "/jobs", every_s: None, looks: &[&explained], body }.render(&page, &part)
}

/// The jobs of the workflow, or the relatives of a job.
pub(in crate::command::ui) async fn tree(State(page): State<Page>, Query(given_by): Query<Parameters>, part: Part) -> Markup {
    let id = given(&given_by, "id");
    let found = page.look(&["tree", "--", id]).await;
    let body = relatives(&found.rows, id);
    let title = if part.is_wanted() { "" } else { id };
    View { title, path: "/jobs", every_s: None, looks: &[&found], body }.render(&page, &part)
}

fn actions(page: &Shared, record: &Value, ended: bool) -> Markup {
    let (id, queue) = (text(record, "id"), page.aws.short(text(record, "queue")));
    let to = |action: &str| href("/act", &[("do", action), ("id", id), ("queue", queue), ("name", text(record, "name"))]);
    html! {
        p.actions {
            @if ended {
                @if text(record, "dlq") == "sent" { a.button href=(to("redrive")) { "Run again, with the arguments of its dead letter" } }
                a.button href=(to("retry")) { "Run again, with other arguments" }
            } @else {
                a.button href=(to("cancel")) { "Cancel" }
                @if text(record, "state") == "scheduled" { a.button href=(to("run-now")) { "Run now" } a.button href=(to("move")) { "Move" } }
            }
            @if !record["dependencies"].is_null() {
                @if !ended { a.button href=(to("cancel-tree")) { "Cancel its workflow" } }
                @else if text(record, "state") != "succeeded" { a.button href=(to("retry-tree")) { "Retry its workflow" } }
            }
            a.button href=(to("enqueue")) { "Enqueue a copy" }
            a.button href=(to("tag")) { "Change tags" }
        }
    }
}

/// The events of a job, the oldest first.
fn timeline(record: &Value, now: Timestamp) -> Markup {
    let mut events: Vec<(&Value, Markup)> = Vec::new();
    events.push((&record["enqueued_at"], html! { "enqueued" }));
    for past in record["history"].as_array().into_iter().flatten() {
        events.push((&past["started_at"], html! { "start " (count(past, "generation")) }));
        events.push((&past["at"], html! { (page::state(text(past, "kind"))) " " (foreign(text(past, "message"))) }));
    }
    let is_told = record["history"].as_array().into_iter().flatten().any(|past| past["started_at"] == record["started_at"]);
    if !record["started_at"].is_null() && !is_told {
        events.push((&record["started_at"], html! { "start " (count(record, "generation")) }));
    }
    if !record["finished_at"].is_null() {
        let result = if record["result"].is_null() { "" } else { ", with a result" };
        events.push((
            &record["finished_at"],
            html! { (page::state(text(record, "state"))) (result) " " (foreign(&page::error_line(&record["error"]))) },
        ));
    } else if !record["run_at"].is_null() {
        events.push((&record["run_at"], html! { (page::state(text(record, "state"))) " until then" }));
    }
    // Attempts of an older version may lack a time.
    let mut events: Vec<_> = events.into_iter().filter(|(at, _)| at.is_string()).collect();
    events.sort_by_key(|(at, _)| at.as_str().and_then(|text| text.parse::<Timestamp>().ok()));
    html! {
        ol.timeline { @for (at, what) in events { li { (when(at, now)) " " span { (what) } " " small { (at.as_str().and_then(|text| text.parse().ok()).map(exact).unwrap_or_default()) } } } }
        p {
            "Attempts: " (count(record, "attempts")) @if count(record, "max_attempts") > 0 { " of " (count(record, "max_attempts")) }
            "; starts, with snoozed and interrupted ones: " (count(record, "runs")) "; snoozes: " (count(record, "snoozes")) "."
            @if let Some(tags) = record["tags"].as_array() { " Tags: " @for tag in tags.iter().filter_map(Value::as_str) { a.badge href=(href("/jobs", &[("tag", tag)])) { (foreign(tag)) } " " } }
        }
    }
}

/// The jobs of the workflow as a graph, or the jobs of the tree as a list.
fn relatives(rows: &[Value], id: &str) -> Markup {
    if rows.len() < 2 {
        return html! {};
    }
    html! {
        h2 { "Its jobs and relatives" }
        @if rows.iter().any(|row| row["depends_on"].is_array()) {
            (svg::graph(rows, id))
        } @else {
            ul.tree { @for row in rows { li { (job_link(text(row, "id"))) " " (foreign(text(row, "name"))) " " (page::state(text(row, "state"))) } } }
        }
    }
}

/// Arguments and results may be private, so they are shown only on request.
fn hidden(id: &str, title: &str, content: &str) -> Markup {
    html! { @if !content.is_empty() { details id=(id) { summary { (title) } pre { (foreign_lines(content)) } } } }
}

/// The message is in the record only while the table holds it in place of the queue.
fn arguments(record: &Value) -> String {
    let envelope: Value = serde_json::from_str(text(record, "envelope")).unwrap_or_default();
    [pretty(&envelope["args"]), pretty(&envelope["kwargs"])].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn pretty(value: &Value) -> String {
    if value.is_null() { String::new() } else { serde_json::to_string_pretty(value).unwrap_or_default() }
}

fn without_data(record: &Value) -> Value {
    let mut record = record.clone();
    remove_data(&mut record);
    record
}

/// The links to the console: to the log lines of the job, in the log group of the function and filtered by the id, and to its trace.
fn console(page: &Shared, record: &Value) -> Markup {
    let (Some(region), None) = (page.aws.sdk.region(), page.aws.sdk.endpoint_url()) else { return html! {} };
    let filter = format!("\"{}\"", text(record, "id"));
    let group = format!("/aws/lambda/{}", text(record, "queue"));
    // The console escapes the part after `#` twice, with `$` for `%`.
    let twice = |text: &str| href("", &[("a", &href("", &[("a", text)])[3..])])[3..].replace('%', "$");
    let address = format!(
        "https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{}/log-events$3FfilterPattern$3D{}",
        twice(&group),
        twice(&filter)
    );
    html! {
        p { a href=(address) rel="noreferrer" { "Log lines in CloudWatch" } ", if the function has the name of its queue" }
        @if let Some(trace) = trace(text(record, "trace_id")) {
            @let address = format!("https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#xray:traces/{trace}");
            p { a href=(address) rel="noreferrer" { "Trace in X-Ray of the last attempt that has one" } ", if its spans are sent there" }
        }
    }
}

/// Returns a trace id as X-Ray writes it: `1-`, 8 hexadecimal digits, `-`, 24 digits.
fn trace(id: &str) -> Option<String> {
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| format!("1-{}-{}", &id[..8], &id[8..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_written_as_x_ray_writes_it() {
        assert_eq!(trace("0af7651916cd43dd8448eb211c80319c").as_deref(), Some("1-0af76519-16cd43dd8448eb211c80319c"));
        for id in ["", "0af7651916cd43dd8448eb211c80319", "0af7651916cd43dd8448eb211c80319/", "é0af7651916cd43dd8448eb211c8031"] {
            assert_eq!(trace(id), None, "{id}");
        }
    }
}
