//! The command `queue`: creates, lists, pauses, purges and deletes queues.

use std::time::{Duration, Instant};

use clap::Subcommand;
use serde::Serialize;
use sqjobs::{
    By, Priority, Record,
    setup::{self, dlq_name},
};
use tokio::time::sleep;

use super::{
    environment::refuse_other_tables,
    feeding::{BETWEEN_LOOKS, Code, Feeding, refuse_other_table},
    function::Function,
    mapping::{Feed, feeds, function_of, mappings, row},
    queue::{Depth, Queues, SqsQueue, Status, all, find, no_queue, pair, refuse_others, set_visibility, source_name, url},
    table::{check_contents, check_options},
    tables::others_than_new,
};
use crate::{
    aws::Aws,
    failure::{Cause, Failure},
    output::{Output, clean, confirmed, print_notes},
    shell::{creation, shell},
    time,
    value::{own_priority, text},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// List queues, with the number of their messages and the functions that read them.
    List {
        /// Print each one as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Pause queues: disable their event source mappings, so that no new jobs start.
    Pause {
        /// The queues.
        #[arg(required = true, value_parser = text)]
        names: Vec<String>,
    },
    /// Resume queues: enable their event source mappings.
    Resume {
        /// The queues.
        #[arg(required = true, value_parser = text)]
        names: Vec<String>,
    },
    /// Delete all messages of a queue.
    Purge {
        /// The queue.
        #[arg(value_parser = text)]
        name: String,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
    /// Delete a queue, its dead-letter queue and its event source mapping. The command refuses to delete queues that hold messages.
    Delete {
        /// The queue.
        #[arg(value_parser = text)]
        name: String,
        /// Delete the queues even if they hold messages.
        #[arg(long)]
        force: bool,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
    /// Create a queue and its dead-letter queue. If the name ends in .fifo, both are FIFO queues.
    Create {
        /// The name of the queue, without the prefix.
        #[arg(value_parser = text)]
        name: String,
        /// The timeout of the function. The visibility timeout of a new queue is six times as long. Default: the timeout of
        /// --function, or 30s.
        #[arg(long, value_name = "DURATION", value_parser = time::duration)]
        timeout: Option<Duration>,
        /// The function that reads the queue, by its name in AWS. The command sets the variables of the function and the policy of its
        /// role. An existing queue keeps its settings.
        #[arg(long, value_parser = text)]
        function: Option<String>,
        /// A queue to which the function enqueues jobs, by its name without the prefix, or by its ARN. Repeat the option for each
        /// queue.
        #[arg(long, value_name = "QUEUE", requires = "function", value_parser = text)]
        enqueues_to: Vec<String>,
        /// A priority for which the command also creates a queue, such as adder-high: high or low. Repeat the option for both. The function
        /// reads all these queues, and they share the dead-letter queue. Existing queues of priorities stay.
        #[arg(long = "priority", value_name = "PRIORITY", value_parser = own_priority)]
        priorities: Vec<Priority>,
    },
}

/// Maximum time until a mapping is enabled or disabled.
const CHANGE: Duration = Duration::from_mins(2);
/// Maximum time until a new queue is visible.
const MADE: Duration = Duration::from_secs(5);
/// Default timeout of a function.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of jobs to read from the due index.
const DUE: usize = 1000;

pub(super) async fn queue(aws: &Aws, wanted: Queue) -> Result<bool, Failure> {
    match &wanted {
        Queue::List { .. } => {}
        // A new environment may have no table yet.
        Queue::Create { .. } => {
            check_contents(aws).await?;
            refuse_other_tables(aws).await?;
        }
        Queue::Pause { .. } | Queue::Resume { .. } | Queue::Purge { .. } | Queue::Delete { .. } => check_options(aws).await?,
    }
    match wanted {
        Queue::Create { name, timeout, function, enqueues_to, priorities } => {
            create(aws, &name, timeout, function.as_deref(), &enqueues_to, &priorities).await
        }
        Queue::List { json } => list(aws, json).await,
        Queue::Pause { names } => switch(aws, &names, false).await,
        Queue::Resume { names } => switch(aws, &names, true).await,
        Queue::Purge { name, yes } => purge(aws, &name, yes).await,
        Queue::Delete { name, force, yes } => delete(aws, &name, force, yes).await,
    }
}

/// Creates a queue, and connects it to a function. An existing queue keeps its settings.
///
/// Everything is checked before anything is created.
async fn create(
    aws: &Aws,
    name: &str,
    timeout: Option<Duration>,
    function: Option<&str>,
    others: &[String],
    priorities: &[Priority],
) -> Result<bool, Failure> {
    let others_here = others.iter().map(|other| &**other).filter(|other| !other.starts_with("arn:"));
    refuse_others(aws, others_here.chain([name])).await?;
    let full_name = aws.queue(name);
    if let Some(source) = source_name(&full_name) {
        return Err(Failure::new(format!(
            "{full_name} is the name of a dead-letter queue; `sqjobs queue create {}` creates a queue together with its dead-letter queue",
            shell(aws.short(&source))
        )));
    }
    let function = match function {
        Some(function) => Some(Function::find(aws, function).await?),
        None => None,
    };
    let visibility = visibility(timeout.or(function.as_ref().map(|function| function.timeout)).unwrap_or(TIMEOUT))?;
    let existing = match url(aws, &full_name).await? {
        Some(_) => Some(pair(aws, &full_name).await?),
        None => None,
    };
    let of_priorities = of_priorities(aws, &full_name, existing.as_ref(), priorities).await?;
    if let Some(others) = others_than_new(aws).await {
        return Err(Failure::new(format!("cannot create queue {full_name}: {others}; otherwise start with `sqjobs table create`")));
    }
    if let Some((queue, _)) =
        existing.as_ref().filter(|(queue, _)| timeout.is_some() && queue.visibility.as_secs() != u64::from(visibility))
    {
        let remedy = set_visibility(&queue.url, visibility.into());
        let own = queue.visibility.as_secs();
        return Err(Failure::new(format!(
            "queue {full_name} exists, and its visibility timeout is {own} s instead of {visibility} s; {remedy} changes the timeout"
        )));
    }
    let feed = match &function {
        Some(function) => Some(Feeding::check(aws, &full_name, existing.as_ref(), &of_priorities, function, others, Code::Live).await?),
        None => None,
    };
    let before = match &function {
        Some(function) if !others.is_empty() => function.children(aws).await,
        _ => Some(Vec::new()),
    };
    let is_new = existing.is_none();
    let (queue, dlq) = match existing {
        Some(pair) => pair,
        None => make(aws, &full_name, visibility).await?,
    };
    let of_priorities = make_priorities(aws, &queue, &dlq, of_priorities, priorities).await?;
    if let Some(feed) = feed {
        feed.begin(aws, &queue, &of_priorities, &dlq).await.map_err(|failure| match failure {
            Failure::Message(sentence) if is_new => Failure::new(format!(
                "{sentence}; queue {full_name} was created before the error: run the command again, or `sqjobs queue delete {name}`"
            )),
            failure => failure,
        })?;
    }
    let mut output = Output::new();
    output.line(&queue.url)?;
    output.line(&dlq.url)?;
    of_priorities.iter().try_for_each(|queue| output.line(&queue.url))?;
    if let Some(function) = function {
        output.line(format!("{name} feeds {}", function.name))?;
        if !others.is_empty() {
            let now: Vec<_> = others.iter().map(|other| named_by(aws, other)).collect();
            output.line(format!("{} may enqueue jobs to {} and to no other queue", function.name, others.join(", ")))?;
            match before {
                Some(before) => {
                    let gone: Vec<_> = before.iter().map(|arn| named_by(aws, arn)).filter(|queue| !now.contains(queue)).collect();
                    if !gone.is_empty() {
                        note!(
                            "warning: until now, {} could also enqueue jobs to {}. The command replaces the list. To keep these queues, run \
                             it again with an --enqueues-to for each queue",
                            clean(&function.name),
                            clean(&gone.join(", "))
                        );
                    }
                }
                None => note!(
                    "warning: the command replaces the list of queues to which {} may enqueue jobs, and cannot read the earlier list",
                    clean(&function.name)
                ),
            }
        }
    }
    Ok(true)
}

/// Returns the existing queues of the priorities of a queue. Refuses a priority whose queue has another dead-letter queue.
async fn of_priorities(
    aws: &Aws,
    full_name: &str,
    existing: Option<&(SqsQueue, SqsQueue)>,
    wanted: &[Priority],
) -> Result<Vec<SqsQueue>, Failure> {
    let mut found = Vec::new();
    if Priority::of_queue(full_name) != Priority::Default {
        if let Some(priority) = wanted.first() {
            let base = aws.short(full_name);
            let command = creation(&priority.queue(base));
            return Err(Failure::new(format!("{full_name} is itself the name of the queue of a priority; use {command}")));
        }
        return Ok(found);
    }
    let dlq = existing.map_or_else(|| dlq_name(full_name), |(_, dlq)| dlq.name.clone());
    for priority in Priority::OWN_QUEUES {
        let name = priority.queue(full_name);
        if url(aws, &name).await?.is_none() {
            continue;
        }
        let queue = find(aws, &name).await?;
        if queue.dlq == dlq {
            found.push(queue);
        } else if wanted.contains(&priority) {
            return Err(Failure::new(format!(
                "queue {name} exists, and its dead-letter queue is {}, not {dlq}. If a function of its own reads the queue, jobs of this priority                  already run there. Otherwise delete it with `sqjobs queue delete {}`, and run this command again",
                queue.dlq,
                shell(aws.short(&name))
            )));
        }
    }
    Ok(found)
}

/// Creates the missing queues of priorities, and waits until they are visible. Returns all queues of priorities.
async fn make_priorities(
    aws: &Aws,
    queue: &SqsQueue,
    dlq: &SqsQueue,
    mut queues: Vec<SqsQueue>,
    wanted: &[Priority],
) -> Result<Vec<SqsQueue>, Failure> {
    let visibility = u32::try_from(queue.visibility.as_secs()).unwrap_or(u32::MAX);
    for priority in Priority::OWN_QUEUES.into_iter().filter(|priority| wanted.contains(priority)) {
        if queues.iter().any(|own| own.name == priority.queue(&queue.name)) {
            continue;
        }
        let name = setup::create_priority_queue(&aws.sqs(), &queue.name, priority, &dlq.arn, visibility).await?;
        let started = Instant::now();
        queues.push(loop {
            match find(aws, &name).await {
                Err(_) if started.elapsed() < MADE => sleep(BETWEEN_LOOKS).await,
                found => break found?,
            }
        });
    }
    Ok(queues)
}

/// Returns the name, without the prefix, of a queue that is given by its name or ARN.
fn named_by(aws: &Aws, queue: &str) -> String {
    match queue.rsplit_once(':') {
        Some((_, name)) => aws.short(name).to_owned(),
        None => queue.to_owned(),
    }
}

/// Returns the visibility timeout, in seconds, for this timeout of the function.
fn visibility(timeout: Duration) -> Result<u32, Failure> {
    let visibility = u32::try_from(timeout.as_secs()).ok().and_then(|seconds| seconds.checked_mul(6));
    let visibility = visibility.filter(|seconds| *seconds <= 43_200);
    visibility.ok_or_else(|| Failure::new("--timeout is too long; a function can run for at most 15m"))
}

/// Creates a queue and its dead-letter queue, and waits until they are visible.
async fn make(aws: &Aws, full_name: &str, visibility: u32) -> Result<(SqsQueue, SqsQueue), Failure> {
    setup::create_queues(&aws.sqs(), full_name, visibility).await?;
    let started = Instant::now();
    loop {
        match pair(aws, full_name).await {
            Err(_) if started.elapsed() < MADE => sleep(BETWEEN_LOOKS).await,
            pair => return pair,
        }
    }
}

async fn list(aws: &Aws, json: bool) -> Result<bool, Failure> {
    /// A line of JSON.
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        queue: &'a Status,
        #[serde(flatten)]
        feed: &'a Feed,
    }

    let queues = all(aws).await?;
    let notes = queues.left_out.notes();
    let queues = queues.statuses(aws);
    let (feeds, mut output) = (feeds(aws, &queues).await?, Output::new());
    if json {
        queues.iter().zip(&feeds).try_for_each(|(queue, feed)| output.json(&Line { queue, feed }))?;
    } else if queues.is_empty() {
        note!("{}", no_queue(aws).await);
    } else {
        let rows = queues.iter().zip(&feeds).map(|(queue, feed)| row(queue, feed));
        output.table(["queue", "waiting", "in flight", "delayed", "dead", "function"], rows)?;
    }
    print_notes(&notes);
    Ok(true)
}

/// Enables or disables event source mappings, and waits until AWS has done it.
async fn switch(aws: &Aws, queues: &[String], enabled: bool) -> Result<bool, Failure> {
    refuse_others(aws, queues.iter().map(String::as_str)).await?;
    let (mut output, mut found) = (Output::new(), Vec::new());
    // All queues are found before any is changed.
    for name in queues {
        let queue = find(aws, &aws.queue(name)).await?;
        refuse_other_table(aws, &queue.name, &queue.arn).await?;
        let mappings = mappings(aws, Some(&queue.arn)).await?;
        if mappings.is_empty() {
            return Err(Failure::new(format!(
                "queue {name} feeds no function; connect one with `sqjobs queue create {name} --function FUNCTION`"
            )));
        }
        found.push((name, queue, mappings));
    }
    for (name, queue, mappings) in found {
        for id in mappings.iter().filter_map(|mapping| mapping.uuid.as_ref()) {
            let update = aws.lambda().update_event_source_mapping().uuid(id).enabled(enabled);
            update.send().await.map_err(|error| Failure::because(&format!("cannot change the mapping of {name}"), error))?;
        }
        wait_until(aws, &queue.arn, if enabled { "Enabled" } else { "Disabled" }).await?;
        let waiting = queue.depth.waiting;
        let message = if enabled { "is resumed" } else { "is paused; running jobs finish, and new jobs wait" };
        output.line(format!("{} {message} ({waiting} waiting)", clean(name)))?;
    }
    Ok(true)
}

async fn wait_until(aws: &Aws, arn: &str, state: &str) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let mappings = mappings(aws, Some(arn)).await?;
        match mappings.iter().map(|mapping| &mapping.state).find(|now| now.as_deref() != Some(state)) {
            None => return Ok(()),
            Some(now) if started.elapsed() > CHANGE => {
                let now = now.as_deref().unwrap_or("unknown");
                return Err(Failure::new(format!(
                    "AWS accepted the change, but the state of the event source mapping is still {now}; check it later with `sqjobs queue list`"
                )));
            }
            Some(_) => sleep(BETWEEN_LOOKS).await,
        }
    }
}

