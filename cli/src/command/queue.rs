//! The queues: how full they are, and whether their functions take from them.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use aws_sdk_lambda::types::{EventSourceMappingConfiguration as Mapping, FunctionResponseType, RecursiveLoop};
use aws_sdk_sqs::{
    error::ProvideErrorMetadata as _,
    operation::get_queue_url::GetQueueUrlError,
    types::QueueAttributeName::{
        self as Attribute, ApproximateNumberOfMessages as Waiting, ApproximateNumberOfMessagesDelayed as Delayed,
        ApproximateNumberOfMessagesNotVisible as InFlight, QueueArn, RedrivePolicy, VisibilityTimeout,
    },
};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde_json::Value;
use sqjobs::setup::{self, dlq_name};
use tokio::time::sleep;

use super::function::{self, Function};
use crate::{
    args::Queue,
    aws::Aws,
    failure::{Failure, told},
    output::{Output, clean, confirmed},
};

/// How long a mapping takes to be enabled or disabled, at most.
const CHANGE: Duration = Duration::from_mins(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// How long it takes until a queue is known everywhere that was made.
const MADE: Duration = Duration::from_secs(5);
/// How long it takes until a right is had that was given.
const GRANT: Duration = Duration::from_mins(1);
/// How long a function may take, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most messages of an invocation.
const BATCH: i32 = 10;
/// Queues that are asked for at the same time.
const AT_A_TIME: usize = 16;
/// The part of an ARN that names the function; a version or an alias may follow.
const FUNCTION: usize = 6;

pub(super) async fn queue(aws: &Aws, wanted: Queue) -> Result<bool, Failure> {
    match wanted {
        Queue::Create { name, timeout, function, enqueues_to } => create(aws, &name, timeout, function.as_deref(), &enqueues_to).await,
        Queue::List { json } => list(aws, json).await,
        Queue::Pause { names } => switch(aws, &names, false).await,
        Queue::Resume { names } => switch(aws, &names, true).await,
        Queue::Purge { name, yes } => purge(aws, &name, yes).await,
    }
}

/// Makes a queue, and lets it feed a function. A queue that is there may feed one as it is.
async fn create(aws: &Aws, name: &str, timeout: Option<Duration>, function: Option<&str>, others: &[String]) -> Result<bool, Failure> {
    let (whole, mut output) = (aws.queue(name), Output::new());
    let function = match function {
        Some(function) => Some(Function::find(aws, function).await?),
        None => None,
    };
    let is_made = function.is_none() || timeout.is_some() || url(aws, &whole).await?.is_none();
    if is_made {
        let timeout = timeout.or(function.as_ref().map(|function| function.timeout)).unwrap_or(TIMEOUT);
        let visibility = u32::try_from(timeout.as_secs()).ok().and_then(|seconds| seconds.checked_mul(6));
        let visibility = visibility.filter(|seconds| *seconds <= 43_200);
        let visibility = visibility.ok_or_else(|| Failure::said("--timeout is too long; a function runs for 15m at most"))?;
        setup::create_queues(&aws.sqs(), &whole, visibility).await?;
    }
    let started = Instant::now();
    let (queue, dlq) = loop {
        match pair(aws, &whole).await {
            Err(_) if is_made && started.elapsed() < MADE => sleep(BETWEEN_LOOKS).await,
            pair => break pair?,
        }
    };
    if let Some(function) = &function {
        feed(aws, &queue, &dlq, function, others).await?;
    }
    output.line(&queue.url)?;
    output.line(&dlq.url)?;
    function.map_or(Ok(()), |function| output.line(format!("{name} feeds {}", function.name)))?;
    Ok(true)
}

/// Lets a queue feed a function, and gives that what it needs. To do it again changes nothing.
pub(super) async fn feed(aws: &Aws, queue: &Found, dlq: &Found, function: &Function, others: &[String]) -> Result<(), Failure> {
    let (lambda, name) = (aws.lambda(), &*function.name);
    let cannot = |error: String| Failure::because(&format!("cannot let {} feed {name}", queue.name), error);
    let mappings = mappings(aws, None).await?;
    let takes = |mapping: &&Mapping| function_of(mapping) == Some(name) && !feeds_from(mapping, &queue.arn);
    if let Some(other) = mappings.iter().find(takes) {
        let other = other.event_source_arn.as_deref().unwrap_or_default();
        return Err(Failure::said(format!("function {name} takes from {other} already; deploy one more for {}", queue.name)));
    }
    let is_fed = match mappings.iter().filter(|mapping| feeds_from(mapping, &queue.arn)).find_map(function_of) {
        Some(own) if own != name => {
            return Err(Failure::said(format!("queue {} feeds {own} already; give {name} a queue of its own", queue.name)));
        }
        own => own.is_some(),
    };
    if !is_fed && queue.visibility < function.timeout {
        let least = 6 * function.timeout.as_secs();
        let remedy = format!("`aws sqs set-queue-attributes --queue-url {} --attributes VisibilityTimeout={least}`", queue.url);
        return Err(Failure::said(format!("queue {} hides a message for less time than {name} may take; {remedy}", queue.name)));
    }
    let table = function::table_arn(aws, &aws.place.table).await?;
    let granted = function.grant(aws, "", &function::taker(&table, &queue.arn, &dlq.arn)).await?;
    if !others.is_empty() {
        let mut queues = Vec::new();
        for other in others {
            queues.push(find(aws, &aws.queue(other)).await?.arn);
        }
        function.grant(aws, "-children", &function::parent(&table, queues)).await?;
    }
    function.set(aws, function::variables(&aws.place, Some(&queue.url), &[&dlq.url])).await?;
    // A job may enqueue jobs of its own.
    let allow = lambda.put_function_recursion_config().function_name(name).recursive_loop(RecursiveLoop::Allow);
    allow.send().await.map_err(|error| cannot(told(&error)))?;
    if is_fed {
        return Ok(());
    }
    let map = lambda.create_event_source_mapping().function_name(name).event_source_arn(&queue.arn).batch_size(BATCH);
    let map = map.function_response_types(FunctionResponseType::ReportBatchItemFailures);
    let started = Instant::now();
    loop {
        match map.clone().send().await {
            Ok(_) => return Ok(()),
            // What a role allows is known to Lambda some seconds later.
            Err(error) if granted && started.elapsed() < GRANT && error.message().is_some_and(|text| text.contains("execution role")) => {
                sleep(BETWEEN_LOOKS).await;
            }
            Err(error) => return Err(cannot(told(&error))),
        }
    }
}

/// How many messages a queue has, as SQS reckons: it may be late by a minute.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Depth {
    pub(super) waiting: u64,
    pub(super) in_flight: u64,
    pub(super) delayed: u64,
}

