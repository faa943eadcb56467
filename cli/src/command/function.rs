//! What a function needs besides its code: the rights of its role, and variables that tell it where things are.

use std::{collections::HashMap, time::Duration};

use aws_sdk_iam::{error::ProvideErrorMetadata as _, types::PolicyEvaluationDecisionType as Decision};
use aws_sdk_lambda::{
    client::Waiters as _,
    types::{Environment, LastUpdateStatus},
};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde_json::json;

use super::queue::Found;
use crate::{
    aws::Aws,
    failure::{Failure, told},
};

/// A function that was changed is ready again within that.
const CHANGE: Duration = Duration::from_mins(1);
/// IAM is asked for so many things at the same time.
const AT_A_TIME: usize = 4;

/// A statement of a policy: what the Terraform modules allow under the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Right {
    sid: &'static str,
    effect: &'static str,
    action: &'static [&'static str],
    resource: Vec<String>,
}

impl Right {
    fn new(sid: &'static str, action: &'static [&'static str], resource: Vec<String>) -> Self {
        Self { sid, effect: "Allow", action, resource }
    }
}

/// What the function must be allowed that takes from a queue, and enqueues to others.
pub(super) fn taker(table: &str, queue: &str, dlq: &str, enqueues_to: Vec<String>) -> Vec<Right> {
    let (table, enqueues) = (vec![table.to_owned()], !enqueues_to.is_empty());
    let mut rights = vec![
        Right::new("Records", &["dynamodb:BatchGetItem", "dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"], table.clone()),
        Right::new(
            "Queue",
            &["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage"],
            vec![queue.to_owned()],
        ),
        Right::new("DeadLetters", &["sqs:SendMessage"], vec![dlq.to_owned()]),
    ];
    if enqueues {
        rights.push(Right::new("Children", &["sqs:GetQueueUrl", "sqs:SendMessage"], enqueues_to));
        rights.push(Right::new("Lists", &["dynamodb:BatchWriteItem"], table));
    }
    rights
}

/// What the beater must be allowed, whose queues and dead-letter queues are these.
pub(super) fn beater(jobs: &str, schedules: &str, queues: Vec<String>, dlqs: Vec<String>) -> Vec<Right> {
    let due = [jobs, schedules].map(|table| format!("{table}/index/due"));
    let rights = [
        Right::new(
            "Records",
            &[
                "dynamodb:BatchGetItem",
                "dynamodb:DescribeTable",
                "dynamodb:PartiQLInsert",
                "dynamodb:PartiQLUpdate",
                "dynamodb:PutItem",
                "dynamodb:Scan",
            ],
            vec![jobs.to_owned()],
        ),
        Right::new("Due", &["dynamodb:Query"], due.into()),
        Right::new(
            "Schedules",
            &["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Scan"],
            vec![schedules.to_owned()],
        ),
        Right::new("Queues", &["sqs:GetQueueUrl", "sqs:SendMessage"], queues),
        Right::new(
            "DeadLetters",
            &["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:SendMessage"],
            dlqs,
        ),
    ];
    rights.into_iter().filter(|right| !right.resource.is_empty()).collect()
}

/// The ARN of a table.
pub(super) async fn table_arn(aws: &Aws, table: &str) -> Result<String, Failure> {
    let described = aws.dynamodb().describe_table().table_name(table).send().await;
    let described = described.map_err(|error| Failure::because(&format!("cannot read table {table}"), told(&error)))?;
    Ok(described.table.and_then(|table| table.table_arn).unwrap_or_default())
}

/// A function that is deployed.
#[derive(Debug, Default)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) timeout: Duration,
    pub(super) environment: HashMap<String, String>,
    /// The ARN of its role.
    role: String,
    /// Whether it is being changed.
    changes: bool,
}

impl Function {
    /// None: there is no such function.
    pub(super) async fn look(aws: &Aws, name: &str) -> Result<Option<Self>, Failure> {
        let read = match aws.lambda().get_function_configuration().function_name(name).send().await {
            Ok(read) => read,
            Err(error) if error.code() == Some("ResourceNotFoundException") => return Ok(None),
            Err(error) => return Err(Failure::because(&format!("cannot read function {name}"), told(&error))),
        };
        Ok(Some(Self {
            name: name.to_owned(),
            timeout: Duration::from_secs(read.timeout.and_then(|timeout| timeout.try_into().ok()).unwrap_or(3)),
            environment: read.environment.and_then(|own| own.variables).unwrap_or_default(),
            changes: read.last_update_status == Some(LastUpdateStatus::InProgress),
            arn: read.function_arn.unwrap_or_default(),
            role: read.role.unwrap_or_default(),
        }))
    }

