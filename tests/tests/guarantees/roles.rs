//! Functions under the roles of the Terraform modules, which the stack enforces. The stack does not check the role for actions
//! that Lambda takes for a function; a program assumes the role and takes these actions instead.

use std::{collections::BTreeSet, fs, path::Path, process::Command, sync::OnceLock};

use jiff::SignedDuration;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sqjobs::Clock;

use crate::{
    cli::sqjobs,
    function::Function,
    http,
    stack::{succeed, target},
    wait,
    world::{PATIENCE, World},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The region and the account of the plan, and the region of the stack.
const PLANNED: &str = "eu-west-1:123456789012";
const REGION: &str = "us-east-1";

/// Returns the policies of a plan of the modules, or `None` if Terraform is not installed.
fn planned() -> Option<&'static Value> {
    static PLANNED: OnceLock<Option<Value>> = OnceLock::new();
    let plan = || {
        let written = target().join("terraform-check/policies.json");
        fs::remove_file(&written).ok();
        succeed(Command::new("infra/check/run").current_dir(Path::new(ROOT)).stdout(std::process::Stdio::null()));
        let policies = fs::read_to_string(written).ok()?;
        Some(serde_json::from_str(&policies).expect("policies are JSON"))
    };
    PLANNED.get_or_init(plan).as_ref()
}

/// A permission that is removed: the statement and the action.
type Right<'a> = (&'a str, &'a str);

/// Returns a module's policy for a world, translated for the stack, without one permission if given.
fn policy(world: &World, module: &str, without: Option<Right<'_>>) -> String {
    let mut policy = planned().expect("there is a plan")[module].clone();
    for statement in policy["Statement"].as_array_mut().expect("statements") {
        if let Some((_, action)) = without.filter(|(sid, _)| statement["Sid"] == *sid) {
            let mut actions = many(&statement["Action"]);
            let before = actions.len();
            actions.retain(|own| own != action);
            assert!(actions.len() < before, "{action} is allowed");
            statement["Action"] = if actions.is_empty() { json!("none:None") } else { json!(actions) };
        }
    }
    here(world, &as_the_stack_has_it(policy).to_string())
}

/// Translates a policy for the stack. AWS checks the permission of each statement in a request; the stack checks one
/// permission for the whole request. It refuses the request if either `PartiQLInsert` or `PartiQLUpdate` is missing.
pub(crate) fn as_the_stack_has_it(mut policy: Value) -> Value {
    let mut writes = false;
    for statement in policy["Statement"].as_array_mut().expect("statements") {
        let mut actions = many(&statement["Action"]);
        let has = |name: &str| actions.iter().any(|own| own == name);
        writes |= has("dynamodb:PartiQLInsert") && has("dynamodb:PartiQLUpdate");
        let named = [
            (has("sqs:SendMessage"), "sqs:SendMessageBatch"),
            (has("sqs:ChangeMessageVisibility"), "sqs:ChangeMessageVisibilityBatch"),
            (has("sqs:DeleteMessage"), "sqs:DeleteMessageBatch"),
            (has("lambda:GetAlias") && has("lambda:UpdateAlias"), "lambda:ListAliases"),
        ];
        let named: Vec<_> = named.into_iter().filter(|(is, _)| *is).map(|(_, name)| name.to_owned()).collect();
        actions.extend(named);
        statement["Action"] = json!(actions);
    }
    if writes {
        // The stack does not check which tables the statements use.
        let statement = json!({"Effect": "Allow", "Action": "dynamodb:BatchExecuteStatement", "Resource": "*"});
        policy["Statement"].as_array_mut().expect("statements").push(statement);
    }
    policy
}

/// Returns the values of a policy field, which may be one or many.
fn many(value: &Value) -> Vec<String> {
    match value {
        Value::Array(many) => many.iter().map(|one| one.as_str().expect("a text").to_owned()).collect(),
        one => vec![one.as_str().expect("a text").to_owned()],
    }
}

/// Returns a policy that the command attached to a function's role.
pub(crate) async fn given(world: &World, role: &str, function: &str, what: &str) -> Value {
    let get = world.account.iam.get_role_policy().role_name(role).policy_name(format!("sqjobs-{function}{what}"));
    let given = get.send().await.expect("the role has a policy").policy_document;
    serde_json::from_slice(&percent_decode_str(&given).collect::<Vec<_>>()).expect("a policy is JSON")
}

