//! The route without Terraform, by the commands of the README.

use std::{fs, path::Path, process::Command};

use super::sqjobs;
use crate::{
    function::{house_variables, program},
    stack::succeed,
    world::World,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Where the system is, beside the tables and queues of its world.
const PLACE: [&str; 6] = ["--prefix", "live-", "--table", "live-jobs", "--schedules-table", "live-schedules"];

/// Deploys a function by `cargo lambda deploy`, as it was built for the tests.
fn deploy(world: &World, name: &str, timeout: &str, settings: &[(&str, &str)]) {
    let work = tempfile::tempdir().expect("there is room");
    let bootstrap = work.path().join(name);
    fs::copy(program(name), &bootstrap).expect("the program was built");
    Command::new("strip").arg(&bootstrap).status().ok();
    let script = r#". tests/cargo-lambda.sh; exec cargo lambda deploy "$@""#;
    let mut bash = Command::new("bash");
    bash.envs(world.variables()).env("AWS_REGION", "us-east-1").current_dir(Path::new(ROOT)).args(["-euc", script, "deploy"]);
    bash.args(["--timeout", timeout, "--role", &format!("arn:aws:iam::{}:role/{name}", world.account.id)]);
    let endpoint = &*world.account.endpoint;
    let own = [
        ("SQJOBS_TABLE", "live-jobs"),
        ("SQJOBS_SCHEDULES_TABLE", "live-schedules"),
        ("SQJOBS_PREFIX", "live-"),
        ("AWS_ENDPOINT_URL", endpoint),
    ];
    for (name, value) in settings.iter().chain(&own) {
        bash.arg("--env-var").arg(format!("{name}={value}"));
    }
    house_variables(&mut bash);
    succeed(bash.arg("--binary-path").arg(&bootstrap).args(["--endpoint-url", endpoint, &format!("live-{name}")]));
}

#[test]
fn a_whole_system_is_deployed_from_nothing_by_the_documented_commands() {
    World::setup().test(async |world| {
        let there = |args: &[&str]| sqjobs(world, &[args, &PLACE].concat());
        there(&["table", "create"]).yes();
        let mut dlqs = Vec::new();
        for name in ["adder", "webhook"] {
            let urls = there(&["queue", "create", name, "--timeout", "30s"]).yes();
            let (queue, dlq) = urls.trim().split_once('\n').expect("two URLs");
            deploy(
                world,
                name,
                "30",
                &[("SQJOBS_QUEUE_URL", queue), ("SQJOBS_DLQ_URL", dlq), ("WEBHOOK_SECRET", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")],
            );
            let fed = there(&["queue", "create", name, "--timeout", "30s", "--function", &format!("live-{name}")]).yes();
            assert!(fed.ends_with(&format!("{name} feeds live-{name}\n")), "{fed}");
            dlqs.push(dlq.to_owned());
        }
        deploy(world, "beater", "60", &[("SQJOBS_DLQ_URL", &dlqs.join(" "))]);
        assert_eq!(there(&["schedule", "beater", "live-beater"]).yes(), "live-beater is woken each minute\n");

        assert_eq!(there(&["doctor"]).yes(), "nothing is wrong with 2 queues and their functions\n");
        assert!(there(&["enqueue", "adder", "[1, 2, 3]", "--wait"]).yes().ends_with("succeeded, attempt 1 of 5  6\n"));
    });
}