impl Depth {
    pub(super) fn all(&self) -> u64 {
        self.waiting + self.in_flight + self.delayed
    }
}

/// A queue as SQS has it.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) arn: String,
    pub(super) depth: Depth,
    visibility: Duration,
    /// The name of its dead-letter queue.
    pub(super) dlq: String,
}

/// To where, and when, SQS itself moves what a queue cannot get rid of.
pub(super) struct Policy {
    /// The ARN of the dead-letter queue.
    pub(super) target: String,
    pub(super) max_receives: Option<u64>,
}

impl Policy {
    /// The redrive policy among a queue's attributes.
    pub(super) fn of(attributes: &HashMap<Attribute, String>) -> Option<Self> {
        let policy: Value = serde_json::from_str(attributes.get(&RedrivePolicy)?).ok()?;
        // A number, or the text of one.
        let max_receives = policy["maxReceiveCount"].to_string().trim_matches('"').parse().ok();
        Some(Self { target: policy["deadLetterTargetArn"].as_str()?.to_owned(), max_receives })
    }

    /// The name of the dead-letter queue.
    pub(super) fn name(&self) -> &str {
        self.target.rsplit(':').next().unwrap_or_default()
    }
}

/// What SQS says of a queue of that whole name. None: there is no such queue, or this user may not see it.
async fn look(aws: &Aws, url: &str) -> Result<Option<Found>, String> {
    let names = [Waiting, InFlight, Delayed, QueueArn, RedrivePolicy, VisibilityTimeout];
    let answer = aws.sqs().get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec())).send().await;
    let attributes = match answer {
        Ok(answer) => answer.attributes.unwrap_or_default(),
        Err(error)
            if error.code().is_some_and(|code| ["NonExistentQueue", "DoesNotExist", "AccessDenied"].iter().any(|no| code.contains(no))) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(told(&error)),
    };
    let name = url.rsplit('/').next().unwrap_or(url).to_owned();
    let number = |name: &Attribute| attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Some(Found {
        dlq: Policy::of(&attributes).map_or_else(|| dlq_name(&name), |policy| policy.name().to_owned()),
        name,
        url: url.to_owned(),
        arn: attributes.get(&QueueArn).cloned().unwrap_or_default(),
        depth: Depth { waiting: number(&Waiting), in_flight: number(&InFlight), delayed: number(&Delayed) },
        visibility: Duration::from_secs(number(&VisibilityTimeout)),
    }))
}

