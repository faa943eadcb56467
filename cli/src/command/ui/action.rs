//! Actions: each shows its command line, asks, and runs the command.

use axum::{
    Form,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use clap::CommandFactory as _;
use maud::{Markup, html};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    Page, Shared,
    form::{Parameters, given},
    page::{Part, View, foreign, href, text},
};
use crate::{
    args::Args,
    command::runner::{Outcome, end_of_options},
    output::{NO_TERMINAL, clean},
};

/// An action, and the form that asks for it.
struct Action {
    title: &'static str,
    words: Vec<String>,
    /// The fields that the user fills in, each with its label, its value, and true for a text of several lines.
    fields: Vec<(&'static str, &'static str, String, bool)>,
    /// True if the command can count first what it would change.
    can_count: bool,
    /// True if something is lost.
    is_final: bool,
    /// The view to return to.
    back: String,
}

impl Action {
    /// Returns the action that a form asks for. An error names the field that is missing.
    fn of(form: &Parameters, stored: &Value) -> Result<Self, String> {
        let given = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let (id, queue) = (given("id"), given("queue"));
        let option = |name: &str| (!given(name).is_empty()).then(|| format!("--{name}={}", given(name)));
        let job = href("/job", &[("id", id)]);
        let action = |title, options: Vec<String>, arguments: &[&str]| Self {
            title,
            words: options.into_iter().chain(["--".to_owned()]).chain(arguments.iter().map(|word| (*word).to_owned())).collect(),
            fields: Vec::new(),
            can_count: false,
            is_final: false,
            back: job.clone(),
        };
        let words = |fixed: &[&str], more: &[&str]| -> Vec<String> {
            fixed.iter().map(|word| (*word).to_owned()).chain(more.iter().filter_map(|name| option(name))).collect()
        };
        let args = ("args", "Arguments, as JSON", given("args").to_owned(), true);
        let asked = match given("do") {
            "retry" => Self { fields: vec![args], ..action("Run again", words(&["retry"], &[]), &[id, given("args")]) },
            "retry-tree" => action("Retry a workflow", words(&["retry", "--tree"], &[]), &[id]),
            "cancel" => Self { is_final: true, ..action("Cancel", words(&["cancel"], &[]), &[id]) },
            "cancel-tree" => Self { is_final: true, ..action("Cancel a workflow", words(&["cancel", "--tree", "--yes"], &[]), &[id]) },
            "run-now" => action("Run now", words(&["move", "--delay=0s"], &[]), &[id]),
            "move" => Self {
                fields: vec![("delay", "Delay from now, such as 2h", given("delay").to_owned(), false)],
                ..action("Move", words(&["move"], &["delay"]), &[id])
            },
            "enqueue" => Self {
                fields: vec![("queue", "Queue", queue.to_owned(), false), args],
                ..action("Enqueue a copy", words(&["enqueue"], &["queue"]), &[given("name"), given("args")])
            },
            "tag" => Self {
                fields: vec![
                    ("add", "Tag to add", given("add").to_owned(), false),
                    ("remove", "Tag to remove", given("remove").to_owned(), false),
                ],
                ..action("Change tags", words(&["tag"], &["add", "remove"]), &[id])
            },
            verb @ ("redrive" | "purge") => Self {
                can_count: true,
                is_final: verb == "purge",
                back: if id.is_empty() { href("/dead", &[("queue", queue)]) } else { job.clone() },
                ..action(
                    if verb == "purge" { "Delete dead letters" } else { "Run dead letters again" },
                    words(&["dlq", verb], &["id", "kind", "name"].map(|name| if name == "name" && !id.is_empty() { "" } else { name })),
                    &[queue],
                )
            },
            verb @ ("queue-pause" | "queue-resume") => Self {
                back: "/".into(),
                ..action(
                    if verb == "queue-pause" { "Pause the queue" } else { "Resume the queue" },
                    words(&["queue", &verb["queue-".len()..]], &[]),
                    &[queue],
                )
            },
            verb @ ("schedule-pause" | "schedule-resume" | "schedule-run") => Self {
                back: "/schedules".into(),
                ..action(
                    match verb {
                        "schedule-pause" => "Pause the schedule",
                        "schedule-resume" => "Resume the schedule",
                        _ => "Run the schedule now",
                    },
                    words(&["schedule", &verb["schedule-".len()..]], &[]),
                    &[id],
                )
            },
            "schedule-times" => Self {
                back: href("/schedule", &[("id", id)]),
                ..action(
                    "Change the times of a schedule",
                    words(&["schedule", "add"], &["cron", "every", "timezone"]).into_iter().chain(kept(stored)).collect(),
                    &[&[id, text(stored, "job")][..], &args_of(stored).iter().map(String::as_str).collect::<Vec<_>>()].concat(),
                )
            },
            other => return Err(format!("there is no action {other:?}")),
        };
        Ok(asked)
    }