/// Replaces the region and the account of the plan with those of a world.
fn here(world: &World, planned: &str) -> String {
    planned.replace(PLANNED, &format!("{REGION}:{}", world.account.id))
}

async fn allow(world: &World, function: &Function, policy: &str) {
    let put = world.account.iam.put_role_policy().role_name(function.bootstrap).policy_name("jobs").policy_document(policy);
    put.send().await.expect("the role takes a policy");
}

const FUNCTION: &str = r#"module.function["probes"]"#;

const BEATER: &str = "module.beater";

/// Returns the log lines about refused requests of a function.
async fn refusals(world: &World, function: &Function) -> Vec<String> {
    let printed = world.printed(function).await;
    // The beater's own entry uses a queue that does not exist in these worlds.
    printed.into_iter().filter(|line| line.contains("not authorized") && !line.contains("nightly-sum")).collect()
}

/// Returns `true` if a log line reports that this permission is missing. The stack names only the request; the log names the queue.
fn is_about(line: &str, (sid, action): Right<'_>) -> bool {
    let request = if action.contains("PartiQL") { "dynamodb:BatchExecuteStatement" } else { action };
    let told = match (sid, action) {
        ("DeadLetters", "sqs:SendMessage") if line.contains("cannot add the reason") => "", // by a beater
        ("DeadLetters", "sqs:SendMessage") => "dead-letter queue",
        ("Queue", "sqs:SendMessage") => "cannot send an old message again",
        ("Children", "sqs:SendMessage") => "cannot enqueue",
        _ => "",
    };
    let named = line.split("perform: ").skip(1).filter_map(|told| told.split(' ').next());
    line.contains(told) && named.into_iter().any(|asked| asked == request || asked == format!("{request}Batch"))
}

/// Seconds in two days; a message that has waited this long is sent anew.
const AHEAD_S: u64 = 49 * 3600;

/// Runs jobs that succeed, are duplicated, enqueue others, fail until attempt `until`, and fail permanently.
async fn work(world: &World, series: &str, until: u32) {
    let job = |id: &str, orders: Value| world.probe(&format!("{series}-{id}"), &orders);
    world.send(job("done", json!({}))).await;
    world.send(job("parent", json!({"act": {"enqueue_to": "others"}}))).await;
    world.send(job("fatal", json!({"act": "fatal"}))).await;
    world.send(job("retried", json!({"act": "fail", "until": until}))).await;
    world.send(job("done", json!({}))).await;
}

#[test]
fn a_function_needs_every_right_of_its_role_and_no_other() {
    if planned().is_none() {
        return eprintln!("TERRAFORM IS NOT INSTALLED: NO ROLE IS TESTED");
    }
    World::setup().visibility_s(10).enforces_roles().test(async |world| {
        world.account.sqs.create_queue().queue_name("others").send().await.expect("the queue is created");
        world.account.create_role(&Function::probe()).await;
        let rights: &[Right<'_>] = &[
            ("Records", "dynamodb:PartiQLInsert"),
            ("Records", "dynamodb:PartiQLUpdate"),
            ("Records", "dynamodb:BatchGetItem"),
            ("DeadLetters", "sqs:SendMessage"),
            ("Queue", "sqs:ChangeMessageVisibility"),
            ("Children", "sqs:GetQueueUrl"),
            ("Children", "sqs:SendMessage"),
            ("Lists", "dynamodb:BatchWriteItem"),
        ];
        let late = Function::probe().env("SQJOBS_CLOCK_AHEAD_S", AHEAD_S.to_string());
        let later: &[Right<'_>] = &[("Queue", "sqs:SendMessage")];
        for (number, (probe, rights)) in [(Function::probe(), rights), (late, later)].into_iter().enumerate() {
            allow(world, &probe, &policy(world, FUNCTION, None)).await;
            world.deploy(&probe).await;
            let before = refusals(world, &probe).await.len();
            let series = format!("all-{number}");
            work(world, &series, 2).await;
            for id in ["done", "parent", "retried"] {
                world.record_in(&format!("{series}-{id}"), "succeeded").await;
            }
            world.record_in(&format!("{series}-fatal"), "failed").await;
            world.drained().await;
            assert_eq!(refusals(world, &probe).await.split_off(before), [""; 0]);

            for right in rights {
                allow(world, &probe, &policy(world, FUNCTION, Some(*right))).await;
                let before = refusals(world, &probe).await.len();
                let mut turn = 0;
                wait::until(&format!("{right:?} is missed"), PATIENCE, async || {
                    turn += 1;
                    work(world, &format!("{}-{turn}", right.1), u32::MAX).await;
                    let refused = refusals(world, &probe).await.split_off(before);
                    let last = refused.last().cloned().unwrap_or_default();
                    if refused.iter().any(|line| is_about(line, *right)) { Ok(()) } else { Err(last) }
                })
                .await;
            }
            world.retire().await;
        }
        let others = world.queues.url.replace("probes", "others");
        assert!(world.messages_in(&others).await.len() > 1, "children were sent");
    });
}

/// Python code that assumes a role, takes the actions of Lambda for a function, and prints the refused ones.
const LAMBDA: &str = r#"
import boto3, sys, time, uuid
from botocore.exceptions import ClientError
role, queue, group, key = sys.argv[1:]
own = {name: boto3.client(name) for name in ["sts", "iam", "sqs", "logs", "kms"]}
taken = own["sts"].assume_role(RoleArn=role, RoleSessionName="lambda")["Credentials"]
session = boto3.Session(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])
sqs, logs, kms = [session.client(name) for name in ["sqs", "logs", "kms"]]