/// The URL of a queue by its whole name. None: there is no such queue.
async fn url(aws: &Aws, name: &str) -> Result<Option<String>, Failure> {
    match aws.sqs().get_queue_url().queue_name(name).send().await {
        Ok(answer) => Ok(answer.queue_url),
        Err(error) if error.as_service_error().is_some_and(GetQueueUrlError::is_queue_does_not_exist) => Ok(None),
        Err(error) => Err(Failure::because(&format!("cannot read queue {name}"), told(&error))),
    }
}

/// A queue by its whole name.
pub(super) async fn find(aws: &Aws, name: &str) -> Result<Found, Failure> {
    let none = || Failure::said(format!("there is no queue {name}; create it by `sqjobs queue create`, or look at --prefix and --region"));
    let found = look(aws, &url(aws, name).await?.ok_or_else(none)?)
        .await
        .map_err(|error| Failure::because(&format!("cannot read queue {name}"), error))?;
    found.ok_or_else(|| Failure::said(format!("queue {name} cannot be read: it is gone, or you may not; look at --profile")))
}

/// A queue by its whole name, and its dead-letter queue.
pub(super) async fn pair(aws: &Aws, name: &str) -> Result<(Found, Found), Failure> {
    let queue = find(aws, name).await?;
    let dlq = find(aws, &queue.dlq).await?;
    Ok((queue, dlq))
}

/// A queue and its dead-letter queue.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    /// As people give it, without the prefix.
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) depth: Depth,
    /// Messages in its dead-letter queue.
    pub(super) dead: u64,
    #[serde(skip)]
    arn: String,
}

/// Every queue of this environment that has a dead-letter queue, with that. What is deleted at the moment, or belongs to
/// others, is left out.
pub(super) async fn pairs(aws: &Aws) -> Result<Vec<(Found, Found)>, Failure> {
    let urls = urls(aws).await?;
    let looks = stream::iter(&urls).map(|url| look(aws, url)).buffered(AT_A_TIME);
    let found: Vec<_> = looks.try_collect().await.map_err(|error| Failure::because("cannot read the queues", error))?;
    let found: BTreeMap<_, _> = found.into_iter().flatten().map(|found| (found.name.clone(), found)).collect();
    Ok(found.values().filter_map(|queue| Some((queue.clone(), found.get(&queue.dlq)?.clone()))).collect())
}

/// How those queues are.
pub(super) async fn all(aws: &Aws) -> Result<Vec<Status>, Failure> {
    let status = |(queue, dlq): (Found, Found)| Status {
        name: aws.short(&queue.name).to_owned(),
        depth: queue.depth,
        dead: dlq.depth.all(),
        arn: queue.arn,
    };
    Ok(pairs(aws).await?.into_iter().map(status).collect())
}

/// The URLs of all queues of this environment.
pub(super) async fn urls(aws: &Aws) -> Result<Vec<String>, Failure> {
    let list = aws.sqs().list_queues().set_queue_name_prefix(Some(aws.place.prefix.clone()).filter(|prefix| !prefix.is_empty()));
    let mut pages = list.max_results(1000).into_paginator().send();
    let mut urls = Vec::new();
    while let Some(page) = pages.next().await {
        urls.extend(page.map_err(|error| Failure::because("cannot list the queues", told(&error)))?.queue_urls.unwrap_or_default());
    }
    Ok(urls)
}

/// What takes from a queue.
#[derive(Debug, Default, Serialize)]
pub(super) struct Feed {
    /// The function that it feeds.
    function: Option<String>,
    /// Whether it feeds it, as Lambda names that: `Enabled`, `Disabled`, or on the way.
    mapping: Option<String>,
}

