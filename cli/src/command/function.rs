//! Functions: the rights of their roles, and their variables.

use std::{collections::HashMap, time::Duration};

use aws_sdk_iam::{error::ProvideErrorMetadata as _, types::PolicyEvaluationDecisionType as Decision};
use aws_sdk_lambda::{client::Waiters as _, types::Environment};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sqjobs::Priority;

use crate::{
    aws::Aws,
    failure::{Cause, Failure, describe},
    place::{Place, Setting},
};

/// Maximum time until a changed function is ready again.
const CHANGE: Duration = Duration::from_mins(1);
/// The variable that names the prefix of an environment.
pub(super) const PREFIX: &str = "SQJOBS_PREFIX";
/// The variable that names the table of the records.
const TABLE: &str = "SQJOBS_TABLE";
/// The variable that names the table of the schedules.
const SCHEDULES_TABLE: &str = "SQJOBS_SCHEDULES_TABLE";
/// The number of requests to IAM at the same time.
const AT_A_TIME: usize = 4;

/// Maximum number of characters of ARNs in the policy of a beater, and the additional characters of each. All inline policies of a role
/// have up to 10,240 characters: "IAM and AWS STS quotas" in the IAM user guide.
const ARNS: usize = 8_000;
const PUNCTUATION: usize = 3;
/// Maximum size of a function's variables in bytes: "Lambda quotas" in the Lambda developer guide.
const VARIABLES: usize = 4_096;

/// The end of the name of the policy with the queues to which the jobs of a function enqueue.
pub(super) const CHILDREN: &str = "-children";

/// A statement of a policy. The Terraform modules have the same statements.
#[derive(Debug)]
pub(crate) struct Right {
    sid: &'static str,
    actions: &'static [&'static str],
    resources: Vec<String>,
}

impl Right {
    pub(super) fn new(sid: &'static str, actions: &'static [&'static str], resources: Vec<String>) -> Self {
        Self { sid, actions, resources }
    }

    fn statement(&self) -> Value {
        json!({"Sid": self.sid, "Effect": "Allow", "Action": self.actions, "Resource": self.resources})
    }
}

/// Returns the policy with these rights.
pub(crate) fn policy(rights: &[Right]) -> Value {
    json!({"Version": "2012-10-17", "Statement": rights.iter().map(Right::statement).collect::<Vec<_>>()})
}

/// Returns the rights of a function that reads a queue, or the queues of several priorities.
pub(crate) fn worker_rights(table: &str, queues: Vec<String>, dlq: &str) -> Vec<Right> {
    vec![
        Right::new("Records", &["dynamodb:BatchGetItem", "dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"], vec![table.to_owned()]),
        Right::new("Waiting", &["dynamodb:Query"], vec![format!("{table}/index/listed")]), // the jobs that wait for a key
        Right::new(
            "Queue",
            &["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage"],
            queues,
        ),
        Right::new("DeadLetters", &["sqs:SendMessage"], vec![dlq.to_owned()]),
    ]
}

/// Returns the additional rights of a function whose jobs enqueue jobs to these queues.
pub(crate) fn parent_rights(table: &str, queues: Vec<String>) -> Vec<Right> {
    vec![
        Right::new("Children", &["sqs:GetQueueUrl", "sqs:SendMessage"], queues),
        Right::new("Lists", &["dynamodb:BatchWriteItem"], vec![table.to_owned()]),
    ]
}

/// Returns the rights of a beater of these queues and dead-letter queues, by ARN. If a policy has no room for all ARNs, it names the prefix
/// of the environment instead.
pub(crate) fn beater_rights(
    prefix: &str,
    jobs: &str,
    schedules: &str,
    mut queues: Vec<String>,
    mut dlqs: Vec<String>,
) -> Result<Vec<Right>, Failure> {
    if queues.iter().chain(&dlqs).map(|arn| arn.len() + PUNCTUATION).sum::<usize>() > ARNS {
        let count = queues.len();
        let Some((place, _)) = queues[0].rsplit_once(':').filter(|_| !prefix.is_empty()) else {
            return Err(Failure::new(format!(
                "the policy of a beater has no room for the ARNs of {count} queues, and this environment has no prefix to use instead; \
                 give the queues a prefix, or split them between environments"
            )));
        };
        let by_prefix = |suffix: &str| format!("{place}:{prefix}{suffix}");
        let usual = ["-dlq", "-dlq.fifo"];
        dlqs.retain(|arn| !usual.iter().any(|suffix| arn.ends_with(suffix)));
        dlqs.extend(usual.map(|suffix| by_prefix(&format!("*{suffix}"))));
        queues = vec![by_prefix("*")];
    }
    let found = [format!("{jobs}/index/due"), format!("{jobs}/index/listed"), format!("{schedules}/index/due")];
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
        Right::new("Indexes", &["dynamodb:Query"], found.into()),
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
    Ok(rights.into_iter().filter(|right| !right.resources.is_empty()).collect())
}

/// Returns the variables of a function: the tables, the prefix, its queue, if it has one, and dead-letter queues.
pub(super) fn variables(place: &Place, queue: Option<&str>, dlqs: &[&str]) -> Vec<(&'static str, String)> {
    let mut variables: Vec<_> = place.settings().map(|setting| (setting.variable, setting.value)).into();
    variables.push(("SQJOBS_DLQ_URL", dlqs.join(" ")));
    variables.extend(queue.map(|queue| ("SQJOBS_QUEUE_URL", queue.to_owned())));
    variables
}

/// Returns the ARN of a table.
pub(super) async fn table_arn(aws: &Aws, table: &str) -> Result<String, Failure> {
    let described = aws.dynamodb().describe_table().table_name(table).send().await;
    let described = described.map_err(|error| Failure::because(&format!("cannot read table {table}"), error))?;
    Ok(described.table.and_then(|table| table.table_arn).unwrap_or_default())
}

/// A deployed function.
#[derive(Debug, Clone, Default)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) timeout: Duration,
    pub(super) environment: HashMap<String, String>,
    /// The version: a number, or `$LATEST`.
    pub(super) version: String,
    /// The hash of its code.
    pub(super) code: String,
    /// The ARN of its role.
    role: String,
    /// The revision of its configuration.
    revision: Option<String>,
}