async fn purge(aws: &Aws, name: &str, yes: bool) -> Result<bool, Failure> {
    refuse_others(aws, [name]).await?;
    let SqsQueue { name, url, arn, depth, .. } = find(aws, &aws.queue(name)).await?;
    refuse_other_table(aws, &name, &arn).await?;
    if let Some(source) = source_name(&name) {
        let source = shell(aws.short(&source));
        return Err(Failure::new(format!(
            "{name} is a dead-letter queue: its messages are failed jobs. `sqjobs dlq list {source}` shows them, `sqjobs dlq purge \
             {source}` deletes them"
        )));
    }
    let Depth { waiting, in_flight, delayed } = depth;
    if !confirmed(&format!("Delete all messages of {name} ({waiting} waiting, {in_flight} in flight, {delayed} delayed)?"), yes)? {
        return Ok(false);
    }
    let purge = aws.sqs().purge_queue().queue_url(url);
    purge.send().await.map_err(|error| Failure::because(&format!("cannot purge queue {name}"), error))?;
    Output::new().line(format!(
        "SQS deletes the messages of {} within a minute, but not the records of the jobs. A beater sends a job again within about a day if \
         its record contains the message, for example if a schedule enqueued the job or if its delay was more than 15 minutes. To prevent \
         this, cancel the job",
        clean(&name)
    ))?;
    Ok(true)
}

