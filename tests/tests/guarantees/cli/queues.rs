//! Commands for queues.

use std::time::Duration;

use aws_sdk_dynamodb::types::TimeToLiveStatus;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};
use sqjobs::Clock;

use super::{args, in_environment, piped, sqjobs};
use crate::{function::Function, proxy::Fault, roles::given, world::World};

#[test]
fn an_enqueue_to_a_fifo_queue_says_that_sqs_may_discard_the_message() {
    World::setup().test(async |world| {
        sqjobs(world, &["queue", "create", "orders.fifo"]).yes();
        let enqueue =
            |more: &[&str]| sqjobs(world, &[&["enqueue", "probe", "{}", "--queue", "orders.fifo", "--group", "g"], more].concat()).said;
        assert!(enqueue(&["--id", "a"]).contains("a FIFO queue discards the message, without an error"));
        assert_eq!(enqueue(&[]), "", "its id is new");

        let delayed = "note: on a FIFO queue, a delayed job waits in its message group: later jobs of the group run after it\n";
        assert_eq!(enqueue(&["--delay", "20m"]), delayed);
        let lines = ["x", "y"].map(|id| json!({"name": "probe", "id": id, "group": "g", "delay": "1m"}).to_string()).join("\n");
        let bulk = piped(world, &["enqueue", "--from", "-", "--queue", "orders.fifo"], &lines).said;
        assert!(bulk.starts_with("note: a FIFO queue discards the message") && bulk.ends_with(delayed), "{bulk}");

        world
            .plant(json!({"id": "old", "name": "probe", "queue": "orders.fifo", "state": "succeeded", "attempts": 1, "generation": 1}))
            .await;
        let retry = |more: &[&str]| sqjobs(world, &[&["retry", "old", "{}", "--yes"], more].concat()).said;
        assert!(retry(&[]).contains("note: without --group, this run has a message group of its own"));
        sqjobs(world, &["cancel", "old"]).yes();
        assert_eq!(retry(&["--group", "g"]), "");
    });
}

#[test]
fn queues_are_shown_paused_resumed_and_emptied_by_command() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        let shown = || sqjobs(world, &["queue", "list", "--json"]).json().remove(0);
        assert_eq!(shown()["name"], "probes");
        assert_eq!(shown()["mapping"], "Enabled");
        assert_eq!(shown()["dead"], 0);
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
        assert!(asked.contains("Delete all messages of probes (1 waiting, 0 in flight, 0 delayed)?"), "{asked}");
        sqjobs(world, &["queue", "purge", "probes", "--yes"]).yes();
        world.drained().await;
        assert!(sqjobs(world, &["queue", "pause", "probes-dlq"]).error().contains("feeds no function"));
        assert!(sqjobs(world, &["queue", "pause", "nowhere"]).error().contains("`sqjobs queue create nowhere`"));
        assert!(world.record("b").await.is_none());

        // Names are printed as they are given, without the prefix.
        let there = |args: &[&str]| sqjobs(world, &[args, &["--prefix", "prob"]].concat());
        assert_eq!(there(&["queue", "list", "--json"]).json()[0]["name"], "es");
        assert!(there(&["queue", "resume", "es"]).yes().starts_with("es is resumed"));
    });
}

