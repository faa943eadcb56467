//! Reads the rules of EventBridge that wake a beater.

use aws_sdk_eventbridge::types::RuleState;
use aws_sdk_lambda::error::ProvideErrorMetadata as _;
use serde_json::Value;

use crate::{
    aws::Aws,
    command::{beater::is_each_minute, function::Function},
    failure::describe,
};

/// Returns true if an enabled EventBridge rule invokes a function each minute, and the function allows it.
pub(super) async fn is_invoked(aws: &Aws, function: &Function) -> Result<bool, String> {
    let mut has_rule = false;
    for name in function.rules(aws).await.map_err(|cause| cause.to_string())? {
        let rule = aws.eventbridge().describe_rule().name(name).send().await.map_err(|error| describe(&error))?;
        has_rule |= is_each_minute(rule.schedule_expression.as_deref()) && rule.state == Some(RuleState::Enabled);
    }
    let policy = match aws.lambda().get_policy().function_name(&function.name).send().await {
        Ok(answer) => serde_json::from_str::<Value>(answer.policy().unwrap_or_default()).unwrap_or_default(),
        Err(error) if error.code() == Some("ResourceNotFoundException") => return Ok(false),
        Err(error) => return Err(describe(&error)),
    };
    let allows = |statement: &Value| {
        let service = &statement["Principal"]["Service"];
        statement["Effect"] == "Allow" && service.as_str().is_some_and(|service| service.starts_with("events."))
    };
    Ok(has_rule && policy["Statement"].as_array().is_some_and(|statements| statements.iter().any(allows)))
}
