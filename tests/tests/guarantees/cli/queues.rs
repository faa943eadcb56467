//! Queues by command.

use std::time::Duration;

use serde_json::json;

use super::sqjobs;
use crate::{function::Function, proxy::Fault, world::World};

#[test]
fn queues_are_shown_paused_resumed_and_emptied_by_command() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let shown = || sqjobs(world, &["queue", "list", "--json"]).json().remove(0);
        assert_eq!((&shown()["name"], &shown()["mapping"], &shown()["dead"]), (&json!("probes"), &json!("Enabled"), &json!(0)));
        assert!(shown()["function"].as_str().is_some_and(|function| function.starts_with("probe-")), "{}", shown());

        let paused = sqjobs(world, &["queue", "pause", "probes"]).yes();
        assert!(paused.starts_with("probes is paused; "), "{paused}");
        assert_eq!(shown()["mapping"], "Disabled");
        world.send(world.probe("a", &json!({}))).await;
        assert_eq!(shown()["waiting"], 1);
        let table = sqjobs(world, &["queue", "list"]).yes();
        assert!(table.lines().nth(1).is_some_and(|row| row.starts_with("probes") && row.ends_with(", paused")), "{table}");

        sqjobs(world, &["queue", "resume", "probes"]).yes();
        world.record_in("a", "succeeded").await;
        world.drained().await;

        sqjobs(world, &["queue", "pause", "probes"]).yes();
        world.send(world.probe("b", &json!({}))).await;
        let asked = sqjobs(world, &["queue", "purge", "probes"]).error();
        assert!(asked.contains("Forget all messages of probes (1 waiting, 0 in flight, 0 delayed)?"), "{asked}");
        sqjobs(world, &["queue", "purge", "probes", "--yes"]).yes();
        world.drained().await;
        assert!(sqjobs(world, &["queue", "pause", "probes-dlq"]).error().contains("feeds no function"));
        assert!(sqjobs(world, &["queue", "pause", "nowhere"]).error().contains("`sqjobs queue create`"));
        assert!(world.record("b").await.is_none());

        // Names are printed as they are given, without the prefix.
        let there = |args: &[&str]| sqjobs(world, &[args, &["--prefix", "prob"]].concat());
        assert_eq!(there(&["queue", "list", "--json"]).json()[0]["name"], "es");
        assert!(there(&["queue", "resume", "es"]).yes().starts_with("es runs"));
    });
}

#[test]
fn a_right_that_lambda_does_not_know_of_yet_is_waited_for_and_one_that_nobody_may_give_is_told() {
    World::setup().test(async |world| {
        let probe = Function::probe();
        world.account.create_role(&probe).await;
        world.create_function(&probe).await;
        let (function, url) = (world.account.name(&probe), world.proxy.url());
        let not_yet = json!({
            "__type": "InvalidParameterValueException",
            "message": "The provided execution role does not have permissions to call ReceiveMessage on SQS",
        });
        let not_yet = || world.proxy.arm(Fault::answer("/event-source-mappings", "EventSourceArn", 400, not_yet.to_string()));
        let ask = || sqjobs(world, &["queue", "create", "probes", "--function", &function, "--endpoint-url", &url]);
        let denied =
            "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>it is not yours</Message></Error></ErrorResponse>";
        world.proxy.arm(Fault::answer("/", "Action=PutRolePolicy", 403, denied));
        not_yet();
        let ran = ask();
        assert_eq!((ran.status, world.proxy.is_spent()), (2, true), "{}", ran.said);
        let told = ran.said;
        assert!(told.starts_with("role probe is as it was: ") && told.contains("it is not yours"), "{told}");
        assert!(told.contains("let it allow dynamodb:BatchGetItem on table/jobs, ") && told.contains("call ReceiveMessage"), "{told}");

        not_yet();
        not_yet();
        assert!(ask().yes().ends_with(&format!("probes feeds {function}\n")));
        assert!(world.proxy.is_spent());

        // One queue, one function.
        let create = |name: &str, function: &str| sqjobs(world, &["queue", "create", name, "--function", function]).error();
        sqjobs(world, &["queue", "create", "more"]).yes();
        let told = create("more", &function);
        assert!(told.contains("takes from ") && told.contains(":probes already; deploy one more for more"), "{told}");
        let slow = Function::adder().timeout(Duration::from_mins(10));
        world.create_function(&slow).await;
        let told = create("more", &world.account.name(&slow));
        assert!(told.contains("hides a message for less time") && told.contains("VisibilityTimeout=3600"), "{told}");
        let quick = Function::webhook();
        world.create_function(&quick).await;
        let told = create("probes", &world.account.name(&quick));
        assert!(told.contains("queue probes feeds ") && told.contains(" already; give "), "{told}");
    });
}
