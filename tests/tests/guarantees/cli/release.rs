//! Commands that release and roll back versions of a function.

use serde_json::{Value, json};

use super::sqjobs;
use crate::{function::Function, world::World};

/// Updates the code of a function, as `cargo lambda deploy` does without --alias.
async fn deploy(world: &World, function: &str, code: &Function) {
    let update = world.account.lambda.update_function_code().function_name(function).zip_file(code.package());
    update.send().await.expect("the function takes other code");
}

#[test]
fn a_rollback_runs_the_version_before_and_newer_jobs_wait_for_a_release() {
    World::setup().visibility_s(180).test(async |world| {
        let function = world.create_function_and_role(&Function::adder()).await;
        let command = |what: &str| sqjobs(world, &["function", what, &function]);
        assert!(command("release").error().contains("no queue feeds function "));
        sqjobs(world, &["queue", "create", "probes", "--function", &function]).yes();
        let add = |id: &str| json!({"name": "adder", "id": id, "args": [1, 2]});
        world.send(add("old-1")).await;
        world.record_in("old-1", "succeeded").await;

        // A deployment does not run until it is released, and the doctor reports it.
        deploy(world, &function, &Function::probe()).await;
        world.send(add("old-2")).await;
        world.record_in("old-2", "succeeded").await;
        let rules = || sqjobs(world, &["doctor", "--json"]).json().iter().map(|it| it["rule"].clone()).collect::<Vec<_>>();
        assert!(rules().contains(&json!("unreleased")), "{:?}", rules());
        assert_eq!(command("release").yes(), format!("{function} runs version 2; before, it ran version 1\n"));
        assert!(!rules().contains(&json!("unreleased")), "{:?}", rules());
        world.send(world.probe("new-1", &json!({}))).await;
        world.record_in("new-1", "succeeded").await;
        assert_eq!(command("release").yes(), format!("{function} already runs version 2\n"));

        assert_eq!(command("rollback").yes(), format!("{function} runs version 1; before, it ran version 2\n"));
        world.send(add("old-3")).await;
        world.record_in("old-3", "succeeded").await;
        world.send(world.probe("new-2", &json!({}))).await;
        world.messages_when("has the newer job received and put back", |them| them.len() == 1 && them[0].receives >= 1).await;
        assert!(world.record("new-2").await.is_none(), "the older version does not run it");
        assert_eq!(world.dead_letters().await.len(), 0);
        let shown = sqjobs(world, &["function", "versions", &function, "--json"]).json();
        let shown: Vec<_> = shown.iter().map(|it| (&it["version"], &it["live"])).collect();
        let [yes, no] = [json!(true), json!(false)];
        let name = |name: &str| Value::from(name);
        assert_eq!(shown, [(&name("$LATEST"), &no), (&name("2"), &no), (&name("1"), &yes)]);

        // A second release keeps the version that runs.
        sqjobs(world, &["queue", "create", "probes", "--function", &function]).yes();
        assert!(command("rollback").error().contains(" has no version before "));
        assert_eq!(command("release").yes(), format!("{function} runs version 2; before, it ran version 1\n"));
        world.record_in("new-2", "succeeded").await;
        let to = sqjobs(world, &["function", "rollback", &function, "--to", "9"]).error();
        assert!(to.contains("has no version 9; `sqjobs function versions "), "{to}");
    });
}

#[test]
fn a_version_that_does_not_know_its_queue_is_never_run() {
    World::setup().visibility_s(180).test(async |world| {
        let probe = Function::probe();
        world.account.create_role(&probe).await;
        world.deploy(&probe).await;
        let (function, lambda) = (world.account.name(&probe), &world.account.lambda);
        let command = |args: &[&str]| sqjobs(world, &[&["function"], args].concat());
        let told = command(&["release", &function]).error();
        assert!(
            told.contains("feeds function ") && told.contains(&format!("`sqjobs queue create probes --function {function}`")),
            "{told}"
        );
        // A version without variables, as the first deployment publishes it.
        let own = lambda.get_function_configuration().function_name(&function).send().await.expect("it is read").environment;
        let set = async |variables| {
            let environment = aws_sdk_lambda::types::Environment::builder().set_variables(variables).build();
            lambda.update_function_configuration().function_name(&function).environment(environment).send().await.expect("it is changed");
        };
        set(None).await;
        lambda.publish_version().function_name(&function).send().await.expect("it is published");
        set(own.and_then(|own| own.variables)).await;
        // The mapping of an earlier deployment is moved to the alias, and its messages run.
        sqjobs(world, &["queue", "create", "probes", "--function", &function]).yes();
        let mappings = lambda.list_event_source_mappings().send().await.expect("mappings are listed");
        let targets: Vec<_> = mappings.event_source_mappings().iter().filter_map(|mapping| mapping.function_arn()).collect();
        assert!(matches!(targets[..], [target] if target.ends_with(":live")), "{targets:?}");
        world.send(world.probe("a", &json!({}))).await;
        world.record_in("a", "succeeded").await;

        assert!(command(&["rollback", &function]).error().contains("before 2 that differs from version 2 and is set up for queue probes"));
        let told = command(&["rollback", &function, "--to", "1"]).error();
        assert!(
            told.contains("version 1 of function ")
                && told.contains("is not set up for queue probes: its variable SQJOBS_QUEUE_URL is not set"),
            "{told}"
        );
        set(None).await;
        let told = command(&["release", &function]).error();
        assert!(told.contains("version $LATEST of function ") && told.contains("deploy with --merge-env"), "{told}");
        world.send(world.probe("b", &json!({}))).await;
        world.record_in("b", "succeeded").await;
    });
}
