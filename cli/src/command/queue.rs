//! The queues: how full they are, and whether their functions take from them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::ready,
    slice,
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
use futures_util::{
    future::join,
    stream::{self, StreamExt as _, TryStreamExt as _},
};
use serde::Serialize;
use serde_json::Value;
use sqjobs::{
    By,
    setup::{self, dlq_name},
};
use tokio::time::sleep;

use super::{
    function::{self, Function},
    release::{self, LIVE},
    table,
};
use crate::{
    args::Queue,
    aws::Aws,
    failure::{Failure, told},
    output::{Output, clean, confirmed, note},
    sentence::shell,
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
/// The most jobs of the due index that are looked at.
const DUE: usize = 1000;
/// Queues that are asked for at the same time.
const AT_A_TIME: usize = 16;
/// The most queues whose dead letters are counted beside an answer that does not need them.
const COUNTED: usize = 200;
/// The part of an ARN that names the function; a version or an alias may follow.
const FUNCTION: usize = 6;

pub(super) async fn queue(aws: &Aws, wanted: Queue) -> Result<bool, Failure> {
    match wanted {
        Queue::Create { name, timeout, function, enqueues_to } => create(aws, &name, timeout, function.as_deref(), &enqueues_to).await,
        Queue::List { json } => list(aws, json).await,
        Queue::Pause { names } => switch(aws, &names, false).await,
        Queue::Resume { names } => switch(aws, &names, true).await,
        Queue::Purge { name, yes } => purge(aws, &name, yes).await,
        Queue::Delete { name, force, yes } => delete(aws, &name, force, yes).await,
    }
}

/// Makes a queue, and lets it feed a function. A queue that is there may feed one as it is.
///
/// Everything that can be refused is looked at before anything is made.
async fn create(aws: &Aws, name: &str, timeout: Option<Duration>, function: Option<&str>, others: &[String]) -> Result<bool, Failure> {
    let others_here = others.iter().map(|other| &**other).filter(|other| !other.starts_with("arn:"));
    refuse_others(aws, others_here.chain([name])).await?;
    let whole = aws.queue(name);
    let function = match function {
        Some(function) => Some(Function::find(aws, function).await?),
        None => None,
    };
    let visibility = visibility(timeout.or(function.as_ref().map(|function| function.timeout)).unwrap_or(TIMEOUT))?;
    let existing = match url(aws, &whole).await? {
        Some(_) => Some(pair(aws, &whole).await?),
        None => None,
    };
    if let Some((queue, _)) =
        existing.as_ref().filter(|(queue, _)| timeout.is_some() && queue.visibility.as_secs() != u64::from(visibility))
    {
        let remedy = set_visibility(&queue.url, visibility.into());
        let own = queue.visibility.as_secs();
        return Err(Failure::said(format!(
            "queue {whole} is there, with a visibility timeout of {own} s and not {visibility} s; {remedy}"
        )));
    }
    let feed = match &function {
        Some(function) => Some(Feeding::check(aws, &whole, existing.as_ref(), function, others, Code::Live).await?),
        None => None,
    };
    let is_new = existing.is_none();
    let (queue, dlq) = match existing {
        Some(pair) => pair,
        None => make(aws, &whole, visibility).await?,
    };
    if let Some(feed) = feed {
        feed.begin(aws, &queue, &dlq).await.map_err(|failure| match failure {
            Failure::Said(sentence) if is_new => {
                Failure::said(format!("{sentence}; queue {whole} was made before that: run this again, or `sqjobs queue delete {name}`"))
            }
            failure => failure,
        })?;
    }
    let mut output = Output::new();
    output.line(&queue.url)?;
    output.line(&dlq.url)?;
    function.map_or(Ok(()), |function| output.line(format!("{name} feeds {}", function.name)))?;
    Ok(true)
}

/// The visibility timeout, in seconds, of a queue whose function has this timeout.
fn visibility(timeout: Duration) -> Result<u32, Failure> {
    let visibility = u32::try_from(timeout.as_secs()).ok().and_then(|seconds| seconds.checked_mul(6));
    let visibility = visibility.filter(|seconds| *seconds <= 43_200);
    visibility.ok_or_else(|| Failure::said("--timeout is too long; a function runs for 15m at most"))
}

fn set_visibility(url: &str, seconds: u64) -> String {
    format!("`aws sqs set-queue-attributes --queue-url {url} --attributes VisibilityTimeout={seconds}`")
}

/// Makes a queue and its dead-letter queue, and waits until they are known everywhere.
async fn make(aws: &Aws, whole: &str, visibility: u32) -> Result<(Found, Found), Failure> {
    setup::create_queues(&aws.sqs(), whole, visibility).await?;
    let started = Instant::now();
    loop {
        match pair(aws, whole).await {
            Err(_) if started.elapsed() < MADE => sleep(BETWEEN_LOOKS).await,
            pair => return pair,
        }
    }
}

/// Which code of a function a queue feeds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// The code that was deployed last.
    Latest,
    /// The version that the alias `live` names.
    Live,
}

