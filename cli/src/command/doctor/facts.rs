//! What is read of a live system.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef as Answer},
    error::{BoxError, ProvideErrorMetadata as _},
    types::{AttributeValue, TableDescription, TimeToLiveStatus},
};
use aws_sdk_eventbridge::types::RuleState;
use aws_sdk_lambda::types::{FunctionResponseType, RecursiveLoop};
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822, tz::TimeZone};
use sqjobs::{
    By, Record,
    store::{DynamoDb, Store as _},
};

use super::rules::is_forgotten;
use crate::{
    aws::Aws,
    command::{
        function::{self, Function},
        queue::{Policy, function_of, mappings, urls},
    },
    failure::{Failure, told},
};

/// So many due jobs, and failed ones, are looked at.
const JOBS: usize = 1000;
/// So many pages of a megabyte are looked at for leases that ran out.
const PAGES: usize = 25;

/// A system as it is.
#[derive(Debug, Default)]
pub(super) struct System {
    pub(super) now: Timestamp,
    pub(super) jobs: Table,
    pub(super) schedules: Table,
    pub(super) queues: Vec<Queue>,
    pub(super) functions: Vec<Function>,
    /// The functions whose recursive loops Lambda ends.
    pub(super) loops_end: BTreeSet<String>,
    pub(super) beater: Beater,
    /// What the due index holds, the longest overdue first.
    pub(super) due: Vec<Record>,
    /// Schedules and when they are to fire next.
    pub(super) schedules_due: Vec<(String, Timestamp)>,
    /// Records that are running.
    pub(super) running: Vec<Record>,
    /// When messages were parked last, by queue, and why.
    pub(super) parked: Vec<(String, BTreeMap<String, Timestamp>)>,
    /// How far this machine's clock is ahead of AWS's.
    pub(super) skew: Option<SignedDuration>,
    /// What could not be read.
    pub(super) unread: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) name: String,
    /// None: there is no such table.
    pub(super) arn: Option<String>,
    pub(super) indexes: Vec<String>,
    /// The attribute of its time to live.
    pub(super) ttl: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) name: String,
    /// Without the prefix.
    pub(super) short: String,
    pub(super) url: String,
    pub(super) arn: String,
    pub(super) visibility: Duration,
    pub(super) retention: Duration,
    pub(super) delay: Duration,
    pub(super) max_receives: Option<u64>,
    pub(super) dlq: Option<DeadLetters>,
    pub(super) mapping: Option<Mapping>,
    /// What the role of the function that it feeds does not allow that it needs.
    pub(super) lacks: Vec<String>,
    /// A record that is forgotten before its message.
    pub(super) forgotten: Option<Record>,
}

#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) exists: bool,
    pub(super) retention: Duration,
}

/// An event source mapping.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) reports: bool,
    pub(super) batch: i32,
    pub(super) window: Duration,
    pub(super) function: String,
}

#[derive(Debug, Default)]
pub(super) struct Beater {
    pub(super) name: String,
    pub(super) function: Option<Function>,
    /// What its role does not allow that it needs.
    pub(super) lacks: Vec<String>,
    /// Whether an enabled rule wakes it each minute.
    pub(super) is_woken: bool,
}

impl System {
    /// Reads what it may; what it may not is noted.
    pub(super) async fn read(aws: &Aws, beater: &str) -> Result<Self, Failure> {
        let mut system = Self { now: aws.clock.now(), ..Self::default() };
        (system.jobs, system.skew) = table(aws, &aws.place.table).await?;
        system.schedules = table(aws, &aws.place.schedules_table).await?.0;
        system.queues = queues(aws, &mut system.unread).await?;
        let names: BTreeSet<_> = system.queues.iter().filter_map(|queue| Some(queue.mapping.as_ref()?.function.clone())).collect();
        for name in names {
            system.functions.extend(Function::look(aws, &name).await?);
            match aws.lambda().get_function_recursion_config().function_name(&name).send().await {
                Ok(own) if own.recursive_loop == Some(RecursiveLoop::Terminate) => drop(system.loops_end.insert(name)),
                Err(error) if error.code() != Some("ResourceNotFoundException") => {
                    system.unread.push(format!("the recursion setting of function {name}: {}", told(&error)));
                }
                _ => {}
            }
        }
        system.beater = Beater { name: aws.queue(beater), ..Beater::default() };
        system.beater.function = Function::look(aws, &system.beater.name).await?;
        if let Some(function) = &system.beater.function {
            system.beater.is_woken = is_woken(aws, &function.arn, &mut system.unread).await;
        }
        system.rights(aws).await;
        if system.jobs.arn.is_some() {
            system.work(aws).await?;
        }
        if system.schedules.arn.is_some() {
            let schedules = aws.schedules().list().await?.into_iter().filter(|schedule| !schedule.paused);
            system.schedules_due = schedules.filter_map(|schedule| Some((schedule.entry.id().to_owned(), schedule.next_fire?))).collect();
        }
        Ok(system)
    }

