//! What is read of a live system.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    iter::successors,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef as Answer},
    error::{BoxError, ProvideErrorMetadata as _},
    types::{AttributeValue, TableDescription, TimeToLiveDescription, TimeToLiveStatus},
};
use aws_sdk_eventbridge::types::RuleState;
use aws_sdk_lambda::types::{EventSourceMappingConfiguration as EventSourceMapping, FunctionResponseType, RecursiveLoop};
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use serde_json::Value;
use sqjobs::{
    By, Record, Scheduled, State, setup,
    stats::Tally,
    store::{DynamoDb, Store as _},
};

use crate::{
    aws::Aws,
    command::{
        function::{self, Function},
        mapping::{feeds_from, function_of, mappings, qualifier_of},
        queue::{Policy, missing, urls},
        stats, table,
    },
    failure::{Failure, told},
    place::Place,
};

/// So many due jobs, and failed ones, are looked at.
const JOBS: usize = 1000;
/// The most fires after a failed one that are looked at.
const FIRES: usize = 100;
/// So many pages of a megabyte are looked at for leases that ran out.
const PAGES: usize = 25;

/// A system as it is.
#[derive(Debug, Default)]
pub(super) struct System {
    pub(super) now: Timestamp,
    pub(super) place: Place,
    pub(super) jobs: Table,
    pub(super) schedules: Table,
    pub(super) queues: Vec<Queue>,
    /// Whether it is known what feeds functions.
    pub(super) knows_mappings: bool,
    /// By name, those that queues feed and the beater. None: there is no such function. Of the others nothing is known.
    pub(super) functions: BTreeMap<String, Option<Function>>,
    /// The functions to which code or settings were deployed that do not run, and the version that runs.
    pub(super) unreleased: BTreeMap<String, String>,
    /// The functions whose recursive loops Lambda ends.
    pub(super) loops_end: BTreeSet<String>,
    /// The functions that queues of other environments feed.
    pub(super) others: Vec<Function>,
    /// A queue without this prefix whose jobs the table counts.
    pub(super) foreign: Option<String>,
    pub(super) beater: Beater,
    /// What the due index holds, the longest overdue first.
    pub(super) due: Vec<Record>,
    /// The schedules that are not paused, and not wrong.
    pub(super) schedules_due: Vec<Scheduled>,
    /// The schedules that no beater can fire, and why.
    pub(super) wrong_schedules: Vec<(String, String)>,
    /// Of the queues of schedules and of due jobs, by their whole names, those that do not exist.
    pub(super) missing_queues: BTreeSet<String>,
    /// Records that are running.
    pub(super) running: Vec<Record>,
    /// The schedules whose newest jobs failed: for each the newest job, if none has succeeded since.
    pub(super) failing: Vec<(String, Record)>,
    /// When messages were parked last, by queue, and why.
    pub(super) parked: Vec<(String, BTreeMap<String, Timestamp>)>,
    /// The number of duplicates with other arguments that were discarded since yesterday, by queue.
    pub(super) other_arguments: Vec<(String, u64)>,
    /// The queues whose functions were built with `panic = "abort"`.
    pub(super) aborting: Vec<String>,
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
    /// Whether it deletes what its time to live, by `purge_at`, is over for. None: that is not known.
    pub(super) forgets: Option<bool>,
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
    /// The largest message that it takes, in bytes.
    pub(super) max_bytes: u64,
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
    pub(super) max_bytes: u64,
    /// The number of its messages, as SQS reckons.
    pub(super) count: u64,
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
    /// The alias or version of the function that it feeds.
    pub(super) qualifier: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Beater {
    pub(super) name: String,
    /// What its role does not allow that it needs.
    pub(super) lacks: Vec<String>,
    /// Whether an enabled rule wakes it each minute, and may.
    pub(super) is_woken: bool,
    /// The names in the table's list of dead-letter queues. None: the list cannot be read.
    pub(super) listed: Option<Vec<String>>,
}

impl System {
    /// Reads what it may; what it may not is noted.
    pub(super) async fn read(aws: &Aws, beater: Option<&str>) -> Result<Self, Failure> {
        let mut system = Self { now: aws.clock.now(), place: aws.place.clone(), ..Self::default() };
        system.beater = Beater { name: system.beater_name(aws, beater).await, is_woken: true, ..Beater::default() };
        let (jobs, skew) = system.table(aws, &aws.place.table()).await?;
        (system.schedules, _) = system.table(aws, &aws.place.schedules_table()).await?;
        (system.jobs, system.skew) = (jobs, skew);
        let mappings = system.noted("what feeds functions", mappings(aws, None).await.map_err(Failure::told));
        system.knows_mappings = mappings.is_some();
        system.queues = queues(aws, &mappings.unwrap_or_default(), &mut system.unread).await?;
        let fed = system.queues.iter().filter_map(|queue| queue.mapping.as_ref());
        let fed = fed.map(|mapping| (mapping.function.clone(), mapping.qualifier.clone()));
        for (name, qualifier) in [(system.beater.name.clone(), None)].into_iter().chain(fed).collect::<BTreeMap<_, _>>() {
            system.function(aws, name, qualifier.as_deref()).await;
        }
        let environments = table::environments(aws).await;
        let environments = system.noted("which queues belong to other environments", environments).unwrap_or_default();
        system.leave_others_out(&environments);
        system.rights(aws).await;
        system.work(aws).await;
        Ok(system)
    }