/// Deletes a queue, its dead-letter queue and its event source mapping; reports the parts that stay.
async fn delete(aws: &Aws, name: &str, force: bool, yes: bool) -> Result<bool, Failure> {
    refuse_others(aws, [name]).await?;
    let full_name = aws.queue(name);
    // An interrupted deletion has left the dead-letter queue.
    let queue = match url(aws, &full_name).await? {
        Some(_) => Some(find(aws, &full_name).await?),
        None => None,
    };
    let dlq = queue.as_ref().map_or_else(|| dlq_name(&full_name), |queue| queue.dlq.clone());
    let dlq = match url(aws, &dlq).await? {
        Some(_) => Some(find(aws, &dlq).await?),
        None => None,
    };
    let shares =
        |(other, letters): &(SqsQueue, SqsQueue)| other.name != full_name && Some(&letters.name) == dlq.as_ref().map(|dlq| &dlq.name);
    // Queues of other environments count too.
    let account = Queues::of_account(aws).await?;
    if let Some((other, _)) = account.pairs.iter().find(|(other, letters)| letters.name == full_name && other.name != full_name) {
        let (other, short) = (clean(&other.name), shell(aws.short(&other.name)));
        return Err(Failure::new(format!(
            "queue {full_name} is the dead-letter queue of {other}, and the dead letters of {other} would be lost; `sqjobs queue delete \
             {short}` deletes both queues"
        )));
    }
    let shared_with = account.pairs.into_iter().find(shares).map(|(other, _)| other.name);
    let targets: Vec<_> = queue.iter().chain(dlq.iter().filter(|_| shared_with.is_none())).collect();
    if targets.is_empty() {
        // Returns the error that each command gives for a missing queue.
        find(aws, &full_name).await?;
    }
    let waiting = waiting(aws, &full_name).await;
    if let Some(first) = waiting.first().filter(|_| !force) {
        let jobs = match waiting.len() {
            1 => format!("the job {} waits to be sent to it, and would not run", clean(&first.id)),
            count => format!("{count} jobs wait to be sent to it, such as {}, and would not run", clean(&first.id)),
        };
        let remedy = format!("cancel them, as with `sqjobs cancel {}`, or delete the queue with --force", shell(&first.id));
        return Err(Failure::new(format!("cannot delete queue {full_name}: {jobs}; {remedy}")));
    }
    let held: Vec<_> =
        targets.iter().filter(|queue| queue.depth.all() > 0).map(|queue| format!("{} holds {}", queue.name, queue.depth.all())).collect();
    if !held.is_empty() && !force {
        let remedy = "run or purge them, or delete them too with --force";
        return Err(Failure::new(format!("cannot delete queue {full_name}: there are messages ({}); {remedy}", held.join(", "))));
    }
    let mappings = match &queue {
        Some(queue) => {
            refuse_other_table(aws, &queue.name, &queue.arn).await?;
            mappings(aws, Some(&queue.arn)).await?
        }
        None => Vec::new(),
    };
    let names = targets.iter().map(|queue| &*queue.name).collect::<Vec<_>>().join(" and ");
    let lost = if held.is_empty() { String::new() } else { format!(" with their messages ({})", held.join(", ")) };
    if !confirmed(&format!("Delete {names}{lost}?"), yes)? {
        return Ok(false);
    }
    let cannot = |what: &str, error: Cause| Failure::because(&format!("cannot delete {what}"), error);
    for id in mappings.iter().filter_map(|mapping| mapping.uuid.as_ref()) {
        let delete = aws.lambda().delete_event_source_mapping().uuid(id).send().await;
        delete.map_err(|error| cannot(&format!("the mapping of queue {full_name}"), error.into()))?;
    }
    for queue in &targets {
        let delete = aws.sqs().delete_queue().queue_url(&queue.url).send().await;
        delete.map_err(|error| cannot(&format!("queue {}", queue.name), error.into()))?;
    }
    let letters = dlq.as_ref().filter(|_| shared_with.is_none());
    if let Some(dlq) = letters {
        setup::remove_dlq(&aws.dynamodb(), &aws.place.table(), &dlq.name).await?;
    }
    let mut output = Output::new();
    output.line(format!("deleted {}; wait a minute before you create a queue of the same name", clean(&names)))?;
    if let (Some(dlq), Some(other)) = (&dlq, shared_with) {
        output.line(format!("kept {}, because it is also the dead-letter queue of {}", clean(&dlq.name), clean(&other)))?;
    }
    for function in mappings.iter().filter_map(function_of) {
        output.line(format!("kept function {function} with its role, its variables and its log, although no queue feeds it now"))?;
    }
    output.line("kept the records of the jobs until their retention ends")?;
    dependents(aws, &full_name, &waiting, &mut output).await?;
    Ok(true)
}