/// A checked plan by which a queue begins to feed a function.
pub(super) struct Feeding<'a> {
    function: &'a Function,
    /// The ARN of the function or alias that the mapping invokes.
    target: String,
    /// True where a version has to be published that knows the queue.
    releases: bool,
    /// The mapping of this queue, if there is one.
    mapping: Option<Mapping>,
    table: String,
    /// The ARNs of the queues to which the function enqueues jobs.
    children: Vec<String>,
}

impl<'a> Feeding<'a> {
    /// Reads what it takes to let a queue feed a function, and refuses what cannot be. Nothing is changed.
    pub(super) async fn check(
        aws: &Aws,
        whole: &str,
        existing: Option<&(Found, Found)>,
        function: &'a Function,
        others: &[String],
        code: Code,
    ) -> Result<Self, Failure> {
        let name = &*function.name;
        let mappings = mappings(aws, None).await?;
        let source = |mapping: &Mapping| mapping.event_source_arn.as_deref().and_then(|arn| arn.rsplit(':').next()).map(str::to_owned);
        let takes = |mapping: &&Mapping| function_of(mapping) == Some(name) && source(mapping).as_deref() != Some(whole);
        if let Some(other) = mappings.iter().find(takes) {
            let other = other.event_source_arn.as_deref().unwrap_or_default();
            return Err(Failure::said(format!("function {name} takes from {other} already; deploy one more for {whole}")));
        }
        // A beater would lose its rights and variables.
        let rules = function.rules(aws).await.map_err(|error| Failure::because(&format!("cannot read what wakes {name}"), error))?;
        if let Some(rule) = rules.first() {
            return Err(Failure::said(format!(
                "rule {rule} of EventBridge wakes function {name}, as it does a beater; deploy one more for {whole}"
            )));
        }
        let mapping = existing.and_then(|(queue, _)| mappings.into_iter().find(|mapping| feeds_from(mapping, &queue.arn)));
        if let Some(own) = mapping.as_ref().and_then(function_of).filter(|own| *own != name) {
            return Err(Failure::said(format!("queue {whole} feeds {own} already; give {name} a queue of its own")));
        }
        let hides_briefly = |(queue, _): &&(Found, Found)| mapping.is_none() && queue.visibility < function.timeout;
        if let Some((queue, _)) = existing.filter(hides_briefly) {
            let remedy = set_visibility(&queue.url, 6 * function.timeout.as_secs());
            return Err(Failure::said(format!("queue {whole} hides a message for less time than {name} may take; {remedy}")));
        }
        let table = function::table_arn(aws, &aws.place.table()).await?;
        let mut children = Vec::new();
        for other in others {
            children.push(named(aws, other).await?.arn);
        }
        let (target, releases) = match code {
            Code::Latest => (function.arn.clone(), false),
            Code::Live => (format!("{}:{LIVE}", function.arn), Self::releases(aws, function, existing).await?),
        };
        Ok(Self { function, target, releases, mapping, table, children })
    }