#[test]
fn a_new_permission_is_waited_for_and_one_that_cannot_be_given_is_named() {
    World::setup().test(async |world| {
        let (function, url) = (world.create_function_and_role(&Function::probe()).await, world.proxy.url());
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
        assert_eq!(ran.status, 2, "{}", ran.said);
        assert!(world.proxy.is_spent(), "{}", ran.said);
        let told = ran.said;
        assert!(told.starts_with("cannot change role probe: ") && told.contains("it is not yours"), "{told}");
        assert!(
            told.contains("these permissions: dynamodb:BatchGetItem on table/jobs, ") && told.contains("call ReceiveMessage"),
            "{told}"
        );

        not_yet();
        not_yet();
        assert!(ask().yes().ends_with(&format!("probes feeds {function}\n")));
        assert!(world.proxy.is_spent());

        // One queue, one function.
        let create = |name: &str, function: &str| sqjobs(world, &["queue", "create", name, "--function", function]).error();
        sqjobs(world, &["queue", "create", "more"]).yes();
        let told = create("more", &function);
        assert!(told.contains(" already reads the queue ") && told.contains(":probes; deploy another function for more"), "{told}");
        let slow = Function::adder().timeout(Duration::from_mins(10));
        world.create_function(&slow).await;
        let told = create("more", &world.account.name(&slow));
        assert!(told.contains("the visibility timeout of queue") && told.contains("VisibilityTimeout=3600"), "{told}");
        let quick = Function::webhook();
        world.create_function(&quick).await;
        let told = create("probes", &world.account.name(&quick));
        assert!(told.contains("queue probes already feeds ") && told.contains("its own queue"), "{told}");
    });
}

/// Returns the names of all queues.
async fn queues(world: &World) -> Vec<String> {
    let urls = world.account.sqs.list_queues().send().await.expect("queues are listed").queue_urls.unwrap_or_default();
    let mut names: Vec<_> = urls.iter().filter_map(|url| url.rsplit('/').next().map(str::to_owned)).collect();
    names.sort();
    names
}

/// Creates a function, and with the command the queue `probes` that feeds it; returns the function's name.
async fn fed(world: &World) -> String {
    let function = world.create_function_and_role(&Function::probe()).await;
    sqjobs(world, &["queue", "create", "probes", "--function", &function]).yes();
    function
}

#[test]
fn a_refused_queue_create_leaves_nothing_behind() {
    World::setup().test(async |world| {
        let (probe, adder) = (fed(world).await, world.create_function_and_role(&Function::adder()).await);
        let beater = world.create_function_and_role(&Function::webhook()).await;
        sqjobs(world, &["schedule", "beater", &beater]).yes();
        in_environment(world, "staging-", &["table", "create"]).yes();
        in_environment(world, "staging-", &["queue", "create", "mail"]).yes();
        let before = queues(world).await;
        let foreign = format!("arn:aws:sqs:eu-west-1:{}:probes", world.account.id);
        let refused: &[(&[&str], &str)] = &[
            (&["--function", "nobody"], "there is no function nobody"),
            (&["--function", &probe], ":probes; deploy another function for new"),
            (&["--function", &beater], " invokes function "),
            (&["--function", &adder, "--enqueues-to", "staging-mail"], "queue staging-mail belongs to the environment staging-"),
            (&["--function", &adder, "--table", "nowhere"], "cannot read table nowhere"),
            (&["--function", &adder, "--enqueues-to", "nowhere"], "there is no queue nowhere"),
            (
                &["--function", &adder, "--enqueues-to", &foreign],
                "in this account and region; the queue probes here is arn:aws:sqs:us-east-1:",
            ),
            (&["--function", &adder, "--timeout", "24h"], "--timeout is too long"),
        ];
        let said = sqjobs(world, &["queue", "create", "new-dlq"]).error();
        assert!(said.contains("new-dlq is the name of a dead-letter queue; `sqjobs queue create new` creates"), "{said}");
        let said = sqjobs(world, &["queue", "purge", "probes-dlq", "--yes"]).error();
        assert!(said.contains("probes-dlq is a dead-letter queue") && said.contains("`sqjobs dlq purge probes`"), "{said}");
        let said = sqjobs(world, &["queue", "delete", "probes-dlq", "--yes"]).error();
        assert!(said.contains("queue probes-dlq is the dead-letter queue of probes"), "{said}");
        let said = sqjobs(world, &["queue", "create", "probes", "--function", &probe, "--table", "staging-jobs"]).error();
        assert!(said.contains("table staging-jobs belongs to the environment staging-"), "{said}");
        let said = in_environment(world, "staging-", &["function", "rollback", &probe]).error();
        assert!(said.contains("belongs to the environment without a prefix, with the tables jobs and schedules"), "{said}");
        let said = sqjobs(world, &["queue", "pause", "probes", "nowhere"]).error();
        assert!(said.contains("there is no queue nowhere"), "{said}");
        let listed = sqjobs(world, &["queue", "list", "--json"]).json();
        assert!(listed.iter().all(|queue| queue["state"] != "Disabled"), "none is paused: {listed:?}");
        for (args, told) in refused {
            let said = sqjobs(world, &[&["queue", "create", "new"], *args].concat()).error();
            assert!(said.contains(told), "{said}");
            assert_eq!(queues(world).await, before, "{args:?}");
        }
        let given = world.account.iam.list_role_policies().role_name("adder").send().await.expect("policies are listed");
        assert_eq!(given.policy_names, [""; 0]);

        world.account.sqs.create_queue().queue_name("bare").send().await.expect("the queue is created");
        let before = queues(world).await;
        let said = sqjobs(world, &["queue", "create", "bare", "--timeout", "10s"]).error();
        assert!(said.contains("there is no queue bare-dlq; queue bare has no redrive policy; `sqjobs doctor` prints"), "{said}");
        let said = sqjobs(world, &["queue", "create", "probes", "--timeout", "10s"]).error();
        assert!(said.contains("and its visibility timeout is 30 s instead of 60 s; `aws sqs set-queue-attributes"), "{said}");
        assert_eq!(queues(world).await, before);

        // A later error names the parts that were created.
        world.proxy.arm(Fault::answer("/event-source-mappings", "EventSourceArn", 403, json!({"message": "not yours"}).to_string()));
        let there = ["--endpoint-url", &world.proxy.url()];
        let said = sqjobs(world, &[&["queue", "create", "new", "--function", &adder], &there[..]].concat()).error();
        assert!(
            said.contains("not yours")
                && said
                    .contains("queue new was created before the error: run the command again, or `sqjobs queue delete new --endpoint-url"),
            "{said}"
        );
        sqjobs(world, &["queue", "create", "new", "--function", &adder]).yes();
    });
}