    /// The name of the beater: the one that is given, the usual one, or that of a function that is woken as a beater is.
    async fn beater_name(&mut self, aws: &Aws, given: Option<&str>) -> String {
        if let Some(given) = given {
            return given.to_owned();
        }
        let usual = aws.queue("beater");
        if !matches!(Function::look(aws, &usual).await, Ok(None)) {
            return usual;
        }
        let woken = woken(aws).await;
        self.noted("which function EventBridge wakes each minute", woken).flatten().unwrap_or(usual)
    }

    /// What was read, unless it could not be: that is noted.
    fn noted<T>(&mut self, what: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|error| self.unread.push(format!("{what}: {error}"))).ok()
    }

    async fn table(&mut self, aws: &Aws, name: &str) -> Result<(Table, Option<SignedDuration>), Failure> {
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
            Err(error) => return Err(Failure::because(&format!("cannot read table {name}"), error)),
        }
        let ttl = dynamodb.describe_time_to_live().table_name(name).send().await.map_err(|error| told(&error));
        let ttl = self.noted(&format!("the time to live of table {name}"), ttl).map(|ttl| ttl.time_to_live_description);
        let is_on = |ttl: TimeToLiveDescription| {
            let enabled = matches!(ttl.time_to_live_status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
            enabled && ttl.attribute_name.as_deref() == Some("purge_at")
        };
        table.forgets = ttl.map(|ttl| ttl.is_some_and(is_on));
        Ok((table, skew))
    }

    async fn function(&mut self, aws: &Aws, name: String, qualifier: Option<&str>) {
        let looked = Function::look_at(aws, &name, qualifier).await.map_err(Failure::told);
        let Some(function) = self.noted(&format!("function {name}"), looked) else { return };
        if let Some(runs) = function.as_ref().filter(|_| qualifier.is_some()) {
            let latest = Function::look(aws, &name).await.map_err(Failure::told);
            let latest = self.noted(&format!("what was deployed last to function {name}"), latest).flatten();
            if latest.is_some_and(|latest| !latest.is_like(runs)) {
                self.unreleased.insert(name.clone(), runs.version.clone());
            }
        }
        if function.is_some() {
            let recursion = aws.lambda().get_function_recursion_config().function_name(&name).send().await;
            let recursion = self.noted(&format!("the recursion setting of function {name}"), recursion.map_err(|error| told(&error)));
            if recursion.is_some_and(|own| own.recursive_loop == Some(RecursiveLoop::Terminate)) {
                self.loops_end.insert(name.clone());
            }
        }
        if let Some(function) = function.as_ref().filter(|_| name == self.beater.name) {
            let woken = is_woken(aws, function).await;
            self.beater.is_woken = self.noted("what wakes the beater", woken).unwrap_or(true);
        }
        self.functions.insert(name, function);
    }

