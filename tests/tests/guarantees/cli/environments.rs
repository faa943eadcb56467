//! Environments of one account, which differ by their prefix.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use sqjobs::setup;

use super::{Ran, args, in_environment, piped, sqjobs};
use crate::{function::Function, proxy::Fault, roles::given, world::World};

/// Deploys a function of this environment, with only the prefix and its queues as settings.
async fn deploy(world: &World, prefix: &str, function: &Function) {
    let queue = format!("{prefix}work");
    let queues = setup::create_queues(&world.account.sqs, &queue, 180).await.expect("the queues are created");
    let variables = [
        ("SQJOBS_PREFIX", prefix),
        ("SQJOBS_QUEUE_URL", &*queues.url),
        ("SQJOBS_DLQ_URL", &*queues.dlq_url),
        ("AWS_ENDPOINT_URL", &*world.account.endpoint),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    world.account.deploy(function, variables.into(), &queue).await;
}

/// Returns the values of a field in the printed lines.
fn all(ran: &Ran, field: &str) -> Vec<Value> {
    ran.json().iter().map(|line| line[field].clone()).collect()
}

#[test]
fn a_job_of_one_id_runs_in_each_of_two_environments() {
    World::setup().test(async |world| {
        let probe = args(world, &json!({}));
        let environments = [("live-", Function::adder(), "adder", "[1, 2, 3]"), ("staging-", Function::probe(), "probe", &*probe)];
        for (prefix, function, job, args) in environments {
            let there = |args: &[&str]| in_environment(world, prefix, args);
            there(&["table", "create"]).yes();
            deploy(world, prefix, &function).await;
            let ended = there(&["enqueue", job, args, "--queue", "work", "--id", "same", "--wait", "--json"]).json();
            assert_eq!(ended.last().expect("a record")["state"], "succeeded", "{ended:?}");
            assert_eq!(all(&there(&["get", "same", "--json"]), "name"), [job]);
            let add = ["schedule", "add", &format!("of-{job}"), job, args, "--cron", "1 0 * * *", "--queue", "work"];
            there(&add).yes();
            assert_eq!(all(&there(&["schedule", "list", "--json"]), "id"), [json!(format!("of-{job}"))]);
        }
        assert_eq!(all(&sqjobs(world, &["get", "same", "--json"]), "id"), [""; 0], "nothing is in the table without a prefix");
    });
}

#[test]
fn the_doctor_finds_environments_that_share_a_table() {
    World::setup().visibility_s(180).test(async |world| {
        // `--table` names the table, so it has no prefix: `probes` is the queue `es` of the prefix `prob`.
        let function = Function::probe().env("SQJOBS_PREFIX", "prob".to_owned()).env("SQJOBS_SCHEDULES_TABLE", "schedules".to_owned());
        world.account.create_role(&function).await;
        world.deploy(&function).await;
        let name = world.account.name(&function);
        let named = |prefix: &str, args: &[&str]| sqjobs(world, &[args, &["--prefix", prefix]].concat());
        let kept = ["--schedules-table", "schedules", "schedule", "add", "kept", "probe", "--queue", "es", "--cron", "1 0 * * *"];
        named("prob", &kept).yes();
        named("prob", &["schedule", "remove", "kept", "--schedules-table", "schedules", "--yes"]).yes();
        named("prob", &["queue", "create", "es", "--function", &name]).yes();
        in_environment(world, "prob", &["table", "create"]).yes();

        let rules = |ran: Ran| all(&ran, "rule");
        let doctor = ["doctor", "--json"];
        assert_eq!(rules(named("prob", &doctor)), ["beater_missing"], "a table that is named is right");
        let found = in_environment(world, "prob", &doctor);
        let finding = found.json().into_iter().find(|finding| finding["rule"] == "table_unprefixed").expect("it is found");
        assert_eq!(finding["at"], json!(format!("function {name}")));
        assert_eq!(finding["what"], "SQJOBS_TABLE is \"jobs\", but should start with the prefix \"prob\"");
        let remedy = finding["remedy"].as_str().expect("a text");
        assert!(remedy.contains("`sqjobs table create --prefix prob`") && remedy.ends_with("--table jobs"), "{remedy}");

        let found = sqjobs(world, &doctor);
        let shared = found.json().remove(0);
        assert_eq!(shared["rule"], "table_shared", "{shared}");
        assert_eq!(shared["at"], "table jobs", "{shared}");
        assert!(shared["what"].as_str().is_some_and(|what| what.contains(&name) && what.contains("\"prob\"")), "{shared}");

        world.send(world.probe("counted", &json!({}))).await;
        world.record_in("counted", "succeeded").await;
        let shared = rules(named("other-", &["doctor", "--json", "--schedules-table", "schedules"]));
        assert_eq!(shared, ["table_shared", "beater_missing"], "the table counts jobs of another environment");

        // The environment moves to its own tables, as the remedy says.
        in_environment(world, "prob", &["queue", "create", "es", "--function", &name]).yes();
        assert!(!rules(in_environment(world, "prob", &doctor)).contains(&json!("table_unprefixed")));
    });
}

#[test]
fn a_table_of_another_environment_is_refused() {
    World::setup().visibility_s(180).test(async |world| {
        for function in [Function::probe(), Function::beater()] {
            world.create_function_and_role(&function).await;
        }
        let [probe, beater] = [Function::probe(), Function::beater()].map(|function| world.account.name(&function));
        sqjobs(world, &["queue", "create", "probes", "--function", &probe]).yes();
        sqjobs(world, &["schedule", "beater", &beater]).yes();
        in_environment(world, "staging-", &["table", "create"]).yes();
        let read = async |function: &String| {
            let read = world.account.lambda.get_function_configuration().function_name(function).send().await.expect("it is read");
            read.environment.and_then(|own| own.variables).expect("variables")
        };
        let probe_before = read(&probe).await;
        let beater_before = read(&beater).await;

        let changes: [&[&str]; 7] = [
            &["dlq", "redrive", "probes", "--yes"],
            &["dlq", "purge", "probes", "--yes"],
            &["queue", "delete", "probes", "--yes"],
            &["queue", "pause", "probes"],
            &["queue", "create", "new"],
            &["schedule", "beater", &beater],
            &["enqueue", "probe", "[1]", "--queue", "probes", "--recorded"],
        ];
        for change in changes {
            let refused = sqjobs(world, &[change, &["--table", "staging-jobs"]].concat()).error();
            let other =
                "table staging-jobs belongs to the environment staging-, but this command uses the prefix \"\": give --prefix staging-";
            assert!(refused.contains(other), "{change:?}: {refused}");
        }
        // The table belongs to no environment: the variables of the function decide.
        sqjobs::setup::create_table(&world.account.dynamodb, "elsewhere").await.expect("the table is created");
        for change in &changes[..3] {
            let refused = sqjobs(world, &[change, &["--table", "elsewhere"][..]].concat()).error();
            let used = format!(
                "queue probes feeds function {probe}, which writes its records to table jobs, but this command uses table elsewhere"
            );
            assert!(refused.contains(&used), "{change:?}: {refused}");
        }

        let serves = "belongs to the environment without a prefix, with the tables jobs and schedules";
        let there = ["--prefix", "staging-", "--table", "jobs"];
        for change in ["release", "rollback"] {
            let refused = sqjobs(world, &[&["function", change, &probe], &there[..]].concat()).error();
            assert!(refused.contains(serves), "{refused}");
        }
        let create = ["queue", "create", "probes", "--function", &probe];
        let theirs = "table staging-schedules belongs to the environment staging-";
        let refused = sqjobs(world, &[&create[..], &["--schedules-table", "staging-schedules"]].concat()).error();
        assert!(refused.contains(theirs), "{refused}");
        let refused = sqjobs(world, &["schedule", "beater", &beater, "--schedules-table", "staging-schedules"]).error();
        assert!(refused.contains(theirs), "{refused}");
        assert_eq!(read(&probe).await, probe_before);
        assert_eq!(read(&beater).await, beater_before);
        assert_eq!(world.messages().await.len(), 0);

        // The doctor advises nothing that is refused.
        let found = sqjobs(world, &["doctor", "--json", "--beater", &beater, "--table", "staging-jobs"]).json();
        let denies: Vec<_> = found.iter().filter(|finding| finding["rule"] == "role_denies").collect();
        let asks = |finding: &&Value| {
            finding["remedy"]
                .as_str()
                .is_some_and(|remedy| remedy.starts_with("if the variables of the function are right, run the doctor"))
        };
        assert!(denies.len() == 2 && denies.iter().all(asks), "{found:?}");
        sqjobs(world, &create).yes();
        assert_eq!(read(&probe).await, probe_before);
    });
}

#[test]
fn an_option_that_names_a_wrong_table_changes_nothing() {
    World::setup().test(async |world| {
        in_environment(world, "staging-", &["table", "create"]).yes();
        in_environment(world, "staging-", &["queue", "create", "invoice"]).yes();
        world.plant(json!({"id": "first", "name": "probe", "queue": "probes", "state": "succeeded", "attempts": 1})).await;
        let before = world.item("first").await;
        let refusals: [(&[&str], &str); 7] = [
            (&["--schedules-table", "jobs", "schedule", "remove", "first", "--yes"], "table jobs holds records, not schedules"),
            (
                &["--schedules-table", "jobs", "schedule", "add", "evil", "probe", "{}", "--every", "1h"],
                "table jobs holds records, not schedules",
            ),
            (&["--table", "schedules", "cancel", "first", "--unseen", "--yes"], "table schedules holds schedules, not records"),
            (
                &["--table", "schedules", "enqueue", "probe", "{}", "--queue", "probes", "--recorded"],
                "table schedules holds schedules, not records",
            ),
            (&["--table", "staging-jobs", "cancel", "first", "--yes"], "table staging-jobs belongs to the environment staging-"),
            (&["--table", "staging-jobs", "retry", "first", "{}", "--yes"], "table staging-jobs belongs to the environment staging-"),
            (
                &["--schedules-table", "staging-schedules", "schedule", "remove", "first", "--yes"],
                "table staging-schedules belongs to the environment staging-",
            ),
        ];
        for (args, refusal) in refusals {
            let refused = sqjobs(world, args).error();
            assert!(refused.contains(refusal), "{args:?}: {refused}");
        }
        let swapped = ["--table", "schedules", "--schedules-table", "jobs", "table", "create"];
        assert!(sqjobs(world, &swapped).error().contains("table schedules holds schedules, not records"));
        let refused = in_environment(world, "pro", &["queue", "purge", "bes", "--yes"]).error();
        assert!(refused.contains("there is no table projobs"), "{refused}");
        assert_eq!(world.item("first").await, before);
        assert_eq!(world.scheduled("evil").await, None);
        assert_eq!(world.messages().await.len(), 0);

        let refused = in_environment(world, "staging-i", &["table", "create"]).error();
        let taken = "it would take the queues staging-invoice, staging-invoice-dlq from the environment staging-";
        assert!(refused.contains(taken), "{refused}");
    });
}

#[test]
fn a_prefix_and_tables_of_different_environments_change_nothing() {
    World::setup().visibility_s(180).test(async |world| {
        let staging = |args: &[&str]| in_environment(world, "staging-", args);
        staging(&["table", "create"]).yes();
        staging(&["queue", "create", "invoice"]).yes();
        sqjobs(world, &["enqueue", "probe", "{}", "--queue", "probes", "--id", "ours", "--delay", "2h", "--recorded"]).yes();
        staging(&["enqueue", "probe", "{}", "--queue", "invoice", "--id", "theirs", "--delay", "2h", "--recorded"]).yes();
        sqjobs(world, &["schedule", "add", "nightly", "probe", "--cron", "1 0 * * *", "--queue", "probes"]).yes();
        // Only the name of its queue shows the environment of this function.
        let old = [("SQJOBS_TABLE", "staging-jobs"), ("SQJOBS_SCHEDULES_TABLE", "staging-schedules")];
        let old = old.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        world.account.deploy(&Function::probe(), old, "staging-invoice").await;
        let adder = world.create_function_and_role(&Function::adder()).await;
        // The tables of this environment have other names.
        let lab = ["--prefix", "lab-", "--table", "lab_records", "--schedules-table", "lab_schedules"];
        sqjobs(world, &[&lab[..], &["table", "create"]].concat()).yes();
        sqjobs(world, &[&lab[..], &["queue", "create", "work", "--function", &adder]].concat()).yes();
        sqjobs(world, &[&lab[..], &["enqueue", "adder", "[1]", "--queue", "work", "--id", "lab", "--delay", "10m", "--recorded"]].concat())
            .yes();
        let record = async |table: &str, id: &str| {
            let get = world.account.dynamodb.get_item().table_name(table).key("id", AttributeValue::S(id.to_owned())).send();
            get.await.expect("it is read").item
        };
        let read = async || {
            let records = [record("jobs", "ours").await, record("staging-jobs", "theirs").await, record("lab_records", "lab").await];
            (records, record("schedules", "nightly").await, record("jobs", "cross").await, record("staging-schedules", "evil").await)
        };
        let before = read().await;

        let jobs: [&[&str]; 5] = [
            &["cancel", "ID", "--yes"],
            &["cancel", "new", "--unseen", "--yes"],
            &["move", "ID", "--delay", "3h"],
            &["retry", "ID", "{}", "--yes"],
            &["enqueue", "probe", "{}", "--id", "cross", "--queue", "QUEUE", "--recorded"],
        ];
        let schedules: [&[&str]; 4] = [
            &["schedule", "pause", "nightly"],
            &["schedule", "run", "nightly"],
            &["schedule", "remove", "nightly", "--yes"],
            &["schedule", "add", "evil", "probe", "--queue", "QUEUE", "--every", "1h"],
        ];
        let setups: [&[&str]; 2] = [&["queue", "create", "fresh"], &["table", "create"]];
        let without = "belongs to the environment without a prefix, but this command uses the prefix \"staging-\": omit --prefix";
        let of_staging =
            "belongs to the environment staging-, but this command uses the prefix \"PREFIX\": give --prefix staging-, or omit";
        let of_lab =
            "table lab_records belongs to the environment lab-, but this command uses the prefix \"\": give --prefix lab-, or omit";
        let both = ["--table", "staging-jobs", "--schedules-table", "staging-schedules"];
        let cases = [
            ("staging-", &["--table", "jobs"][..], ["ours", "invoice"], [&jobs[..], &setups].concat(), without),
            ("staging-", &["--schedules-table", "schedules"][..], ["ours", "invoice"], [&schedules[..], &setups].concat(), without),
            ("staging-", &["--table", "jobs", "--schedules-table", "schedules"][..], ["ours", "invoice"], jobs.to_vec(), without),
            ("", &both[..], ["theirs", "probes"], [&jobs[..], &schedules, &setups].concat(), of_staging),
            ("q-", &both[..], ["theirs", "probes"], [&jobs[..], &schedules, &setups].concat(), of_staging),
            ("", &["--table", "lab_records"][..], ["lab", "probes"], jobs.to_vec(), of_lab),
        ];
        for (prefix, tables, [id, queue], commands, refusal) in cases {
            for command in commands {
                let command: Vec<_> = command.iter().map(|word| word.replace("ID", id).replace("QUEUE", queue)).collect();
                let command = [tables.to_vec(), command.iter().map(String::as_str).collect()].concat();
                let refused = in_environment(world, prefix, &command).error();
                assert!(refused.contains(&refusal.replace("PREFIX", prefix)), "{prefix:?} {command:?}: {refused}");
            }
        }
        // A variable counts like the option.
        let refused = sqjobs(world, &["--prefix", "staging-", "queue", "create", "fresh"]).error();
        assert!(refused.contains(without), "{refused}");
        assert_eq!(read().await, before);
        assert_eq!(world.messages().await.len(), 1, "only the first job of this queue");

        // The queue of a record decides too.
        let item = HashMap::from([("id", "stray"), ("name", "probe"), ("queue", "probes"), ("state", "succeeded")]);
        let item = item.into_iter().map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned()))).collect();
        world.account.dynamodb.put_item().table_name("lab_records").set_item(Some(item)).send().await.expect("it is put");
        for change in [&["cancel", "stray", "--yes"][..], &["retry", "stray", "{}", "--yes"]] {
            let refused = sqjobs(world, &[&lab[..], change].concat()).error();
            assert!(refused.contains("its queue probes does not start with the prefix lab- of this environment"), "{refused}");
        }
        let ran = sqjobs(world, &[&lab[..], &["cancel", "stray", "lab", "--yes"]].concat());
        assert_eq!((ran.status, &*ran.printed), (2, "lab was cancelled before it ran\n"));
        let said = ran.said;
        assert!(said.contains("its queue probes does not start with") && said.contains("1 of 2 jobs could not be cancelled"), "{said}");
        let lab = record("lab_records", "lab").await.expect("a record");
        assert_eq!(lab["state"], AttributeValue::S("cancelled".into()));
    });
}