#[test]
fn a_refused_table_create_or_beater_changes_nothing() {
    World::setup().test(async |world| {
        let function = fed(world).await;
        let said = sqjobs(world, &["schedule", "beater", &function]).error();
        assert!(said.contains("cannot be a beater: it reads the queue arn:aws:sqs:") && said.contains(":probes, "), "{said}");
        let rights = given(world, "probe", &function, "").await.to_string();
        assert!(rights.contains("sqs:ReceiveMessage") && !rights.contains("dynamodb:Scan"), "{rights}");

        let said = sqjobs(world, &["table", "create", "--table", "one", "--schedules-table", "one"]).error();
        assert!(said.contains("records and schedules cannot share table one; name another table with --schedules-table"), "{said}");
        let tables = world.account.dynamodb.list_tables().send().await.expect("tables are listed").table_names.unwrap_or_default();
        assert_eq!(tables, ["jobs", "schedules"]);
    });
}

#[test]
fn a_queue_is_deleted_with_what_belongs_to_it_unless_it_holds_messages() {
    World::setup().test(async |world| {
        let function = fed(world).await;
        sqjobs(world, &["schedule", "add", "nightly", "probe", "--queue", "probes", "--cron", "1 0 * * *"]).yes();
        sqjobs(world, &["queue", "pause", "probes"]).yes();
        world.send(world.probe("a", &json!({}))).await;

        let delete = |more: &[&str]| sqjobs(world, &[&["queue", "delete", "probes"], more].concat());
        let said = delete(&["--yes"]).error();
        assert!(said.contains("cannot delete queue probes: there are messages (probes holds 1); "), "{said}");
        let said = delete(&["--force"]).error();
        assert!(said.contains("Delete probes and probes-dlq with their messages (probes holds 1)? There is no terminal"), "{said}");
        assert_eq!(queues(world).await, ["probes", "probes-dlq"]);

        let said = delete(&["--force", "--yes"]).yes();
        assert!(said.starts_with("deleted probes and probes-dlq; "), "{said}");
        assert!(
            said.contains(&format!("kept function {function} ")) && said.contains("schedule nightly still sends jobs to this queue"),
            "{said}"
        );
        assert_eq!(queues(world).await, [""; 0]);
        let mappings = world.account.lambda.list_event_source_mappings().send().await.expect("mappings are listed");
        assert!(mappings.event_source_mappings().is_empty());
        assert!(delete(&["--yes"]).error().contains("there is no queue probes"));

        // An interrupted deletion continues, and a shared dead-letter queue stays.
        world.account.sqs.create_queue().queue_name("half-dlq").send().await.expect("the queue is created");
        assert!(sqjobs(world, &["queue", "delete", "half", "--yes"]).yes().starts_with("deleted half-dlq; "));
        sqjobs(world, &["queue", "create", "one"]).yes();
        let letters =
            format!(r#"{{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:{}:one-dlq", "maxReceiveCount": "1000"}}"#, world.account.id);
        let two = world.account.sqs.create_queue().queue_name("two").attributes(QueueAttributeName::RedrivePolicy, letters);
        two.send().await.expect("the queue is created");
        let said = sqjobs(world, &["queue", "delete", "one", "--yes"]).yes();
        assert!(said.contains("kept one-dlq, because it is also the dead-letter queue of two"), "{said}");
        assert_eq!(queues(world).await, ["one-dlq", "two"]);
    });
}

#[test]
fn a_queue_whose_dead_letter_queue_is_gone_is_named() {
    World::setup().test(async |world| {
        sqjobs(world, &["queue", "create", "whole"]).yes();
        world.account.sqs.delete_queue().queue_url(&world.queues.dlq_url).send().await.expect("it is deleted");
        let gone = "not shown: probes: its dead-letter queue probes-dlq does not exist; `aws sqs create-queue --queue-name probes-dlq --attributes \
                    MessageRetentionPeriod=1209600` creates it\n";
        for list in [&["queue", "list", "--json"][..], &["stats", "--json"]] {
            let listed = sqjobs(world, list);
            assert_eq!(listed.said, gone, "{list:?}");
            assert_eq!(listed.json().len(), 1, "{list:?}");
        }
        assert!(sqjobs(world, &["queue", "list"]).said.ends_with(gone));
    });
}

#[test]
fn an_interrupted_table_create_is_completed_by_the_next() {
    World::setup().test(async |world| {
        let url = world.proxy.url();
        let create = || sqjobs(world, &["table", "create", "--table", "own", "--schedules-table", "own-schedules", "--endpoint-url", &url]);
        // The SDK tries three times.
        (0..3).for_each(|_| world.proxy.arm(Fault::refuse("UpdateTimeToLive", "own")));
        assert!(create().error().contains("cannot create table own"));
        assert!(world.proxy.is_spent());
        for _ in 0..2 {
            assert_eq!(create().yes(), "table own is ready\ntable own-schedules is ready\n");
            let described = world.account.dynamodb.describe_time_to_live().table_name("own").send().await.expect("the table answers");
            let described = described.time_to_live_description.expect("a description");
            assert_eq!(described.time_to_live_status, Some(TimeToLiveStatus::Enabled));
            assert_eq!(described.attribute_name, Some("purge_at".into()));
        }
    });
}

#[test]
fn a_new_queue_hides_messages_for_six_times_the_timeout_of_its_function() {
    World::setup().test(async |world| {
        let slow = world.create_function_and_role(&Function::adder().timeout(Duration::from_secs(20))).await;
        let cases: [(&str, &[&str], &str); 3] =
            [("usual", &[], "180"), ("told", &["--timeout", "10s"], "60"), ("feeding", &["--function", &slow], "120")];
        for (name, args, seconds) in cases {
            sqjobs(world, &[&["queue", "create", name], args].concat()).yes();
            let url = world.account.sqs.get_queue_url().queue_name(name).send().await.expect("there is one").queue_url.expect("a URL");
            let attributes = world.account.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::VisibilityTimeout);
            let attributes = attributes.send().await.expect("the queue answers").attributes.expect("attributes");
            assert_eq!(attributes[&QueueAttributeName::VisibilityTimeout], seconds, "{name}");
        }
    });
}

