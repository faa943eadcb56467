//! Statistics by queue and day.

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde_json::Value;

use super::{Parameters, given};
use crate::{
    command::ui::{
        Page,
        page::{Part, View, count, foreign, href, table, text, when},
        svg,
    },
    time::millis,
};

pub(in crate::command::ui) async fn show(State(page): State<Page>, Query(given_by): Query<Parameters>, part: Part) -> Markup {
    let (queue, days) = (given(&given_by, "queue"), given(&given_by, "days"));
    let days = if days.is_empty() { "7" } else { days };
    let words = ["stats", "--days", days, "--", queue];
    let found = page.look(if queue.is_empty() { &words[..3] } else { &words }).await;
    let now = page.aws.clock.now();
    let (queues, waits): (Vec<_>, Vec<_>) = found.rows.iter().partition(|row| row["queue"].is_string());
    let body = html! {
        form.filters action="/stats" {
            label { "queue " input name="queue" value=(queue); }
            label { "days " input name="days" type="number" min="1" max="32" value=(days); }
            button { "Show" }
        }
        p {
            "Days are in UTC. The numbers are close, not exact: a process that dies loses its counts since its last write. The cost counts the \
             requests of these jobs and retries at the list prices of us-east-1, for jobs of 200 ms in batches of ten."
        }
        @for queue in queues { (of_queue(queue)) }
        @if !waits.is_empty() {
            h2 { "Jobs that wait for keys" }
            (table("Jobs that wait for keys", &["Key", "#Waiting", "Oldest enqueued"], waits.iter().map(|wait| html! {
                td { (foreign(text(wait, "waits_for"))) }
                td.number { (count(wait, "jobs")) }
                td { (when(&wait["since"], now)) }
            })))
        }
    };
    View { title: "Statistics", path: "/stats", every_s: None, looks: &[&found], body }.render(&page, &part)
}

fn of_queue(queue: &Value) -> Markup {
    let days: Vec<_> = queue["days"].as_array().into_iter().flatten().collect();
    let rows = days.iter().rev().map(|day| {
        let ended = |ending: &str| count(&day["endings"], ending);
        let (succeeded, failed) = (ended("succeeded"), ended("failed"));
        html! {
            td { (text(day, "day")) }
            td.number { (succeeded) }
            td.number { (ended("retried")) }
            td.number { (failed) }
            td.number { (share(failed, succeeded + failed)) }
            td { (mean(&day["wait"])) }
            td { (mean(&day["run"])) }
            td.number { (dollars(succeeded + failed, ended("retried"))) }
        }
    });
    let kinds = merged(&days, |day| &day["kinds"]);
    html! {
        h2 { a href=(href("/stats", &[("queue", text(queue, "queue"))])) { (foreign(text(queue, "queue"))) } }
        @if days.is_empty() { p { "No job has ended on these days." } } @else {
            (table("Days", &["Day", "#Succeeded", "#Retried", "#Failed", "#Failure rate", "Waited", "Ran", "#Cost, about"], rows))
            @if !kinds.is_empty() { p { "Errors: " @for (kind, count) in &kinds { span.badge { (count) " " (foreign(kind)) } " " } } }
            div.charts {
                (svg::histogram("Wait before the first attempt", &buckets(&days, "wait")))
                (svg::histogram("Run time of attempts", &buckets(&days, "run")))
            }
        }
    }
}

fn share(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one decimal")]
    let share = |part: u64, whole: u64| format!("{:.1}%", 100.0 * part as f64 / whole as f64);
    if whole == 0 { String::new() } else { share(part, whole) }
}

/// The price of a million jobs and of a million retries in dollars: the page "Costs and limits" of the guide.
const MILLION_JOBS: f64 = 1.80;
const MILLION_RETRIES: f64 = 2.38;

fn dollars(jobs: u64, retries: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is shown with four decimals")]
    let dollars = (jobs as f64 * MILLION_JOBS + retries as f64 * MILLION_RETRIES) / 1e6;
    if dollars < 0.0001 { "under $0.0001".into() } else { format!("${dollars:.4}") }
}

fn mean(spread: &Value) -> String {
    match (count(spread, "count"), spread["mean_ms"].as_f64(), spread["deviation_ms"].as_f64()) {
        (1.., Some(mean), Some(deviation)) => format!("{} ± {}", millis(mean), millis(deviation)),
        _ => String::new(),
    }
}

/// The sums of counts by name over all days.
fn merged(days: &[&Value], of: impl Fn(&Value) -> &Value) -> Vec<(String, u64)> {
    let mut sums = std::collections::BTreeMap::new();
    for (name, count) in days.iter().filter_map(|day| of(day).as_object()).flatten() {
        *sums.entry(name.clone()).or_insert(0) += count.as_u64().unwrap_or_default();
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sums
}

/// The buckets of a histogram over all days: the durations from and to, and the count.
fn buckets(days: &[&Value], of: &str) -> Vec<(u64, u64, u64)> {
    let mut sums = std::collections::BTreeMap::new();
    for bucket in days.iter().filter_map(|day| day[of]["buckets"].as_array()).flatten() {
        *sums.entry((count(bucket, "from_ms"), count(bucket, "to_ms"))).or_insert(0) += count(bucket, "count");
    }
    sums.into_iter().map(|((from, to), count)| (from, to, count)).collect()
}
