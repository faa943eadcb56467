//! Enqueues one job, or all jobs of a file.

mod args;
mod bulk;
mod duplicate;
mod job;

use futures_util::future::join;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sqjobs::{
    Enqueued, Envelope,
    lifecycle::{SKEW, is_unclaimed},
    queue::is_fifo,
};

pub(crate) use self::args::{Enqueue, Options};
pub(super) use self::job::{arguments, job, value};
use self::{
    bulk::Bulk,
    duplicate::{Asked, duplicate, firsts, missing},
};
use super::{
    beater, cycle,
    follow::{self, Follow, Sent},
    queue::{self, DeadLetterQueues},
    tables,
};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean},
    shell::shell,
};

/// Said about a message whose deduplication id may have been sent before.
const FIFO: &str = "note: a FIFO queue discards the message, without an error, if a message with the same deduplication id was sent in the \
                    last five minutes. The deduplication id is the value of --dedup, or else the job's id";

/// Said about a delayed job of a FIFO queue.
const FIFO_DELAY: &str = "note: on a FIFO queue, a delayed job waits in its message group: later jobs of the group run after it";
/// The longest wait of a message in its queue. A beater sends a job that waits longer.
const IN_QUEUE: SignedDuration = SignedDuration::from_mins(15);

pub(super) async fn enqueue(aws: &Aws, wanted: Enqueue) -> Result<bool, Failure> {
    let client = aws.client();
    // The default queue of a job cannot belong to another environment.
    let environments = async {
        match (&wanted.from, &wanted.options.queue) {
            (None, None) => Vec::new(),
            _ => tables::environments(aws).await.unwrap_or_default(),
        }
    };
    let (environments, dlqs) = join(environments, DeadLetterQueues::read(aws)).await;
    if let Some(refusal) = wanted.options.queue.as_ref().and_then(|queue| queue::of_another(&environments, &aws.queue(queue))) {
        return Err(Failure::new(refusal));
    }
    match (wanted.from, wanted.name) {
        (Some(file), _) => Bulk { aws, client, environments, dlqs, options: wanted.options, json: wanted.json, from: file }.run().await,
        (None, Some(name)) => {
            dlqs.refuse(aws, wanted.options.queue.as_deref().unwrap_or(&name)).await?;
            let is_named = wanted.id.is_some() || wanted.options.dedup.is_some();
            let mut job = job(&name, wanted.args.as_deref(), &wanted.options)?;
            if let Some(id) = wanted.id {
                job = job.id(id);
            }
            let queue = wanted.options.queue.as_deref().unwrap_or(&name);
            let queue = aws.queue(&wanted.options.priority.map_or(queue.to_owned(), |priority| priority.queue_for_job(queue)));
            let ids: Vec<_> = job.envelope().id.clone().into_iter().collect();
            let first = firsts(aws, &ids).await.pop().flatten();
            if let Some((is_same, message)) = first.as_ref().and_then(|first| duplicate(first, job.envelope(), &queue)) {
                note!("{}", aws.place.with_options(&message));
                if !is_same {
                    return Ok(false);
                }
            }
            refuse_cycle(aws, &ids, &wanted.options.after).await?;
            // The clocks of this machine and of SQS may differ.
            let since = {
                let now = aws.clock.now();
                now.checked_sub(SignedDuration::try_from(SKEW).unwrap_or_default()).unwrap_or(now)
            };
            let asked = Asked::by(job.envelope());
            let needs_beater = needs_beater(wanted.options.wait(aws.clock.now()).unwrap_or_default(), job.envelope(), &queue);
            let sent = client.enqueue_one(job).await.map_err(|error| Failure::of_queue(error, aws.short(&queue)))?;
            if wanted.json {
                Output::new().json(&answer(&sent, None))?;
            } else {
                Output::new().line(&sent.id)?;
            }
            if is_fifo(&queue) && is_named {
                note!("{FIFO}");
            }
            let wait = wanted.options.wait(aws.clock.now());
            if wait.is_some() && is_fifo(&queue) {
                note!("{FIFO_DELAY}");
            }
            if needs_beater {
                beater::report_missing(aws).await;
            }
            let missing = missing(&sent, &asked);
            if let Some(missing) = &missing {
                note!("{missing}");
            }
            if let Some(holder) = sent.holder.as_ref().filter(|_| sent.replaced) {
                note!("job {} holds the unique key, has not started, and now has these arguments", clean(holder));
            }
            let is_done = !wanted.wait
                || (sent.holder.is_none() || sent.replaced) && {
                    let rejected = first.filter(is_unclaimed);
                    let sent_here = Some(Sent { queue, since, rejected });
                    let is_done = Follow {
                        aws,
                        id: sent.holder.as_ref().unwrap_or(&sent.id),
                        within: follow::DEFAULT_WAIT,
                        json: wanted.json,
                        sent: sent_here,
                    }
                    .run()
                    .await?;
                    // Another job with this id may have been enqueued before, and had no record yet.
                    let ran = client.get(sent.holder.as_ref().unwrap_or(&sent.id)).await?.and_then(|record| record.digest);
                    let is_own = ran.is_none_or(|ran| ran == asked.digest);
                    if !is_own {
                        note!("another job with the id {} ran with other arguments; these arguments did not run", clean(&sent.id));
                    }
                    is_done && is_own
                };
            Ok(is_done && missing.is_none())
        }
        (None, None) => Err(Failure::new("no job is given; give a name, or a file with --from")),
    }
}

/// Returns an error if the new job would wait for itself, by way of blocked jobs.
async fn refuse_cycle(aws: &Aws, ids: &[String], after: &[String]) -> Result<(), Failure> {
    let [id] = ids else { return Ok(()) };
    let waits_for: Vec<_> = firsts(aws, after).await.into_iter().flatten().collect();
    match cycle::last(aws, id, waits_for).await {
        Ok(None) => Ok(()),
        Ok(Some(last)) => Err(Failure::new(format!(
            "{id:?} would wait for itself, because {last:?} waits for it, so neither job would run; nothing was enqueued. Give it another \
             --after, or cancel the other job: `sqjobs cancel {}`",
            shell(&last)
        ))),
        Err(error) => {
            note!("cannot check whether the job would wait for itself: {}", clean(&error.into_message()));
            Ok(())
        }
    }
}

/// Returns true if a beater must send the job, or end it when it waits too long for other jobs. `starts` is the time until its run time.
fn needs_beater(starts: SignedDuration, envelope: &Envelope, queue: &str) -> bool {
    !envelope.depends_on.is_empty() || starts > IN_QUEUE && !is_fifo(queue)
}

/// Returns the answer to an enqueue as JSON, with the number of its line.
fn answer(sent: &Enqueued, line: Option<usize>) -> Value {
    let Enqueued { id, message_id, unrecorded, unlisted, holder, replaced, .. } = sent;
    let mut answer = json!({"id": id, "message_id": message_id});
    let more = [
        ("line", line.map(Value::from)),
        ("unrecorded", unrecorded.clone().map(Value::from)),
        ("holder", holder.clone().map(Value::from)),
        ("replaced", replaced.then(|| Value::from(true))),
        ("unlisted", unlisted.clone().map(Value::from)),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            answer[name] = value;
        }
    }
    answer
}
