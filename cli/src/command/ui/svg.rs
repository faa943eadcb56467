//! Charts and graphs, drawn on the server.

use std::collections::{BTreeMap, HashMap};

use maud::{Markup, html};
use serde_json::Value;

use super::page::{foreign, href, text};
use crate::{output::clean, time::fine};

/// A bar for each hour: all endings, and the failures among them.
pub(super) fn hours(hours: &[(u64, u64)]) -> Markup {
    let most = hours.iter().map(|(ended, _)| *ended).max().unwrap_or(0);
    let (ended, failed) = hours.iter().fold((0, 0), |(ended, failed), hour| (ended + hour.0, failed + hour.1));
    let height = |count: u64| if most == 0 { 0 } else { (count * 20).div_ceil(most) };
    html! {
        svg.hours viewBox={ "0 0 " (hours.len() * 4) " 20" } role="img" aria-label={ "In the last 24 hours " (ended) " deliveries ended, " (failed) " of them as failed" } {
            @for (place, (ended, failed)) in hours.iter().enumerate() {
                rect.ended x=(place * 4) width="3" y=(20 - height(*ended)) height=(height(*ended)) {}
                rect.failed x=(place * 4) width="3" y=(20 - height(*failed)) height=(height(*failed)) {}
            }
        }
    }
}

/// A histogram with one bar per bucket: the durations from and to in milliseconds, and the count.
pub(super) fn histogram(title: &str, buckets: &[(u64, u64, u64)]) -> Markup {
    let most = buckets.iter().map(|(.., count)| *count).max().unwrap_or(0).max(1);
    let time = |ms| fine(std::time::Duration::from_millis(ms));
    html! {
        figure {
            figcaption { (title) }
            @if buckets.is_empty() { p { "No attempts." } } @else {
                table.histogram {
                    @for (from, to, count) in buckets {
                        tr {
                            th scope="row" { (time(*from)) " to " (time(*to)) }
                            td { svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" { rect width=((count * 100).div_ceil(most)) height="8" {} } }
                            td.number { (count) }
                        }
                    }
                }
            }
        }
    }
}

/// Maximum number of jobs to draw. More would not be readable.
const DRAWN: usize = 200;
const WIDTH: usize = 190;
const HEIGHT: usize = 46;

/// The jobs of a workflow, each to the right of those that it waits for.
pub(super) fn graph(jobs: &[Value], own: &str) -> Markup {
    let jobs: Vec<_> = jobs.iter().filter(|job| job["depends_on"].is_array()).collect();
    let places = places(&jobs);
    let shown: Vec<_> = jobs.iter().filter_map(|job| Some((*job, *places.get(text(job, "id"))?))).collect();
    let columns = shown.iter().map(|(_, (column, _))| column + 1).max().unwrap_or(0);
    let rows = shown.iter().map(|(_, (_, row))| row + 1).max().unwrap_or(0);
    let corner = |(column, row): (usize, usize)| (column * (WIDTH + 50) + 10, row * (HEIGHT + 14) + 10);
    let (width, height) = corner((columns, rows));
    let edges = shown.iter().flat_map(|(job, to)| {
        let from = job["depends_on"].as_array().into_iter().flatten().filter_map(|id| places.get(id.as_str()?));
        from.map(|from| {
            let ((x, y), (to_x, to_y)) = (corner(*from), corner(*to));
            let (x, y, to_y, middle) = (x + WIDTH, y + HEIGHT / 2, to_y + HEIGHT / 2, to_x - 25);
            format!("M{x} {y} C{middle} {y} {middle} {to_y} {to_x} {to_y}")
        })
    });
    html! {
        @if jobs.len() > shown.len() { p { "The first " (shown.len()) " of " (jobs.len()) " jobs." } }
        div.scroll tabindex="0" role="region" aria-label="Graph of the workflow" {
            svg.graph viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) role="group" aria-label="Jobs of the workflow and what they wait for" {
                @for edge in edges { path d=(edge) {} }
                @for (job, place) in &shown {
                    @let (x, y) = corner(*place);
                    a href=(href("/job", &[("id", text(job, "id"))])) {
                        g class={ "state " (text(job, "state")) @if text(job, "id") == own { " own" } } {
                            rect x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx="6" {}
                            text x=(x + 10) y=(y + 19) { (cut(text(job, "id"))) title { (foreign(text(job, "id"))) } }
                            text.small x=(x + 10) y=(y + 37) { (cut(text(&job["record"], "name"))) " " (text(job, "state")) }
                        }
                    }
                }
            }
        }
    }
}

/// The end of a long text, because the ids of a workflow begin alike.
fn cut(text: &str) -> String {
    const SHOWN: usize = 24;
    let text = clean(text);
    let length = text.chars().count();
    if length <= SHOWN { text } else { format!("…{}", text.chars().skip(length - SHOWN + 1).collect::<String>()) }
}

/// The column and the row of each job that is drawn. A column is one more than the largest column of the jobs that it waits for.
fn places<'a>(jobs: &[&'a Value]) -> HashMap<&'a str, (usize, usize)> {
    let waits: BTreeMap<&str, Vec<&str>> = jobs
        .iter()
        .map(|job| (text(job, "id"), job["depends_on"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()))
        .collect();
    let mut columns: HashMap<&str, usize> = HashMap::new();
    // Each round places at least one job, unless the rest waits for itself.
    loop {
        let before = columns.len();
        for (id, on) in &waits {
            let known: Option<Vec<_>> = on.iter().filter(|id| waits.contains_key(**id)).map(|id| columns.get(id).copied()).collect();
            if let Some(known) = known {
                columns.insert(id, known.into_iter().max().map_or(0, |column| column + 1));
            }
        }
        if columns.len() == before {
            break;
        }
    }
    let mut rows: HashMap<usize, usize> = HashMap::new();
    let placed = jobs.iter().filter_map(|job| {
        let id = text(job, "id");
        let column = *columns.get(id)?;
        let row = rows.entry(column).or_default();
        *row += 1;
        Some((id, (column, *row - 1)))
    });
    placed.take(DRAWN).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_job_is_drawn_to_the_right_of_all_that_it_waits_for() {
        let job = |id: &str, on: &[&str]| json!({"id": id, "state": "queued", "depends_on": on});
        let jobs = [job("close", &["a", "c"]), job("a", &[]), job("b", &["a"]), job("c", &["b", "outside"]), job("d", &["a"])];
        let places = places(&jobs.iter().collect::<Vec<_>>());
        assert_eq!(places, HashMap::from([("a", (0, 0)), ("b", (1, 0)), ("d", (1, 1)), ("c", (2, 0)), ("close", (3, 0))]));
        let drawn = graph(&jobs, "b").into_string();
        assert_eq!([drawn.matches("<path").count(), drawn.matches("<rect").count()], [5, 5]);
        assert_eq!(drawn.matches("state queued own").count(), 1);
    }

    #[test]
    fn the_highest_bar_fills_the_height_and_failures_lie_inside_of_it() {
        let drawn = hours(&[(10, 5), (0, 0)]).into_string();
        assert!(drawn.contains(r#"class="ended" x="0" width="3" y="0" height="20""#), "{drawn}");
        assert!(drawn.contains(r#"class="failed" x="0" width="3" y="10" height="10""#), "{drawn}");
        assert!(drawn.contains("10 deliveries ended, 5 of them as failed"), "{drawn}");
    }
}
