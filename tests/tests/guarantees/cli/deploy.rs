//! Deployment without Terraform, with the commands of the guide.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use super::in_environment;
use crate::{
    function::{house_variables, program},
    roles::{as_the_stack_has_it, given},
    stack::succeed,
    world::World,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Deploys a function with `cargo lambda deploy`, from the build of the tests.
fn deploy(world: &World, name: &str, settings: &[&str]) {
    let work = tempfile::tempdir().expect("there is room");
    let bootstrap = work.path().join(name);
    fs::copy(program(name), &bootstrap).expect("the program was built");
    Command::new("strip").arg(&bootstrap).status().ok();
    let script = r#". tests/cargo-lambda.sh; exec cargo lambda deploy "$@""#;
    let mut bash = Command::new("bash");
    bash.envs(world.variables()).env("AWS_REGION", "us-east-1").current_dir(Path::new(ROOT)).args(["-euc", script, "deploy"]);
    bash.args(["--endpoint-url", &world.account.endpoint]).args(settings);
    house_variables(&mut bash);
    succeed(bash.arg("--binary-path").arg(&bootstrap).arg(format!("live-{name}")));
}

/// Adds the rights that the command has given to a function to the requests that the stack allows.
async fn name_rights(world: &World, function: &str) {
    let configuration = world.account.lambda.get_function_configuration().function_name(function).send().await;
    let role = configuration.expect("the function is there").role.expect("it has a role");
    let role = role.rsplit('/').next().expect("a name");
    let policy = as_the_stack_has_it(given(world, role, function, "").await).to_string();
    let put = world.account.iam.put_role_policy().role_name(role).policy_name("stack").policy_document(policy);
    put.send().await.expect("the role takes a policy");
}

/// The rights that the command gives to a function.
async fn state(world: &World, function: &str) -> String {
    let (lambda, iam) = (&world.account.lambda, &world.account.iam);
    let read = lambda.get_function_configuration().function_name(function).send().await.expect("the function is there");
    let role = read.role().and_then(|role| role.rsplit('/').next()).expect("it has a role");
    let policies = iam.list_role_policies().role_name(role).send().await.expect("policies are listed").policy_names;
    let variables: BTreeMap<_, _> = read.environment().and_then(|own| own.variables()).expect("variables").iter().collect();
    let mappings = lambda.list_event_source_mappings().send().await.expect("mappings are listed");
    let mappings: Vec<_> = mappings.event_source_mappings().iter().map(|mapping| mapping.uuid()).collect();
    format!("{policies:?} {} {variables:?} {mappings:?} {:?}", given(world, role, function, "").await, read.revision_id())
}

#[test]
fn a_whole_system_is_deployed_from_nothing_by_the_documented_commands() {
    // These commands give a function all its rights.
    World::setup().enforces_roles().test(async |world| {
        let there = |args: &[&str]| in_environment(world, "live-", args);
        for _ in 0..2 {
            assert_eq!(there(&["table", "create"]).yes(), "table live-jobs is ready\ntable live-schedules is ready\n");
        }
        let stack = format!("AWS_ENDPOINT_URL={}", world.account.endpoint);
        let secret = "WEBHOOK_SECRET=whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for (name, settings) in [("adder", &["--env-var", &stack][..]), ("webhook", &["--env-var", &stack, "--env-var", secret])] {
            deploy(world, name, settings);
            let function = format!("live-{name}");
            let fed = there(&["queue", "create", name, "--function", &function]).yes();
            assert!(fed.ends_with(&format!("{name} feeds {function}\n")), "{fed}");
            name_rights(world, &function).await;
            let before = state(world, &function).await;
            there(&["queue", "create", name, "--function", &function]).yes();
            assert_eq!(state(world, &function).await, before, "to do it again changes nothing");
        }
        deploy(world, "beater", &["--timeout", "60", "--env-var", &stack]);
        assert_eq!(there(&["schedule", "beater", "live-beater"]).yes(), "EventBridge invokes live-beater each minute\n");
        name_rights(world, "live-beater").await;

        assert_eq!(there(&["doctor"]).yes(), "no faults were found in 2 queues and their functions\n");
        assert!(there(&["enqueue", "adder", "[1, 2, 3]", "--wait"]).yes().ends_with("succeeded, attempt 1 of 5  6\n"));

        // Deploys another version of the code, with a variable, which runs at once.
        deploy(world, "adder", &["--merge-env", "--env-var", "COLOUR=red", "--alias", "live"]);
        let runs = world.account.lambda.get_function_configuration().function_name("live-adder").qualifier("live").send().await;
        let runs = runs.expect("the alias is there").environment.and_then(|own| own.variables).expect("variables");
        assert_eq!(runs.get("COLOUR").map(String::as_str), Some("red"));
        assert_eq!(there(&["doctor"]).yes(), "no faults were found in 2 queues and their functions\n", "it keeps what it was given");

        // Without --alias, the deployment runs when it is released.
        deploy(world, "adder", &["--merge-env", "--env-var", "COLOUR=blue"]);
        assert!(there(&["doctor"]).no().starts_with("unreleased  function live-adder: "));
        assert!(there(&["function", "release", "live-adder"]).yes().starts_with("live-adder runs version "));
        assert!(there(&["function", "rollback", "live-adder"]).yes().starts_with("live-adder runs version "));
        assert!(there(&["function", "release", "live-adder"]).yes().starts_with("live-adder runs version "));
        assert_eq!(there(&["doctor"]).yes(), "no faults were found in 2 queues and their functions\n");
        let told = there(&["queue", "create", "other", "--function", "live-nobody"]).error();
        assert!(told.contains("there is no function live-nobody; deploy it with `cargo lambda deploy`"), "{told}");
    });
}
