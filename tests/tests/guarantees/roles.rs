//! Functions under the roles of the Terraform modules, which the stack enforces. What Lambda itself does for a function, to
//! receive and delete its messages and to log, the stack does not ask its role for.

use std::{fs, path::Path, process::Command, sync::OnceLock};

use jiff::SignedDuration;
use serde_json::{Value, json};
use sqjobs::Clock;

use crate::{
    function::Function,
    stack::{succeed, target},
    wait,
    world::{PATIENCE, World},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The account and the region of the plan, and the region of the stack.
const PLANNED: &str = "eu-west-1:123456789012";
const REGION: &str = "us-east-1";

/// The policies of a plan of the modules; none where Terraform is not installed.
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

/// A right that is taken away: the statement, and the action.
type Right<'a> = (&'a str, &'a str);

/// A module's policy in a world, as the stack names the requests; without a right.
fn policy(world: &World, module: &str, without: Option<Right<'_>>) -> String {
    let mut policy = planned().expect("there is a plan")[module].clone();
    let mut writes = false;
    for statement in policy["Statement"].as_array_mut().expect("statements") {
        let actions = &statement["Action"];
        let mut actions: Vec<_> = actions.as_array().cloned().unwrap_or_else(|| vec![actions.clone()]);
        if let Some((_, action)) = without.filter(|(sid, _)| statement["Sid"] == *sid) {
            let before = actions.len();
            actions.retain(|own| own != action);
            assert!(actions.len() < before, "{action} is allowed");
        }
        let has = |name: &str| actions.iter().any(|own| own == name);
        // AWS asks for the rights of the parts of a request, the stack for one of its name.
        writes |= has("dynamodb:PartiQLInsert") && has("dynamodb:PartiQLUpdate");
        let named = [
            (has("sqs:SendMessage"), "sqs:SendMessageBatch"),
            (has("sqs:ChangeMessageVisibility"), "sqs:ChangeMessageVisibilityBatch"),
            (has("sqs:DeleteMessage"), "sqs:DeleteMessageBatch"),
        ];
        let named: Vec<_> = named.into_iter().filter(|(is, _)| *is).map(|(_, name)| json!(name)).collect();
        actions.extend(named);
        statement["Action"] = if actions.is_empty() { json!("none:None") } else { json!(actions) };
    }
    if writes {
        // The stack does not look which tables the statements are about.
        let statement = json!({"Effect": "Allow", "Action": "dynamodb:BatchExecuteStatement", "Resource": "*"});
        policy["Statement"].as_array_mut().expect("statements").push(statement);
    }
    policy.to_string().replace(PLANNED, &format!("{REGION}:{}", world.account.id))
}

async fn allow(world: &World, function: &Function, policy: &str) {
    let put = world.account.iam.put_role_policy().role_name(function.bootstrap).policy_name("jobs").policy_document(policy);
    put.send().await.expect("the role takes a policy");
}

const FUNCTION: &str = r#"module.function["probes"]"#;

const BEATER: &str = "module.beater";

/// What a function was refused.
async fn refusals(world: &World, function: &Function) -> Vec<String> {
    let printed = world.printed(function).await;
    // The beater's own entry is for a queue that is not in these worlds.
    printed.into_iter().filter(|line| line.contains("not authorized") && !line.contains("nightly-sum")).collect()
}

/// Has jobs succeed, come twice, fail until that file is there, and fail for good.
async fn work(world: &World, series: &str, gate: &Path) {
    let job = |id: &str, orders: Value| world.probe(&format!("{series}-{id}"), &orders);
    world.send(job("done", json!({}))).await;
    world.send(job("fatal", json!({"act": "fatal"}))).await;
    world.send(job("retried", json!({"act": {"fail_until": gate}}))).await;
    world.send(job("done", json!({}))).await;
}

#[test]
fn a_function_needs_every_right_of_its_role_and_no_other() {
    if planned().is_none() {
        return eprintln!("TERRAFORM IS NOT INSTALLED: NO ROLE IS TESTED");
    }
    World::setup().visibility_s(10).enforces_roles().test(async |world| {
        let probe = Function::probe();
        world.account.create_role(&probe).await;
        allow(world, &probe, &policy(world, FUNCTION, None)).await;
        world.deploy(&probe).await;
        work(world, "all", world.effects.gate().as_ref()).await;
        world.record_in("all-done", "succeeded").await;
        world.dead_letters_when(1).await;
        world.record_in("all-retried", "retrying").await;
        world.effects.open_the_gate();
        world.record_in("all-retried", "succeeded").await;
        world.drained().await;
        assert_eq!(refusals(world, &probe).await, [""; 0]);

        let rights = [
            ("Records", "dynamodb:PartiQLInsert"),
            ("Records", "dynamodb:PartiQLUpdate"),
            ("Records", "dynamodb:BatchGetItem"),
            ("DeadLetters", "sqs:SendMessage"),
            ("Queue", "sqs:ChangeMessageVisibility"),
        ];
        for (number, right) in rights.into_iter().enumerate() {
            allow(world, &probe, &policy(world, FUNCTION, Some(right))).await;
            let before = refusals(world, &probe).await.len();
            wait::until(&format!("{right:?} is missed"), PATIENCE, async || {
                work(world, &format!("series-{number}"), Path::new("/nowhere")).await;
                let refused = refusals(world, &probe).await;
                if refused.len() > before { Ok(()) } else { Err(format!("{refused:?}")) }
            })
            .await;
        }
    });
}

/// Leaves something to do for each part of a tick, and ticks.
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
                ("Due", "dynamodb:Query"),
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
        // A letter that is explained, and is only looked at.
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
            world.retire().await;
        }
    });
}