    /// Returns true where the alias names a version that does not know its queue: another has to be published.
    async fn releases(aws: &Aws, function: &Function, existing: Option<&(Found, Found)>) -> Result<bool, Failure> {
        let name = &*function.name;
        let Some(live) = Function::look_at(aws, name, Some(LIVE)).await? else { return Ok(true) };
        let knows = |(queue, dlq): &(Found, Found)| live.has(&function::variables(&aws.place, Some(&queue.url), &[&dlq.url]));
        if existing.is_some_and(knows) {
            return Ok(false);
        }
        if live.code == function.code {
            return Ok(true);
        }
        Err(Failure::said(format!(
            "function {name} runs version {}, which lacks variables of this queue, and other code was deployed after it; \
             `sqjobs function release {name}` if that is to run, and then this again",
            live.version
        )))
    }

    /// Lets the queue feed the function, and gives that what it needs. To do it again changes nothing.
    pub(super) async fn begin(self, aws: &Aws, queue: &Found, dlq: &Found) -> Result<(), Failure> {
        let (lambda, function, name) = (aws.lambda(), self.function, &*self.function.name);
        let cannot = |error: String| Failure::because(&format!("cannot let {} feed {name}", queue.name), error);
        let granted = function.grant(aws, "", &function::taker(&self.table, &queue.arn, &dlq.arn)).await?;
        if !self.children.is_empty() {
            function.grant(aws, "-children", &function::parent(&self.table, self.children)).await?;
        }
        setup::add_dlqs(&aws.dynamodb(), &aws.place.table(), slice::from_ref(&dlq.name)).await?;
        function.set(aws, function::variables(&aws.place, Some(&queue.url), &[&dlq.url])).await?;
        // A job may enqueue jobs of its own.
        let allow = lambda.put_function_recursion_config().function_name(name).recursive_loop(RecursiveLoop::Allow);
        allow.send().await.map_err(|error| cannot(told(&error)))?;
        if self.releases {
            release::release(aws, name).await?;
        }
        if let Some(mapping) = self.mapping {
            if mapping.function_arn.as_ref() != Some(&self.target) {
                let update = lambda.update_event_source_mapping().set_uuid(mapping.uuid).function_name(self.target);
                update.send().await.map_err(|error| cannot(told(&error)))?;
            }
            return Ok(());
        }
        let map = lambda.create_event_source_mapping().function_name(self.target).event_source_arn(&queue.arn).batch_size(BATCH);
        let map = map.function_response_types(FunctionResponseType::ReportBatchItemFailures);
        let started = Instant::now();
        loop {
            match map.clone().send().await {
                Ok(_) => return Ok(()),
                // What a role allows is known to Lambda some seconds later.
                Err(error)
                    if granted && started.elapsed() < GRANT && error.message().is_some_and(|text| text.contains("execution role")) =>
                {
                    sleep(BETWEEN_LOOKS).await;
                }
                Err(error) => return Err(cannot(told(&error))),
            }
        }
    }
}