#[test]
fn a_beater_finds_dead_letter_queues_in_the_table_and_by_its_variable() {
    World::setup().test(async |world| {
        fed(world).await;
        let beater = Function::beater().env("SQJOBS_DLQ_URL", "");
        world.deploy_beater(&beater).await;
        world.give_up_after(1).await;
        let explained = async |id: &str, beater: &Function| {
            world.send(world.probe(id, &json!({}))).await;
            world.receive_until_moved(1).await;
            world.tick(beater, Clock::system().now()).await["explained"].clone()
        };
        sqjobs(world, &["queue", "pause", "probes"]).yes();
        assert_eq!(explained("listed", &beater).await, 1);
        // The item is not a record: no command shows it as a job, and it has no expiry.
        let item = world.item("dlqs\u{1f}probes-dlq").await;
        assert_eq!(item["purge_at"].as_n().expect("a number"), "253402300799");
        assert_eq!(item["listed_at"].as_s().expect("a text"), "1970-01-01T00:00:00.000Z");

        sqjobs::setup::remove_dlq(&world.account.dynamodb, "jobs", "probes-dlq").await.expect("it is removed");
        let named = Function::beater();
        world.retire().await;
        world.create_function(&named).await;
        assert_eq!(explained("named", &named).await, 1);
    });
}

