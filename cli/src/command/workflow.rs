//! Shows, follows, cancels and retries whole workflows.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sqjobs::{Graph, GraphJob, Record, State};
use tokio::time::sleep;

use super::{environment::refuse_other_record, queue};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean, colour, confirmed, last_change},
    shell::shell,
};

/// Maximum number of jobs that a drawing shows.
const SHOWN: usize = 500;
/// Maximum number of dependencies that a line names.
const NAMED: usize = 3;
/// Maximum number of retried jobs that the command names.
const LISTED: usize = 10;
/// Pause between two reads of a workflow.
const PAUSE: Duration = Duration::from_secs(3);

/// Returns the workflow with this id, or the workflow of the job with this id.
pub(super) async fn find(aws: &Aws, id: &str) -> Result<Option<(String, Graph)>, Failure> {
    let client = aws.client();
    if let Some(graph) = client.workflow(id).await? {
        return Ok(Some((id.to_owned(), graph)));
    }
    let Some((parent, _)) = id.rsplit_once('/') else { return Ok(None) };
    let graph = client.workflow(parent).await?.filter(|graph| graph.jobs.iter().any(|job| job.id == id));
    Ok(graph.map(|graph| (parent.to_owned(), graph)))
}

async fn existing(aws: &Aws, id: &str) -> Result<(String, Graph), Failure> {
    let found = find(aws, id).await?;
    let (workflow, graph) = found.ok_or_else(|| unknown(aws, id))?;
    if let Some(record) = graph.jobs.iter().find_map(|job| job.record.as_ref()) {
        refuse_other_record(aws, record)?;
    }
    Ok((workflow, graph))
}

fn unknown(aws: &Aws, id: &str) -> Failure {
    let why = "no function has received its message yet, the stored message of the workflow was deleted, or the id belongs to another job";
    Failure::new(aws.place.with_options(&format!(
        "there is no workflow {:?}: {why}; `sqjobs explain {}` searches further",
        clean(id),
        shell(id)
    )))
}

/// Draws a workflow: a line for each job, indented by the depth of the job.
pub(super) fn draw(aws: &Aws, wanted: &str, workflow: &str, graph: &Graph, json: bool) -> Result<bool, Failure> {
    let mut output = Output::new();
    if json {
        graph.jobs.iter().try_for_each(|job| output.json(&line(job)))?;
        return Ok(true);
    }
    let now = aws.clock.now();
    output.line(clean(&progress(graph)))?;
    let depths = depths(graph);
    for (job, depth) in graph.jobs.iter().zip(&depths).take(SHOWN) {
        let mark = if job.id == wanted { "*" } else { " " };
        let state = format!("{}{}\u{1b}[0m", colour(job.state()), state(job));
        let since = job.record.as_ref().map(|record| last_change(record, now)).unwrap_or_default();
        let indent = 2 * depth;
        output.line(format!("{mark} {:indent$}{}  {state}  {since}{}", "", clean(&job.id), waits(job, graph)))?;
    }
    if graph.jobs.len() > SHOWN {
        note!("only the first {SHOWN} of {} jobs are shown; --json shows all", graph.jobs.len());
    }
    let was_needed =
        |job: &GraphJob| job.record.as_ref().and_then(|record| record.error.as_ref()).is_none_or(|error| error.kind != "not_needed");
    if graph.jobs.iter().any(|job| matches!(job.state(), State::Failed | State::Cancelled | State::Expired) && was_needed(job)) {
        let advice = format!("To retry the jobs that did not succeed: `sqjobs retry --tree {}`", shell(workflow));
        note!("{}", aws.place.with_options(&advice));
    }
    Ok(true)
}

/// Returns the state of a job, in words.
fn state(job: &GraphJob) -> &'static str {
    if job.record.is_none() { "no record: not received yet, never sent, or deleted" } else { job.state().as_str() }
}

fn line(job: &GraphJob) -> Value {
    json!({"id": job.id, "state": job.state().as_str(), "depends_on": job.depends_on, "record": job.record})
}

/// Returns the progress of a workflow in a sentence.
fn progress(graph: &Graph) -> String {
    let count = |states: &[State]| graph.jobs.iter().filter(|job| states.contains(&job.state())).count();
    let ended = count(&[State::Succeeded, State::Failed, State::Cancelled, State::Expired]);
    let failed = count(&[State::Failed, State::Expired]);
    let running = count(&[State::Running, State::Retrying]);
    format!("{ended} of {} jobs have ended, {failed} failed; running: {running}", graph.jobs.len())
}