/// A queue by its name, to which the prefix is added, or by its ARN.
async fn named(aws: &Aws, queue: &str) -> Result<Found, Failure> {
    let Some(name) = queue.strip_prefix("arn:").and_then(|arn| arn.rsplit(':').next()) else { return find(aws, &aws.queue(queue)).await };
    let found = find(aws, name).await?;
    if found.arn != queue {
        return Err(Failure::said(format!("there is no queue {queue} in this account and region; here {name} is {}", found.arn)));
    }
    Ok(found)
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

/// Why nothing is known of a queue.
enum Unseen {
    /// It does not exist any more.
    Gone,
    /// This user may not read it.
    Denied,
    /// SQS does not say.
    Failed(String),
}

/// The name of a queue, given its URL.
fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// Reads the queue at that URL.
async fn look(aws: &Aws, url: &str) -> Result<Found, Unseen> {
    let names = [Waiting, InFlight, Delayed, QueueArn, RedrivePolicy, VisibilityTimeout];
    let answer = aws.sqs().get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec())).send().await;
    let attributes = match answer {
        Ok(answer) => answer.attributes.unwrap_or_default(),
        Err(error) => {
            let says = |code: &str| error.code().is_some_and(|own| own.contains(code));
            return Err(match () {
                () if says("NonExistentQueue") || says("DoesNotExist") => Unseen::Gone,
                () if says("AccessDenied") => Unseen::Denied,
                () => Unseen::Failed(told(&error)),
            });
        }
    };
    let name = name_of(url).to_owned();
    let number = |name: &Attribute| attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Found {
        dlq: Policy::of(&attributes).map_or_else(|| dlq_name(&name), |policy| policy.name().to_owned()),
        name,
        url: url.to_owned(),
        arn: attributes.get(&QueueArn).cloned().unwrap_or_default(),
        depth: Depth { waiting: number(&Waiting), in_flight: number(&InFlight), delayed: number(&Delayed) },
        visibility: Duration::from_secs(number(&VisibilityTimeout)),
    })
}

/// The URL of a queue by its whole name. None: there is no such queue.
async fn url(aws: &Aws, name: &str) -> Result<Option<String>, Failure> {
    match aws.sqs().get_queue_url().queue_name(name).send().await {
        Ok(answer) => Ok(answer.queue_url),
        Err(error) if error.as_service_error().is_some_and(GetQueueUrlError::is_queue_does_not_exist) => Ok(None),
        Err(error) => Err(Failure::because(&format!("cannot read queue {name}"), told(&error))),
    }
}

/// Of these queues, by their whole names, those that do not exist.
pub(super) async fn missing(aws: &Aws, names: BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
    let looks = stream::iter(names).map(async |name| Ok(url(aws, &name).await?.is_none().then_some(name))).buffered(AT_A_TIME);
    looks.try_filter_map(|name| ready(Ok(name))).try_collect().await
}

/// Returns why a queue, by its whole name, is not one of this environment.
pub(super) fn of_another(environments: &[String], name: &str) -> Option<String> {
    let prefix = table::environment_of(environments, name)?;
    let short = name.strip_prefix(&**prefix).filter(|short| !short.is_empty())?;
    Some(format!("queue {name} belongs to the environment {prefix}; name it as {short} with --prefix {prefix}"))
}

/// Refuses to change a queue of another environment. Where this user may not list the tables, none is known.
pub(super) async fn refuse_others(aws: &Aws, names: impl IntoIterator<Item = &str>) -> Result<(), Failure> {
    let environments = table::environments(aws).await.unwrap_or_default();
    let refused = names.into_iter().find_map(|name| of_another(&environments, &aws.queue(name)));
    refused.map_or(Ok(()), |sentence| Err(Failure::said(sentence)))
}

/// Returns the name of the queue whose dead-letter queue has this usual name.
pub(super) fn source_name(dlq: &str) -> Option<String> {
    match dlq.strip_suffix("-dlq.fifo") {
        Some(name) => Some(format!("{name}.fifo")),
        None => dlq.strip_suffix("-dlq").map(str::to_owned),
    }
}

/// The dead-letter queues that the table lists, as far as this user may read them.
pub(super) struct DeadLetterQueues(Vec<String>);

impl DeadLetterQueues {
    pub(super) async fn read(aws: &Aws) -> Self {
        Self(setup::dlqs(&aws.dynamodb(), &aws.place.table()).await.unwrap_or_default())
    }

