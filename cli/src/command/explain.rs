//! Explains what happened to a job.

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use sqjobs::{Dlq, KeyWait, Record, State, lifecycle};

use super::{beater, cycle, follow::is_unstarted, lookup, queue, stats};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean},
    sentence::{self, Missing},
    shell::shell,
    time::exact,
    value::{period, text},
};

/// The possible reasons why a job has no record.
const NO_ATTEMPT: &str = "Possible reasons: no attempt has started yet; the job ended long ago, and its record was deleted; the job \
                          succeeded, and its policy records a job only on trouble; the message was purged from the queue; the id is wrong.";

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The job's id.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// Print the sentences as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn explain(aws: &Aws, wanted: Explain) -> Result<bool, Failure> {
    let (record, now) = (aws.client().get(&wanted.id).await?, aws.clock.now());
    let queue = match &record {
        Some(record) if (!record.state.is_terminal() || record.state == State::Failed) && !record.queue.is_empty() => {
            Some(queue::url(aws, &record.queue).await)
        }
        _ => None,
    };
    let is_queue_gone = matches!(queue, Some(Ok(None)));
    let missing = match &record {
        _ if is_queue_gone => Missing::Queue,
        // Without the permission to read rules, nothing is known of beaters.
        Some(record) if record.state == State::Scheduled && matches!(beater::find(aws).await, Ok(None)) => Missing::Beater,
        Some(record) if record.dlq == Some(Dlq::Sent) => lookup::missing_for_redrive(aws, record, now).await,
        _ => Missing::Nothing,
    };
    let mut sentences = match &record {
        Some(record) => sentence::explain(record, &aws.place.prefix, missing, now),
        None => vec![format!("There is no record of {:?}.", wanted.id)],
    };
    if missing == Missing::Beater {
        sentences.push(beater::MISSING.into());
    }
    if let Some(Err(unseen)) = queue {
        sentences.push(format!("Its queue cannot be read: {}.", unseen.into_message()));
    }
    let mut is_dead = false;
    if is_unstarted(record.as_ref()) && !is_queue_gone {
        let queue = record.as_ref().map(|record| &*record.queue).filter(|queue| !queue.is_empty());
        match lookup::search_queues(aws, &wanted.id, queue, None).await {
            Ok(facts) => {
                is_dead = facts.dead_letter.is_some();
                sentences.extend(facts.sentences(&wanted.id, &aws.place.prefix, now));
                if record.is_none() && facts.dead_letter.is_none() && facts.parked.is_empty() {
                    sentences.insert(1, NO_ATTEMPT.into());
                }
            }
            Err(error) => {
                sentences.extend(record.is_none().then(|| NO_ATTEMPT.into()));
                sentences.push(format!("The queues cannot be read: {}.", error.into_message()));
            }
        }
    }
    if let Some(record) = &record {
        if !is_dead {
            sentences.extend(lost_message(aws, record, now).await);
            sentences.extend(lookup::other_dead_letter(aws, record, now).await);
        }
        sentences.extend(discarded_duplicate(aws, record, now).await);
        sentences.extend(dependencies(aws, record).await?);
        sentences.extend(dependents(aws, record).await?);
    }
    let sentences: Vec<_> = sentences.iter().map(|sentence| aws.place.with_options(sentence)).collect();
    let mut output = Output::new();
    if wanted.json {
        output.json(&json!({"id": wanted.id, "state": record.as_ref().map(|record| record.state), "sentences": sentences}))?;
    } else {
        sentences.iter().try_for_each(|sentence| output.line(clean(sentence)))?;
    }
    Ok(record.is_some())
}

/// Warns that the message of a job may be gone, because its queue is empty, the job is overdue there, or its attempt has died.
async fn lost_message(aws: &Aws, record: &Record, now: Timestamp) -> Option<String> {
    let has_died = sentence::has_died(record, now);
    if record.queue.is_empty() || !matches!(record.state, State::Queued | State::Retrying) && !has_died {
        return None;
    }
    // If the queue cannot be read, this was already reported.
    let (queue, next) = (queue::find(aws, &record.queue).await.ok()?, sentence::resend(record, &aws.place.prefix));
    match queue.depth.all() {
        0 => Some(format!(
            "SQS counts no messages in queue {}, but the count may be a minute late. If it is still 0 after a minute, the message is \
             lost, for example because the queue was purged. In that case, {next}.",
            record.queue
        )),
        count if has_died || sentence::is_overdue(record, now) => Some(format!(
            "Queue {} holds messages ({count}), but SQS does not show whether the message of this job is among them. If the message was \
             purged, {next}.",
            record.queue
        )),
        _ => None,
    }
}

/// Maximum number of jobs that the sentences about waits name.
const NAMED: usize = 20;

/// Describes the jobs or the key that a blocked job still waits for.
async fn dependencies(aws: &Aws, record: &Record) -> Result<Vec<String>, Failure> {
    if record.state != State::Blocked {
        return Ok(Vec::new());
    }
    if let Some(wait) = aws.client().key_wait(record).await? {
        return Ok(vec![line(&wait)]);
    }
    let unmet = aws.client().unmet(record, NAMED + 1).await?;
    let mut sentences: Vec<_> = unmet.iter().take(NAMED).map(|(id, job)| wait(&record.id, id, job.as_ref())).collect();
    if unmet.len() > NAMED {
        sentences.push(format!("It waits for more jobs: `sqjobs tree {}` shows all.", shell(&record.id)));
    }
    sentences.extend(cycle(aws, record).await?);
    Ok(sentences)
}

