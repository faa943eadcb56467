//! Reads queues, their dead-letter queues and their depths.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::ready,
    time::Duration,
};

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
    queue::is_fifo,
    setup::{self, dlq_name},
};

use super::tables;
use crate::{
    aws::Aws,
    failure::{Cause, Failure},
    output::clean,
    shell::{creation, shell},
};

/// The number of queues that are read at the same time.
const AT_A_TIME: usize = 16;
/// Maximum number of queues whose dead letters `sqjobs list` counts.
const COUNTED: usize = 200;

pub(super) fn set_visibility(url: &str, seconds: u64) -> String {
    format!("`aws sqs set-queue-attributes --queue-url {url} --attributes VisibilityTimeout={seconds}`")
}

/// Finds a queue by its name without the prefix, or by its ARN.
pub(super) async fn named(aws: &Aws, queue: &str) -> Result<SqsQueue, Failure> {
    let Some(name) = queue.strip_prefix("arn:").and_then(|arn| arn.rsplit(':').next()) else { return find(aws, &aws.queue(queue)).await };
    let found = find(aws, name).await?;
    if found.arn != queue {
        return Err(Failure::new(format!("there is no queue {queue} in this account and region; the queue {name} here is {}", found.arn)));
    }
    Ok(found)
}

/// The messages of a queue, as SQS counts them: the counts may be a minute late.
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

/// A queue as SQS describes it.
#[derive(Clone)]
pub(super) struct SqsQueue {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) arn: String,
    pub(super) depth: Depth,
    pub(super) visibility: Duration,
    /// The name of its dead-letter queue.
    pub(super) dlq: String,
    /// True if its redrive policy points to the dead-letter queue. Otherwise the name is the default one.
    has_policy: bool,
}

/// The redrive policy of a queue: the number of receives after which SQS moves a message, and the target.
pub(super) struct Policy {
    /// The ARN of the dead-letter queue.
    pub(super) target: String,
    pub(super) max_receives: Option<u64>,
}

impl Policy {
    /// Returns the redrive policy from a queue's attributes.
    pub(super) fn of(attributes: &HashMap<Attribute, String>) -> Option<Self> {
        let policy: Value = serde_json::from_str(attributes.get(&RedrivePolicy)?).ok()?;
        // The value is a number, or a string with a number.
        let max_receives = policy["maxReceiveCount"].to_string().trim_matches('"').parse().ok();
        Some(Self { target: policy["deadLetterTargetArn"].as_str()?.to_owned(), max_receives })
    }

    /// The name of the dead-letter queue.
    pub(super) fn name(&self) -> &str {
        self.target.rsplit(':').next().unwrap_or_default()
    }
}

/// The reason why a queue cannot be read.
enum ReadError {
    /// The queue does not exist any more.
    Gone,
    /// This user has no permission to read it.
    Denied,
    /// Another error.
    Failed(Cause),
}

/// Returns the name of the queue at a URL.
fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// Reads the queue at a URL.
async fn read(aws: &Aws, url: &str) -> Result<SqsQueue, ReadError> {
    let names = [Waiting, InFlight, Delayed, QueueArn, RedrivePolicy, VisibilityTimeout];
    let answer = aws.sqs().get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec())).send().await;
    let attributes = match answer {
        Ok(answer) => answer.attributes.unwrap_or_default(),
        Err(error) => {
            let says = |code: &str| error.code().is_some_and(|own| own.contains(code));
            return Err(match () {
                () if says("NonExistentQueue") || says("DoesNotExist") => ReadError::Gone,
                () if says("AccessDenied") => ReadError::Denied,
                () => ReadError::Failed(error.into()),
            });
        }
    };
    let name = name_of(url).to_owned();
    let number = |name: &Attribute| attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    let policy = Policy::of(&attributes);
    Ok(SqsQueue {
        has_policy: policy.is_some(),
        dlq: policy.map_or_else(|| dlq_name(&name), |policy| policy.name().to_owned()),
        name,
        url: url.to_owned(),
        arn: attributes.get(&QueueArn).cloned().unwrap_or_default(),
        depth: Depth { waiting: number(&Waiting), in_flight: number(&InFlight), delayed: number(&Delayed) },
        visibility: Duration::from_secs(number(&VisibilityTimeout)),
    })
}