    /// Returns why no job is sent to a queue, by its whole name: it is a dead-letter queue. SQS is asked only of a queue whose name
    /// ends like theirs.
    pub(super) async fn refusal(&self, aws: &Aws, name: &str) -> Option<String> {
        let source = source_name(name);
        let is_dlq = self.0.iter().any(|dlq| dlq == name)
            || match &source {
                Some(source) => find(aws, source).await.is_ok_and(|found| found.dlq == name),
                None => false,
            };
        let remedy = source.map_or("name the queue of its function by --queue".to_owned(), |source| {
            format!("name the queue itself: --queue {}", shell(aws.short(&source)))
        });
        is_dlq.then(|| format!("queue {name} is a dead-letter queue, from which no function takes jobs; {remedy}"))
    }

    /// Refuses to send jobs to a dead-letter queue.
    pub(super) async fn refuse(&self, aws: &Aws, name: &str) -> Result<(), Failure> {
        self.refusal(aws, &aws.queue(name)).await.map_or(Ok(()), |sentence| Err(Failure::said(sentence)))
    }
}

/// A queue by its whole name.
pub(super) async fn find(aws: &Aws, name: &str) -> Result<Found, Failure> {
    let short = aws.short(name);
    found(aws, name, &format!("create it by `sqjobs queue create {short}`, or look at --prefix and --region")).await
}

/// A queue by its whole name; where there is none, the remedy is part of the error.
async fn found(aws: &Aws, name: &str, remedy: &str) -> Result<Found, Failure> {
    let none = || Failure::said(format!("there is no queue {name}; {remedy}"));
    look(aws, &url(aws, name).await?.ok_or_else(none)?).await.map_err(|unseen| match unseen {
        Unseen::Gone | Unseen::Denied => {
            Failure::said(format!("queue {name} cannot be read: it is gone, or you may not; look at --profile"))
        }
        Unseen::Failed(error) => Failure::because(&format!("cannot read queue {name}"), error),
    })
}

/// A queue by its whole name, and its dead-letter queue.
pub(super) async fn pair(aws: &Aws, name: &str) -> Result<(Found, Found), Failure> {
    let queue = find(aws, name).await?;
    let remedy = format!("it is to be the dead-letter queue of {name}: create it, or name another in the redrive policy of {name}");
    let dlq = found(aws, &queue.dlq, &remedy).await?;
    Ok((queue, dlq))
}

/// A queue and its dead-letter queue.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Status {
    /// As people give it, without the prefix.
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) depth: Depth,
    /// Messages in its dead-letter queue.
    pub(super) dead: u64,
    #[serde(skip)]
    pub(super) arn: String,
}

/// The URLs of queues, and those that were left out.
#[derive(Default)]
struct Listed {
    urls: Vec<String>,
    left_out: LeftOut,
}

/// The queues that are not shown, and why.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// The number of queues of other environments, by prefix.
    others: BTreeMap<String, usize>,
    /// Why other environments are not known.
    unknown: Option<String>,
    /// The queues that this user may not read.
    denied: Vec<String>,
}

impl LeftOut {
    /// Says which queues are left out, and why.
    pub(super) fn notes(&self) -> Vec<String> {
        let others = self.others.iter().map(|(prefix, count)| {
            let queues = if *count == 1 { "1 queue whose name begins".into() } else { format!("{count} queues whose names begin") };
            format!("left out: {queues} with {prefix}, the prefix of another environment: --prefix {prefix}")
        });
        others.chain(self.flaws()).collect()
    }

    /// Says what could not be read.
    fn flaws(&self) -> Vec<String> {
        let unknown = self.unknown.iter().map(|error| format!("queues of other environments may be among these: {error}"));
        let denied = Some(self.denied.join(", ")).filter(|names| !names.is_empty());
        unknown.chain(denied.map(|names| format!("left out: {names}: you may not read them (sqs:GetQueueAttributes)"))).collect()
    }
}

/// The queues that have a dead-letter queue, each with that.
#[derive(Default)]
pub(super) struct Queues {
    pub(super) pairs: Vec<(Found, Found)>,
    pub(super) left_out: LeftOut,
}

