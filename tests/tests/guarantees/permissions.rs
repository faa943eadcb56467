//! The policies that the command prints allow the requests of the commands and nothing more.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqjobs::Clock;

use crate::{
    cli::{Ran, sqjobs},
    function::Function,
    proxy::{Passed, Proxy},
    roles::as_the_stack_has_it,
    world::World,
};

const AUDIENCES: [&str; 4] = ["deployer", "operator", "reader", "producer"];

/// Permissions that no command needs: `cargo lambda deploy` uses them, or producers that read a record directly.
const OF_OTHERS: [&str; 9] = [
    "dynamodb:GetItem",
    "iam:AttachRolePolicy",
    "iam:CreateRole",
    "iam:PassRole",
    "iam:UpdateAssumeRolePolicy",
    "lambda:CreateFunction",
    "lambda:GetFunction",
    "lambda:TagResource",
    "lambda:UpdateFunctionCode",
];

/// Returns the printed policy for the account of a world.
pub(crate) fn printed(world: &World, audience: &str) -> Value {
    let printed = sqjobs(world, &["permissions", "--for", audience, "--account", &world.account.id]).yes();
    serde_json::from_str(&printed).expect("a policy is JSON")
}

/// Returns the actions that a policy allows.
pub(crate) fn allowed(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().expect("statements").iter();
    let actions = statements.flat_map(|statement| statement["Action"].as_array().expect("actions"));
    actions.map(|action| action.as_str().expect("an action").to_owned()).collect()
}

/// Returns the actions that a request needs.
pub(crate) fn taken(request: &Passed) -> Vec<String> {
    let Passed { operation, body, method } = request;
    if let Some(name) = operation.strip_prefix("AmazonSQS.") {
        return vec![format!("sqs:{}", name.trim_end_matches("Batch"))];
    }
    if let Some(name) = operation.strip_prefix("AWSEvents.") {
        return vec![format!("events:{name}")];
    }
    if let Some(name) = operation.strip_prefix("Logs_20140328.") {
        return vec![format!("logs:{name}")];
    }
    if let Some(name) = operation.strip_prefix("DynamoDB_20120810.") {
        let parts: &[(&str, &str)] = match name {
            "BatchExecuteStatement" => &[("INSERT INTO", "PartiQLInsert"), ("UPDATE ", "PartiQLUpdate")],
            "TransactWriteItems" => &[("\"Put\":", "PutItem"), ("\"Delete\":", "DeleteItem")],
            name => return vec![format!("dynamodb:{name}")],
        };
        return parts.iter().filter(|(part, _)| body.contains(part)).map(|(_, action)| format!("dynamodb:{action}")).collect();
    }
    if let Some((_, name)) = body.split_once("Action=") {
        return vec![format!("iam:{}", name.split('&').next().unwrap_or(name))];
    }
    let path: Vec<_> = operation.trim_matches('/').split('/').skip(1).collect();
    let action = match (&**method, &path[..]) {
        ("GET", ["event-source-mappings"]) => "ListEventSourceMappings",
        ("POST", ["event-source-mappings"]) => "CreateEventSourceMapping",
        ("PUT", ["event-source-mappings", _]) => "UpdateEventSourceMapping",
        ("DELETE", ["event-source-mappings", _]) => "DeleteEventSourceMapping",
        ("GET", ["functions", _, "configuration"]) => "GetFunctionConfiguration",
        ("PUT", ["functions", _, "configuration"]) => "UpdateFunctionConfiguration",
        ("GET", ["functions", _, "recursion-config"]) => "GetFunctionRecursionConfig",
        ("PUT", ["functions", _, "recursion-config"]) => "PutFunctionRecursionConfig",
        ("GET", ["functions", _, "policy"]) => "GetPolicy",
        ("POST", ["functions", _, "policy"]) => "AddPermission",
        ("GET", ["functions", _, "versions"]) => "ListVersionsByFunction",
        ("POST", ["functions", _, "versions"]) => "PublishVersion",
        ("POST", ["functions", _, "aliases"]) => "CreateAlias",
        ("GET", ["functions", _, "aliases", _]) => "GetAlias",
        ("PUT", ["functions", _, "aliases", _]) => "UpdateAlias",
        _ => panic!("{method} {operation}: which action is that? {body}"),
    };
    vec![format!("lambda:{action}")]
}