impl Function {
    /// Returns the newest deployment of a function. None: there is no such function.
    pub(super) async fn get(aws: &Aws, name: &str) -> Result<Option<Self>, Failure> {
        Self::get_version(aws, name, None).await
    }

    /// Returns the EventBridge rules that invoke this function.
    pub(super) async fn rules(&self, aws: &Aws) -> Result<Vec<String>, Cause> {
        let answer = aws.eventbridge().list_rule_names_by_target().target_arn(&self.arn).send().await;
        Ok(answer?.rule_names.unwrap_or_default())
    }

    /// Returns a function at a version or alias. None: there is no such function, version or alias.
    pub(super) async fn get_version(aws: &Aws, name: &str, qualifier: Option<&str>) -> Result<Option<Self>, Failure> {
        let cannot = |error: Cause| Failure::because(&format!("cannot read function {name}"), error);
        let read = aws.lambda().get_function_configuration().function_name(name).set_qualifier(qualifier.map(str::to_owned));
        let read = match read.send().await {
            Ok(read) => read,
            Err(error) if error.code() == Some("ResourceNotFoundException") => return Ok(None),
            Err(error) => return Err(cannot(error.into())),
        };
        let environment = read.environment;
        // Lambda returns no variables if it cannot decrypt them.
        if let Some(error) = environment.as_ref().and_then(|own| own.error.as_ref()) {
            return Err(cannot(Cause::text(error.message.as_deref().unwrap_or("its variables cannot be decrypted"))));
        }
        Ok(Some(Self {
            name: read.function_name.unwrap_or_else(|| name.to_owned()),
            arn: read.function_arn.unwrap_or_default(),
            timeout: Duration::from_secs(read.timeout.and_then(|timeout| timeout.try_into().ok()).unwrap_or(3)),
            environment: environment.and_then(|own| own.variables).unwrap_or_default(),
            version: read.version.unwrap_or_default(),
            code: read.code_sha256.unwrap_or_default(),
            role: read.role.unwrap_or_default(),
            revision: read.revision_id,
        }))
    }

    pub(super) async fn find(aws: &Aws, name: &str) -> Result<Self, Failure> {
        let none = || Failure::new(format!("there is no function {name}; deploy it with `cargo lambda deploy`, or check --region"));
        Self::get(aws, name).await?.ok_or_else(none)
    }