/// Reports the schedules and waiting jobs that still name a deleted queue.
async fn dependents(aws: &Aws, full_name: &str, waiting: &[Record], output: &mut Output) -> Result<(), Failure> {
    match aws.schedules().list().await {
        Ok(schedules) => {
            for entry in schedules.iter().map(|schedule| &schedule.entry) {
                if aws.queue(&entry.queue_name()) == full_name {
                    let (shown, id) = (clean(entry.id()), shell(entry.id()));
                    let message =
                        format!("schedule {shown} still sends jobs to this queue; `sqjobs schedule remove {id}` removes the schedule");
                    output.line(aws.place.with_options(&message))?;
                }
            }
        }
        Err(error) => note!("not checked: schedules that send jobs to this queue: {error}"),
    }
    for record in waiting {
        let (shown, id) = (clean(&record.id), shell(&record.id));
        let message = format!("job {shown} still waits to be sent to this queue; `sqjobs cancel {id}` cancels the job");
        output.line(aws.place.with_options(&message))?;
    }
    Ok(())
}

/// Returns the delayed and the blocked jobs that will be sent to a queue.
async fn waiting(aws: &Aws, full_name: &str) -> Vec<Record> {
    let mut waiting = Vec::new();
    for by in [By::Due, By::Blocked] {
        match aws.client().list(by, DUE).await {
            Ok(jobs) => waiting.extend(jobs.into_iter().filter(|job| job.queue == full_name)),
            Err(error) => note!("not checked: jobs that wait to be sent to this queue: {error}"),
        }
    }
    waiting
}