/// Names the first jobs that a blocked job still waits for.
fn waits(job: &GraphJob, graph: &Graph) -> String {
    if job.state() != State::Blocked {
        return String::new();
    }
    let states: BTreeMap<&str, State> = graph.jobs.iter().map(|job| (&*job.id, job.state())).collect();
    let open: Vec<_> = job.depends_on.iter().filter(|id| states.get(id.as_str()) != Some(&State::Succeeded)).collect();
    let named: Vec<_> = open.iter().take(NAMED).map(|id| clean(id)).collect();
    match open.len().saturating_sub(NAMED) {
        _ if open.is_empty() => String::new(),
        0 => format!("  waits for {}", named.join(", ")),
        more => format!("  waits for {} and {more} more", named.join(", ")),
    }
}

/// Returns the depth of each job: the length of the longest path to it from a job without dependencies.
fn depths(graph: &Graph) -> Vec<usize> {
    let places: BTreeMap<&str, usize> = graph.jobs.iter().enumerate().map(|(place, job)| (&*job.id, place)).collect();
    let mut depths = vec![0; graph.jobs.len()];
    // A workflow has no cycle, so each round settles at least one more level.
    for _ in 0..graph.jobs.len() {
        let before = depths.clone();
        for (place, job) in graph.jobs.iter().enumerate() {
            let below = job.depends_on.iter().filter_map(|id| places.get(id.as_str())).map(|dependency| depths[*dependency] + 1);
            depths[place] = below.max().unwrap_or(0);
        }
        if depths == before {
            break;
        }
    }
    depths
}

/// Prints the progress of a workflow whenever it changes, until its closing job has ended.
pub(super) async fn watch(aws: &Aws, id: &str, within: Duration, json: bool) -> Result<bool, Failure> {
    let (workflow, mut graph) = existing(aws, id).await?;
    let mut output = Output::new();
    let (until, mut shown) = (Instant::now() + within, String::new());
    // Half a read unit for each record of up to 4 KB. Source: "Read consistency" in the DynamoDB developer guide; the reads are consistent.
    note!("every {1} seconds, this command reads {0} records and the message of the workflow", graph.jobs.len(), PAUSE.as_secs());
    loop {
        let now =
            if json { json!({"id": workflow, "jobs": graph.jobs.len(), "states": graph.progress()}).to_string() } else { progress(&graph) };
        if now != shown {
            if json {
                output.json(
                    &json!({"id": workflow, "jobs": graph.jobs.len() - 1, "states": graph.progress(), "state": closing(&graph).as_str()}),
                )?;
            } else {
                output.line(clean(&now))?;
            }
            shown = now;
        }
        let end = closing(&graph);
        if end.is_terminal() {
            if !json {
                output.line(format!("{} {}", clean(&workflow), end.as_str()))?;
            }
            return Ok(end == State::Succeeded);
        }
        if Instant::now() >= until {
            let message = format!("{} has not ended; `sqjobs tree {}` shows what it waits for", clean(&workflow), shell(&workflow));
            note!("{}", aws.place.with_options(&message));
            return Ok(false);
        }
        sleep(PAUSE).await;
        graph = aws.client().workflow(&workflow).await?.ok_or_else(|| unknown(aws, &workflow))?;
    }
}

fn closing(graph: &Graph) -> State {
    graph.jobs.last().map_or(State::Queued, GraphJob::state)
}

/// Cancels the jobs of a workflow.
pub(super) async fn cancel(aws: &Aws, id: &str, yes: bool, json: bool) -> Result<bool, Failure> {
    let (workflow, graph) = existing(aws, id).await?;
    if !confirmed(&format!("Cancel the workflow {} with {} jobs?", clean(&workflow), graph.jobs.len()), yes)? {
        return Ok(false);
    }
    let counts = aws.client().cancel_workflow(&workflow).await?.ok_or_else(|| unknown(aws, &workflow))?;
    let mut output = Output::new();
    if json {
        output.json(&json!({"id": workflow, "cancelled": counts.cancelled, "asked_to_stop": counts.running, "ended": counts.ended}))?;
    } else {
        output.line(format!(
            "{}: {} jobs are cancelled, {} are running and were asked to stop, {} had already ended",
            clean(&workflow),
            counts.cancelled,
            counts.running,
            counts.ended
        ))?;
    }
    Ok(counts.cancelled + counts.running > 0)
}