    /// Returns true if its variables name this queue, or if this is the queue of a priority of the queue that they name.
    pub(super) fn takes_from(&self, queue: &str) -> bool {
        self.named_queue().is_some_and(|named| named == queue || named == Priority::Default.queue(queue))
    }

    /// Returns the queue that its variables name.
    pub(super) fn named_queue(&self) -> Option<&str> {
        self.environment.get("SQJOBS_QUEUE_URL")?.rsplit('/').next()
    }

    /// Returns the prefix of another environment, if the variables say that the function and the queue belong to it, and its prefix extends
    /// the prefix of `ours`.
    pub(super) fn other_environment(&self, queue: &str, ours: &Place) -> Option<String> {
        let other = Place::of(&self.environment).environment();
        (other.len() > ours.prefix.len() && queue.starts_with(&other) && other != ours.environment()).then_some(other)
    }

    /// Returns the prefix of the environment that its variables name, if its prefix or its tables differ from `ours`. A function whose
    /// tables lack its prefix may move to tables with the prefix.
    pub(super) fn environment_other_than(&self, ours: &Place) -> Option<String> {
        let other = Place::of(&self.environment);
        // Only a beater needs the table of the schedules. A prefix names the table of the records.
        let names =
            |own: &Setting| self.environment.contains_key(own.variable) || own.variable == TABLE && self.environment.contains_key(PREFIX);
        let moves = |table: &str, own: &Setting| {
            own.variable != PREFIX && !other.prefix.is_empty() && !table.starts_with(&other.prefix) && own.value == own.usual
        };
        let differs = |(setting, own): (Setting, Setting)| names(&own) && setting.value != own.value && !moves(&setting.value, &own);
        other.settings().into_iter().zip(ours.settings()).any(differs).then(|| other.environment())
    }

    /// Returns an error if the function belongs to another environment.
    pub(super) fn refuse_other(&self, ours: &Place) -> Result<(), Failure> {
        let Some(other) = self.environment_other_than(ours) else { return Ok(()) };
        let (name, place) = (&self.name, Place::of(&self.environment));
        let other = if other.is_empty() { "without a prefix".into() } else { other };
        Err(Failure::new(format!(
            "function {name} belongs to the environment {other}, with the tables {} and {}: give the --prefix, --table and \
             --schedules-table of that environment. To move the function to this environment, first delete its variables SQJOBS_PREFIX, \
             SQJOBS_TABLE and SQJOBS_SCHEDULES_TABLE",
            place.table(),
            place.schedules_table()
        )))
    }

    /// Returns the table of the records that its variables name.
    pub(super) fn table(&self) -> Option<String> {
        self.names_one_of([PREFIX, TABLE]).then(|| Place::of(&self.environment).table())
    }

    /// Returns the table of the schedules that its variables name.
    pub(super) fn schedules_table(&self) -> Option<String> {
        self.names_one_of([PREFIX, SCHEDULES_TABLE]).then(|| Place::of(&self.environment).schedules_table())
    }

    fn names_one_of(&self, variables: [&str; 2]) -> bool {
        variables.iter().any(|name| self.environment.contains_key(*name))
    }