impl Queues {
    /// Returns their statuses.
    pub(super) fn statuses(self, aws: &Aws) -> Vec<Status> {
        self.pairs.into_iter().map(|pair| status(aws, pair)).collect()
    }

    /// Reads queues. Those that are deleted at the moment are left out.
    async fn read(aws: &Aws, Listed { urls, mut left_out }: Listed) -> Result<Self, Failure> {
        let mut found = BTreeMap::new();
        let mut looks = stream::iter(&urls).map(async |url| (url, look(aws, url).await)).buffered(AT_A_TIME);
        while let Some((url, look)) = looks.next().await {
            match look {
                Ok(queue) => drop(found.insert(queue.name.clone(), queue)),
                Err(Unseen::Gone) => {}
                Err(Unseen::Denied) => left_out.denied.push(name_of(url).to_owned()),
                Err(Unseen::Failed(error)) => return Err(Failure::because("cannot read the queues", error)),
            }
        }
        let pair = |queue: &Found| Some((queue.clone(), found.get(&queue.dlq)?.clone()));
        Ok(Self { pairs: found.values().filter_map(pair).collect(), left_out })
    }
}

/// Every queue of this environment that has a dead-letter queue.
pub(super) async fn all(aws: &Aws) -> Result<Queues, Failure> {
    Queues::read(aws, listed(aws).await?).await
}

/// Says how many messages wait in the dead-letter queues of this environment; nothing, where none does.
pub(super) async fn dead_letters(aws: &Aws) -> Result<Vec<String>, Failure> {
    let listed = listed(aws).await?;
    if let count @ COUNTED.. = listed.urls.len() {
        return Ok(vec![format!(
            "The messages in dead-letter queues are not counted, because there are {count} queues: `sqjobs dlq list` shows them."
        )]);
    }
    let queues = Queues::read(aws, listed).await?;
    let dlqs: BTreeMap<_, _> = queues.pairs.iter().map(|(_, dlq)| (&dlq.name, dlq.depth.all())).collect();
    let count = match dlqs.values().sum() {
        0_u64 => None,
        1 => Some("1 message waits in a dead-letter queue, with or without a record: `sqjobs dlq list` shows it.".to_owned()),
        count => Some(format!("{count} messages wait in dead-letter queues, with or without a record: `sqjobs dlq list` shows them.")),
    };
    Ok(count.into_iter().chain(queues.left_out.flaws()).collect())
}

/// The URLs of the queues of this environment.
async fn listed(aws: &Aws) -> Result<Listed, Failure> {
    let (urls, environments) = join(urls(aws), table::environments(aws)).await;
    let mut listed = Listed::default();
    let environments = environments.unwrap_or_else(|error| {
        listed.left_out.unknown = Some(error);
        Vec::new()
    });
    for url in urls? {
        match table::environment_of(&environments, name_of(&url)) {
            Some(prefix) => *listed.left_out.others.entry(prefix.clone()).or_default() += 1,
            None => listed.urls.push(url),
        }
    }
    Ok(listed)
}

/// Returns the status of a queue.
pub(super) fn status(aws: &Aws, (queue, dlq): (Found, Found)) -> Status {
    Status { name: aws.short(&queue.name).to_owned(), depth: queue.depth, dead: dlq.depth.all(), arn: queue.arn }
}

/// The URLs of all queues whose names begin with the prefix.
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
    pub(super) function: Option<String>,
    /// Whether it feeds it, as Lambda names that: `Enabled`, `Disabled`, or on the way.
    pub(super) mapping: Option<String>,
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

