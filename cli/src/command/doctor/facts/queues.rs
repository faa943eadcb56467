//! Reads the queues and their event source mappings.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use aws_sdk_lambda::types::{EventSourceMappingConfiguration as EventSourceMapping, FunctionResponseType};
use aws_sdk_sqs::types::QueueAttributeName as Attribute;

use super::{DeadLetterQueue, Mapping, Queue, Stream, System};
use crate::{
    aws::Aws,
    command::{
        function::Function,
        mapping::{feeds_from, function_of, qualifier_of},
        queue::{Policy, urls},
        tables,
    },
    failure::{Failure, describe},
};

impl System {
    /// Removes the queues of other environments, and the queues of functions that run no jobs. A queue belongs to the environment that the
    /// variables of its function name, or otherwise to the one that its own name says.
    pub(super) fn leave_others_out(&mut self, environments: &[String]) {
        let (functions, unread, ours) = (&self.functions, &mut self.unread, &self.place);
        let (mut others, mut left_out) = (BTreeSet::new(), BTreeMap::<_, usize>::new());
        self.queues.retain(|queue| {
            let function = queue.mapping.as_ref().and_then(|mapping| functions.get(&mapping.function)?.as_ref());
            let runs_jobs = |function: &Function| function.environment.keys().any(|name| name.starts_with("SQJOBS_"));
            let theirs = match function.filter(|function| runs_jobs(function)) {
                Some(function) => function.other_environment(&queue.name, ours),
                None => tables::environment_of(environments, &queue.name).cloned(),
            };
            if let Some(theirs) = theirs {
                others.extend(function.map(|function| function.name.clone()));
                *left_out.entry(theirs).or_default() += 1;
                return false;
            }
            let Some(function) = function.filter(|function| !runs_jobs(function)) else { return true };
            let (name, short) = (&function.name, &queue.short);
            unread.push(format!(
                "queue {}: its function {name} has no variable SQJOBS_...; if the function should run jobs, use `sqjobs \
                                 queue create {short} --function {name}`",
                queue.name
            ));
            false
        });
        for (prefix, count) in left_out {
            let queues = if count == 1 { "1 queue".into() } else { format!("{count} queues") };
            unread.push(format!("{queues} of another environment; --prefix {prefix} checks them"));
        }
        self.others = others.iter().filter_map(|name| self.functions.remove(name)?).collect();
    }
}

/// Returns the mappings of the stream of a table, also those of functions that publish no events.
pub(super) fn streams(mappings: &[EventSourceMapping], table: &str) -> Vec<Stream> {
    let of_table = |mapping: &&EventSourceMapping| {
        let stream = mapping.event_source_arn.as_deref().and_then(|source| source.strip_prefix(table));
        stream.is_some_and(|stream| stream.starts_with("/stream/"))
    };
    let stream = |mapping: &EventSourceMapping| Stream {
        id: mapping.uuid.clone().unwrap_or_default(),
        function: function_of(mapping).unwrap_or_default().to_owned(),
        state: mapping.state.clone().unwrap_or_default(),
        last_result: mapping.last_processing_result.clone().unwrap_or_default(),
    };
    mappings.iter().filter(of_table).map(stream).collect()
}

/// Returns the queues of this environment with their event source mappings, without the dead-letter queues.
pub(super) async fn queues(aws: &Aws, mappings: &[EventSourceMapping], unread: &mut Vec<String>) -> Result<Vec<Queue>, Failure> {
    let mut all = BTreeMap::new();
    for url in urls(aws).await? {
        let name = url.rsplit('/').next().unwrap_or(&url).to_owned();
        match aws.sqs().get_queue_attributes().queue_url(&url).attribute_names(Attribute::All).send().await {
            Ok(answer) => drop(all.insert(name, (url, answer.attributes.unwrap_or_default()))),
            Err(error) => unread.push(format!("queue {name}: {}", describe(&error))),
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
                DeadLetterQueue {
                    name: policy.name().to_owned(),
                    exists: dlq.is_some(),
                    retention: dlq.map(|(_, dlq)| seconds(dlq, Attribute::MessageRetentionPeriod)).unwrap_or_default(),
                    max_bytes: dlq.map(|(_, dlq)| number(dlq, Attribute::MaximumMessageSize)).unwrap_or_default(),
                    count: dlq.map(|(_, dlq)| number(dlq, Attribute::ApproximateNumberOfMessages)).unwrap_or_default(),
                    arn: policy.target,
                }
            }),
            mapping: mappings.iter().find(|mapping| feeds_from(mapping, &arn)).map(Mapping::of),
            missing_rights: Vec::new(),
            denied: BTreeMap::new(),
            deleted_early: None,
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