/// Returns the URL of a queue by its full name. None: there is no such queue.
pub(super) async fn url(aws: &Aws, name: &str) -> Result<Option<String>, Failure> {
    match aws.sqs().get_queue_url().queue_name(name).send().await {
        Ok(answer) => Ok(answer.queue_url),
        Err(error) if error.as_service_error().is_some_and(GetQueueUrlError::is_queue_does_not_exist) => Ok(None),
        Err(error) => Err(Failure::because(&format!("cannot read queue {name}"), error)),
    }
}

/// Returns the queues, by their full names, that do not exist.
pub(super) async fn missing(aws: &Aws, names: BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
    let reads = stream::iter(names).map(async |name| Ok(url(aws, &name).await?.is_none().then_some(name))).buffered(AT_A_TIME);
    reads.try_filter_map(|name| ready(Ok(name))).try_collect().await
}

/// Returns an error if a job's queue, by its full name, does not exist. Reports if this user has no permission to check.
pub(super) async fn refuse_missing(aws: &Aws, what: &str, name: &str) -> Result<(), Failure> {
    match url(aws, name).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Failure::new(format!("{what}: its queue {name} does not exist; create it with {}", creation(aws.short(name))))),
        Err(failure) => {
            let message = clean(&aws.place.with_options(&failure.into_message()));
            note!("cannot check whether the job's queue exists: {message}");
            Ok(())
        }
    }
}

/// Returns an error if a queue, by its full name, belongs to another environment.
pub(super) fn of_another(environments: &[String], name: &str) -> Option<String> {
    let prefix = tables::environment_of(environments, name)?;
    let short = name.strip_prefix(&**prefix).filter(|short| !short.is_empty())?;
    Some(format!("queue {name} belongs to the environment {prefix}; use the name {short} and --prefix {prefix}"))
}

/// Refuses queues of other environments. Without the permission to list tables, no other environment is known.
pub(super) async fn refuse_others(aws: &Aws, names: impl IntoIterator<Item = &str>) -> Result<(), Failure> {
    let environments = tables::environments(aws).await.unwrap_or_default();
    let refused = names.into_iter().find_map(|name| of_another(&environments, &aws.queue(name)));
    refused.map_or(Ok(()), |sentence| Err(Failure::new(sentence)))
}

/// Returns the queue whose dead-letter queue has this default name.
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

    /// Returns an error if a queue, by its full name, is a dead-letter queue. Asks SQS only if the name has the ending of a dead-letter
    /// queue.
    pub(super) async fn refusal(&self, aws: &Aws, name: &str) -> Option<String> {
        let source = source_name(name);
        let is_dlq = self.0.iter().any(|dlq| dlq == name)
            || match &source {
                Some(source) => find(aws, source).await.is_ok_and(|found| found.dlq == name),
                None => false,
            };
        let remedy = source.map_or("name the queue of the job's function with --queue".to_owned(), |source| {
            format!("name its source queue instead: --queue {}", shell(aws.short(&source)))
        });
        is_dlq.then(|| format!("queue {name} is a dead-letter queue, and no function reads it; {remedy}"))
    }

    /// Refuses to send jobs to a dead-letter queue.
    pub(super) async fn refuse(&self, aws: &Aws, name: &str) -> Result<(), Failure> {
        self.refusal(aws, &aws.queue(name)).await.map_or(Ok(()), |sentence| Err(Failure::new(sentence)))
    }
}

/// Finds a queue by its full name.
pub(super) async fn find(aws: &Aws, name: &str) -> Result<SqsQueue, Failure> {
    find_with_remedy(aws, name, &format!("create it with {}, or check --prefix and --region", creation(aws.short(name)))).await
}

/// Finds a queue by its full name. If there is none, the error contains the remedy.
async fn find_with_remedy(aws: &Aws, name: &str, remedy: &str) -> Result<SqsQueue, Failure> {
    let no_queue = || Failure::new(format!("there is no queue {name}; {remedy}"));
    read(aws, &url(aws, name).await?.ok_or_else(no_queue)?).await.map_err(|error| match error {
        ReadError::Gone | ReadError::Denied => {
            Failure::new(format!("cannot read queue {name}: it was deleted, or you have no permission; check --profile"))
        }
        ReadError::Failed(error) => Failure::because(&format!("cannot read queue {name}"), error),
    })
}