/// Retries the jobs of a workflow that were needed and have ended without success.
pub(super) async fn retry(aws: &Aws, id: &str, json: bool) -> Result<bool, Failure> {
    let (workflow, graph) = existing(aws, id).await?;
    let ended = graph.jobs.iter().filter_map(|job| job.record.as_ref()).filter(|record| record.state.is_terminal());
    let queues: BTreeSet<_> = ended.filter(|record| record.state != State::Succeeded).map(|record| &*record.queue).collect();
    for queue in queues.into_iter().filter(|queue| !queue.is_empty()) {
        queue::refuse_missing(aws, &format!("cannot run {} again", clean(&workflow)), queue).await?;
    }
    let retried = aws.client().retry_workflow(&workflow).await?.ok_or_else(|| unknown(aws, &workflow))?;
    let mut output = Output::new();
    if json {
        output.json(&json!({"id": workflow, "retried": retried}))?;
        return Ok(!retried.is_empty());
    }
    if retried.is_empty() {
        output
            .line(format!("{}: nothing was changed, because no needed job has failed, has expired or was cancelled", clean(&workflow)))?;
        return Ok(false);
    }
    let named: Vec<_> = retried.iter().take(LISTED).map(|id| clean(id)).collect();
    let more = retried.len().saturating_sub(LISTED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let runs = if retried.len() == 1 { "1 job runs again".into() } else { format!("{} jobs run again", retried.len()) };
    output.line(format!("{runs}: {}{rest}", named.join(", ")))?;
    let has_letter = |record: &&Record| record.dlq.is_some() && retried.contains(&record.id);
    let failed: Vec<_> = graph.jobs.iter().filter_map(|job| job.record.as_ref()).filter(has_letter).collect();
    if !failed.is_empty() {
        let letters = failed
            .iter()
            .take(LISTED)
            .map(|record| format!("`sqjobs dlq redrive {} --id {}`", shell(aws.short(&record.queue)), shell(&record.id)));
        let more = failed.len().saturating_sub(LISTED);
        let more = if more > 0 { format!(", and the same for {more} more") } else { String::new() };
        let message = format!(
            "the earlier dead letters of these jobs stay. After a job has ended, redrive its dead letter, which deletes it and does not run \
             the job again: {}{more}",
            letters.collect::<Vec<_>>().join(", ")
        );
        note!("{}", aws.place.with_options(&message));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(jobs: &[(&str, &[&str], Option<&str>)]) -> Graph {
        let jobs: Vec<_> = jobs
            .iter()
            .map(|(id, after, state)| {
                let record = state.map(|state| json!({"id": id, "name": "n", "queue": "q", "state": state}));
                json!({"id": id, "depends_on": after, "record": record})
            })
            .collect();
        serde_json::from_value(json!({"workflow": {"name": "n"}, "jobs": jobs})).expect("a graph")
    }

    #[test]
    fn a_drawing_indents_each_job_below_those_that_it_waits_for() {
        let graph =
            graph(&[("w/c", &["w/b"], None), ("w/b", &["w/a"], Some("blocked")), ("w/a", &[], Some("running")), ("w", &["w/c"], None)]);
        assert_eq!(depths(&graph), [2, 1, 0, 3]);
        assert_eq!(progress(&graph), "0 of 4 jobs have ended, 0 failed; running: 1");
        assert_eq!(waits(&graph.jobs[1], &graph), "  waits for w/a");
        assert_eq!(state(&graph.jobs[0]), "no record: not received yet, never sent, or deleted");
    }

    #[test]
    fn a_line_names_three_of_the_jobs_that_have_not_succeeded() {
        let done = ("w/a", &[][..], Some("succeeded"));
        let after: &[&str] = &["w/a", "w/b", "w/c", "w/d", "w/e"];
        let graph =
            graph(&[done, ("w/b", &[], None), ("w/c", &[], None), ("w/d", &[], None), ("w/e", &[], None), ("w", after, Some("blocked"))]);
        assert_eq!(waits(&graph.jobs[5], &graph), "  waits for w/b, w/c, w/d and 1 more");
    }
}
