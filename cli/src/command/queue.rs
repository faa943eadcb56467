//! The queues: how full they are, and whether their functions take from them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use aws_sdk_lambda::types::EventSourceMappingConfiguration as Mapping;
use aws_sdk_sqs::types::QueueAttributeName::{
    self as Attribute, ApproximateNumberOfMessages as Waiting, ApproximateNumberOfMessagesDelayed as Delayed,
    ApproximateNumberOfMessagesNotVisible as InFlight, QueueArn,
};
use futures_util::future::try_join_all;
use serde::Serialize;
use sqjobs::setup::{self, dlq_name};
use tokio::time::sleep;

use crate::{
    args::Queue,
    aws::Aws,
    failure::{Failure, told},
    output::{Output, clean, confirmed},
};

/// How long a mapping takes to be enabled or disabled, at most.
const CHANGE: Duration = Duration::from_mins(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

pub(super) async fn queue(aws: &Aws, wanted: Queue) -> Result<bool, Failure> {
    match wanted {
        Queue::Create { name, timeout } => create(aws, &name, timeout).await,
        Queue::List { json } => list(aws, json).await,
        Queue::Pause { names } => switch(aws, &names, false).await,
        Queue::Resume { names } => switch(aws, &names, true).await,
        Queue::Purge { name, yes } => purge(aws, &name, yes).await,
    }
}

async fn create(aws: &Aws, name: &str, timeout: Duration) -> Result<bool, Failure> {
    let visibility = u32::try_from(timeout.as_secs()).ok().and_then(|seconds| seconds.checked_mul(6)).filter(|seconds| *seconds <= 43_200);
    let visibility = visibility.ok_or_else(|| Failure::said("--timeout is too long; a function runs for 15m at most"))?;
    let queues = setup::create_queues(&aws.sqs(), &aws.queue(name), visibility).await?;
    let mut output = Output::new();
    output.line(&queues.url)?;
    output.line(&queues.dlq_url)?;
    Ok(true)
}

/// How many messages a queue has, as SQS reckons: it may be late by a minute.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Depth {
    #[serde(skip)]
    pub(super) arn: String,
    pub(super) waiting: u64,
    pub(super) in_flight: u64,
    pub(super) delayed: u64,
}

impl Depth {
    fn all(&self) -> u64 {
        self.waiting + self.in_flight + self.delayed
    }
}

pub(super) async fn depth(aws: &Aws, queue: &str) -> Result<Depth, Failure> {
    let sqs = aws.sqs();
    let cannot = |error: String| Failure::because(&format!("cannot read queue {queue}"), error);
    let url = sqs.get_queue_url().queue_name(queue).send().await.map_err(|error| cannot(told(&error)))?.queue_url.unwrap_or_default();
    let names = [Waiting, InFlight, Delayed, QueueArn];
    let answer = sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec())).send().await;
    let attributes = answer.map_err(|error| cannot(told(&error)))?.attributes.unwrap_or_default();
    let number = |name: &Attribute| attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Depth {
        arn: attributes.get(&QueueArn).cloned().unwrap_or_default(),
        waiting: number(&Waiting),
        in_flight: number(&InFlight),
        delayed: number(&Delayed),
    })
}

/// The messages in the dead-letter queue of a queue.
pub(super) async fn letters(aws: &Aws, queue: &str) -> Result<u64, Failure> {
    Ok(depth(aws, &dlq_name(queue)).await?.all())
}

/// The queues that have dead letters.
pub(super) async fn with_letters(aws: &Aws) -> Result<Vec<String>, Failure> {
    let queues = all(aws).await?;
    Ok(queues.into_iter().filter(|queue| queue.dead > 0).map(|queue| queue.name).collect())
}

/// A queue, its dead-letter queue, and what takes from it.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) depth: Depth,
    /// Messages in its dead-letter queue.
    pub(super) dead: u64,
    /// The function that it feeds.
    pub(super) function: Option<String>,
    /// Whether it feeds it, as Lambda names that: `Enabled`, `Disabled`, or on the way.
    pub(super) mapping: Option<String>,
}

/// Every queue of this environment that has a dead-letter queue.
pub(super) async fn all(aws: &Aws) -> Result<Vec<Status>, Failure> {
    let (names, mappings) = (names(aws).await?, mappings(aws, None).await?);
    let of = names.iter().filter(|name| names.contains(&dlq_name(name)));
    let statuses = of.map(async |name| {
        let (depth, dead) = (depth(aws, name).await?, letters(aws, name).await?);
        let mapping = mappings.iter().find(|mapping| mapping.event_source_arn.as_ref() == Some(&depth.arn));
        let function = mapping.and_then(|mapping| Some(mapping.function_arn.as_ref()?.rsplit(':').next()?.to_owned()));
        Ok::<_, Failure>(Status { name: name.clone(), depth, dead, function, mapping: mapping.and_then(|mapping| mapping.state.clone()) })
    });
    try_join_all(statuses).await
}