/// Finds a queue by its full name, and its dead-letter queue.
pub(super) async fn pair(aws: &Aws, name: &str) -> Result<(SqsQueue, SqsQueue), Failure> {
    let queue = find(aws, name).await?;
    let remedy = if queue.has_policy {
        format!("the redrive policy of queue {name} points to it; {} creates it", create_dlq(&queue.dlq))
    } else {
        format!("queue {name} has no redrive policy; `sqjobs doctor` prints the commands that create the dead-letter queue and the policy")
    };
    let dlq = find_with_remedy(aws, &queue.dlq, &remedy).await?;
    Ok((queue, dlq))
}

/// Returns the command that creates a missing dead-letter queue with the longest retention.
pub(super) fn create_dlq(dlq: &str) -> String {
    let fifo = if is_fifo(dlq) { ",FifoQueue=true" } else { "" };
    format!("`aws sqs create-queue --queue-name {dlq} --attributes MessageRetentionPeriod=1209600{fifo}`")
}

/// A queue and its dead-letter queue.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Status {
    /// The name without the prefix.
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) depth: Depth,
    /// Messages in its dead-letter queue.
    pub(super) dead: u64,
    #[serde(skip)]
    pub(super) arn: String,
}

/// The URLs of queues, and the queues that are not shown.
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
    /// The error that hides other environments.
    unknown: Option<String>,
    /// The queues that this user has no permission to read.
    denied: Vec<String>,
    /// The queues without their dead-letter queues, with the names of both.
    without_dlq: Vec<(String, String)>,
}

impl LeftOut {
    /// Returns a note about each group of queues that is not shown.
    pub(super) fn notes(&self) -> Vec<String> {
        let others = self.others.iter().map(|(prefix, count)| {
            let queues = if *count == 1 { "1 queue whose name begins".into() } else { format!("{count} queues whose names begin") };
            format!("not shown: {queues} with {prefix}, the prefix of another environment; --prefix {prefix} shows them")
        });
        others.chain(self.errors()).collect()
    }

    /// Returns a note about each queue that cannot be read.
    fn errors(&self) -> Vec<String> {
        let unknown = self
            .unknown
            .iter()
            .map(|error| format!("queues of other environments may be included, because the tables cannot be listed: {error}"));
        let denied = Some(self.denied.join(", ")).filter(|names| !names.is_empty());
        let denied = denied.map(|names| format!("not shown: {names}: you have no permission to read them (sqs:GetQueueAttributes)"));
        let without_dlq = self
            .without_dlq
            .iter()
            .map(|(queue, dlq)| format!("not shown: {queue}: its dead-letter queue {dlq} does not exist; {} creates it", create_dlq(dlq)));
        unknown.chain(denied).chain(without_dlq).collect()
    }
}

/// Pairs of a queue and its dead-letter queue.
#[derive(Default)]
pub(super) struct Queues {
    pub(super) pairs: Vec<(SqsQueue, SqsQueue)>,
    pub(super) left_out: LeftOut,
}

impl Queues {
    /// Returns the statuses of the queues.
    pub(super) fn statuses(self, aws: &Aws) -> Vec<Status> {
        self.pairs.into_iter().map(|pair| status(aws, pair)).collect()
    }

    /// Reads the queues of all environments.
    pub(super) async fn of_account(aws: &Aws) -> Result<Self, Failure> {
        Self::read(aws, Listed { urls: urls(aws).await?, ..Listed::default() }).await
    }

    /// Reads queues, without those that are deleted in the meantime.
    async fn read(aws: &Aws, Listed { urls, mut left_out }: Listed) -> Result<Self, Failure> {
        let mut found = BTreeMap::new();
        let mut reads = stream::iter(&urls).map(async |url| (url, read(aws, url).await)).buffered(AT_A_TIME);
        while let Some((url, answer)) = reads.next().await {
            match answer {
                Ok(queue) => drop(found.insert(queue.name.clone(), queue)),
                Err(ReadError::Gone) => {}
                Err(ReadError::Denied) => left_out.denied.push(name_of(url).to_owned()),
                Err(ReadError::Failed(error)) => return Err(Failure::because("cannot read the queues", error)),
            }
        }
        for queue in found.values().filter(|queue| queue.has_policy && !found.contains_key(&queue.dlq)) {
            // The dead-letter queue may belong to another environment, or this user has no permission to read it.
            if matches!(url(aws, &queue.dlq).await, Ok(None)) {
                left_out.without_dlq.push((queue.name.clone(), queue.dlq.clone()));
            }
        }
        let pair = |queue: &SqsQueue| Some((queue.clone(), found.get(&queue.dlq)?.clone()));
        Ok(Self { pairs: found.values().filter_map(pair).collect(), left_out })
    }
}

