//! Reads the rules of EventBridge that wake a beater.

use aws_sdk_eventbridge::types::RuleState;
use aws_sdk_lambda::error::ProvideErrorMetadata as _;
use serde_json::Value;

use crate::{
    aws::Aws,
    command::function::Function,
    failure::{Failure, describe},
    place::Place,
};

/// Returns true if an EventBridge rule with this expression fires each minute.
fn is_each_minute(expression: Option<&str>) -> bool {
    expression.is_some_and(|when| ["rate(1 minute)", "cron(* * * * ? *)"].contains(&when))
}

/// Returns the function that an EventBridge rule invokes each minute and whose variables name the tables of this environment.
pub(super) async fn find_beater(aws: &Aws) -> Result<Option<String>, String> {
    let (events, mut from) = (aws.eventbridge(), None);
    loop {
        let page = events.list_rules().set_next_token(from).send().await.map_err(|error| describe(&error))?;
        let rules = page.rules.unwrap_or_default();
        for rule in rules.into_iter().filter(|rule| is_each_minute(rule.schedule_expression.as_deref())) {
            let targets = events.list_targets_by_rule().set_rule(rule.name).send().await.map_err(|error| describe(&error))?;
            for target in targets.targets.unwrap_or_default() {
                let Some(name) = target.arn.strip_prefix("arn:aws").and_then(|arn| arn.split(":function:").nth(1)) else { continue };
                let name = name.split(':').next().unwrap_or(name);
                let function = Function::get(aws, name).await.map_err(Failure::into_message)?;
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
