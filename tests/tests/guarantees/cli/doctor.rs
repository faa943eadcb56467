//! The faults that the doctor finds, each made on the stack.

use std::collections::HashMap;

use aws_sdk_lambda::types::{Environment, FunctionResponseType, RecursiveLoop};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use sqjobs::Clock;

use super::{Ran, sqjobs};
use crate::{
    due,
    function::Function,
    http,
    proxy::Fault,
    wait,
    world::{PATIENCE, World},
};

/// Returns the rules that the doctor finds broken, with these arguments.
fn broken(world: &World, more: &[&str]) -> Vec<String> {
    let beater = world.account.name(&Function::beater());
    let named: &[&str] = if more.contains(&"--beater") { &[] } else { &["--beater", &beater] };
    let ran: Ran = sqjobs(world, &[&["doctor", "--json"], named, more].concat());
    let rules: Vec<_> = ran.json().iter().map(|finding| finding["rule"].as_str().expect("a rule").to_owned()).collect();
    assert_eq!(ran.status, i32::from(!rules.is_empty()), "{}", ran.said);
    rules
}

/// Sends a request to the stack.
async fn ask(world: &World, service: &str, target: &str, what: Value) {
    http::call(&world.account.endpoint, &world.account.id, service, target, &what).await;
}

async fn set(world: &World, url: &str, name: &str, value: &str) {
    ask(world, "sqs", "AmazonSQS.SetQueueAttributes", json!({"QueueUrl": url, "Attributes": {name: value}})).await;
}

async fn rule(world: &World, state: &str) {
    let name = world.account.name(&Function::beater());
    ask(world, "events", "AWSEvents.PutRule", json!({"Name": name, "ScheduleExpression": "rate(1 minute)", "State": state})).await;
}

async fn mapping(world: &World) -> String {
    let listed = world.account.lambda.list_event_source_mappings().send().await.expect("mappings are listed");
    listed.event_source_mappings()[0].uuid().expect("an id").to_owned()
}

/// Releases the newest deployment of a function.
async fn release(world: &World, function: &str) {
    let lambda = &world.account.lambda;
    let version = lambda.publish_version().function_name(function).send().await.expect("it is published").version;
    let update = lambda.update_alias().function_name(function).name("live").set_function_version(version);
    update.send().await.expect("the alias is changed");
}

/// Creates a system without faults. Its functions were deployed only with their code and roles.
async fn healthy(world: &World) {
    for function in [Function::probe(), Function::beater()] {
        world.create_function_and_role(&function).await;
    }
    equip(world);
    assert_eq!(broken(world, &[]), [""; 0]);
}

/// Gives both functions their rights and variables.
fn equip(world: &World) {
    let [probe, beater] = [Function::probe(), Function::beater()].map(|function| world.account.name(&function));
    sqjobs(world, &["queue", "create", "probes", "--function", &probe]).yes();
    sqjobs(world, &["schedule", "beater", &beater]).yes();
}

/// Removes all rights from the role of a function.
async fn forbid(world: &World, function: &Function) {
    let (iam, role) = (&world.account.iam, function.bootstrap);
    let named = iam.list_role_policies().role_name(role).send().await.expect("policies are listed").policy_names;
    for policy in named {
        iam.delete_role_policy().role_name(role).policy_name(policy).send().await.expect("a policy is deleted");
    }
}