#[test]
fn a_function_is_found_whose_mapping_is_on_a_later_page() {
    World::setup().test(async |world| {
        let function = fed(world).await;
        let page = json!({"EventSourceMappings": [], "NextMarker": "1"}).to_string();
        world.proxy.arm(Fault::answer("/event-source-mappings", "", 200, page));
        let listed = sqjobs(world, &["queue", "list", "--json", "--endpoint-url", &world.proxy.url()]).json();
        assert_eq!(listed[0]["function"], json!(function), "{listed:?}");
        assert!(world.proxy.is_spent(), "{listed:?}");
    });
}

#[test]
fn dead_letter_queues_are_listed_for_beaters_until_they_are_deleted() {
    World::setup().test(async |world| {
        let listed = async || sqjobs::setup::dlqs(&world.account.dynamodb, "jobs").await.expect("the list is read");
        fed(world).await;
        assert_eq!(listed().await, ["probes-dlq"]);
        sqjobs::setup::remove_dlq(&world.account.dynamodb, "jobs", "probes-dlq").await.expect("it is removed");
        let beater = world.create_function_and_role(&Function::beater()).await;
        sqjobs(world, &["schedule", "beater", &beater]).yes();
        assert_eq!(listed().await, ["probes-dlq"]);
        let read = world.account.lambda.get_function_configuration().function_name(&beater).send().await.expect("it is read");
        let variables = read.environment.and_then(|own| own.variables).expect("variables");
        assert_eq!(variables["SQJOBS_DLQ_URL"], "", "the list says more");
        sqjobs(world, &["queue", "delete", "probes", "--yes"]).yes();
        assert_eq!(listed().await, [""; 0]);
    });
}

#[test]
fn variables_that_lambda_would_not_take_are_refused() {
    World::setup().test(async |world| {
        let large = Function::probe().env("LARGE", "x".repeat(3_900));
        let function = world.create_function_and_role(&large).await;
        let said = sqjobs(world, &["queue", "create", "probes", "--function", &function]).error();
        assert!(said.contains("cannot set the variables of function ") && said.contains("and Lambda allows 4096; shorten"), "{said}");
    });
}

