//! Connects a queue to a function: checks the plan, then carries it out.

use std::{
    slice,
    time::{Duration, Instant},
};

use aws_sdk_lambda::types::{EventSourceMappingConfiguration as Mapping, FunctionResponseType, RecursiveLoop};
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use sqjobs::{Priority, setup};
use tokio::time::sleep;

use super::{
    function::{self, CHILDREN, Function},
    mapping::{feeds_from, function_of, mappings, qualifier_of},
    queue::{SqsQueue, named, set_visibility},
    release::{self, LIVE},
};
use crate::{
    aws::Aws,
    failure::{Cause, Failure},
};

/// Refuses a table other than the one that the function of a queue uses.
pub(super) async fn refuse_other_table(aws: &Aws, queue: &str, arn: &str) -> Result<(), Failure> {
    // Without the permission to read functions, only the names of the tables decide, which each command checks before.
    let mappings = mappings(aws, Some(arn)).await.unwrap_or_default();
    let fed = mappings.iter().find_map(|mapping| Some((function_of(mapping)?, qualifier_of(mapping))));
    let function = match fed {
        Some((name, qualifier)) => Function::get_version(aws, name, qualifier).await.unwrap_or_default(),
        None => None,
    };
    let used = function.as_ref().and_then(|function| Some((&function.name, function.table()?)));
    let Some((name, used)) = used else { return Ok(()) };
    let ours = aws.place.table();
    if used == ours {
        return Ok(());
    }
    Err(Failure::new(format!(
        "queue {queue} feeds function {name}, which writes its records to table {used}, but this command uses table {ours}: give --table \
         {used}, or give only the --prefix of the function's environment"
    )))
}

/// The pause between two reads of a part that AWS is changing.
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Maximum time until a new right of a role takes effect.
const GRANT: Duration = Duration::from_mins(1);
/// Maximum number of messages in an invocation.
const BATCH: i32 = 10;

/// The code of a function that a queue invokes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// The newest deployment.
    Latest,
    /// The version of the alias `live`.
    Live,
}

/// A checked plan to connect a queue to a function.
pub(super) struct Feeding<'a> {
    function: &'a Function,
    /// The ARN of the function or alias that the mapping invokes.
    target: String,
    /// True if a new version must be published, with the variables of the queue.
    releases: bool,
    /// The mappings of this queue and of the queues of its priorities.
    mappings: Vec<Mapping>,
    table: String,
    /// The ARNs of the queues to which the function enqueues jobs.
    children: Vec<String>,
}