    /// Returns the text with which the command line explains the command.
    fn about(&self) -> String {
        let all = Args::command();
        let mut found = &all;
        for word in &self.words {
            let Some(inner) = found.find_subcommand(word) else { break };
            found = inner;
        }
        found.get_long_about().or(found.get_about()).map(ToString::to_string).unwrap_or_default()
    }
}

/// The text of a JSON string, or the JSON of another value.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The arguments of a schedule as a word of the command line, if it has some.
fn args_of(stored: &Value) -> Option<String> {
    Some(&stored["args"]).filter(|args| !args.is_null()).map(ToString::to_string)
}

/// The options that keep the other settings of a schedule.
fn kept(stored: &Value) -> Vec<String> {
    let options = [("queue", "queue"), ("priority", "priority"), ("max-attempts", "max_attempts"), ("catch-up", "catch_up")];
    let mut words: Vec<_> = options
        .iter()
        .filter(|(_, field)| !stored[*field].is_null())
        .map(|(option, field)| format!("--{option}={}", plain(&stored[*field])))
        .collect();
    words.extend(stored["jitter_s"].as_u64().map(|seconds| format!("--jitter={seconds}s")));
    words.extend(stored["tags"].as_array().into_iter().flatten().map(|tag| format!("--tag={}", plain(tag))));
    words.extend((stored["dst_gap"] == "skip").then(|| "--skip-gap".to_owned()));
    words
}

impl Shared {
    async fn action(&self, form: &Parameters) -> Result<Action, String> {
        let stored = if given(form, "do") == "schedule-times" {
            let all = self.look(&["schedule", "list"]).await;
            all.rows.into_iter().find(|schedule| schedule["id"] == given(form, "id")).unwrap_or_default()
        } else {
            Value::Null
        };
        Action::of(form, &stored)
    }

    /// Returns the message of a job, from its record or its dead letter.
    async fn message(&self, id: &str, queue: &str) -> Option<Value> {
        let found = self.look(&["get", "--", id]).await;
        let envelope = text(found.one(), "envelope");
        if !envelope.is_empty() {
            return serde_json::from_str(envelope).ok();
        }
        if text(found.one(), "dlq") != "sent" {
            return None;
        }
        let letters = self.look(&["dlq", "show", "--", queue, id]).await;
        serde_json::from_str(text(letters.one(), "body")).ok()
    }

    /// Returns what the command says that it would change.
    async fn count(&self, action: &Action) -> Vec<String> {
        let mut words = action.words.clone();
        words.insert(2, "--dry-run".into());
        let run = self.runner.run(words).await;
        let lines = run.printed.lines();
        let error = run.outcome().and_then(|outcome| if let Outcome::Error(error) = outcome { Some(error.clone()) } else { None });
        lines.answers.into_iter().chain(lines.notes).chain(error).collect()
    }
}

/// Shows what an action would do.
pub(super) async fn ask(State(page): State<Page>, Query(mut form): Query<Parameters>, part: Part) -> Response {
    let mut note = None;
    if ["retry", "enqueue"].contains(&given(&form, "do"))
        && let Some(message) = page.message(given(&form, "id"), given(&form, "queue")).await
    {
        if message["kwargs"].as_object().is_some_and(|named| !named.is_empty()) {
            note = Some("Its message has named arguments (kwargs), which this form cannot send.");
        } else if !message["args"].is_null() {
            form.entry("args".into()).or_insert(message["args"].to_string());
        }
    }
    let action = match page.action(&form).await {
        Ok(action) => action,
        Err(error) => return refuse(&page, &part, StatusCode::BAD_REQUEST, &error),
    };
    let counted = if action.can_count { page.count(&action).await } else { Vec::new() };
    let is_field = |name: &str| action.fields.iter().any(|(field, ..)| *field == name);
    // The names of the fields stand for what the user fills in.
    let mut named = form.clone();
    named.extend(action.fields.iter().map(|(name, ..)| ((*name).to_owned(), name.to_uppercase())));
    let shown = page.action(&named).await.map(|action| page.runner.line(&action.words)).unwrap_or_default();
    let body = html! {
        @for paragraph in page.aws.place.with_options(&action.about()).split("\n\n") { p { (clean(paragraph)) } }
        p { "The command that does this: " code { (foreign(&shown)) } }
        @if given(&form, "do") == "enqueue" { p { "The copy has the same name, but not the tags, keys and priority of this job." } }
        @if let Some(note) = note { p.bad { (note) } }
        @if !counted.is_empty() { h2 { "What it would change" } pre { @for line in &counted { (foreign(line)) "\n" } } }
        form method="post" action="/act" {
            @for (name, value) in form.iter().filter(|(name, _)| !is_field(name)) { input type="hidden" name=(name) value=(value); }
            @for (name, label, value, is_long) in &action.fields {
                p { label {
                    (label) " "
                    @if *is_long { textarea name=(name) rows="6" required { (value) } } @else { input name=(name) value=(value); }
                } }
            }
            @if page.may_write {
                p.actions { button class=[action.is_final.then_some("danger")] { (action.title) } a.button href=(action.back) { "Back" } }
            } @else {
                p.bad { "This page is read-only. Start it with " code { "sqjobs ui --write" } " to change something, or run the command." }
            }
        }
    };
    View { title: action.title, path: "", every_s: None, looks: &[], body }.render(&page, &part).into_response()
}