/// Returns the queues of this environment that have a dead-letter queue.
pub(super) async fn all(aws: &Aws) -> Result<Queues, Failure> {
    Queues::read(aws, listed(aws).await?).await
}

/// Returns notes about the messages in the dead-letter queues of this environment; none if there are no messages.
pub(super) async fn dead_letters(aws: &Aws) -> Result<Vec<String>, Failure> {
    let listed = listed(aws).await?;
    if let count @ COUNTED.. = listed.urls.len() {
        return Ok(vec![format!(
            "The messages in dead-letter queues were not counted, because there are {count} queues: `sqjobs dlq list` shows the messages."
        )]);
    }
    let queues = Queues::read(aws, listed).await?;
    let dlqs: BTreeMap<_, _> = queues.pairs.iter().map(|(_, dlq)| (&dlq.name, dlq.depth.all())).collect();
    let count = match dlqs.values().sum() {
        0_u64 => None,
        1 => Some("1 message waits in a dead-letter queue, and may have no record: `sqjobs dlq list` shows it.".to_owned()),
        count => Some(format!("{count} messages wait in dead-letter queues, and some may have no record: `sqjobs dlq list` shows them.")),
    };
    Ok(count.into_iter().chain(queues.left_out.errors()).collect())
}

/// Returns the URLs of the queues of this environment.
async fn listed(aws: &Aws) -> Result<Listed, Failure> {
    let (urls, environments) = join(urls(aws), tables::environments(aws)).await;
    let mut listed = Listed::default();
    let environments = environments.unwrap_or_else(|error| {
        listed.left_out.unknown = Some(error);
        Vec::new()
    });
    for url in urls? {
        match tables::environment_of(&environments, name_of(&url)) {
            Some(prefix) => *listed.left_out.others.entry(prefix.clone()).or_default() += 1,
            None => listed.urls.push(url),
        }
    }
    Ok(listed)
}

/// Returns the status of a queue.
pub(super) fn status(aws: &Aws, (queue, dlq): (SqsQueue, SqsQueue)) -> Status {
    Status { name: aws.short(&queue.name).to_owned(), depth: queue.depth, dead: dlq.depth.all(), arn: queue.arn }
}

/// Returns the URLs of all queues whose names start with the prefix.
pub(super) async fn urls(aws: &Aws) -> Result<Vec<String>, Failure> {
    let list = aws.sqs().list_queues().set_queue_name_prefix(Some(aws.place.prefix.clone()).filter(|prefix| !prefix.is_empty()));
    let mut pages = list.max_results(1000).into_paginator().send();
    let mut urls = Vec::new();
    while let Some(page) = pages.next().await {
        urls.extend(page.map_err(|error| Failure::because("cannot list the queues", error))?.queue_urls.unwrap_or_default());
    }
    Ok(urls)
}

/// Returns a note that this environment has no queue, with its missing tables.
pub(super) async fn no_queue(aws: &Aws) -> String {
    let prefix = Some(&aws.place.prefix).filter(|prefix| !prefix.is_empty());
    let no_queue = prefix.map_or_else(|| "no queue".into(), |prefix| format!("no queue has the prefix {prefix}"));
    // Without the permission to list tables, no table counts as missing.
    let sentence = match &*tables::missing(aws).await.unwrap_or_default() {
        [] => format!("{no_queue}; `sqjobs queue create NAME` creates one"),
        missing => format!(
            "{no_queue}, and there is no table {}; check --prefix and --region, or start with `sqjobs table create`",
            missing.join(" or ")
        ),
    };
    aws.place.with_options(&sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_belongs_to_the_environment_with_the_longest_prefix() {
        let environments = ["staging-", "staging-eu-"].map(str::to_owned);
        let message = |name: &str| of_another(&environments, name);
        let eu = "queue staging-eu-invoice belongs to the environment staging-eu-; use the name invoice and --prefix staging-eu-";
        assert_eq!(message("staging-eu-invoice").as_deref(), Some(eu));
        assert!(message("staging-invoice").is_some_and(|message| message.ends_with("use the name invoice and --prefix staging-")));
        assert_eq!(["invoice", "staging", "staging-"].map(message), [None, None, None]);
    }
}