    /// Leaves out the queues of other environments, and those that feed functions which run no jobs. The variables of its function
    /// say to which environment a queue belongs; without them its name does.
    fn leave_others_out(&mut self, environments: &[String]) {
        let (functions, unread, ours) = (&self.functions, &mut self.unread, &self.place);
        let (mut others, mut left_out) = (BTreeSet::new(), BTreeMap::<_, usize>::new());
        self.queues.retain(|queue| {
            let function = queue.mapping.as_ref().and_then(|mapping| functions.get(&mapping.function)?.as_ref());
            let runs_jobs = |function: &Function| function.environment.keys().any(|name| name.starts_with("SQJOBS_"));
            let theirs = match function.filter(|function| runs_jobs(function)) {
                Some(function) => function.other_environment(&queue.name, ours),
                None => table::environment_of(environments, &queue.name).cloned(),
            };
            if let Some(theirs) = theirs {
                others.extend(function.map(|function| function.name.clone()));
                *left_out.entry(theirs).or_default() += 1;
                return false;
            }
            let Some(function) = function.filter(|function| !runs_jobs(function)) else { return true };
            let (name, short) = (&function.name, &queue.short);
            unread.push(format!("queue {}: it feeds {name}, which has no variable SQJOBS_...; if it is to run jobs, `sqjobs queue create {short} --function {name}`", queue.name));
            false
        });
        for (prefix, count) in left_out {
            let queues = if count == 1 { "1 queue".into() } else { format!("{count} queues") };
            unread.push(format!("{queues} of another environment: --prefix {prefix}"));
        }
        self.others = others.iter().filter_map(|name| self.functions.remove(name)?).collect();
    }

    /// The queues whose functions say that they take from them, and their dead-letter queues: those that a beater looks after.
    pub(super) fn fed(&self) -> impl Iterator<Item = (&Queue, &DeadLetters)> {
        self.queues.iter().filter_map(|queue| {
            let function = self.functions.get(&queue.mapping.as_ref()?.function)?.as_ref()?;
            function.takes_from(&queue.name).then_some((queue, queue.dlq.as_ref()?))
        })
    }

    /// Looks at what roles allow.
    async fn rights(&mut self, aws: &Aws) {
        let Some(jobs) = &self.jobs.arn else { return };
        let (queues, dlqs) = self.fed().map(|(queue, dlq)| (queue.arn.clone(), dlq.arn.clone())).unzip();
        for queue in &mut self.queues {
            let (Some(mapping), Some(dlq)) = (&queue.mapping, &queue.dlq) else { continue };
            let Some(Some(function)) = self.functions.get(&mapping.function) else { continue };
            match function.lacks(aws, &function::taker(jobs, &queue.arn, &dlq.arn)).await {
                Ok(lacks) => queue.lacks = lacks,
                Err(error) => self.unread.push(format!("the role of function {}: {error}", function.name)),
            }
        }
        if let (Some(Some(function)), Some(schedules)) = (self.functions.get(&self.beater.name), &self.schedules.arn) {
            let lacks = match function::beater(&aws.place.prefix, jobs, schedules, queues, dlqs) {
                Ok(rights) => function.lacks(aws, &rights).await,
                Err(failure) => Err(failure.told()),
            };
            match lacks {
                Ok(lacks) => self.beater.lacks = lacks,
                Err(error) => self.unread.push(format!("the role of function {}: {error}", function.name)),
            }
        }
    }