/// The alias or version of its function that a mapping feeds; none where that is what was deployed last.
pub(super) fn qualifier_of(mapping: &Mapping) -> Option<&str> {
    mapping.function_arn.as_ref()?.split(':').nth(FUNCTION + 1)
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
    let notes = queues.left_out.notes();
    let queues = queues.statuses(aws);
    let (feeds, mut output) = (feeds(aws, &queues).await?, Output::new());
    if json {
        queues.iter().zip(&feeds).try_for_each(|(queue, feed)| output.json(&Line { queue, feed }))?;
    } else if queues.is_empty() {
        anstream::eprintln!("{}", none(aws).await);
    } else {
        let rows = queues.iter().zip(&feeds).map(|(queue, feed)| row(queue, feed));
        output.table(["queue", "waiting", "in flight", "delayed", "dead", "function"], rows)?;
    }
    note(&notes);
    Ok(true)
}

/// Says that this environment has no queue, and which of its tables do not exist.
pub(super) async fn none(aws: &Aws) -> String {
    let prefix = Some(&aws.place.prefix).filter(|prefix| !prefix.is_empty());
    let none = prefix.map_or_else(|| "no queue".into(), |prefix| format!("no queue has the prefix {prefix}"));
    // Without the right to list tables, nothing is known of them.
    let sentence = match &*table::missing(aws).await.unwrap_or_default() {
        [] => format!("{none}; `sqjobs queue create NAME` makes one"),
        missing => format!(
            "{none}, and there is no table {}; look at --prefix and --region, or begin with `sqjobs table create`",
            missing.join(" or ")
        ),
    };
    aws.place.with_options(&sentence)
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
    refuse_others(aws, queues.iter().map(String::as_str)).await?;
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
    refuse_others(aws, [name]).await?;
    let Found { name, url, depth, .. } = find(aws, &aws.queue(name)).await?;
    let Depth { waiting, in_flight, delayed } = depth;
    if !confirmed(&format!("Forget all messages of {name} ({waiting} waiting, {in_flight} in flight, {delayed} delayed)?"), yes)? {
        return Ok(false);
    }
    let purge = aws.sqs().purge_queue().queue_url(url);
    purge.send().await.map_err(|error| Failure::because(&format!("cannot purge queue {name}"), told(&error)))?;
    Output::new().line(format!(
        "{} is being emptied, which takes SQS up to a minute. Records stay, and so do jobs that wait in the table",
        clean(&name)
    ))?;
    Ok(true)
}