def ask(right, call):
    try:
        call()
    except ClientError as error:
        if "not authorized" not in str(error):
            raise
        print(right)

own["sqs"].send_message(QueueUrl=queue, MessageBody="{}")
receipt = own["sqs"].receive_message(QueueUrl=queue, WaitTimeSeconds=0)["Messages"][0]["ReceiptHandle"]
ask("sqs:ReceiveMessage", lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=0))
ask("sqs:DeleteMessage", lambda: sqs.delete_message(QueueUrl=queue, ReceiptHandle=receipt))
ask("sqs:GetQueueAttributes", lambda: sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"]))
ask("logs:CreateLogStream", lambda: logs.create_log_stream(logGroupName=group, logStreamName=str(uuid.uuid4())))
stream = str(uuid.uuid4())
own["logs"].create_log_stream(logGroupName=group, logStreamName=stream)
lines = [{"timestamp": int(time.time() * 1000), "message": "it ran"}]
ask("logs:PutLogEvents", lambda: logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=lines))
sealed = own["kms"].encrypt(KeyId=key, Plaintext=b"a job")["CiphertextBlob"]
ask("kms:Decrypt", lambda: kms.decrypt(KeyId=key, CiphertextBlob=sealed))
ask("kms:GenerateDataKey", lambda: kms.generate_data_key(KeyId=key, KeySpec="AES_256"))
# The stack has no X-Ray, but it tells what it would allow.
names = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
for result in own["iam"].simulate_principal_policy(PolicySourceArn=role, ActionNames=names)["EvaluationResults"]:
    if result["EvalDecision"] != "allowed":
        print(result["EvalActionName"])
"#;

/// Python code that creates a key and prints its ARN.
const KEY: &str = r#"import boto3; print(boto3.client("kms").create_key()["KeyMetadata"]["Arn"])"#;