    pub(super) async fn find(aws: &Aws, name: &str) -> Result<Self, Failure> {
        let none = || Failure::said(format!("there is no function {name}; deploy it by `cargo lambda deploy {name}`, or look at --region"));
        Self::look(aws, name).await?.ok_or_else(none)
    }

    /// Gives its role these rights, and it the variables that say where things are. To do it again changes nothing.
    pub(super) async fn equip(&self, aws: &Aws, rights: &[Right], queue: Option<&Found>, dlqs: &str) -> Result<(), Failure> {
        self.grant(aws, rights).await?;
        let place = &aws.place;
        let own = [
            ("SQJOBS_TABLE", &*place.table),
            ("SQJOBS_SCHEDULES_TABLE", &place.schedules_table),
            ("SQJOBS_PREFIX", &place.prefix),
            ("SQJOBS_DLQ_URL", dlqs),
        ];
        let own = own.into_iter().chain(queue.map(|queue| ("SQJOBS_QUEUE_URL", &*queue.url)));
        let mut environment = self.environment.clone();
        environment.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        if environment == self.environment {
            return Ok(());
        }
        let cannot = |error: String| Failure::because(&format!("cannot set the variables of function {}", self.name), error);
        let ready = async || {
            let ready = aws.lambda().wait_until_function_updated_v2().function_name(&self.name).wait(CHANGE).await;
            ready.map(drop).map_err(|error| cannot(told(&error)))
        };
        if self.changes {
            ready().await?;
        }
        let environment = Environment::builder().set_variables(Some(environment)).build();
        let update = aws.lambda().update_function_configuration().function_name(&self.name).environment(environment).send().await;
        update.map_err(|error| cannot(told(&error)))?;
        ready().await
    }

    /// Gives its role these rights. Who may not do that is told which they are.
    async fn grant(&self, aws: &Aws, rights: &[Right]) -> Result<(), Failure> {
        let role = self.role.rsplit('/').next().unwrap_or(&self.role);
        let policy = json!({"Version": "2012-10-17", "Statement": rights}).to_string();
        let put = aws.iam().put_role_policy().role_name(role).policy_name(format!("sqjobs-{}", self.name)).policy_document(&policy);
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code().is_some_and(|code| code.contains("AccessDenied")) => {
                anstream::eprintln!("role {role} is as it was: {}; whoever may change it, let it allow {policy}", told(&error));
                Ok(())
            }
            Err(error) => Err(Failure::because(&format!("cannot give role {role} the rights of {}", self.name), told(&error))),
        }
    }

    /// What of these rights its role does not have, in words.
    pub(super) async fn lacks(&self, aws: &Aws, rights: &[Right]) -> Result<Vec<String>, String> {
        let parts = rights.iter().flat_map(|right| right.resource.iter().map(|resource| (right.action, resource)));
        let refused = stream::iter(parts).map(|(actions, resource)| self.refused(aws, actions, resource)).buffered(AT_A_TIME);
        Ok(refused.try_collect::<Vec<_>>().await?.concat())
    }

    async fn refused(&self, aws: &Aws, actions: &[&str], resource: &str) -> Result<Vec<String>, String> {
        let names = actions.iter().map(|action| (*action).to_owned()).collect();
        let simulate = aws.iam().simulate_principal_policy().policy_source_arn(&self.role).set_action_names(Some(names));
        let thing = resource.rsplit(':').next().unwrap_or(resource);
        let said = |action: &str| format!("{action} on {thing}");
        match simulate.resource_arns(resource).send().await {
            Ok(answer) => {
                let refused = answer.evaluation_results().iter().filter(|result| result.eval_decision != Decision::Allowed);
                Ok(refused.map(|result| said(&result.eval_action_name)).collect())
            }
            // There is no such role.
            Err(error) if error.code() == Some("NoSuchEntity") => Ok(actions.iter().map(|action| said(action)).collect()),
            Err(error) => Err(told(&error)),
        }
    }
}