/// What takes from each of these queues.
pub(super) async fn feeds(aws: &Aws, queues: &[Status]) -> Result<Vec<Feed>, Failure> {
    let mappings = mappings(aws, None).await?;
    let feed = |queue: &Status| {
        let mapping = mappings.iter().find(|mapping| feeds_from(mapping, &queue.arn))?;
        Some(Feed { function: function_of(mapping).map(str::to_owned), mapping: mapping.state.clone() })
    };
    Ok(queues.iter().map(|queue| feed(queue).unwrap_or_default()).collect())
}

/// The function that a mapping feeds, whichever version or alias of it.
pub(super) fn function_of(mapping: &Mapping) -> Option<&str> {
    mapping.function_arn.as_ref()?.split(':').nth(FUNCTION)
}

/// Whether a mapping feeds from a queue.
pub(super) fn feeds_from(mapping: &Mapping, queue_arn: &str) -> bool {
    mapping.event_source_arn.as_deref() == Some(queue_arn)
}

/// The event source mappings, all or those of one queue.
pub(super) async fn mappings(aws: &Aws, queue_arn: Option<&str>) -> Result<Vec<Mapping>, Failure> {
    let list = aws.lambda().list_event_source_mappings().set_event_source_arn(queue_arn.map(str::to_owned));
    let mut pages = list.into_paginator().items().send();
    let mut mappings = Vec::new();
    while let Some(mapping) = pages.next().await {
        mappings.push(mapping.map_err(|error| Failure::because("cannot list the event source mappings", told(&error)))?);
    }
    Ok(mappings)
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
    let (feeds, mut output) = (feeds(aws, &queues).await?, Output::new());
    if json {
        queues.iter().zip(&feeds).try_for_each(|(queue, feed)| output.json(&Line { queue, feed }))?;
    } else if queues.is_empty() {
        anstream::eprintln!("none; `sqjobs queue create` makes one");
    } else {
        let rows = queues.iter().zip(&feeds).map(|(queue, feed)| row(queue, feed));
        output.table(["queue", "waiting", "in flight", "delayed", "dead", "function"], rows)?;
    }
    Ok(true)
}

pub(super) fn row(queue: &Status, feed: &Feed) -> [String; 6] {
    let function = match (&feed.function, feed.mapping.as_deref()) {
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
        let queue = find(aws, &aws.queue(name)).await?;
        let mappings = mappings(aws, Some(&queue.arn)).await?;
        if mappings.is_empty() {
            return Err(Failure::said(format!("queue {name} feeds no function; `sqjobs queue create {name} --function FUNCTION` lets it")));
        }
        for id in mappings.iter().filter_map(|mapping| mapping.uuid.as_ref()) {
            let update = aws.lambda().update_event_source_mapping().uuid(id).enabled(enabled);
            update.send().await.map_err(|error| Failure::because(&format!("cannot change the mapping of {name}"), told(&error)))?;
        }
        settle(aws, &queue.arn, if enabled { "Enabled" } else { "Disabled" }).await?;
        let waiting = queue.depth.waiting;
        let said = if enabled { "runs" } else { "is paused; what runs runs to its end, and what comes waits" };
        output.line(format!("{} {said} ({waiting} waiting)", clean(name)))?;
    }
    Ok(true)
}

async fn settle(aws: &Aws, arn: &str, state: &str) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let mappings = mappings(aws, Some(arn)).await?;
        match mappings.iter().map(|mapping| &mapping.state).find(|now| now.as_deref() != Some(state)) {
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
    let Found { name, url, depth, .. } = find(aws, &aws.queue(name)).await?;
    let Depth { waiting, in_flight, delayed } = depth;
    if !confirmed(&format!("Forget all messages of {name} ({waiting} waiting, {in_flight} in flight, {delayed} delayed)?"), yes)? {
        return Ok(false);
    }
    let purge = aws.sqs().purge_queue().queue_url(url);
    purge.send().await.map_err(|error| Failure::because(&format!("cannot purge queue {name}"), told(&error)))?;
    Output::new().line(format!("{} is emptied; SQS takes up to a minute, and what was recorded or filed stays so", clean(&name)))?;
    Ok(true)
}