/// Deletes a queue, its dead-letter queue, and what feeds a function from it; says what stays.
async fn delete(aws: &Aws, name: &str, force: bool, yes: bool) -> Result<bool, Failure> {
    refuse_others(aws, [name]).await?;
    let whole = aws.queue(name);
    // One that was interrupted has left the dead-letter queue.
    let queue = match url(aws, &whole).await? {
        Some(_) => Some(find(aws, &whole).await?),
        None => None,
    };
    let dlq = queue.as_ref().map_or_else(|| dlq_name(&whole), |queue| queue.dlq.clone());
    let dlq = match url(aws, &dlq).await? {
        Some(_) => Some(find(aws, &dlq).await?),
        None => None,
    };
    let shares = |(other, letters): &(Found, Found)| other.name != whole && Some(&letters.name) == dlq.as_ref().map(|dlq| &dlq.name);
    // Those of other environments too.
    let every = Queues::read(aws, Listed { urls: urls(aws).await?, ..Listed::default() }).await?;
    let shared_with = every.pairs.into_iter().find(shares).map(|(other, _)| other.name);
    let doomed: Vec<_> = queue.iter().chain(dlq.iter().filter(|_| shared_with.is_none())).collect();
    if doomed.is_empty() {
        // In the words of any command that is given no queue.
        find(aws, &whole).await?;
    }
    let held: Vec<_> =
        doomed.iter().filter(|queue| queue.depth.all() > 0).map(|queue| format!("{} holds {}", queue.name, queue.depth.all())).collect();
    if !held.is_empty() && !force {
        let remedy = "run or purge them, or delete them as well by --force";
        return Err(Failure::said(format!("cannot delete queue {whole}: there are messages, {}; {remedy}", held.join(", "))));
    }
    let mappings = match &queue {
        Some(queue) => mappings(aws, Some(&queue.arn)).await?,
        None => Vec::new(),
    };
    let names = doomed.iter().map(|queue| &*queue.name).collect::<Vec<_>>().join(" and ");
    let lost = if held.is_empty() { String::new() } else { format!(" with their messages ({})", held.join(", ")) };
    if !confirmed(&format!("Delete {names}{lost}?"), yes)? {
        return Ok(false);
    }
    let cannot = |what: &str, error: String| Failure::because(&format!("cannot delete {what}"), error);
    for id in mappings.iter().filter_map(|mapping| mapping.uuid.as_ref()) {
        let delete = aws.lambda().delete_event_source_mapping().uuid(id).send().await;
        delete.map_err(|error| cannot(&format!("the mapping of queue {whole}"), told(&error)))?;
    }
    for queue in &doomed {
        let delete = aws.sqs().delete_queue().queue_url(&queue.url).send().await;
        delete.map_err(|error| cannot(&format!("queue {}", queue.name), told(&error)))?;
    }
    let letters = dlq.as_ref().filter(|_| shared_with.is_none());
    if let Some(dlq) = letters {
        setup::remove_dlq(&aws.dynamodb(), &aws.place.table(), &dlq.name).await?;
    }
    let mut output = Output::new();
    output.line(format!("deleted {}; SQS takes a minute until the name is free", clean(&names)))?;
    if let (Some(dlq), Some(other)) = (&dlq, shared_with) {
        output.line(format!("{} stays: it is the dead-letter queue of {} too", clean(&dlq.name), clean(&other)))?;
    }
    for function in mappings.iter().filter_map(function_of) {
        output.line(format!("function {function} stays, with its role, its variables and its log; no queue feeds it"))?;
    }
    output.line("records stay until their retention is over")?;
    dependents(aws, &whole, &mut output).await?;
    Ok(true)
}

/// Says which schedules and waiting jobs still name a queue that is gone.
async fn dependents(aws: &Aws, whole: &str, output: &mut Output) -> Result<(), Failure> {
    match aws.schedules().list().await {
        Ok(schedules) => {
            for entry in schedules.iter().map(|schedule| &schedule.entry) {
                let row = serde_json::to_value(entry)?;
                if aws.queue(row["queue"].as_str().unwrap_or_else(|| entry.job())) == whole {
                    let (shown, id) = (clean(entry.id()), shell(entry.id()));
                    let said = format!("schedule {shown} still sends to it; `sqjobs schedule remove {id}` removes it");
                    output.line(aws.place.with_options(&said))?;
                }
            }
        }
        Err(error) => anstream::eprintln!("not looked at: schedules that send to it: {error}"),
    }
    match aws.client().list(By::Due, DUE).await {
        Ok(due) => {
            for record in due.iter().filter(|record| record.queue == whole) {
                let (shown, id) = (clean(&record.id), shell(&record.id));
                let said = format!("job {shown} still waits to be sent to it; `sqjobs cancel {id}` cancels it");
                output.line(aws.place.with_options(&said))?;
            }
        }
        Err(error) => anstream::eprintln!("not looked at: jobs that wait to be sent to it: {error}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_belongs_to_the_environment_with_the_longest_prefix() {
        let environments = ["staging-", "staging-eu-"].map(str::to_owned);
        let said = |name: &str| of_another(&environments, name);
        let eu = "queue staging-eu-invoice belongs to the environment staging-eu-; name it as invoice with --prefix staging-eu-";
        assert_eq!(said("staging-eu-invoice").as_deref(), Some(eu));
        assert!(said("staging-invoice").is_some_and(|said| said.ends_with("name it as invoice with --prefix staging-")));
        assert_eq!(["invoice", "staging", "staging-"].map(said), [None, None, None]);
    }
}