#[test]
fn a_new_environment_takes_no_queue_from_another() {
    World::setup().visibility_s(180).test(async |world| {
        let probe = world.create_function_and_role(&Function::probe()).await;
        sqjobs(world, &["queue", "create", "live-reports", "--function", &probe]).yes();
        for prefix in ["live-", "li"] {
            let refused = in_environment(world, prefix, &["table", "create"]).error();
            let taken = "it would take the queues live-reports from the environment without a prefix; choose another prefix";
            assert!(refused.contains(taken), "{refused}");
        }
        let refused = in_environment(world, "live-r", &["queue", "create", "eports"]).error();
        assert!(refused.contains("cannot create queue live-reports: the environment \"live-r\" is new"), "{refused}");
        sqjobs(world, &["queue", "pause", "live-reports"]).yes();
        sqjobs(world, &["queue", "create", "unfed-reports"]).yes();
        let refused = in_environment(world, "unfed-", &["table", "create"]).error();
        assert!(refused.contains("it would take the queues unfed-reports from the environment without a prefix"), "{refused}");
        // A queue of another system does not belong to an environment.
        world.account.sqs.create_queue().queue_name("other-events").send().await.expect("a queue");
        in_environment(world, "other-", &["table", "create"]).yes();
    });
}

#[test]
fn an_environment_without_a_prefix_leaves_the_queues_of_others_alone() {
    World::setup().visibility_s(180).test(async |world| {
        let functions = [Function::probe(), Function::adder(), Function::beater()];
        for function in &functions {
            world.account.create_role(function).await;
            world.create_function(function).await;
        }
        let [probe, adder, beater] = functions.map(|function| world.account.name(&function));
        sqjobs(world, &["queue", "create", "probes", "--function", &probe]).yes();
        let staging = |args: &[&str]| in_environment(world, "staging-", args);
        staging(&["table", "create"]).yes();
        staging(&["queue", "create", "work", "--function", &adder]).yes();
        staging(&["queue", "create", "unfed"]).yes();
        sqjobs(world, &["schedule", "beater", &beater]).yes();

        let note = "not shown: 4 queues whose names begin with staging-, the prefix of another environment; --prefix staging- shows them";
        for (command, field) in [(&["queue", "list"][..], "name"), (&["stats"], "queue")] {
            let listed = sqjobs(world, &[command, &["--json"]].concat());
            assert_eq!(all(&listed, field), ["probes"], "{command:?}");
            assert!(listed.said.contains(note), "{command:?}: {}", listed.said);
        }
        let listed = staging(&["queue", "list", "--json"]);
        assert_eq!(all(&listed, "name"), vec![json!("unfed"), json!("work")]);
        assert_eq!(listed.said, "");

        let found = sqjobs(world, &["doctor", "--beater", &beater]);
        assert_eq!(found.status, 0, "{}", found.said);
        assert_eq!(found.printed, "no faults were found in 1 queue and its function\n", "{}", found.said);
        assert_eq!(found.said, "not checked: 2 queues of another environment; --prefix staging- checks them\n");
        let named = staging(&["doctor", "--beater", "nobody"]).no();
        assert!(named.contains("beater_missing  function nobody: "), "the name of a function has no prefix added: {named}");
        let looked_through = sqjobs::setup::dlqs(&world.account.dynamodb, "jobs").await.expect("the list is read");
        assert_eq!(looked_through, ["probes-dlq"]);

        let rights = given(world, "beater", &beater, "").await;
        let refused = staging(&["schedule", "beater", &beater]).error();
        assert!(
            refused.contains(
                "its variables are set for the environment without a prefix, with the tables jobs and schedules; deploy another beater"
            ),
            "{refused}"
        );
        let such_as = "--binary-name beater staging-beater` (give --binary-name the name of your program)";
        assert!(refused.contains(such_as), "{refused}");
        assert_eq!(given(world, "beater", &beater, "").await, rights);

        let own = sqjobs(world, &["schedule", "add", "own", "probe", "--cron", "1 0 * * *", "--queue", "probes"]);
        assert!(!own.said.contains("invokes no beater"), "{}", own.said);
        own.yes();

        let add = ["schedule", "add", "nightly", "adder", "--cron", "1 0 * * *", "--queue", "staging-work"];
        let changes: [&[&str]; 9] = [
            &["queue", "create", "staging-work"],
            &["queue", "pause", "staging-work"],
            &["queue", "resume", "probes", "staging-work"],
            &["queue", "purge", "staging-work", "--yes"],
            &["queue", "delete", "staging-work", "--yes"],
            &["dlq", "redrive", "staging-work", "--yes"],
            &["dlq", "purge", "staging-work", "--yes"],
            &["enqueue", "adder", "[1]", "--queue", "staging-work"],
            &add,
        ];
        let other = "queue staging-work belongs to the environment staging-; use the name work and --prefix staging-";
        for change in changes {
            let refused = sqjobs(world, change).error();
            assert!(refused.contains(other), "{change:?}: {refused}");
        }
        let line = json!({"name": "adder", "args": [1], "queue": "staging-work"}).to_string();
        let refused = piped(world, &["enqueue", "--from", "-"], &line).no();
        assert!(refused.contains(&format!("line 1: {other}")), "{refused}");
        staging(&["queue", "pause", "work"]).yes();

        // Without the right to list tables, the command says so.
        let answer = json!({"__type": "AccessDeniedException", "message": "armed"}).to_string();
        world.proxy.arm(Fault::answer("ListTables", "", 400, answer));
        let listed = sqjobs(world, &["queue", "list", "--json", "--endpoint-url", &world.proxy.url()]);
        assert!(
            listed.said.contains("queues of other environments may be included, because the tables cannot be listed: "),
            "{}",
            listed.said
        );
        assert_eq!(all(&listed, "name"), ["probes", "staging-unfed", "staging-work"]);
        let answer = json!({"__type": "AccessDeniedException", "message": "armed"}).to_string();
        world.proxy.arm(Fault::answer("ListTables", "", 400, answer));
        let sent = sqjobs(world, &["enqueue", "adder", "[1]", "--queue", "staging-work", "--endpoint-url", &world.proxy.url()]);
        assert_eq!(sent.status, 0, "a producer need not list tables");
        assert_eq!(sent.said, "", "a producer need not list tables");
    });
}

