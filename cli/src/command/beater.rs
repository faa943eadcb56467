//! What the beater needs: rights, variables, and a rule that wakes it.

use aws_sdk_eventbridge::types::Target;
use aws_sdk_lambda::error::ProvideErrorMetadata as _;

use super::{
    function::{self, Function},
    queue,
};
use crate::{
    aws::Aws,
    failure::{Failure, told},
};

const EACH_MINUTE: &str = "rate(1 minute)";
/// The name of the statement by which a function lets its rule wake it.
const STATEMENT: &str = "sqjobs-beater";

/// Lets a function be the beater of all queues that are there: gives it what it needs, and lets a rule of EventBridge, which
/// has its name, wake it each minute. To do it again changes nothing.
pub(super) async fn wake(aws: &Aws, function: &Function) -> Result<(), Failure> {
    let (queues, dlqs): (Vec<_>, Vec<_>) = queue::pairs(aws).await?.into_iter().unzip();
    let (jobs, schedules) =
        (function::table_arn(aws, &aws.place.table).await?, function::table_arn(aws, &aws.place.schedules_table).await?);
    let urls: Vec<_> = dlqs.iter().map(|dlq| &*dlq.url).collect();
    let arns = |queues: &[queue::Found]| queues.iter().map(|queue| queue.arn.clone()).collect();
    function.equip(aws, &function::beater(&jobs, &schedules, arns(&queues), arns(&dlqs)), None, &urls.join(" ")).await?;

    let (lambda, events, name) = (aws.lambda(), aws.eventbridge(), &*function.name);
    let cannot = |error: String| Failure::because(&format!("cannot let {name} be woken"), error);
    let rule = events.put_rule().name(name).schedule_expression(EACH_MINUTE).send().await.map_err(|error| cannot(told(&error)))?;
    let allow = lambda.add_permission().function_name(name).statement_id(STATEMENT).action("lambda:InvokeFunction");
    match allow.principal("events.amazonaws.com").set_source_arn(rule.rule_arn).send().await {
        Err(error) if error.code() != Some("ResourceConflictException") => return Err(cannot(told(&error))),
        _ => {}
    }
    let target = Target::builder().id(name).arn(&function.arn).build().map_err(|error| cannot(told(&error)))?;
    let put = events.put_targets().rule(name).targets(target).send().await.map_err(|error| cannot(told(&error)))?;
    match put.failed_entries().first() {
        None => Ok(()),
        Some(entry) => Err(cannot(entry.error_message.clone().unwrap_or_else(|| "EventBridge does not say why".into()))),
    }
}