#[test]
fn each_fault_of_queues_and_tables_is_found_and_a_healthy_system_has_none() {
    World::setup().visibility_s(180).test(async |world| {
        healthy(world).await;
        let said = sqjobs(world, &["doctor", "--beater", &world.account.name(&Function::beater())]).yes();
        assert_eq!(said, "no faults were found in 1 queue and its function\n");

        let (queue, dlq) = (&world.queues.url, &world.queues.dlq_url);
        let faults = [
            (queue, "MessageRetentionPeriod", "86400", "1209600", "retention_short"),
            (dlq, "MessageRetentionPeriod", "345600", "1209600", "dlq_retention"),
            (queue, "VisibilityTimeout", "100", "180", "visibility_short"),
            (queue, "MaximumMessageSize", "262144", "1048576", "message_size"),
            (dlq, "MaximumMessageSize", "262144", "1048576", "message_size"),
        ];
        for (url, name, wrong, right, rule) in faults {
            set(world, url, name, wrong).await;
            assert_eq!(broken(world, &[]), [rule]);
            set(world, url, name, right).await;
        }
        set(world, dlq, "MaximumMessageSize", "262144").await;
        let said = sqjobs(world, &["doctor"]).no();
        assert!(said.contains(&format!("--queue-url {dlq} --attributes MaximumMessageSize=1048576`")), "{said}");
        set(world, dlq, "MaximumMessageSize", "1048576").await;
        world.give_up_after(5).await;
        assert_eq!(broken(world, &[]), ["redrive_early"]);
        world.give_up_after(1000).await;

        let ttl = |enabled: bool| {
            let wanted = json!({"TableName": "jobs", "TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": "purge_at"}});
            ask(world, "dynamodb", "DynamoDB_20120810.UpdateTimeToLive", wanted)
        };
        ttl(false).await;
        assert_eq!(broken(world, &[]), ["ttl_off"]);
        ttl(true).await;
        assert_eq!(broken(world, &["--schedules-table", "nowhere"]), ["table_missing", "environment", "environment"]);
        let bare = json!({
            "TableName": "bare", "BillingMode": "PAY_PER_REQUEST", "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        });
        ask(world, "dynamodb", "DynamoDB_20120810.CreateTable", bare).await;
        assert_eq!(broken(world, &["--schedules-table", "bare"]), ["index_missing", "environment", "role_denies", "environment"]);

        ask(world, "sqs", "AmazonSQS.CreateQueue", json!({"QueueName": "lonely", "Attributes": {"MessageRetentionPeriod": "1209600"}}))
            .await;
        assert_eq!(broken(world, &[]), ["dlq_missing", "mapping_missing"]);
        let url = queue.replace("probes", "lonely");
        ask(world, "sqs", "AmazonSQS.DeleteQueue", json!({"QueueUrl": url})).await;
        sqjobs(world, &["queue", "create", "ordered.fifo"]).yes();
        set(world, &queue.replace("probes", "ordered.fifo"), "DelaySeconds", "5").await;
        assert_eq!(broken(world, &[]), ["fifo_delay", "mapping_missing"]);
    });
}

#[test]
fn each_fault_of_a_function_and_of_what_feeds_or_wakes_it_is_found() {
    World::setup().visibility_s(180).test(async |world| {
        healthy(world).await;
        let (lambda, function, mapping) = (&world.account.lambda, world.account.name(&Function::probe()), mapping(world).await);

        sqjobs(world, &["queue", "pause", "probes"]).yes();
        assert_eq!(broken(world, &[]), ["mapping_disabled"]);
        sqjobs(world, &["queue", "resume", "probes"]).yes();

        let update = || lambda.update_event_source_mapping().uuid(&mapping);
        update().set_function_response_types(Some(vec![])).send().await.expect("it is changed");
        assert_eq!(broken(world, &[]), ["reports_missing"]);
        update().function_response_types(FunctionResponseType::ReportBatchItemFailures).send().await.expect("it is changed");
        set(world, &world.queues.url, "VisibilityTimeout", "300").await;
        update().batch_size(100).maximum_batching_window_in_seconds(60).send().await.expect("it is changed");
        assert_eq!(broken(world, &[]), ["batch_window"]);
        update().batch_size(10).maximum_batching_window_in_seconds(0).send().await.expect("it is changed");

        let recursion = |setting| lambda.put_function_recursion_config().function_name(&function).recursive_loop(setting).send();
        recursion(RecursiveLoop::Terminate).await.expect("it is changed");
        assert_eq!(broken(world, &[]), ["recursive_loop"]);
        recursion(RecursiveLoop::Allow).await.expect("it is changed");

        let beater = world.account.name(&Function::beater());
        let configure = async |function: &str, name: &str, value: &str| {
            let own = lambda.get_function_configuration().function_name(function).send().await.expect("it is read");
            let mut variables = own.environment.and_then(|own| own.variables).expect("variables");
            let was = variables.insert(name.to_owned(), value.to_owned()).expect("it was set");
            let variables = Environment::builder().set_variables(Some(variables)).build();
            lambda.update_function_configuration().function_name(function).environment(variables).send().await.expect("it is changed");
            was
        };
        let was = configure(&function, "SQJOBS_QUEUE_URL", "http://127.0.0.1/another").await;
        assert_eq!(broken(world, &[]), ["unreleased"]);
        release(world, &function).await;
        assert_eq!(broken(world, &[]), ["environment"]);
        configure(&function, "SQJOBS_QUEUE_URL", &was).await;
        release(world, &function).await;
        sqjobs::setup::remove_dlq(&world.account.dynamodb, "jobs", "probes-dlq").await.expect("it is removed");
        assert_eq!(broken(world, &[]), ["beater_dlqs"]);
        let was = configure(&beater, "SQJOBS_DLQ_URL", &world.queues.dlq_url).await;
        assert_eq!(broken(world, &[]), [""; 0], "a beater honours its variable");
        configure(&beater, "SQJOBS_DLQ_URL", &was).await;
        equip(world);

        set(world, &world.queues.url, "VisibilityTimeout", "20").await;
        forbid(world, &Function::probe()).await;
        assert_eq!(broken(world, &[]), ["visibility_short", "role_denies"]);
        equip(world);
        assert_eq!(broken(world, &[]), ["visibility_short"], "one fault is put right beside the other");
        set(world, &world.queues.url, "VisibilityTimeout", "300").await;
        forbid(world, &Function::probe()).await;
        forbid(world, &Function::beater()).await;
        assert_eq!(broken(world, &[]), ["role_denies", "role_denies"]);
        let said = sqjobs(world, &["doctor", "--beater", &beater]).no();
        assert!(said.contains("does not allow dynamodb:BatchGetItem on table/jobs, and 9 more permissions"), "{said}");
        assert!(said.contains(&format!("`sqjobs queue create probes --function {function}`")), "{said}");
        equip(world);

        rule(world, "DISABLED").await;
        assert_eq!(broken(world, &[]), ["beater_asleep"]);
        equip(world);
        assert_eq!(broken(world, &[]), [""; 0], "as its remedy says");
        let forbid = lambda.remove_permission().function_name(&beater).statement_id("sqjobs-beater").send();
        forbid.await.expect("it is taken away");
        assert_eq!(broken(world, &[]), ["beater_asleep"], "nor may it be");
        assert_eq!(broken(world, &["--beater", "nobody"]), ["beater_missing"]);
        equip(world);
        assert_eq!(broken(world, &[]), [""; 0]);
        let was = configure(&beater, "SQJOBS_SCHEDULES_TABLE", "others").await;
        assert_eq!(broken(world, &[]), ["environment"]);
        configure(&beater, "SQJOBS_SCHEDULES_TABLE", &was).await;
        let read = lambda.get_function_configuration().function_name(&function).send().await.expect("it is read");
        let set = async |variables| {
            let environment = Environment::builder().set_variables(variables).build();
            lambda.update_function_configuration().function_name(&function).environment(environment).send().await.expect("it is changed");
        };
        set(Some(HashMap::new())).await;
        release(world, &function).await;
        let said = sqjobs(world, &["doctor", "--beater", &beater]).said;
        assert!(said.contains("not checked: queue probes: its function "), "{said}");
        set(read.environment.and_then(|own| own.variables)).await;
        release(world, &function).await;
        assert_eq!(broken(world, &[]), [""; 0]);
        lambda.delete_function().function_name(&function).send().await.expect("it is deleted");
        let broken = broken(world, &[]);
        assert!(broken == ["function_missing"] || broken == ["mapping_missing"], "{broken:?}");
    });
}

#[test]
fn work_that_nobody_has_taken_up_is_found() {
    World::setup().visibility_s(180).test(async |world| {
        healthy(world).await;
        let ago = |hours: i64| Clock::system().now() - SignedDuration::from_hours(hours);
        let record = |id: &str, state: &str, more: Value| {
            let mut record = json!({"id": id, "name": "probe", "queue": "probes", "state": state, "attempts": 1, "max_attempts": 3});
            record.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
            record
        };
        world.plant(record("late", "scheduled", json!({"run_at": ago(1), "due": "due#3", "envelope": "{}"}))).await;
        assert_eq!(broken(world, &[]), ["due_overdue"]);
        world.plant(record("dead", "running", json!({"generation": 1, "owner": "x", "lease_until": ago(5).as_millisecond()}))).await;
        assert_eq!(broken(world, &[]), ["due_overdue", "lease_overdue"]);
        let failed = json!({
            "finished_at": ago(1), "listed": "failed#3", "listed_at": ago(1), "dlq": "sent", "purge_at": ago(-24).as_second(),
            "error": {"kind": "error", "message": "it broke"},
        });
        world.plant(record("short", "failed", failed)).await;
        assert_eq!(broken(world, &[]), ["retention_long", "due_overdue", "lease_overdue"]);
        let row = |id: &str, queue: &str| {
            json!({"id": id, "cron": "1 0 * * *", "job": "probe", "queue": queue, "due": "due#1", "next_fire": format!("{:.3}", ago(1))})
        };
        world.schedule_many(&[row("lost", "nowhere")]).await;
        assert_eq!(broken(world, &[]), ["retention_long", "due_overdue", "schedule_queue_missing", "lease_overdue"]);
        world.schedule_many(&[row("nightly", "probes")]).await;
        assert_eq!(broken(world, &[]), ["retention_long", "due_overdue", "schedule_queue_missing", "schedule_overdue", "lease_overdue"]);
        let wrong = json!({"id": "wrong", "cron": "*/99 * * * *", "job": "probe", "queue": "probes", "due": "due#1", "next_fire": "0"});
        world.schedule_many(&[wrong, json!({"id": "unreadable", "cron": 5})]).await;
        let all =
            ["retention_long", "due_overdue", "schedule_wrong", "schedule_wrong", "schedule_queue_missing", "schedule_overdue", "lease_overdue"];
        assert_eq!(broken(world, &[]), all);
        let listed = sqjobs(world, &["schedule", "list", "--json"]);
        assert!(listed.said.contains("cannot read schedule unreadable"), "{}", listed.said);
        assert!(listed.json().iter().any(|row| (&row["id"], &row["status"]) == (&json!("wrong"), &json!("wrong"))), "{}", listed.printed);
        let table = sqjobs(world, &["schedule", "list"]).yes();
        assert!(table.contains("when its row is corrected") && !table.contains("the next tick"), "{table}");
        let said = sqjobs(world, &["doctor", "--beater", &world.account.name(&Function::beater())]).no();
        assert!(said.contains("retention_long  queue probes: ") && said.ends_with("7 faults were found\n"), "{said}");
        assert!(said.contains("schedule wrong: ") && said.contains("99") && said.contains("schedule unreadable: "), "{said}");
        assert!(said.contains("schedule lost: its queue nowhere does not exist") && said.contains("`sqjobs queue create nowhere`"), "{said}");

        let lost = json!({"run_at": ago(1), "due": "due#3", "envelope": "{}", "queue": "gone"});
        world.plant(record("unsendable", "scheduled", lost)).await;
        assert_eq!(broken(world, &[]), [&all[..2], &["due_queue_missing"], &all[2..]].concat());
        let said = sqjobs(world, &["doctor"]).no();
        assert!(said.contains("1 job in the due index is overdue: late, "), "{said}");
        let what = "queue gone: this queue does not exist, but 1 job in the due index waits to be sent to it: unsendable\n";
        assert!(said.contains(what), "{said}");
        assert!(said.contains("`sqjobs queue create gone`") && said.contains("`sqjobs cancel unsendable`"), "{said}");
    });
}

#[test]
fn a_function_that_may_not_send_to_a_queue_of_waiting_jobs_is_found() {
    World::setup().visibility_s(180).test(async |world| {
        healthy(world).await;
        for name in ["mails", "reports"] {
            sqjobs(world, &["queue", "create", name]).yes();
        }
        let later = Clock::system().now() + SignedDuration::from_hours(1);
        let record = |id: &str, queue: &str, state: &str, blocked_on: &[&str]| {
            let conditions = json!({"ids": blocked_on, "when": "succeeded", "otherwise": "hold"});
            json!({
                "id": id, "name": "probe", "queue": queue, "state": state, "attempts": 0, "max_attempts": 3, "run_at": later, "due": "due#3",
                "envelope": "{}", "blocked_on": blocked_on, "dependencies": conditions,
            })
        };
        world.plant(record("first", "probes", "scheduled", &[])).await;
        world.plant(record("own", "probes", "blocked", &["first"])).await;
        world.plant(record("other", "reports", "blocked", &["approval"])).await;
        assert_eq!(broken(world, &[]), ["mapping_missing", "mapping_missing"]);
        world.plant(record("mail", "mails", "blocked", &["first"])).await;
        world.plant(record("report", "reports", "blocked", &["approval", "first"])).await;
        assert_eq!(broken(world, &[]), ["mapping_missing", "dependents_denied", "mapping_missing"]);
        let (function, beater) = [Function::probe(), Function::beater()].map(|function| world.account.name(&function)).into();
        let said = sqjobs(world, &["doctor", "--beater", &beater]).no();
        let what = format!(
            "function {function}: its role does not allow it to send to the queues mails, reports, but \
              jobs there wait for its jobs, such as mail\n"
        );
        assert!(said.contains(&what), "{said}");
        let remedy = ["queue", "create", "probes", "--function", &function, "--enqueues-to", "mails", "--enqueues-to", "reports"];
        assert!(said.contains(&format!("`sqjobs {}`", remedy.join(" "))), "{said}");
        sqjobs(world, &remedy[..7]).yes();
        let said = sqjobs(world, &["doctor", "--beater", &beater]).no();
        assert!(said.contains("to send to queue reports, but jobs there wait for its jobs, such as report\n"), "{said}");
        sqjobs(world, &remedy).yes();
        assert_eq!(broken(world, &[]), ["mapping_missing", "mapping_missing"]);
    });
}

#[test]
fn a_function_too_old_for_its_messages_is_found_though_it_never_ran_a_job() {
    World::setup().visibility_s(180).test(async |world| {
        healthy(world).await;
        let found = async |rules: &[&str]| {
            let found = async || {
                let found = broken(world, &[]);
                if found == rules { Ok(()) } else { Err(format!("{found:?}")) }
            };
            wait::until(&format!("{rules:?} are found"), PATIENCE, found).await;
        };
        world.send(json!({"name": "probe", "id": "newer", "v": 2})).await;
        found(&["contract_old"]).await;
        world.send(json!({"name": "stranger", "id": "unknown"})).await;
        found(&["contract_old", "parked"]).await;
    });
}

#[test]
fn queues_of_priorities_have_no_fault_and_a_missing_one_is_found() {
    World::setup().visibility_s(180).test(async |world| {
        healthy(world).await;
        let [probe, beater] = [Function::probe(), Function::beater()].map(|function| world.account.name(&function));
        sqjobs(world, &["queue", "create", "probes", "--function", &probe, "--priority", "high", "--priority", "low"]).yes();
        sqjobs(world, &["schedule", "beater", &beater]).yes();
        assert_eq!(broken(world, &[]), [""; 0]);
        let add = ["schedule", "add", "nightly", "probe", "--queue", "probes", "--priority", "low", "--cron", "1 0 * * *"];
        sqjobs(world, &add).yes();
        let deleted = sqjobs(world, &["queue", "delete", "probes-low", "--yes"]).yes();
        assert!(deleted.contains("schedule nightly still sends jobs to this queue") && deleted.contains("kept probes-dlq"), "{deleted}");
        assert_eq!(broken(world, &[]), ["schedule_queue_missing"]);
        let finding = &sqjobs(world, &["doctor", "--json", "--beater", &beater]).json()[0];
        let remedy = finding["remedy"].as_str().expect("a remedy");
        assert!(remedy.starts_with("`sqjobs queue create probes --priority low`"), "{remedy}");
    });
}

#[test]
fn a_schedule_whose_jobs_fail_is_found_until_one_succeeds() {
    World::setup().visibility_s(180).test(async |world| {
        healthy(world).await;
        let earlier = Timestamp::from_second(due::now().as_second() / 60 * 60 - 120).expect("a minute");
        let later = earlier + SignedDuration::from_mins(1);
        let id = |fire: Timestamp| format!("schedule:hourly:{fire}");
        let fire = async |at: Timestamp, args: &Value| {
            let cron = format!("{} * * * *", at.to_zoned(TimeZone::UTC).minute());
            world.schedule(json!({"id": "hourly", "cron": cron, "job": "probe", "queue": "probes", "args": args})).await;
            world.tick(&Function::beater(), at).await;
        };
        // The queue of the beater's own schedule does not exist in this test.
        let fails = || broken(world, &[]).contains(&"schedule_fails".to_owned());
        fire(earlier, &json!({"effects": 7})).await; // the job cannot read it
        world.record_when(&id(earlier), "is dead-lettered", |record| record.dlq.as_deref() == Some("sent")).await;
        assert!(fails());
        let said = sqjobs(world, &["doctor", "--beater", &world.account.name(&Function::beater())]).no();
        assert!(
            said.contains("schedule hourly: its job failed ") && said.contains(" with rejected, and no later job has succeeded"),
            "{said}"
        );
        assert!(said.contains(&format!("`sqjobs explain {}`", id(earlier))), "{said}");
        let pause = |what: &str| sqjobs(world, &["schedule", what, "hourly"]).yes();
        pause("pause");
        assert!(!fails(), "a paused schedule is left alone");
        pause("resume");
        assert!(fails());

        fire(later, &world.probe("", &json!({}))["args"]).await;
        world.record_in(&id(later), "succeeded").await;
        assert!(!fails());
    });
}

#[test]
fn a_beater_of_any_name_is_found_by_the_rule_that_wakes_it() {
    World::setup().visibility_s(180).test(async |world| {
        healthy(world).await;
        let unnamed = || sqjobs(world, &["doctor"]);
        assert_eq!(unnamed().yes(), "no faults were found in 1 queue and its function\n");
        let name = world.account.name(&Function::beater());
        ask(world, "events", "AWSEvents.RemoveTargets", json!({"Rule": name, "Ids": [name]})).await;
        let said = unnamed().no();
        assert!(
            said.contains("beater_missing  function beater: there is no such function, and no EventBridge rule invokes another"),
            "{said}"
        );
        assert!(said.contains("`sqjobs doctor --beater FUNCTION`"), "{said}");
        assert_eq!(broken(world, &[]), ["beater_asleep"], "it is named");
    });
}

#[test]
fn an_id_that_a_producer_uses_again_for_another_job_is_found() {
    World::setup().visibility_s(180).test(async |world| {
        healthy(world).await;
        world.send(world.probe("once", &json!({}))).await;
        world.record_in("once", "succeeded").await;
        world.send(world.probe("once", &json!({}))).await;
        world.drained().await;
        assert_eq!(broken(world, &[]), [""; 0], "a message that is sent again is no fault");
        world.send(world.probe("once", &json!({"act": "fatal"}))).await;
        wait::until("it is found", PATIENCE, async || {
            let found = broken(world, &[]);
            if found == ["other_arguments"] { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
        let said = sqjobs(world, &["doctor", "--beater", &world.account.name(&Function::beater())]).no();
        assert!(said.contains("queue probes: since yesterday 1 message had the id of a job with other arguments"), "{said}");
        assert!(said.contains("If the id starts with `schedule:`, the arguments of a schedule were changed"), "{said}");
    });
}

#[test]
fn a_clock_that_is_not_that_of_aws_is_found() {
    World::setup().visibility_s(180).test(async |world| {
        healthy(world).await;
        let url = world.proxy.url();
        let there = ["--endpoint-url", &url];
        assert_eq!(broken(world, &there), [""; 0]);
        for minutes in [10, -10] {
            world.proxy.arm(Fault::date("DescribeTable", Clock::system().now() + SignedDuration::from_mins(minutes)));
            assert_eq!(broken(world, &there), ["clock_skew"], "{minutes}");
        }
    });
}

#[test]
fn dead_letters_are_found_with_the_ways_by_which_they_are_sent_back() {
    World::setup().visibility_s(180).test(async |world| {
        healthy(world).await;
        let letter = json!({"name": "probe", "id": "a"}).to_string();
        world.account.sqs.send_message().queue_url(&world.queues.dlq_url).message_body(letter).send().await.expect("it is sent");
        assert_eq!(broken(world, &[]), ["dead_letters"]);
        let custom = format!("only with the custom destination arn:aws:sqs:us-east-1:{}:probes", world.account.id);
        let said = sqjobs(world, &["doctor", "--beater", &world.account.name(&Function::beater())]).no();
        assert!(said.contains("1 message waits in its dead-letter queue probes-dlq"), "{said}");
        assert!(said.contains("`sqjobs dlq redrive probes`") && said.contains(&custom), "{said}");
        let shown = sqjobs(world, &["dlq", "show", "probes", "a"]);
        assert!(shown.said.contains("`sqjobs dlq redrive probes`") && shown.said.contains(&custom), "{}", shown.said);
        assert_eq!(sqjobs(world, &["dlq", "show", "probes", "a", "--json"]).said, "");
        sqjobs(world, &["dlq", "purge", "probes", "--yes"]).yes();
        assert_eq!(broken(world, &[]), [""; 0]);
    });
}
