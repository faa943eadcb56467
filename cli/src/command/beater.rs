//! What wakes the beater.

use aws_sdk_eventbridge::types::Target;
use aws_sdk_lambda::error::ProvideErrorMetadata as _;

use crate::{
    aws::Aws,
    failure::{Failure, told},
};

const EACH_MINUTE: &str = "rate(1 minute)";
/// The name of the statement by which a function lets its rule wake it.
const STATEMENT: &str = "sqjobs-beater";

/// Lets a rule of EventBridge, which has its name, wake a function each minute. To do it again changes nothing.
pub(super) async fn wake(aws: &Aws, function: &str) -> Result<(), Failure> {
    let (lambda, events) = (aws.lambda(), aws.eventbridge());
    let cannot = |error: String| Failure::because(&format!("cannot let {function} be woken"), error);
    let read = lambda.get_function_configuration().function_name(function).send().await.map_err(|error| cannot(told(&error)))?;
    let rule = events.put_rule().name(function).schedule_expression(EACH_MINUTE).send().await.map_err(|error| cannot(told(&error)))?;
    let allow = lambda.add_permission().function_name(function).statement_id(STATEMENT).action("lambda:InvokeFunction");
    match allow.principal("events.amazonaws.com").set_source_arn(rule.rule_arn).send().await {
        Err(error) if error.code() != Some("ResourceConflictException") => return Err(cannot(told(&error))),
        _ => {}
    }
    let target = Target::builder().id(function).arn(read.function_arn.unwrap_or_default()).build().map_err(|error| cannot(told(&error)))?;
    let put = events.put_targets().rule(function).targets(target).send().await.map_err(|error| cannot(told(&error)))?;
    match put.failed_entries().first() {
        None => Ok(()),
        Some(entry) => Err(cannot(entry.error_message.clone().unwrap_or_else(|| "EventBridge does not say why".into()))),
    }
}
