//! Policies for people and producers. They allow the requests that the commands make, by audience.

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::{
    aws::Aws,
    command::function::{Right, policy},
    failure::Failure,
    output::Output,
    place::Place,
    value::text,
};
use Audience::{Deployer, Operator, Producer, Reader};
use On::{DeadLetters, DeployedRoles, Everything, Functions, Jobs, Logs, Queues, Roles, Rules, Schedules, Tables};

#[derive(Debug, Args)]
pub(crate) struct Permissions {
    /// The user of the policy. A reader sees everything and runs the doctor. An operator also changes jobs, schedules and dead letters, and
    /// pauses queues. A deployer also creates tables, queues and functions, and releases versions. A producer enqueues jobs and reads
    /// results.
    #[arg(long = "for", value_name = "WHO", default_value = "operator")]
    pub(crate) audience: Audience,
    /// The number of the AWS account. Default: any account.
    #[arg(long, value_name = "NUMBER", value_parser = text)]
    pub(crate) account: Option<String>,
}

/// Whom a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Audience {
    Reader,
    Operator,
    Deployer,
    Producer,
}

/// A statement of policies: the actions that the commands of an audience take, and the resources.
struct Need {
    sid: &'static str,
    whose: &'static [Audience],
    actions: &'static [&'static str],
    on: On,
}

/// The resources of a statement.
#[derive(Clone, Copy)]
enum On {
    /// The table of the records and its indexes.
    Jobs,
    /// The table of the schedules and its indexes.
    Schedules,
    /// Both tables.
    Tables,
    /// The queues that have the prefix, dead-letter queues included.
    Queues,
    /// Dead-letter queues of the usual names.
    DeadLetters,
    /// The functions that have the prefix.
    Functions,
    /// The log groups of these functions.
    Logs,
    /// The roles that `cargo lambda deploy` makes.
    DeployedRoles,
    /// All roles: a function may have any.
    Roles,
    /// The rules that have the prefix.
    Rules,
    /// Everything, because the action has no resource, or none with a name known in advance.
    Everything,
}

const fn need(sid: &'static str, whose: &'static [Audience], actions: &'static [&'static str], on: On) -> Need {
    Need { sid, whose, actions, on }
}

/// The audiences that may read.
const LOOK: &[Audience] = &[Reader, Operator, Deployer];