/// Runs an action, and shows its output.
pub(super) async fn act(State(page): State<Page>, part: Part, Form(form): Form<Parameters>) -> Response {
    if !page.may_write {
        return refuse(&page, &part, StatusCode::FORBIDDEN, "this page is read-only; start it with `sqjobs ui --write`");
    }
    let args = given(&form, "args");
    // The command would read a file for `@FILE`, and the terminal for `-`.
    if !args.is_empty() && serde_json::from_str::<IgnoredAny>(args).is_err() {
        let why = format!("the arguments {args:?} are not JSON; write [1, 2], {{\"to\": \"x\"}} or \"text\"");
        return refuse(&page, &part, StatusCode::BAD_REQUEST, &why);
    }
    let action = match page.action(&form).await {
        Ok(action) => action,
        Err(error) => return refuse(&page, &part, StatusCode::BAD_REQUEST, &error),
    };
    let mut words = action.words;
    // The form of these has asked. Other commands ask in some cases only.
    if action.can_count || !given(&form, YES).is_empty() {
        words.insert(end_of_options(&words), "--yes".into());
    }
    let number = page.kept.keep(page.runner.begin(words), form, action.back);
    Redirect::to(&href("/run", &[("n", &number.to_string())])).into_response()
}

/// The field of a form that answers the question of a command.
const YES: &str = "yes";
/// Number of lines of output to show, and maximum number of them while a command runs.
const SHOWN: usize = 500;

fn refuse(page: &Shared, part: &Part, status: StatusCode, why: &str) -> Response {
    let body = html! { p.error { (clean(why)) } };
    (status, View { title: "Refused", path: "", every_s: None, looks: &[], body }.render(page, part)).into_response()
}

/// Shows a command that runs or has run, with its output so far.
pub(super) async fn show(State(page): State<Page>, Query(given_by): Query<Parameters>, part: Part) -> Response {
    let number = given(&given_by, "n").parse().ok();
    let Some(kept) = number.and_then(|number| page.kept.find(number)) else {
        return refuse(&page, &part, StatusCode::NOT_FOUND, "this run is not known any more");
    };
    let run = &kept.run;
    let lines = run.printed.lines();
    let lines: Vec<_> = lines.answers.iter().chain(&lines.notes).collect();
    let first = lines.len().saturating_sub(SHOWN);
    let question = match run.outcome() {
        Some(Outcome::Error(error)) => error.strip_suffix(NO_TERMINAL),
        _ => None,
    };
    let body = html! {
        p { code { (foreign(&page.runner.line(&run.words))) } }
        @if first > 0 { p { "The first " (first) " lines are left out." } }
        pre { @for line in &lines[first..] { (foreign(line)) "\n" } }
        @match run.outcome() {
            None => {
                p { "Running." }
                form method="post" action=(href("/stop", &[("n", given(&given_by, "n"))])) {
                    button { "Stop" } " A request that is under way may still be carried out."
                }
            },
            Some(outcome) => { (ended(outcome)) },
        }
        @if question.is_some() {
            form method="post" action="/act" {
                @for (name, value) in &kept.form { input type="hidden" name=(name) value=(value); }
                button.danger name=(YES) value="yes" { "Yes, do it" }
            }
        }
        p { small { (run.meter) } }
        p { a.button href=(kept.back) { "Back" } }
    };
    let every_s = run.outcome().is_none().then_some(1);
    View { title: "Command", path: "", every_s, looks: &[], body }.render(&page, &part).into_response()
}