async fn names(aws: &Aws) -> Result<Vec<String>, Failure> {
    let list = aws.sqs().list_queues().set_queue_name_prefix(Some(aws.place.prefix.clone()).filter(|prefix| !prefix.is_empty()));
    let mut pages = list.max_results(1000).into_paginator().send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Failure::because("cannot list the queues", told(&error)))?;
        names.extend(page.queue_urls.unwrap_or_default().iter().filter_map(|url| Some(url.rsplit('/').next()?.to_owned())));
    }
    names.sort_unstable();
    Ok(names)
}

/// The event source mappings, all or those of one queue.
async fn mappings(aws: &Aws, arn: Option<&str>) -> Result<Vec<Mapping>, Failure> {
    let list = aws.lambda().list_event_source_mappings().set_event_source_arn(arn.map(str::to_owned));
    let mut pages = list.into_paginator().items().send();
    let mut mappings = Vec::new();
    while let Some(mapping) = pages.next().await {
        mappings.push(mapping.map_err(|error| Failure::because("cannot list the event source mappings", told(&error)))?);
    }
    Ok(mappings)
}

async fn list(aws: &Aws, json: bool) -> Result<bool, Failure> {
    let (queues, mut output) = (all(aws).await?, Output::new());
    if json {
        queues.iter().try_for_each(|queue| output.json(queue))?;
    } else if queues.is_empty() {
        anstream::eprintln!("none; `sqjobs queue create` makes one");
    } else {
        output.table(["queue", "waiting", "in flight", "delayed", "dead", "function"], queues.iter().map(row))?;
    }
    Ok(true)
}

pub(super) fn row(queue: &Status) -> [String; 6] {
    let function = match (&queue.function, queue.mapping.as_deref()) {
        (None, _) => "none".into(),
        (Some(function), Some("Enabled")) => function.clone(),
        (Some(function), Some("Disabled")) => format!("{function}, paused"),
        (Some(function), state) => format!("{function}, {}", state.unwrap_or("of no state").to_lowercase()),
    };
    let [waiting, in_flight, delayed] = [queue.depth.waiting, queue.depth.in_flight, queue.depth.delayed].map(|count| count.to_string());
    [queue.name.clone(), waiting, in_flight, delayed, queue.dead.to_string(), function]
}

/// Enables or disables what feeds functions from queues, and waits until that is so.
async fn switch(aws: &Aws, queues: &[String], enabled: bool) -> Result<bool, Failure> {
    let mut output = Output::new();
    for name in queues {
        let depth = depth(aws, &aws.queue(name)).await?;
        let mappings = mappings(aws, Some(&depth.arn)).await?;
        if mappings.is_empty() {
            return Err(Failure::said(format!("queue {name} feeds no function; deploy one, with an event source mapping")));
        }
        for id in mappings.iter().filter_map(|mapping| mapping.uuid.as_ref()) {
            let update = aws.lambda().update_event_source_mapping().uuid(id).enabled(enabled);
            update.send().await.map_err(|error| Failure::because(&format!("cannot change the mapping of {name}"), told(&error)))?;
        }
        settle(aws, &depth.arn, if enabled { "Enabled" } else { "Disabled" }).await?;
        let waiting = depth.waiting;
        let said = if enabled { "runs" } else { "is paused; what runs runs to its end, and what comes waits" };
        output.line(format!("{} {said} ({waiting} waiting)", clean(name)))?;
    }
    Ok(true)
}

async fn settle(aws: &Aws, arn: &str, state: &str) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let states: HashMap<_, _> = mappings(aws, Some(arn)).await?.into_iter().map(|mapping| (mapping.uuid, mapping.state)).collect();
        match states.values().find(|now| now.as_deref() != Some(state)) {
            None => return Ok(()),
            Some(now) if started.elapsed() > CHANGE => {
                let now = now.as_deref().unwrap_or("of no state");
                return Err(Failure::said(format!(
                    "it was asked for, but the mapping is still {now}; look at `sqjobs queue list` in a while"
                )));
            }
            Some(_) => sleep(BETWEEN_LOOKS).await,
        }
    }
}

async fn purge(aws: &Aws, name: &str, yes: bool) -> Result<bool, Failure> {
    let queue = aws.queue(name);
    let depth = depth(aws, &queue).await?;
    let question =
        format!("Forget all messages of {queue} ({} waiting, {} in flight, {} delayed)?", depth.waiting, depth.in_flight, depth.delayed);
    if !confirmed(&question, yes)? {
        return Ok(false);
    }
    let sqs = aws.sqs();
    let cannot = |error: String| Failure::because(&format!("cannot purge queue {queue}"), error);
    let url = sqs.get_queue_url().queue_name(&queue).send().await.map_err(|error| cannot(told(&error)))?.queue_url;
    sqs.purge_queue().set_queue_url(url).send().await.map_err(|error| cannot(told(&error)))?;
    Output::new().line(format!("{} is emptied; SQS takes up to a minute, and what was recorded or filed stays so", clean(&queue)))?;
    Ok(true)
}