#[test]
fn one_function_serves_the_queues_of_all_priorities() {
    World::setup().visibility_s(180).test(async |world| {
        let probe = world.create_function_and_role(&Function::probe()).await;
        let create = |more: &[&str]| sqjobs(world, &[&["queue", "create", "probes", "--function", &*probe], more].concat()).yes();
        create(&[]);
        let created = create(&["--priority", "low", "--priority", "high"]);
        assert!(created.contains("/probes-high\n") && created.contains("/probes-low\n"), "{created}");
        assert_eq!(create(&[]), created, "existing queues of priorities stay");
        let listed = sqjobs(world, &["queue", "list", "--json"]).json();
        let fed: Vec<_> =
            listed.iter().map(|queue| [&queue["name"], &queue["function"]].map(|text| text.as_str().unwrap_or_default())).collect();
        assert_eq!(fed, ["probes", "probes-high", "probes-low"].map(|name| [name, &*probe]));

        let queue = |id: &str| sqjobs(world, &["get", id, "--json"]).json()[0]["queue"].clone();
        let orders = |orders: &Value| args(world, orders);
        let enqueue = |id: &str, more: &[&str]| {
            sqjobs(world, &[&["enqueue", "probe", &*orders(&json!({})), "--queue", "probes", "--id", id], more].concat())
        };
        for (priority, expected) in [("high", "probes-high"), ("default", "probes"), ("low", "probes-low")] {
            enqueue(priority, &["--priority", priority]).yes();
            world.record_in(priority, "succeeded").await;
            assert_eq!(queue(priority), expected);
        }
        let retried = orders(&json!({"act": "fail", "until": 2}));
        sqjobs(world, &["enqueue", "probe", &retried, "--queue", "probes", "--id", "retried", "--priority", "high"]).yes();
        assert_eq!(world.record_in("retried", "succeeded").await.attempts, 2);
        assert_eq!(queue("retried"), "probes-high");
        let mut raw = world.probe("raw", &json!({}));
        raw["priority"] = json!("high");
        world.send(raw).await;
        world.record_in("raw", "succeeded").await;
        assert_eq!(queue("raw"), "probes", "it runs where it arrives");
        assert!(enqueue("wrong", &["--priority", "urgent"]).error().contains("\"urgent\" is not a priority; write high, default or low"));
        assert!(enqueue("high", &[]).yes().contains("high") || world.record("high").await.is_some(), "it is a duplicate");

        let fatal = orders(&json!({"act": "fatal"}));
        sqjobs(world, &["enqueue", "probe", &fatal, "--queue", "probes", "--id", "fatal", "--priority", "high"]).yes();
        world.dead_letters_when(1).await;
        let letters = sqjobs(world, &["dlq", "list", "--json"]).json();
        assert_eq!(letters.iter().map(|letter| letter["queue"].clone()).collect::<Vec<_>>(), ["probes-high"], "it is shown once");
        assert!(sqjobs(world, &["dlq", "redrive", "probes", "--yes"]).yes().contains("1 redriven"));
        world.record_when("fatal", "failed again", |record| record.state == "failed" && record.generation == 2).await;
        let run = world.effects.runs_of("fatal");
        assert_eq!(run.len(), 2);
        assert_eq!(queue("fatal"), "probes-high");

        enqueue("moved", &["--delay", "1h"]).yes();
        world.record_in("moved", "scheduled").await;
        assert_eq!(sqjobs(world, &["move", "moved", "--priority", "high"]).yes(), "moved waits for queue probes-high\n");
        assert_eq!(queue("moved"), "probes-high");
        assert!(sqjobs(world, &["move", "raw", "--priority", "low"]).no().contains("cannot move raw: it has ended"));

        sqjobs(world, &["queue", "delete", "probes-low", "--yes"]).yes();
        let missing = sqjobs(world, &["move", "moved", "--priority", "low"]).error();
        assert!(missing.contains("create it with `sqjobs queue create probes --priority low`"), "{missing}");
        let missing =
            sqjobs(world, &["schedule", "add", "nightly", "probe", "--queue", "probes", "--priority", "low", "--cron", "1 0 * * *"])
                .error();
        assert!(
            missing.contains("its queue probes-low does not exist; create it with `sqjobs queue create probes --priority low`"),
            "{missing}"
        );
    });
}