#[test]
fn each_command_that_is_printed_names_the_environment() {
    World::setup().test(async |world| {
        let there = |args: &[&str]| in_environment(world, "live-", args);
        let told = there(&["get", "a"]).error();
        assert!(told.contains("(table live-jobs)") && told.contains("`sqjobs table create --prefix live-`"), "{told}");
        let told = there(&["schedule", "list"]).error();
        assert!(told.contains("there is no table live-jobs") && told.contains("`sqjobs table create --prefix live-`"), "{told}");
        for list in [["queue", "list"], ["dlq", "list"]] {
            let told = there(&list).said;
            let none = "no queue has the prefix live-, and there is no table live-jobs or live-schedules; ";
            assert!(told.starts_with(none) && told.contains("`sqjobs table create --prefix live-`"), "{told}");
        }
        let told = there(&["queue", "create", "adder"]).error();
        let new =
            "the environment \"live-\" is new: it has no table live-jobs. The existing environments are the one without a prefix; if you meant";
        assert!(told.contains(&format!("cannot create queue live-adder: {new}")), "{told}");
        assert!(told.contains("`sqjobs table create --prefix live-`"), "{told}");
        let made = there(&["table", "create"]);
        assert!(made.said.starts_with(new), "{}", made.said);
        made.yes();
        assert_eq!(there(&["table", "create"]).said, "");
        let told = in_environment(world, "live", &["table", "create"]).said;
        assert!(told.contains("The existing environments are the one without a prefix, \"live-\"; if you meant"), "{told}");
        let told = there(&["schedule", "add", "nightly", "adder", "--cron", "1 0 * * *"]).error();
        assert!(told.contains("its queue live-adder does not exist; create it with `sqjobs queue create adder --prefix live-`"), "{told}");
        let told = there(&["enqueue", "adder", "[1, 2]"]).error();
        assert!(told.contains("(queue live-adder)") && told.contains("`sqjobs queue create adder --prefix live-`"), "{told}");
        let told = there(&["dlq", "list", "adder"]).error();
        assert!(told.contains("no queue live-adder; create it with `sqjobs queue create adder --prefix live-`"), "{told}");
        let unknown = there(&["explain", "b"]).no();
        assert!(unknown.contains("There is no queue with a dead-letter queue whose name starts with live-"), "{unknown}");
        there(&["queue", "create", "adder"]).yes();
        there(&["enqueue", "adder", "[1]", "--id", "b"]).yes();
        let waits = there(&["explain", "b"]).no();
        assert!(waits.contains("Queue live-adder: 1 waiting"), "{waits}");
        assert!(waits.contains("`sqjobs queue create adder --function FUNCTION --prefix live-`"), "{waits}");
        there(&["cancel", "c", "--unseen"]).yes();
        let blocked = there(&["enqueue", "adder", "[1]", "--id", "c"]).no();
        assert!(blocked.contains("`sqjobs retry c ARGS --name adder --prefix live-`"), "{blocked}");
        let failed = json!({
            "id": "a", "name": "adder", "queue": "live-adder", "state": "failed", "attempts": 1, "max_attempts": 1, "generation": 1,
        });
        let item: HashMap<_, _> = serde_dynamo::to_item(failed).expect("an item");
        world.account.dynamodb.put_item().table_name("live-jobs").set_item(Some(item)).send().await.expect("it is put");
        let told = there(&["explain", "a"]).yes();
        assert!(told.contains("`sqjobs dlq redrive adder --id a --prefix live-`"), "{told}");
        let told = there(&["tree", "a"]).said;
        assert!(told.contains("`sqjobs enqueue NAME ARGS --listed --prefix live-`"), "{told}");
        let line = json!({"name": "other", "id": "d", "args": [1]}).to_string();
        let place = ["--table", "live-jobs", "--prefix", "live-"];
        let told = piped(world, &[&["enqueue", "--from", "-"], &place[..]].concat(), &line).no();
        assert!(told.contains("line 1: ") && told.contains("`sqjobs queue create other --prefix live-`"), "{told}");
        there(&["queue", "create", "adder"]).yes();
        there(&["schedule", "add", "nightly", "adder", "--cron", "1 0 * * *"]).yes();
        let told = there(&["queue", "delete", "adder", "--yes", "--force"]).yes();
        assert!(told.contains("`sqjobs schedule remove nightly --prefix live-`"), "{told}");
    });
}