    async fn work(&mut self, aws: &Aws) {
        let has = |table: &Table, index: &str| table.arn.is_some() && table.indexes.iter().any(|own| own == index);
        let said = |error: sqjobs::Error| error.to_string();
        if has(&self.jobs, "due") {
            let due = aws.client().list(By::Due, JOBS).await.map_err(said);
            self.due = self.noted("what is due", due).unwrap_or_default();
        }
        let mut failed = Vec::new();
        if has(&self.jobs, "listed") {
            let dlqs = setup::dlqs(&aws.dynamodb(), &aws.place.table()).await.map_err(said);
            self.beater.listed = self.noted("the list of dead-letter queues", dlqs);
            let listed = aws.client().list(By::Failed, JOBS).await.map_err(said);
            failed = self.noted("what failed", listed).unwrap_or_default();
            for queue in &mut self.queues {
                let mut own = failed.iter().filter(|record| record.queue == queue.name);
                queue.forgotten = own.find(|record| is_forgotten(record, queue.retention)).cloned();
            }
            let mut tallies = self.noted("statistics", stats::recent(aws, self.now).await).unwrap_or_default();
            self.foreign = tallies.keys().find(|queue| !queue.starts_with(&aws.place.prefix)).cloned();
            tallies.retain(|queue, _| queue.starts_with(&aws.place.prefix));
            self.aborting = tallies.iter().filter(|(_, tally)| tally.is_aborting()).map(|(queue, _)| queue.clone()).collect();
            let other_arguments = |(queue, tally): (&String, &Tally)| Some((queue.clone(), *tally.kinds.get(stats::OTHER_ARGUMENTS)?));
            self.other_arguments = tallies.iter().filter_map(other_arguments).collect();
            self.parked = tallies.into_iter().map(|(queue, tally)| (queue, tally.parked_at)).collect();
        }
        if self.jobs.arn.is_some() {
            let running = running(aws).await;
            self.running = self.noted("what runs", running).unwrap_or_default();
        }
        if self.schedules.arn.is_some() {
            let schedules = aws.schedules().list_all().await.map_err(said);
            let (schedules, unreadable) = self.noted("schedules", schedules).unwrap_or_default();
            self.wrong_schedules = unreadable;
            for schedule in schedules.into_iter().filter(|schedule| !schedule.paused) {
                match schedule.timetable(self.now) {
                    Ok(_) => self.schedules_due.push(schedule),
                    Err(error) => self.wrong_schedules.push((schedule.entry.id().to_owned(), error.to_string())),
                }
            }
            let failing = failing(aws, &self.schedules_due, &failed, self.now).await;
            self.failing = self.noted("the jobs of schedules", failing).unwrap_or_default();
        }
        let of_schedules = self.schedules_due.iter().map(|schedule| aws.queue(schedule.entry.queue_name()));
        let queues = of_schedules.chain(self.due.iter().map(|record| record.queue.clone())).collect();
        let missing = missing(aws, queues).await.map_err(Failure::told);
        self.missing_queues = self.noted("the queues of schedules and of due jobs", missing).unwrap_or_default();
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

/// The queues of this environment, with what takes from them. Who is the dead-letter queue of another is none.
async fn queues(aws: &Aws, mappings: &[EventSourceMapping], unread: &mut Vec<String>) -> Result<Vec<Queue>, Failure> {
    let mut all = BTreeMap::new();
    for url in urls(aws).await? {
        let name = url.rsplit('/').next().unwrap_or(&url).to_owned();
        match aws.sqs().get_queue_attributes().queue_url(&url).attribute_names(Attribute::All).send().await {
            Ok(answer) => drop(all.insert(name, (url, answer.attributes.unwrap_or_default()))),
            Err(error) => unread.push(format!("queue {name}: {}", told(&error))),
        }
    }
    let number = |attributes: &HashMap<Attribute, String>, name| attributes.get(&name).and_then(|text| text.parse().ok()).unwrap_or(0);
    let seconds = |attributes: &HashMap<Attribute, String>, name| Duration::from_secs(number(attributes, name));
    let mut queues = Vec::new();
    for (name, (url, attributes)) in &all {
        let policy = Policy::of(attributes);
        let arn = attributes.get(&Attribute::QueueArn).cloned().unwrap_or_default();
        queues.push(Queue {
            short: aws.short(name).to_owned(),
            visibility: seconds(attributes, Attribute::VisibilityTimeout),
            retention: seconds(attributes, Attribute::MessageRetentionPeriod),
            delay: seconds(attributes, Attribute::DelaySeconds),
            max_bytes: number(attributes, Attribute::MaximumMessageSize),
            max_receives: policy.as_ref().and_then(|policy| policy.max_receives),
            dlq: policy.map(|policy| {
                let dlq = all.get(policy.name());
                DeadLetters {
                    name: policy.name().to_owned(),
                    exists: dlq.is_some(),
                    retention: dlq.map(|(_, dlq)| seconds(dlq, Attribute::MessageRetentionPeriod)).unwrap_or_default(),
                    max_bytes: dlq.map(|(_, dlq)| number(dlq, Attribute::MaximumMessageSize)).unwrap_or_default(),
                    count: dlq.map(|(_, dlq)| number(dlq, Attribute::ApproximateNumberOfMessages)).unwrap_or_default(),
                    arn: policy.target,
                }
            }),
            mapping: mappings.iter().find(|mapping| feeds_from(mapping, &arn)).map(Mapping::of),
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

impl Mapping {
    fn of(mapping: &EventSourceMapping) -> Self {
        let window = mapping.maximum_batching_window_in_seconds.and_then(|window| window.try_into().ok());
        Self {
            reports: mapping.function_response_types().contains(&FunctionResponseType::ReportBatchItemFailures),
            batch: mapping.batch_size.unwrap_or(1),
            window: Duration::from_secs(window.unwrap_or(0)),
            function: function_of(mapping).unwrap_or_default().to_owned(),
            qualifier: qualifier_of(mapping).map(str::to_owned),
            id: mapping.uuid.clone().unwrap_or_default(),
            state: mapping.state.clone().unwrap_or_default(),
        }
    }
}

/// Returns true where a rule of EventBridge with that expression fires each minute.
fn is_each_minute(expression: Option<&str>) -> bool {
    expression.is_some_and(|when| ["rate(1 minute)", "cron(* * * * ? *)"].contains(&when))
}

/// Returns the function that a rule of EventBridge wakes each minute and whose variables name the table of the schedules.
async fn woken(aws: &Aws) -> Result<Option<String>, String> {
    let (events, mut from) = (aws.eventbridge(), None);
    loop {
        let page = events.list_rules().set_next_token(from).send().await.map_err(|error| told(&error))?;
        let rules = page.rules.unwrap_or_default();
        for rule in rules.into_iter().filter(|rule| is_each_minute(rule.schedule_expression.as_deref())) {
            let targets = events.list_targets_by_rule().set_rule(rule.name).send().await.map_err(|error| told(&error))?;
            for target in targets.targets.unwrap_or_default() {
                let Some(name) = target.arn.strip_prefix("arn:aws").and_then(|arn| arn.split(":function:").nth(1)) else { continue };
                let name = name.split(':').next().unwrap_or(name);
                let function = Function::look(aws, name).await.map_err(Failure::told)?;
                let is_beater = |function: &Function| {
                    let place = Place::of(&function.environment);
                    let says = ["SQJOBS_TABLE", "SQJOBS_PREFIX"].iter().any(|name| function.environment.contains_key(*name));
                    says && (place.table(), place.schedules_table()) == (aws.place.table(), aws.place.schedules_table())
                };
                if let Some(function) = function.filter(is_beater) {
                    return Ok(Some(function.name));
                }
            }
        }
        from = page.next_token;
        if from.is_none() {
            return Ok(None);
        }
    }
}

/// Whether an enabled rule of EventBridge wakes a function each minute, and may.
async fn is_woken(aws: &Aws, function: &Function) -> Result<bool, String> {
    let mut is_rung = false;
    for name in function.rules(aws).await.map_err(|cause| cause.to_string())? {
        let rule = aws.eventbridge().describe_rule().name(name).send().await.map_err(|error| told(&error))?;
        is_rung |= is_each_minute(rule.schedule_expression.as_deref()) && rule.state == Some(RuleState::Enabled);
    }
    let policy = match aws.lambda().get_policy().function_name(&function.name).send().await {
        Ok(answer) => serde_json::from_str::<Value>(answer.policy().unwrap_or_default()).unwrap_or_default(),
        Err(error) if error.code() == Some("ResourceNotFoundException") => return Ok(false),
        Err(error) => return Err(told(&error)),
    };
    let allows = |statement: &Value| {
        let service = &statement["Principal"]["Service"];
        statement["Effect"] == "Allow" && service.as_str().is_some_and(|service| service.starts_with("events."))
    };
    Ok(is_rung && policy["Statement"].as_array().is_some_and(|statements| statements.iter().any(allows)))
}

/// Returns the newest failed job of each schedule of which no newer job has succeeded.
async fn failing(aws: &Aws, schedules: &[Scheduled], failed: &[Record], now: Timestamp) -> Result<Vec<(String, Record)>, String> {
    let (store, mut failing) = (DynamoDb::new(aws.dynamodb(), aws.place.table()), Vec::new());
    for schedule in schedules {
        let fires = failed.iter().filter_map(|record| Some((schedule.entry.fire_of(&record.id)?, record)));
        let Some((newest, record)) = fires.max_by_key(|(fire, _)| *fire) else { continue };
        let Ok(timetable) = schedule.timetable(now) else { continue };
        let later = successors(Some(newest), |fire| timetable.next(*fire)).skip(1).take_while(|fire| *fire <= now);
        let ids: Vec<_> = later.take(FIRES).map(|fire| schedule.entry.job_id(fire)).collect();
        let later = store.read(&ids).await.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        if !later.iter().flatten().any(|later| later.state == State::Succeeded) {
            failing.push((schedule.entry.id().to_owned(), record.clone()));
        }
    }
    Ok(failing)
}

/// The records that are running: as many as a bounded scan finds.
async fn running(aws: &Aws) -> Result<Vec<Record>, String> {
    let scan =
        aws.dynamodb().scan().table_name(aws.place.table()).filter_expression("attribute_not_exists(purge_at) AND #state = :running");
    let scan =
        scan.expression_attribute_names("#state", "state").expression_attribute_values(":running", AttributeValue::S("running".into()));
    let mut pages = scan.into_paginator().send();
    let mut ids = Vec::new();
    for _ in 0..PAGES {
        let Some(page) = pages.next().await else { break };
        let items = page.map_err(|error| told(&error))?.items.unwrap_or_default();
        ids.extend(items.into_iter().filter_map(|item| item.get("id")?.as_s().ok().cloned()));
    }
    let records = DynamoDb::new(aws.dynamodb(), aws.place.table()).read(&ids).await;
    // One that cannot be read is found by the beater.
    Ok(records.into_iter().filter_map(Result::ok).flatten().collect())
}

/// Returns true if the record of an ended job is deleted before its message may be, which its queue keeps for `retention`.
fn is_forgotten(record: &Record, retention: Duration) -> bool {
    let kept = record.purge_at.zip(record.finished_at).map(|(purge, end)| purge - end.as_second());
    let needed = i64::try_from(retention.as_secs()).unwrap_or(i64::MAX).saturating_add(86_400);
    kept.is_some_and(|kept| kept < needed)
}