    /// Returns true if its code and configuration equal those of another version.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (&self.code, &self.environment, self.timeout) == (&other.code, &other.environment, other.timeout)
    }

    /// Returns true if it has these variables.
    pub(super) fn has(&self, variables: &[(&'static str, String)]) -> bool {
        variables.iter().all(|(name, value)| self.environment.get(*name) == Some(value))
    }

    /// Sets variables. All other variables stay unchanged.
    pub(super) async fn set(&self, aws: &Aws, variables: Vec<(&'static str, String)>) -> Result<(), Failure> {
        let cannot = |error: Cause| Failure::because(&format!("cannot set the variables of function {}", self.name), error);
        let ready = async || {
            let ready = aws.lambda().wait_until_function_updated().function_name(&self.name).wait(CHANGE).await;
            ready.map_err(|error| cannot(error.into()))
        };
        // AWS may still process a deployment of the last seconds.
        ready().await?;
        let now = Self::find(aws, &self.name).await?;
        let mut environment = now.environment.clone();
        environment.extend(variables.into_iter().map(|(name, value)| (name.to_owned(), value)));
        if environment == now.environment {
            return Ok(());
        }
        let bytes: usize = environment.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > VARIABLES {
            let why = format!("they would have {bytes} bytes, and Lambda allows {VARIABLES}; shorten or remove some of your own variables");
            return Err(cannot(Cause::text(why)));
        }
        let environment = Environment::builder().set_variables(Some(environment)).build();
        let update = aws.lambda().update_function_configuration().function_name(&self.name).environment(environment);
        update.set_revision_id(now.revision).send().await.map_err(|error| cannot(error.into()))?;
        ready().await.map(drop)
    }

    /// Adds a policy with rights to its role. Returns false if this user may not change the role, and reports the missing rights.
    pub(super) async fn grant(&self, aws: &Aws, what: &str, rights: &[Right]) -> Result<bool, Failure> {
        let role = self.role.rsplit('/').next().unwrap_or(&self.role);
        let policy = policy(rights);
        let put = aws.iam().put_role_policy().role_name(role).policy_name(format!("sqjobs-{}{what}", self.name));
        match put.policy_document(policy.to_string()).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code().is_some_and(|code| code.contains("AccessDenied")) => {
                let missing_rights = match self.missing_rights(aws, rights).await {
                    Ok(missing_rights) if missing_rights.is_empty() => return Ok(false),
                    Ok(missing_rights) => missing_rights.join(", "),
                    Err(_) => policy.to_string(),
                };
                note!(
                    "cannot change role {role}: {}; ask an administrator to give the role these permissions: {missing_rights}",
                    describe(&error)
                );
                Ok(false)
            }
            Err(error) => Err(Failure::because(&format!("cannot give role {role} the permissions of {}", self.name), error)),
        }
    }

    /// Returns the queues, by ARN, to which `queue create` has let the jobs of this function send. None: they cannot be read.
    pub(super) async fn children(&self, aws: &Aws) -> Option<Vec<String>> {
        let role = self.role.rsplit('/').next().unwrap_or(&self.role);
        let get = aws.iam().get_role_policy().role_name(role).policy_name(format!("sqjobs-{}{CHILDREN}", self.name));
        let document = match get.send().await {
            Ok(found) => found.policy_document,
            Err(error) if error.code() == Some("NoSuchEntity") => return Some(Vec::new()),
            Err(_) => return None,
        };
        let policy: Value = serde_json::from_slice(&percent_decode_str(&document).collect::<Vec<_>>()).ok()?;
        let statement = policy["Statement"].as_array()?.iter().find(|statement| statement["Sid"] == "Children")?;
        statement["Resource"].as_array()?.iter().map(|arn| arn.as_str().map(str::to_owned)).collect()
    }

    /// Returns the rights that its role lacks, in words.
    pub(super) async fn missing_rights(&self, aws: &Aws, rights: &[Right]) -> Result<Vec<String>, String> {
        let parts = rights.iter().flat_map(|right| right.resources.iter().map(|resource| (right.actions, resource)));
        let refused = stream::iter(parts).map(|(actions, resource)| self.refused(aws, actions, resource)).buffered(AT_A_TIME);
        Ok(refused.try_collect::<Vec<_>>().await?.concat())
    }

    async fn refused(&self, aws: &Aws, actions: &[&str], resource: &str) -> Result<Vec<String>, String> {
        let names = actions.iter().map(|action| (*action).to_owned()).collect();
        let simulate = aws.iam().simulate_principal_policy().policy_source_arn(&self.role).set_action_names(Some(names));
        let thing = resource.rsplit(':').next().unwrap_or(resource);
        let message = |action: &str| format!("{action} on {thing}");
        match simulate.resource_arns(resource).send().await {
            Ok(answer) => {
                let refused = answer.evaluation_results().iter().filter(|result| result.eval_decision != Decision::Allowed);
                // The simulation cannot decide rights with conditions on an unknown context; they count as allowed.
                let refused = refused.filter(|result| result.missing_context_values().is_empty());
                Ok(refused.map(|result| message(&result.eval_action_name)).collect())
            }
            // The role does not exist.
            Err(error) if error.code() == Some("NoSuchEntity") => Ok(actions.iter().map(|action| message(action)).collect()),
            Err(error) => Err(describe(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the policy of a beater of `count` queues, and its resources of queues and dead-letter queues.
    fn policy(prefix: &str, count: usize) -> Result<(String, Vec<String>), Failure> {
        let arns =
            |suffix: &str| (0..count).map(|number| format!("arn:aws:sqs:eu-west-1:123456789012:{prefix}job-{number}{suffix}")).collect();
        let rights = beater_rights(prefix, "jobs", "schedules", arns(""), arns("-dlq"))?;
        let policy = super::policy(&rights).to_string();
        let of_queues = rights.into_iter().filter(|right| ["Queues", "DeadLetters"].contains(&right.sid));
        Ok((policy, of_queues.flat_map(|right| right.resources).collect()))
    }

    #[test]
    fn a_few_queues_are_named_and_thousands_are_those_of_the_prefix() {
        let few = policy("prod-", 2).expect("a policy").1;
        assert_eq!(few[0], "arn:aws:sqs:eu-west-1:123456789012:prod-job-0");
        assert_eq!(few.len(), 4);
        let (policy, many) = policy("prod-", 5_000).expect("a policy");
        let place = "arn:aws:sqs:eu-west-1:123456789012:prod-";
        assert_eq!(many, [format!("{place}*"), format!("{place}*-dlq"), format!("{place}*-dlq.fifo")]);
        assert!(policy.len() < 10_240, "{}", policy.len());
    }

    #[test]
    fn the_largest_policy_of_named_queues_fits_into_a_role() {
        let largest = (1..).map(|count| policy("prod-", count).expect("a policy")).take_while(|(_, queues)| queues.len() != 3);
        let largest = largest.last().expect("a policy").0;
        assert!((7_500..10_240).contains(&largest.len()), "{}", largest.len());
    }

    #[test]
    fn many_queues_without_a_prefix_are_refused() {
        assert!(policy("", 60).is_ok());
        let refused = policy("", 100).expect_err("too many").into_message();
        assert!(refused.contains("no room for the ARNs of 100 queues") && refused.contains("give the queues a prefix"), "{refused}");
    }

    #[test]
    fn the_variables_of_a_function_name_its_environment() {
        let place =
            |prefix: &str, table: Option<&str>| Place { prefix: prefix.into(), table: table.map(str::to_owned), ..Place::default() };
        let schedules = |prefix: &str, table: &str| Place { schedules_table: Some(table.into()), ..place(prefix, None) };
        let production = variables(&place("", None), None, &[]);
        let staging = variables(&place("staging-", None), None, &[]);
        let only = |name, value: &str| vec![(name, value.to_owned())];
        let unprefixed =
            [only("SQJOBS_PREFIX", "live-"), only("SQJOBS_TABLE", "jobs"), only("SQJOBS_SCHEDULES_TABLE", "schedules")].concat();
        let cases = [
            (vec![], place("staging-", None), None),
            (only("SQJOBS_DLQ_URL", "x"), place("staging-", None), None),
            (production.clone(), place("", None), None),
            (production.clone(), place("staging-", None), Some("")),
            (only("SQJOBS_PREFIX", ""), place("staging-", None), Some("")),
            (production.clone(), place("staging-", Some("jobs")), Some("")),
            (production.clone(), place("", Some("elsewhere")), Some("")),
            (production, schedules("", "elsewhere"), Some("")),
            (staging.clone(), place("staging-", None), None),
            (staging.clone(), schedules("staging-", "elsewhere"), Some("staging-")),
            (staging.clone(), place("", Some("staging-jobs")), Some("staging-")),
            (staging.clone(), place("", None), Some("staging-")),
            (staging, place("live-", None), Some("staging-")),
            // An environment that keeps its tables.
            (unprefixed.clone(), Place { schedules_table: Some("schedules".into()), ..place("live-", Some("jobs")) }, None),
            // An environment that moves, as the doctor suggests.
            (unprefixed.clone(), place("live-", None), None),
            (unprefixed, place("live-", Some("elsewhere")), Some("live-")),
            (only("SQJOBS_TABLE", "jobs"), schedules("", "elsewhere"), None),
        ];
        for (variables, ours, other) in cases {
            let environment = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let function = Function { environment, ..Function::default() };
            assert_eq!(function.environment_other_than(&ours).as_deref(), other, "{function:?} {ours:?}");
        }
    }
}