    /// Looks at what roles allow.
    async fn rights(&mut self, aws: &Aws) {
        let Some(jobs) = &self.jobs.arn else { return };
        for queue in &mut self.queues {
            let (Some(mapping), Some(dlq)) = (&queue.mapping, &queue.dlq) else { continue };
            let Some(function) = self.functions.iter().find(|function| function.name == mapping.function) else { continue };
            match function.lacks(aws, &function::taker(jobs, &queue.arn, &dlq.arn, vec![])).await {
                Ok(lacks) => queue.lacks = lacks,
                Err(error) => self.unread.push(format!("the role of function {}: {error}", function.name)),
            }
        }
        if let (Some(function), Some(schedules)) = (&self.beater.function, &self.schedules.arn) {
            let (queues, dlqs) = self.queues.iter().filter_map(|queue| Some((queue.arn.clone(), queue.dlq.as_ref()?.arn.clone()))).unzip();
            match function.lacks(aws, &function::beater(jobs, schedules, queues, dlqs)).await {
                Ok(lacks) => self.beater.lacks = lacks,
                Err(error) => self.unread.push(format!("the role of function {}: {error}", function.name)),
            }
        }
    }

    async fn work(&mut self, aws: &Aws) -> Result<(), Failure> {
        if self.jobs.indexes.iter().any(|index| index == "due") {
            self.due = aws.client().list(By::Due, JOBS).await?;
        }
        if self.jobs.indexes.iter().any(|index| index == "listed") {
            let failed = aws.client().list(By::Failed, JOBS).await?;
            for queue in &mut self.queues {
                let mut own = failed.iter().filter(|record| record.queue == queue.name);
                queue.forgotten = own.find(|record| is_forgotten(record, queue.retention)).cloned();
            }
            let today = self.now.to_zoned(TimeZone::UTC).date();
            let tallies = DynamoDb::new(aws.dynamodb(), &aws.place.table).stats(today).await.map_err(sqjobs::Error::from)?;
            let parked = tallies.into_iter().map(|(queue, tally)| (queue, tally.parked_at));
            self.parked = parked.filter(|(queue, _)| queue.starts_with(&aws.place.prefix)).collect();
        }
        self.running = running(aws).await?;
        Ok(())
    }
}

/// The instant of the last answer, by AWS's clock.
#[derive(Debug, Clone, Default)]
struct Date(Arc<Mutex<Option<Timestamp>>>);

impl Intercept for Date {
    fn name(&self) -> &'static str {
        "the date of an answer"
    }

    fn read_before_deserialization(&self, answer: &Answer<'_>, _: &RuntimeComponents, _: &mut ConfigBag) -> Result<(), BoxError> {
        let date = answer.response().headers().get("date").and_then(|date| rfc2822::parse(date).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date.map(|date| date.timestamp());
        Ok(())
    }
}

async fn table(aws: &Aws, name: &str) -> Result<(Table, Option<SignedDuration>), Failure> {
    let date = Date::default();
    let config = aws_sdk_dynamodb::config::Builder::from(&aws.sdk).interceptor(date.clone()).build();
    let (dynamodb, mut table) = (aws_sdk_dynamodb::Client::from_conf(config), Table { name: name.to_owned(), ..Table::default() });
    let described = dynamodb.describe_table().table_name(name).send().await;
    let here = aws.clock.now();
    let skew = date.0.lock().unwrap_or_else(PoisonError::into_inner).map(|there| here.duration_since(there));
    match described {
        Ok(answer) => {
            let described = answer.table.unwrap_or_else(|| TableDescription::builder().build());
            table.arn = Some(described.table_arn.unwrap_or_default());
            let indexes = described.global_secondary_indexes.unwrap_or_default();
            table.indexes = indexes.into_iter().filter_map(|index| index.index_name).collect();
        }
        Err(error) if error.code() == Some("ResourceNotFoundException") => return Ok((table, skew)),
        Err(error) => return Err(Failure::because(&format!("cannot read table {name}"), told(&error))),
    }
    let ttl = dynamodb.describe_time_to_live().table_name(name).send().await;
    let ttl = ttl.map_err(|error| Failure::because(&format!("cannot read table {name}"), told(&error)))?.time_to_live_description;
    let ttl = ttl.filter(|ttl| matches!(ttl.time_to_live_status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)));
    table.ttl = ttl.and_then(|ttl| ttl.attribute_name);
    Ok((table, skew))
}