/// All permissions that the commands need. The tests compare them with the requests that the commands make.
const NEEDS: &[Need] = &[
    need("Records", LOOK, &["dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan"], Jobs),
    need("Schedules", LOOK, &["dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan"], Schedules),
    need("Tables", LOOK, &["dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive"], Tables),
    // An enqueue looks for other environments too, so that it sends nothing to their queues.
    need("TableNames", &[Reader, Operator, Deployer, Producer], &["dynamodb:ListTables"], Everything),
    need("Queues", LOOK, &["sqs:GetQueueAttributes", "sqs:GetQueueUrl"], Queues),
    need("QueueNames", LOOK, &["sqs:ListQueues"], Everything),
    need("DeadLetters", LOOK, &["sqs:ChangeMessageVisibility", "sqs:ReceiveMessage"], DeadLetters),
    need(
        "Functions",
        LOOK,
        &[
            "lambda:GetAlias",
            "lambda:GetFunctionConfiguration",
            "lambda:GetFunctionRecursionConfig",
            "lambda:GetPolicy",
            "lambda:ListVersionsByFunction",
        ],
        Functions,
    ),
    need("Logs", LOOK, &["logs:FilterLogEvents"], Logs),
    need("Mappings", LOOK, &["lambda:ListEventSourceMappings"], Everything),
    need("Roles", LOOK, &["iam:SimulatePrincipalPolicy"], Roles),
    need(
        "Rules",
        LOOK,
        &["events:DescribeRule", "events:ListRuleNamesByTarget", "events:ListRules", "events:ListTargetsByRule"],
        Everything,
    ),
    need("WriteRecords", &[Operator], &["dynamodb:BatchWriteItem", "dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"], Jobs),
    need("WriteSchedules", &[Operator], &["dynamodb:PutItem"], Schedules),
    need("Send", &[Operator], &["sqs:PurgeQueue", "sqs:SendMessage"], Queues),
    need("DeleteDeadLetters", &[Operator], &["sqs:DeleteMessage"], DeadLetters),
    need("Pause", &[Operator], &["lambda:UpdateEventSourceMapping"], Everything),
    need("MakeTables", &[Deployer], &["dynamodb:CreateTable", "dynamodb:UpdateTimeToLive"], Tables),
    need("ListDeadLetterQueues", &[Deployer], &["dynamodb:BatchWriteItem", "dynamodb:DeleteItem"], Jobs),
    need("MakeQueues", &[Deployer], &["sqs:CreateQueue", "sqs:DeleteQueue"], Queues),
    need(
        "Release",
        &[Deployer],
        &[
            "lambda:AddPermission",
            "lambda:CreateAlias",
            "lambda:PublishVersion",
            "lambda:PutFunctionRecursionConfig",
            "lambda:UpdateAlias",
            "lambda:UpdateFunctionConfiguration",
        ],
        Functions,
    ),
    need(
        "Feed",
        &[Deployer],
        &["lambda:CreateEventSourceMapping", "lambda:DeleteEventSourceMapping", "lambda:UpdateEventSourceMapping"],
        Everything,
    ),
    need("Wake", &[Deployer], &["events:PutRule", "events:PutTargets"], Rules),
    need("GiveRights", &[Deployer], &["iam:GetRolePolicy", "iam:PutRolePolicy"], Roles),
    // The further permissions that `cargo lambda deploy` needs.
    need(
        "Code",
        &[Deployer],
        &["lambda:CreateFunction", "lambda:GetFunction", "lambda:TagResource", "lambda:UpdateFunctionCode"],
        Functions,
    ),
    need(
        "DeployedRoles",
        &[Deployer],
        &["iam:AttachRolePolicy", "iam:CreateRole", "iam:PassRole", "iam:UpdateAssumeRolePolicy"],
        DeployedRoles,
    ),
    need("Enqueue", &[Producer], &["sqs:GetQueueUrl", "sqs:SendMessage"], Queues),
    // An enqueue looks into the list of dead-letter queues, so that it sends nothing to them.
    need(
        "Results",
        &[Producer],
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:BatchWriteItem",
            "dynamodb:DescribeTable",
            "dynamodb:GetItem",
            "dynamodb:PartiQLInsert",
            "dynamodb:PartiQLUpdate", // unique keys
            "dynamodb:Query",
        ],
        Jobs,
    ),
];

/// Prints the policy of an audience.
pub(super) fn permissions(aws: &Aws, wanted: &Permissions) -> Result<bool, Failure> {
    let region = aws.sdk.region().map_or("*", |region| region.as_ref());
    let policy = of_audience(wanted.audience, &aws.place, region, wanted.account.as_deref().unwrap_or("*"));
    Output::new().line(serde_json::to_string_pretty(&policy)?)?;
    Ok(true)
}

/// Returns the policy of an audience.
pub(crate) fn of_audience(audience: Audience, place: &Place, region: &str, account: &str) -> Value {
    let needs = NEEDS.iter().filter(|need| need.whose.contains(&audience));
    policy(&needs.map(|need| Right::new(need.sid, need.actions, resources(place, region, account, need.on))).collect::<Vec<_>>())
}

/// Returns the ARNs of the allowed resources, with wildcards for the unknown parts.
fn resources(place: &Place, region: &str, account: &str, on: On) -> Vec<String> {
    let prefix = &place.prefix;
    let partition = match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    let arn = |service: &str, name: String| format!("arn:{partition}:{service}:{region}:{account}:{name}");
    let table = |name: String| arn("dynamodb", format!("table/{name}"));
    let role = |name: &str| format!("arn:{partition}:iam::{account}:role/{name}");
    match on {
        Jobs => vec![table(place.table()), table(format!("{}/index/*", place.table()))],
        Schedules => vec![table(place.schedules_table()), table(format!("{}/index/*", place.schedules_table()))],
        Tables => vec![table(place.table()), table(place.schedules_table())],
        Queues => vec![arn("sqs", format!("{prefix}*"))],
        DeadLetters => vec![arn("sqs", format!("{prefix}*-dlq")), arn("sqs", format!("{prefix}*-dlq.fifo"))],
        Functions => vec![arn("lambda", format!("function:{prefix}*"))],
        Logs => vec![arn("logs", format!("log-group:/aws/lambda/{prefix}*"))],
        DeployedRoles => vec![role("cargo-lambda-role*")],
        Roles => vec![role("*")],
        Rules => vec![arn("events", format!("rule/{prefix}*"))],
        Everything => vec!["*".to_owned()],
    }
}