impl<'a> Feeding<'a> {
    /// Checks whether a queue, and the existing queues of its priorities, can be connected to a function. Changes nothing.
    pub(super) async fn check(
        aws: &Aws,
        full_name: &str,
        existing: Option<&(SqsQueue, SqsQueue)>,
        priorities: &[SqsQueue],
        function: &'a Function,
        others: &[String],
        code: Code,
    ) -> Result<Self, Failure> {
        let name = &*function.name;
        let mappings = mappings(aws, None).await?;
        let source = |mapping: &Mapping| mapping.event_source_arn.as_deref().and_then(|arn| arn.rsplit(':').next()).map(str::to_owned);
        // One function reads the queues of all priorities.
        let is_own = |source: &str| Priority::Default.queue(source) == full_name || source == full_name;
        let takes = |mapping: &&Mapping| function_of(mapping) == Some(name) && !source(mapping).is_some_and(|source| is_own(&source));
        if let Some(other) = mappings.iter().find(takes) {
            let other = other.event_source_arn.as_deref().unwrap_or_default();
            return Err(Failure::new(format!("function {name} already reads the queue {other}; deploy another function for {full_name}")));
        }
        // A beater would lose its rights and variables.
        let rules = function
            .rules(aws)
            .await
            .map_err(|error| Failure::because(&format!("cannot read the EventBridge rules of function {name}"), error))?;
        if let Some(rule) = rules.first() {
            return Err(Failure::new(format!(
                "the EventBridge rule {rule} invokes function {name}, so it is a beater; deploy another function for {full_name}"
            )));
        }
        let queues = || existing.iter().map(|(queue, _)| queue).chain(priorities);
        let mut own_mappings = Vec::new();
        for (queue, mapping) in queues().filter_map(|queue| Some((queue, mappings.iter().find(|mapping| feeds_from(mapping, &queue.arn))?)))
        {
            if let Some(own) = function_of(mapping).filter(|own| *own != name) {
                return Err(Failure::new(format!("queue {} already feeds {own}; give {name} its own queue", queue.name)));
            }
            own_mappings.push(mapping.clone());
        }
        let mapping = existing.and_then(|(queue, _)| own_mappings.iter().find(|mapping| feeds_from(mapping, &queue.arn)));
        if mapping.is_some() {
            function.refuse_other(&aws.place)?;
        }
        let hides_briefly = |(queue, _): &&(SqsQueue, SqsQueue)| mapping.is_none() && queue.visibility < function.timeout;
        if let Some((queue, _)) = existing.filter(hides_briefly) {
            let remedy = set_visibility(&queue.url, 6 * function.timeout.as_secs());
            return Err(Failure::new(format!(
                "the visibility timeout of queue {full_name} is shorter than the timeout of {name}; {remedy} changes the visibility timeout"
            )));
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
        Ok(Self { function, target, releases, mappings: own_mappings, table, children })
    }

    /// Returns true if the version of the alias lacks the variables of its queue, so that a new one must be published.
    async fn releases(aws: &Aws, function: &Function, existing: Option<&(SqsQueue, SqsQueue)>) -> Result<bool, Failure> {
        let name = &*function.name;
        let Some(live) = Function::get_version(aws, name, Some(LIVE)).await? else { return Ok(true) };
        let knows = |(queue, dlq): &(SqsQueue, SqsQueue)| live.has(&function::variables(&aws.place, Some(&queue.url), &[&dlq.url]));
        if existing.is_some_and(knows) {
            return Ok(false);
        }
        if live.code == function.code {
            return Ok(true);
        }
        Err(Failure::new(format!(
            "function {name} runs version {}, which lacks the variables of this queue, and newer code is deployed; release the newer \
             code with `sqjobs function release {name}`, then run this command again",
            live.version
        )))
    }

    /// Connects the queue and the queues of its priorities to the function, and sets the rights and variables of the function. A second run
    /// changes nothing.
    pub(super) async fn begin(mut self, aws: &Aws, queue: &SqsQueue, priorities: &[SqsQueue], dlq: &SqsQueue) -> Result<(), Failure> {
        let (lambda, function, name) = (aws.lambda(), self.function, &*self.function.name);
        let cannot = |error: Cause| Failure::because(&format!("cannot let {} feed {name}", queue.name), error);
        let queues = || std::iter::once(queue).chain(priorities);
        let arns = queues().map(|queue| queue.arn.clone()).collect();
        let granted = function.grant(aws, "", &function::worker_rights(&self.table, arns, &dlq.arn)).await?;
        if !self.children.is_empty() {
            function.grant(aws, CHILDREN, &function::parent_rights(&self.table, std::mem::take(&mut self.children))).await?;
        }
        setup::add_dlqs(&aws.dynamodb(), &aws.place.table(), slice::from_ref(&dlq.name)).await?;
        function.set(aws, function::variables(&aws.place, Some(&queue.url), &[&dlq.url])).await?;
        // A job may enqueue other jobs.
        let allow = lambda.put_function_recursion_config().function_name(name).recursive_loop(RecursiveLoop::Allow);
        allow.send().await.map_err(|error| cannot(error.into()))?;
        if self.releases {
            release::release(aws, name).await?;
        }
        for queue in queues() {
            self.map(aws, queue, granted).await?;
        }
        Ok(())
    }

    /// Creates the mapping of a queue, or lets the existing one invoke the target.
    async fn map(&self, aws: &Aws, queue: &SqsQueue, granted: bool) -> Result<(), Failure> {
        let (lambda, name) = (aws.lambda(), &*self.function.name);
        let cannot = |error: Cause| Failure::because(&format!("cannot let {} feed {name}", queue.name), error);
        if let Some(mapping) = self.mappings.iter().find(|mapping| feeds_from(mapping, &queue.arn)) {
            if mapping.function_arn.as_ref() != Some(&self.target) {
                let update = lambda.update_event_source_mapping().set_uuid(mapping.uuid.clone()).function_name(&self.target);
                update.send().await.map_err(|error| cannot(error.into()))?;
            }
            return Ok(());
        }
        let map = lambda.create_event_source_mapping().function_name(&self.target).event_source_arn(&queue.arn).batch_size(BATCH);
        let map = map.function_response_types(FunctionResponseType::ReportBatchItemFailures);
        let started = Instant::now();
        loop {
            match map.clone().send().await {
                Ok(_) => return Ok(()),
                // Lambda sees a new right of a role after several seconds.
                Err(error)
                    if granted && started.elapsed() < GRANT && error.message().is_some_and(|text| text.contains("execution role")) =>
                {
                    sleep(BETWEEN_LOOKS).await;
                }
                Err(error) => return Err(cannot(error.into())),
            }
        }
    }
}