/// Uses the system as each audience, from creating tables to deleting queues.
async fn live(world: &World, ask: impl Fn(&str, &[&str])) {
    let probe = world.create_function_and_role(&Function::probe()).await;
    let beater = world.create_function_and_role(&Function::beater()).await;
    let (lambda, dynamodb) = (&world.account.lambda, &world.account.dynamodb);
    // A mapping from a manual deployment, and a table from an interrupted command.
    let map = lambda
        .create_event_source_mapping()
        .function_name(&probe)
        .event_source_arn(format!("arn:aws:sqs:us-east-1:{}:probes", world.account.id));
    map.enabled(false).send().await.expect("the mapping is created");
    let ttl = aws_sdk_dynamodb::types::TimeToLiveSpecification::builder().attribute_name("purge_at").enabled(false).build();
    let update = dynamodb.update_time_to_live().table_name("jobs").time_to_live_specification(ttl.expect("complete"));
    update.send().await.expect("the table is changed");

    let deployer = |args: &[&str]| ask("deployer", args);
    deployer(&["table", "create"]);
    deployer(&["queue", "create", "probes", "--function", &probe, "--enqueues-to", "probes"]);
    deployer(&["schedule", "beater", &beater]);
    let update = lambda.update_function_code().function_name(&probe).zip_file(Function::adder().package());
    update.send().await.expect("the function takes other code");
    deployer(&["function", "release", &probe]);

    ask("producer", &["enqueue", "probe", "[1]", "--queue", "probes", "--id", "a"]);
    ask("producer", &["enqueue", "probe", "[1]", "--queue", "probes", "--id", "b", "--recorded", "--listed", "--object", "order:1"]);
    ask("producer", &["enqueue", "probe", "[1]", "--queue", "probes", "--id", "unique", "--unique-key", "order-1"]);

    let now = Clock::system().now();
    for (id, state) in [("waits", "scheduled"), ("moves", "scheduled")] {
        world.plant(job(id, state, now)).await;
    }
    ask("operator", &["queue", "resume", "probes"]);
    ask("operator", &["queue", "pause", "probes"]);
    ask("operator", &["enqueue", "probe", "[1]", "--queue", "probes", "--id", "c", "--recorded", "--listed"]);
    ask("operator", &["move", "moves", "--delay", "1h"]);
    ask("operator", &["move", "moves", "--priority", "default"]);
    ask("operator", &["tag", "moves", "--add", "urgent", "--remove", "old"]);
    ask("operator", &["cancel", "waits", "--yes"]);
    ask("operator", &["schedule", "add", "nightly", "probe", "--queue", "probes", "--cron", "1 0 * * *"]);
    ask("operator", &["schedule", "pause", "nightly"]);
    ask("operator", &["schedule", "resume", "nightly"]);
    ask("operator", &["schedule", "run", "nightly"]);
    for audience in ["operator", "reader", "deployer"] {
        for id in ["fatal", "again"] {
            world.plant(job(&format!("{id}-{audience}"), "failed", now)).await;
            let letter = json!({"name": "probe", "id": format!("{id}-{audience}"), "args": [1]}).to_string();
            let send = world.account.sqs.send_message().queue_url(&world.queues.dlq_url).message_body(letter);
            send.send().await.expect("the queue takes a message");
        }
        let fatal = format!("fatal-{audience}");
        for args in [
            &["get", &*fatal][..],
            &["list"],
            &["list", "--due"],
            &["list", "--object", "order:1"],
            &["tree", &fatal],
            &["explain", &fatal],
            &["watch", &fatal],
            &["stats"],
            &["tail", "--within", "0s"],
            &["dlq", "list"],
            &["dlq", "show", "probes", &fatal],
            &["queue", "list"],
            &["function", "versions", &probe],
            &["schedule", "list"],
            &["schedule", "preview", "nightly"],
            &["doctor"],
            &["doctor", "--beater", &beater],
        ] {
            ask(audience, args);
        }
    }
    ask("operator", &["retry", "again-operator", "[1]"]);
    ask("operator", &["dlq", "redrive", "probes", "--id", "fatal-operator", "--yes"]);
    ask("operator", &["dlq", "purge", "probes", "--yes"]);
    ask("operator", &["schedule", "remove", "nightly", "--yes"]);
    ask("operator", &["queue", "purge", "probes", "--yes"]);
    deployer(&["queue", "create", "more"]);
    deployer(&["queue", "delete", "more", "--force", "--yes"]);
    deployer(&["queue", "delete", "probes", "--force", "--yes"]);
    // A new mapping.
    let adder = world.create_function_and_role(&Function::adder()).await;
    deployer(&["queue", "create", "adder", "--function", &adder]);
}

/// Returns the record of a job in the given state.
fn job(id: &str, state: &str, now: Timestamp) -> Value {
    let mut job = json!({"id": id, "name": "probe", "queue": "probes", "state": state, "attempts": 0, "max_attempts": 1});
    if state == "failed" {
        job["finished_at"] = json!(now);
        job["dlq"] = json!("sent");
        job["listed"] = json!("failed#0");
        job["listed_at"] = json!(now);
    } else {
        job["due"] = json!("due#0");
        job["run_at"] = json!(now + SignedDuration::from_hours(24));
        job["envelope"] = json!(json!({"name": "probe", "id": id, "args": [1]}).to_string());
    }
    job
}