/// The queues of this environment, with what takes from them. Who is the dead-letter queue of another is none.
async fn queues(aws: &Aws, unread: &mut Vec<String>) -> Result<Vec<Queue>, Failure> {
    let mut all = BTreeMap::new();
    for url in urls(aws).await? {
        let name = url.rsplit('/').next().unwrap_or(&url).to_owned();
        match aws.sqs().get_queue_attributes().queue_url(&url).attribute_names(Attribute::All).send().await {
            Ok(answer) => drop(all.insert(name, (url, answer.attributes.unwrap_or_default()))),
            Err(error) => unread.push(format!("queue {name}: {}", told(&error))),
        }
    }
    let seconds = |attributes: &HashMap<Attribute, String>, name| {
        Duration::from_secs(attributes.get(&name).and_then(|text| text.parse().ok()).unwrap_or(0))
    };
    let mut queues = Vec::new();
    for (name, (url, attributes)) in &all {
        let policy = Policy::of(attributes);
        let arn = attributes.get(&Attribute::QueueArn).cloned().unwrap_or_default();
        queues.push(Queue {
            short: aws.short(name).to_owned(),
            visibility: seconds(attributes, Attribute::VisibilityTimeout),
            retention: seconds(attributes, Attribute::MessageRetentionPeriod),
            delay: seconds(attributes, Attribute::DelaySeconds),
            max_receives: policy.as_ref().and_then(|policy| policy.max_receives),
            dlq: policy.map(|policy| {
                let dlq = all.get(policy.name());
                DeadLetters {
                    name: policy.name().to_owned(),
                    exists: dlq.is_some(),
                    retention: dlq.map(|(_, dlq)| seconds(dlq, Attribute::MessageRetentionPeriod)).unwrap_or_default(),
                    arn: policy.target,
                }
            }),
            mapping: mapping(aws, &arn).await?,
            lacks: Vec::new(),
            forgotten: None,
            arn,
            name: name.clone(),
            url: url.clone(),
        });
    }
    let dlqs: BTreeSet<_> = queues.iter().filter_map(|queue| Some(queue.dlq.as_ref()?.name.clone())).collect();
    queues.retain(|queue| !dlqs.contains(&queue.name));
    Ok(queues)
}

async fn mapping(aws: &Aws, queue_arn: &str) -> Result<Option<Mapping>, Failure> {
    let first = mappings(aws, Some(queue_arn)).await?.into_iter().next();
    Ok(first.map(|mapping| Mapping {
        reports: mapping.function_response_types().contains(&FunctionResponseType::ReportBatchItemFailures),
        batch: mapping.batch_size.unwrap_or(1),
        window: Duration::from_secs(mapping.maximum_batching_window_in_seconds.and_then(|window| window.try_into().ok()).unwrap_or(0)),
        function: function_of(&mapping).unwrap_or_default().to_owned(),
        id: mapping.uuid.unwrap_or_default(),
        state: mapping.state.unwrap_or_default(),
    }))
}

/// Whether an enabled rule of EventBridge wakes a function each minute.
async fn is_woken(aws: &Aws, arn: &str, unread: &mut Vec<String>) -> bool {
    let events = aws.eventbridge();
    let names = match events.list_rule_names_by_target().target_arn(arn).send().await {
        Ok(answer) => answer.rule_names.unwrap_or_default(),
        Err(error) => {
            unread.push(format!("the rules of EventBridge: {}", told(&error)));
            return true;
        }
    };
    for name in names {
        let Ok(rule) = events.describe_rule().name(name).send().await else { continue };
        let each_minute = rule.schedule_expression.is_some_and(|when| ["rate(1 minute)", "cron(* * * * ? *)"].contains(&&*when));
        if each_minute && rule.state == Some(RuleState::Enabled) {
            return true;
        }
    }
    false
}

/// The records that are running: as many as a bounded scan finds.
async fn running(aws: &Aws) -> Result<Vec<Record>, Failure> {
    let scan = aws.dynamodb().scan().table_name(&aws.place.table).filter_expression("attribute_not_exists(purge_at) AND #state = :running");
    let scan =
        scan.expression_attribute_names("#state", "state").expression_attribute_values(":running", AttributeValue::S("running".into()));
    let mut pages = scan.into_paginator().send();
    let mut ids = Vec::new();
    for _ in 0..PAGES {
        let Some(page) = pages.next().await else { break };
        let items = page.map_err(|error| Failure::because("cannot look through the records", told(&error)))?.items.unwrap_or_default();
        ids.extend(items.into_iter().filter_map(|item| item.get("id")?.as_s().ok().cloned()));
    }
    let records = DynamoDb::new(aws.dynamodb(), &aws.place.table).read(&ids).await;
    // One that cannot be read is found by the beater.
    Ok(records.into_iter().filter_map(Result::ok).flatten().collect())
}