fn ended(outcome: &Outcome) -> Markup {
    html! {
        p data-status="" {
            @match outcome {
                Outcome::Yes => { span.good { "Done." } },
                Outcome::No => { span.bad { "Not done, or not all of it: the lines above say why." } },
                Outcome::Error(error) => { span.error { (foreign(error.strip_suffix(NO_TERMINAL).unwrap_or(error))) } },
                Outcome::Stopped => { "Stopped. What was done before stays done." },
            }
        }
    }
}

/// Stops a command.
pub(super) async fn stop(State(page): State<Page>, Query(given_by): Query<Parameters>) -> Response {
    if let Some(kept) = given(&given_by, "n").parse().ok().and_then(|number| page.kept.find(number)) {
        kept.run.stop();
    }
    Redirect::to(&href("/run", &[("n", given(&given_by, "n"))])).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::runner::line;

    fn line_of(form: &[(&str, &str)], stored: &Value) -> String {
        let form = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        line(&Action::of(&form, stored).map_err(|error| panic!("{error}")).map(|action| action.words).unwrap_or_default())
    }

    #[test]
    fn each_action_is_a_command_that_the_command_line_accepts() {
        let stored =
            json!({"job": "adder", "queue": "sums", "args": [1], "tags": ["t"], "jitter_s": 5, "dst_gap": "skip", "max_attempts": 3});
        let cases: [(&[(&str, &str)], &str); 14] = [
            (&[("do", "retry"), ("id", "-a"), ("args", "[1]")], "sqjobs retry -- -a '[1]'"),
            (&[("do", "retry-tree"), ("id", "w")], "sqjobs retry --tree -- w"),
            (&[("do", "cancel"), ("id", "a b")], "sqjobs cancel -- 'a b'"),
            (&[("do", "cancel-tree"), ("id", "w")], "sqjobs cancel --tree --yes -- w"),
            (&[("do", "run-now"), ("id", "a")], "sqjobs move --delay=0s -- a"),
            (&[("do", "move"), ("id", "a"), ("delay", "2h")], "sqjobs move --delay=2h -- a"),
            (&[("do", "enqueue"), ("name", "n"), ("queue", "q"), ("args", "{}")], "sqjobs enqueue --queue=q -- n '{}'"),
            (&[("do", "tag"), ("id", "a"), ("add", "x")], "sqjobs tag --add=x -- a"),
            (&[("do", "redrive"), ("queue", "q"), ("kind", "timeout")], "sqjobs dlq redrive --kind=timeout -- q"),
            (&[("do", "purge"), ("queue", "q"), ("id", "a"), ("name", "n")], "sqjobs dlq purge --id=a -- q"),
            (&[("do", "queue-pause"), ("queue", "q")], "sqjobs queue pause -- q"),
            (&[("do", "queue-resume"), ("queue", "q")], "sqjobs queue resume -- q"),
            (&[("do", "schedule-run"), ("id", "s")], "sqjobs schedule run -- s"),
            (
                &[("do", "schedule-times"), ("id", "s"), ("cron", "0 3 * * *"), ("timezone", "Europe/Madrid")],
                "sqjobs schedule add '--cron=0 3 * * *' '--timezone=Europe/Madrid' --queue=sums --max-attempts=3 --jitter=5s --tag=t --skip-gap -- s adder '[1]'",
            ),
        ];
        for (form, expected) in cases {
            let form: Parameters = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let words = Action::of(&form, &stored).map(|action| action.words).expect("an action");
            assert_eq!(line(&words).replace('\'', ""), expected.replace('\'', ""));
            let parsed = <Args as clap::Parser>::try_parse_from(["sqjobs".to_owned()].into_iter().chain(words));
            assert!(parsed.is_ok(), "{expected}: {parsed:?}");
        }
        assert_eq!(line_of(&[("do", "cancel"), ("id", "$(rm)")], &Value::Null), "sqjobs cancel -- '$(rm)'", "a shell would not obey it");
    }

    #[test]
    fn an_unknown_action_is_refused() {
        let refused = |form: &[(&str, &str)]| {
            let form = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Action::of(&form, &Value::Null).map(|_| ()).expect_err("it is refused")
        };
        assert_eq!(refused(&[("do", "table-delete")]), "there is no action \"table-delete\"");
    }
}
