//! Dead letters by queue and reason.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde_json::Value;

use super::{Parameters, given, groups};
use crate::{
    command::ui::{
        Page,
        page::{Part, View, count, foreign, foreign_lines, href, job_link, state, table, text, when},
    },
    output::first_line,
};

/// Number of dead letters to read.
const READ: &str = "1000";
/// Number of dead letters to show one by one.
const SHOWN: usize = 100;

pub(in crate::command::ui) async fn show(State(page): State<Page>, Query(given_by): Query<Parameters>, part: Part) -> Markup {
    let queue = given(&given_by, "queue");
    if queue.is_empty() {
        let queues = page.look(&["queue", "list"]).await;
        let dead: Vec<_> = queues.rows.iter().filter(|queue| count(queue, "dead") > 0).collect();
        let rows = dead.iter().map(|queue| {
            html! {
                td { a href=(href("/dead", &[("queue", text(queue, "name"))])) { (foreign(text(queue, "name"))) } }
                td.number { (count(queue, "dead")) }
            }
        });
        let body = html! { @if dead.is_empty() { @if queues.is_answered() { p { "There are no dead letters." } } } @else { (table("Queues", &["Queue", "#Dead letters"], rows)) } };
        return View { title: "Dead letters", path: "/dead", every_s: Some(5), looks: &[&queues], body }.render(&page, &part);
    }
    let found = page.look(&["dlq", "list", "--limit", READ, "--", queue]).await;
    let now = page.aws.clock.now();
    let groups = groups(&found.rows, |letter| (text(letter, "kind"), text(letter, "reason")));
    let by_reason = groups.iter().map(|group| {
        html! {
            td.number { (group.rows.len()) }
            td { (foreign(group.kind)) }
            td.long { (foreign(&group.message)) }
        }
    });
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for letter in &found.rows {
        *kinds.entry(text(letter, "kind")).or_default() += 1;
    }
    let one_by_one = found.rows.iter().take(SHOWN).map(|letter| {
        let id = text(letter, "id");
        let act = |action: &str| href("/act", &[("do", action), ("queue", queue), ("id", id)]);
        html! {
            td { (job_link(id)) }
            td { (foreign(text(letter, "name"))) }
            td { (foreign(text(letter, "kind"))) }
            td.long { (foreign(&first_line(text(letter, "reason")))) }
            td { (when(&letter["sent_at"], now)) }
            td { @match &letter["record"] { Value::Null => { "no record" }, record => { (state(text(record, "state"))) } } }
            td {
                details id={ "body-" (text(letter, "message_id")) } { summary { "message" } pre { (foreign_lines(text(letter, "body"))) } }
                a href=(act("redrive")) { "redrive" } ", " a href=(act("purge")) { "purge" }
            }
        }
    });
    let body = html! {
        p.actions {
            a.button href=(href("/act", &[("do", "redrive"), ("queue", queue)])) { "Redrive all" }
            a.button href=(href("/act", &[("do", "purge"), ("queue", queue)])) { "Purge all" }
            a.button href=(href("/dead", &[("queue", queue)])) { "Read again" }
        }
        @for (kind, letters) in &kinds {
            @let act = |action: &str| href("/act", &[("do", action), ("queue", queue), ("kind", kind)]);
            p { (letters) " of kind " strong { (foreign(kind)) } ": " a href=(act("redrive")) { "redrive this kind" } ", " a href=(act("purge")) { "purge this kind" } }
        }
        @if found.rows.is_empty() {
            @if found.is_answered() { p { "There are no dead letters, or another reader hides them for half a minute." } }
        } @else {
            h2 { "By reason" }
            (table("Dead letters by reason", &["#Dead letters", "Kind", "Reason"], by_reason))
            h2 { "Dead letters" }
            @if found.rows.len() > SHOWN { p { "The first " (SHOWN) " of " (found.rows.len()) "." } }
            (table("Dead letters", &["Id", "Name", "Kind", "Reason", "Since", "State", "Actions"], one_by_one))
        }
    };
    // Each look receives the messages and hides them for a moment, so the view does not refresh itself.
    View { title: &format!("Dead letters of {queue}"), path: "/dead", every_s: None, looks: &[&found], body }.render(&page, &part)
}