#[test]
fn the_printed_policies_name_what_the_commands_ask_for_and_no_more() {
    World::setup().test(async |world| {
        let proxy = Proxy::start(&world.account.endpoint, None).await;
        let url = proxy.url();
        let asked = std::cell::RefCell::new(BTreeMap::<String, BTreeSet<String>>::new());
        live(world, |audience, args| {
            proxy.forget();
            let ran = sqjobs(world, &[args, &["--endpoint-url", &url]].concat());
            assert!(ran.is_answered(), "{audience} {args:?}: {ran:?}");
            asked.borrow_mut().entry(audience.to_owned()).or_default().extend(proxy.passed("").iter().flat_map(taken));
        })
        .await;
        for (audience, asked) in asked.into_inner() {
            let allowed = allowed(&printed(world, &audience));
            let missing: Vec<_> = asked.difference(&allowed).collect();
            let idle: Vec<_> = allowed.difference(&asked).filter(|action| !OF_OTHERS.contains(&&***action)).collect();
            assert!(missing.is_empty() && idle.is_empty(), "{audience}: missing {missing:?}, never asked for {idle:?}");
        }
    });
}

/// Creates a user with the printed policy. Returns the variables of the access key.
async fn user(world: &World, audience: &str) -> [(&'static str, String); 2] {
    let mut policy = as_the_stack_has_it(printed(world, audience));
    let has = |name: &str| policy.to_string().contains(&format!("\"{name}\""));
    // For these actions, the stack requires the action on the right, on all resources, where AWS requires the one on the left.
    let here = [
        ("dynamodb:PartiQLInsert", "dynamodb:BatchExecuteStatement"),
        ("events:PutTargets", "events:PutTargets"),
        ("iam:SimulatePrincipalPolicy", "iam:SimulatePrincipalPolicy"),
        ("lambda:GetAlias", "lambda:ListAliases"),
        ("lambda:GetFunctionRecursionConfig", "lambda:GetFunction"),
    ];
    let more: Vec<_> = here.into_iter().filter(|(name, _)| has(name)).map(|(_, own)| own).collect();
    policy["Statement"].as_array_mut().expect("statements").push(json!({"Effect": "Allow", "Action": more, "Resource": "*"}));
    let iam = &world.account.iam;
    iam.create_user().user_name(audience).send().await.expect("the user is made");
    let put = iam.put_user_policy().user_name(audience).policy_name("printed").policy_document(policy.to_string());
    put.send().await.expect("the user takes a policy");
    let key = iam.create_access_key().user_name(audience).send().await.expect("the key is made").access_key.expect("a key");
    [("AWS_ACCESS_KEY_ID", key.access_key_id), ("AWS_SECRET_ACCESS_KEY", key.secret_access_key)]
}

#[test]
fn the_printed_policies_suffice_for_their_audiences() {
    World::setup().enforces_roles().test(async |world| {
        let mut keys = BTreeMap::new();
        for audience in AUDIENCES {
            keys.insert(audience, user(world, audience).await);
        }
        live(world, |audience, args| {
            let ran = Ran::with(world, &keys[audience], args);
            assert!(ran.is_answered() && !ran.is_refused(), "{audience} {args:?}: {ran:?}");
        })
        .await;
        let refused = |audience: &str, args: &[&str]| {
            let said = Ran::with(world, &keys[audience], args).error();
            assert!(said.contains("not authorized"), "{audience} {args:?}: {said}");
        };
        refused("producer", &["queue", "create", "mine"]);
        refused("reader", &["schedule", "add", "nightly", "adder", "--cron", "1 0 * * *"]);
        refused("reader", &["enqueue", "adder", "[1]"]);
        refused("operator", &["queue", "create", "mine"]);
    });
}

#[test]
fn a_printed_policy_names_its_resources_and_fits_the_size_limit() {
    World::setup().test(async |world| {
        for audience in AUDIENCES {
            let place = ["--prefix", "production-europe-1-", "--region", "ap-southeast-2", "--account", "123456789012"];
            let policy = sqjobs(world, &[&["permissions", "--for", audience, "--table", "records"], &place[..]].concat()).yes();
            let policy: Value = serde_json::from_str(&policy).expect("a policy is JSON");
            let text = policy.to_string();
            // The limit of managed policies: "IAM and AWS STS quotas" in the IAM user guide.
            assert!(text.len() < 6_144, "{audience}: {}", text.len());
            assert!(text.contains("\"arn:aws:dynamodb:ap-southeast-2:123456789012:table/records\""), "{text}");
            assert!(text.contains("\"arn:aws:sqs:ap-southeast-2:123456789012:production-europe-1-*\""), "{text}");
        }
        let here = sqjobs(world, &["permissions", "--region", "cn-north-1"]).yes();
        assert!(here.contains("\"arn:aws-cn:sqs:cn-north-1:*:*\""), "{here}");
    });
}