#[test]
fn lambda_needs_every_right_that_the_role_has_for_it() {
    if planned().is_none() {
        return eprintln!("TERRAFORM IS NOT INSTALLED: NO ROLE IS TESTED");
    }
    World::setup().enforces_roles().test(async |world| {
        let python = |script: &str, args: &[&str]| {
            let ran = Command::new(world.python()).envs(world.variables()).args(["-c", script]).args(args).output().expect("Python runs");
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
            String::from_utf8(ran.stdout).expect("UTF-8").lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let key = python(KEY, &[]).remove(0);
        let of_functions: &[Right<'_>] = &[
            ("Queue", "sqs:ReceiveMessage"),
            ("Queue", "sqs:DeleteMessage"),
            ("Queue", "sqs:GetQueueAttributes"),
            ("Traces", "xray:PutTelemetryRecords"),
            ("Traces", "xray:PutTraceSegments"),
        ];
        let of_all: &[Right<'_>] =
            &[("Logs", "logs:CreateLogStream"), ("Logs", "logs:PutLogEvents"), ("Key", "kms:Decrypt"), ("Key", "kms:GenerateDataKey")];
        for (function, module, own) in [(Function::probe(), FUNCTION, of_functions), (Function::beater(), BEATER, &[])] {
            world.account.create_role(&function).await;
            let role = format!("arn:aws:iam::{}:role/{}", world.account.id, function.bootstrap);
            let group = if module == BEATER { "/aws/lambda/beater" } else { "/aws/lambda/probes" };
            let create = json!({"logGroupName": group});
            http::call(&world.account.endpoint, &world.account.id, "logs", "Logs_20140328.CreateLogGroup", &create).await;
            // Returns the actions that are refused without this permission.
            let refused = async |without: Option<Right<'_>>, directly: bool| {
                let policy = policy(world, module, without).replace(&here(world, &format!("arn:aws:kms:{PLANNED}:key/check")), &key);
                // AWS names a log group together with its streams, the stack without.
                let mut policy: Value = serde_json::from_str(&policy.replace(&format!("{group}:*"), group)).expect("it is JSON");
                for statement in policy["Statement"].as_array_mut().expect("statements") {
                    if directly {
                        statement.as_object_mut().expect("a statement").remove("Condition");
                    }
                }
                allow(world, &function, &policy.to_string()).await;
                BTreeSet::from_iter(python(LAMBDA, &[&role, &world.queues.url, group, &key]))
            };
            let always = refused(None, true).await;
            let expected = if module == BEATER { of_functions } else { &[] };
            assert_eq!(always, expected.iter().map(|(_, action)| (*action).to_owned()).collect(), "{module}");
            let but_by_services = refused(None, false).await;
            assert!(["kms:Decrypt", "kms:GenerateDataKey"].iter().all(|action| but_by_services.contains(*action)), "{but_by_services:?}");
            for right in of_all.iter().chain(own) {
                let more = BTreeSet::from([right.1.to_owned()]);
                assert_eq!(refused(Some(*right), true).await.difference(&always).cloned().collect::<BTreeSet<_>>(), more, "{module}");
            }
        }
    });
}

/// Returns the action and resource of each statement about jobs in a policy.
fn about_jobs(policy: &Value) -> BTreeSet<(String, String, String)> {
    let statements = policy["Statement"].as_array().expect("statements").iter();
    let about_jobs = statements.filter(|statement| !["Logs", "Traces", "Key"].iter().any(|other| statement["Sid"] == *other));
    let each = |statement: &Value| {
        let (sid, actions, resources) =
            (statement["Sid"].as_str().expect("a name"), many(&statement["Action"]), many(&statement["Resource"]));
        let of = |action: &String| resources.iter().map(|resource| (sid.to_owned(), action.clone(), resource.clone())).collect::<Vec<_>>();
        actions.iter().flat_map(of).collect::<Vec<_>>()
    };
    about_jobs.flat_map(each).collect()
}

#[test]
fn the_command_gives_the_rights_that_the_modules_give() {
    let Some(planned) = planned() else { return eprintln!("TERRAFORM IS NOT INSTALLED: NO ROLE IS TESTED") };
    World::setup().test(async |world| {
        let probe = world.create_function_and_role(&Function::probe()).await;
        let beater = world.create_function_and_role(&Function::beater()).await;
        sqjobs(world, &["queue", "create", "others"]).yes();
        let create = ["queue", "create", "probes", "--function", &probe];
        let printed = sqjobs(world, &[&create[..], &["--enqueues-to", "others"]].concat()).yes();
        assert!(printed.contains(" may enqueue jobs to others and to no other queue\n"), "{printed}");
        sqjobs(world, &create).yes(); // which removes nothing
        sqjobs(world, &["queue", "create", "more"]).yes();
        let replaced = sqjobs(world, &[&create[..], &["--enqueues-to", "more"]].concat());
        assert!(replaced.said.contains("could also enqueue jobs to others. The command replaces the list"), "{}", replaced.said);
        let restored = sqjobs(world, &[&create[..], &["--enqueues-to", "others", "--enqueues-to", "more"]].concat());
        assert_eq!(restored.said, "", "no queue is removed");
        sqjobs(world, &[&create[..], &["--enqueues-to", "others"]].concat()).yes();
        sqjobs(world, &["schedule", "beater", &beater]).yes();
        for (role, module, function) in [("probe", FUNCTION, probe), ("beater", BEATER, beater)] {
            let mut allowed = about_jobs(&given(world, role, &function, "").await);
            if role == "probe" {
                allowed.extend(about_jobs(&given(world, role, &function, "-children").await));
            }
            let planned = serde_json::from_str(&here(world, &planned[module].to_string())).expect("it is JSON");
            assert_eq!(allowed, about_jobs(&planned), "{module}");
        }
    });
}

/// Prepares work for each part of a tick, and ticks.
async fn tick(world: &World, series: &str, beater: &Function) {
    let now = Clock::system().now();
    let body = world.probe(&format!("{series}-due"), &json!({})).to_string();
    let due = json!({
        "id": format!("{series}-due"), "name": "probe", "queue": "probes", "state": "scheduled", "attempts": 0, "max_attempts": 3,
        "run_at": now, "due": "due#3", "envelope": body,
    });
    world.plant(due).await;
    let row = |id: &str, deleted: bool| {
        let at = format!("{:.3}", now - SignedDuration::from_secs(60));
        let mut row = json!({"id": format!("{series}-{id}"), "cron": "* * * * *", "job": "probe", "queue": "probes", "due": "due#1", "next_fire": at});
        row["args"] = world.probe("", &json!({}))["args"].clone();
        if deleted {
            row["deleted"] = json!(true);
        }
        row
    };
    world.schedule_many(&[row("fires", false), row("deleted", true)]).await;
    world.tick(beater, now).await;
}

#[test]
fn a_beater_needs_every_right_of_its_role_and_no_other() {
    if planned().is_none() {
        return eprintln!("TERRAFORM IS NOT INSTALLED: NO ROLE IS TESTED");
    }
    World::setup().visibility_s(10).enforces_roles().test(async |world| {
        let beater = Function::beater();
        world.account.create_role(&beater).await;
        let mut rights: Vec<Option<Right<'_>>> = vec![None];
        rights.extend(
            [
                ("Records", "dynamodb:BatchGetItem"),
                ("Records", "dynamodb:DescribeTable"),
                ("Records", "dynamodb:PartiQLInsert"),
                ("Records", "dynamodb:PartiQLUpdate"),
                ("Records", "dynamodb:PutItem"),
                ("Records", "dynamodb:Scan"),
                ("Indexes", "dynamodb:Query"),
                ("Schedules", "dynamodb:DeleteItem"),
                ("Schedules", "dynamodb:GetItem"),
                ("Schedules", "dynamodb:PutItem"),
                ("Schedules", "dynamodb:Scan"),
                ("Queues", "sqs:GetQueueUrl"),
                ("Queues", "sqs:SendMessage"),
                ("DeadLetters", "sqs:ChangeMessageVisibility"),
                ("DeadLetters", "sqs:DeleteMessage"),
                ("DeadLetters", "sqs:GetQueueUrl"),
                ("DeadLetters", "sqs:ReceiveMessage"),
                ("DeadLetters", "sqs:SendMessage"),
            ]
            .map(Some),
        );
        // A dead letter that already has its reason and is only read.
        world.give_up_after(1).await;
        for (number, right) in rights.into_iter().enumerate() {
            let series = format!("series-{number}");
            world.send(world.probe(&format!("{series}-moved"), &json!({}))).await;
            world.receive_until_moved(1).await;
            allow(world, &beater, &policy(world, BEATER, right)).await;
            let before = refusals(world, &beater).await.len();
            world.create_function(&beater).await;
            tick(world, &series, &beater).await;
            tick(world, &format!("{series}-again"), &beater).await;
            let refused = refusals(world, &beater).await.split_off(before);
            assert_eq!(refused.is_empty(), right.is_none(), "without {right:?}: {refused:?}");
            assert!(right.is_none_or(|right| refused.iter().all(|line| is_about(line, right))), "without {right:?}: {refused:?}");
            world.retire().await;
        }
    });
}
