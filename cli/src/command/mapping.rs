//! Event source mappings, which connect queues to functions.

use aws_sdk_lambda::types::EventSourceMappingConfiguration as Mapping;
use serde::Serialize;

use super::queue::Status;
use crate::{aws::Aws, failure::Failure};

/// The index of the function's name in the parts of its ARN. A version or an alias may follow.
const FUNCTION: usize = 6;

/// The function that a queue feeds, if any.
#[derive(Debug, Default, Serialize)]
pub(super) struct Feed {
    /// The name of the function.
    pub(super) function: Option<String>,
    /// The state of the mapping, as Lambda names it: `Enabled`, `Disabled`, or a transition.
    pub(super) mapping: Option<String>,
}

/// Returns the feed of each of these queues.
pub(super) async fn feeds(aws: &Aws, queues: &[Status]) -> Result<Vec<Feed>, Failure> {
    let mappings = mappings(aws, None).await?;
    let feed = |queue: &Status| {
        let mapping = mappings.iter().find(|mapping| feeds_from(mapping, &queue.arn))?;
        Some(Feed { function: function_of(mapping).map(str::to_owned), mapping: mapping.state.clone() })
    };
    Ok(queues.iter().map(|queue| feed(queue).unwrap_or_default()).collect())
}

/// Returns the function that a mapping feeds, without its version or alias.
pub(super) fn function_of(mapping: &Mapping) -> Option<&str> {
    mapping.function_arn.as_ref()?.split(':').nth(FUNCTION)
}

/// Returns the alias or version that a mapping feeds. `None`: the latest deployed code.
pub(super) fn qualifier_of(mapping: &Mapping) -> Option<&str> {
    mapping.function_arn.as_ref()?.split(':').nth(FUNCTION + 1)
}

/// Returns `true` if the mapping reads from the queue.
pub(super) fn feeds_from(mapping: &Mapping, queue_arn: &str) -> bool {
    mapping.event_source_arn.as_deref() == Some(queue_arn)
}

/// Returns all event source mappings, or those of one queue.
pub(super) async fn mappings(aws: &Aws, queue_arn: Option<&str>) -> Result<Vec<Mapping>, Failure> {
    let list = aws.lambda().list_event_source_mappings().set_event_source_arn(queue_arn.map(str::to_owned));
    let mut pages = list.into_paginator().items().send();
    let mut mappings = Vec::new();
    while let Some(mapping) = pages.next().await {
        mappings.push(mapping.map_err(|error| Failure::because("cannot list the event source mappings", error))?);
    }
    Ok(mappings)
}

pub(super) fn row(queue: &Status, feed: &Feed) -> [String; 6] {
    let function = match (&feed.function, feed.mapping.as_deref()) {
        (None, _) => "none".into(),
        (Some(function), Some("Enabled")) => function.clone(),
        (Some(function), Some("Disabled")) => format!("{function}, paused"),
        (Some(function), state) => format!("{function}, {}", state.unwrap_or("unknown state").to_lowercase()),
    };
    let [waiting, in_flight, delayed] = [queue.depth.waiting, queue.depth.in_flight, queue.depth.delayed].map(|count| count.to_string());
    [queue.name.clone(), waiting, in_flight, delayed, queue.dead.to_string(), function]
}