/// Describes the wait of a job for a key.
fn line(wait: &KeyWait) -> String {
    let holders = wait.holders.iter().take(NAMED).map(|(id, job)| match job {
        Some(job) => {
            let since = job.started_at.map(|at| format!(" since {}", exact(at))).unwrap_or_default();
            format!("{id:?} ({}{since})", job.state.as_str())
        }
        None => format!("{id:?} (without a record)"),
    });
    let ahead =
        wait.ahead.map_or_else(|| "The number of jobs before it is not known yet.".to_owned(), |ahead| format!("Jobs before it: {ahead}."));
    if let Some(rate) = &wait.rate {
        let attempts = if rate.limit == 1 { "attempt" } else { "attempts" };
        let burst = if rate.burst == 1 { String::new() } else { format!(", and {} at once after a pause", rate.burst) };
        return format!("It waits for {}, which allows {} {attempts} in {}{burst}. {ahead}", wait.name, rate.limit, period(rate));
    }
    let by = match holders.collect::<Vec<_>>().join(", ") {
        by if by.is_empty() => String::new(),
        by => format!(", by {by}"),
    };
    format!("It waits for {}: {} of {} jobs hold it{by}. {ahead}", wait.name, wait.holders.len(), wait.places)
}

/// Describes a blocked job that waits for itself, by way of other blocked jobs.
async fn cycle(aws: &Aws, record: &Record) -> Result<Option<String>, Failure> {
    let last = cycle::last(aws, &record.id, vec![record.clone()]).await?;
    Ok(last.map(|last| {
        let quoted = shell(&last);
        format!(
            "It waits for itself, because {last:?} waits for it, so neither job runs. Cancel one of them, and run it after another job: \
             `sqjobs cancel {quoted}`, then `sqjobs retry {quoted} ARGS --after ID`."
        )
    }))
}

/// Describes one job that the blocked job `waiting` still waits for.
fn wait(waiting: &str, id: &str, job: Option<&Record>) -> String {
    match job {
        None => format!("It waits for {id:?}, which has no record yet."),
        Some(job) if lifecycle::is_awaited(job) && sentence::is_in_workflow(waiting, id) => format!(
            "It waits for {id:?}, a job of its workflow that no function has started yet: `sqjobs explain {}` looks for its message.",
            shell(id)
        ),
        Some(job) if lifecycle::is_awaited(job) => format!(
            "It waits for {id:?}. No record shows a message with that id; check that the id is right. A job that its policy records only \
             on trouble leaves no record when it succeeds: enqueue such a job as recorded."
        ),
        Some(job) if job.state.is_terminal() && job.state != State::Succeeded => {
            let state = job.state.as_str();
            format!(
                "It waits for {id:?}, which is {state}. This job is held until that one is retried and succeeds: `sqjobs explain {}` shows \
                 how.",
                shell(id)
            )
        }
        Some(job) => format!("It waits for {id:?}, which is {}.", job.state.as_str()),
    }
}

/// Names the jobs that wait for a job, or that are held by its end.
async fn dependents(aws: &Aws, record: &Record) -> Result<Option<String>, Failure> {
    if record.dependents.is_empty() {
        return Ok(None);
    }
    let dependents = aws.client().dependents(record, 5 * NAMED).await?;
    // A job that waits only for this success will be released soon. Other dependents may wait for more jobs.
    let is_told = |job: &Record| record.state == State::Succeeded && !job.blocked_on.contains(&record.id);
    let waits = |job: &Record| job.state == State::Blocked && !is_told(job);
    let blocked = dependents.into_iter().filter(|(_, job)| job.as_ref().is_some_and(waits));
    let waiting: Vec<_> = blocked.map(|(id, _)| format!("{id:?}")).collect();
    let mut ids = waiting.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if waiting.len() > NAMED {
        ids += " and others";
    }
    Ok(match record.state {
        _ if waiting.is_empty() => None,
        State::Succeeded => Some(format!("These jobs wait for it, and go on within a minute: {ids}.")),
        state if state.is_terminal() => Some(format!("These jobs are held until it runs again and succeeds: {ids}.")),
        _ => Some(format!("These jobs wait for it: {ids}.")),
    })
}

/// Warns that a duplicate of a job with other arguments was discarded.
async fn discarded_duplicate(aws: &Aws, record: &Record, now: Timestamp) -> Option<String> {
    let saw = match stats::recent(aws, now).await {
        Ok(tallies) => tallies.get(&record.queue)?.saw(stats::OTHER_ARGUMENTS, &record.id),
        Err(error) => return Some(format!("It is unknown whether duplicates with other arguments were discarded: {error}.")),
    };
    let discarded = match saw {
        Some(true) => "was discarded, so those arguments did not run",
        Some(false) => return None,
        None => "may have been discarded. If so, those arguments did not run",
    };
    Some(format!(
        "Since yesterday a duplicate with other arguments {discarded}. The log of the function shows this with the warning \"duplicate \
         discarded\" and this id."
    ))
}
