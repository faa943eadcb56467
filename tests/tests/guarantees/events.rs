//! Events on a bus, as a function with the program of the beater publishes them from the stream of the table.

use aws_sdk_dynamodb::types::{StreamSpecification, StreamViewType};
use aws_sdk_eventbridge::types::{InputTransformer, Target};
use aws_sdk_lambda::types::{EventSourcePosition, Filter, FilterCriteria, FunctionResponseType};
use serde_json::{Value, json};
use sqjobs::setup;

use crate::{
    cli::sqjobs,
    function::Function,
    proxy::Fault,
    wait,
    world::{PATIENCE, World},
};

/// The table with a stream.
const COPIES: &str = "copies";

/// Connects a table with a stream to the function that publishes events, as the Terraform module does. The stack has no changes by PartiQL
/// in its streams, so [`copy`] copies records into that table.
pub(crate) async fn publish(world: &World, states: &[&str]) {
    setup::create_table(&world.account.dynamodb, COPIES).await.expect("the table is created");
    let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewAndOldImages).build();
    let change = world.account.dynamodb.update_table().table_name(COPIES).stream_specification(stream.expect("a stream"));
    let table = change.send().await.expect("it is changed").table_description.expect("a table");
    let function = Function::beater().env("SQJOBS_EVENT_BUS", "default");
    world.create_function(&function).await;
    let pattern = json!({"dynamodb": {"NewImage": {"state": {"S": states}}}});
    let filter = FilterCriteria::builder().filters(Filter::builder().pattern(pattern.to_string()).build()).build();
    let map = world.account.lambda.create_event_source_mapping().function_name(world.account.name(&function));
    map.event_source_arn(table.latest_stream_arn.expect("a stream"))
        .starting_position(EventSourcePosition::TrimHorizon)
        .batch_size(100)
        .filter_criteria(filter)
        .function_response_types(FunctionResponseType::ReportBatchItemFailures)
        .send()
        .await
        .expect("the mapping is created");
}

#[test]
fn the_doctor_finds_a_mapping_of_the_stream_that_is_disabled() {
    World::setup().test(async |world| {
        let stopped = || {
            let findings = sqjobs(world, &["doctor", "--json"]).json();
            findings.into_iter().find(|finding| finding["rule"] == "events_stopped").map(|finding| finding["what"].to_string())
        };
        let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewAndOldImages).build();
        let change = world.account.dynamodb.update_table().table_name("jobs").stream_specification(stream.expect("a stream"));
        let table = change.send().await.expect("it is changed").table_description.expect("a table");
        let function = Function::beater().env("SQJOBS_EVENT_BUS", "default");
        world.create_function(&function).await;
        let lambda = &world.account.lambda;
        let map = lambda.create_event_source_mapping().function_name(world.account.name(&function));
        let map = map.event_source_arn(table.latest_stream_arn.expect("a stream")).starting_position(EventSourcePosition::TrimHorizon);
        let id = map.send().await.expect("the mapping is created").uuid.expect("an id");
        assert_eq!(stopped(), None);
        lambda.update_event_source_mapping().uuid(id).enabled(false).send().await.expect("it is disabled");
        let what = stopped().expect("a finding");
        assert!(what.contains("mapping of the stream of table jobs is disab"), "{what}");
    });
}

/// Copies the record of a job, as it is now.
pub(crate) async fn copy(world: &World, id: &str) {
    let put = world.account.dynamodb.put_item().table_name(COPIES).set_item(Some(world.item(id).await));
    put.send().await.expect("it is copied");
}

/// Sends all events to a queue, changed by a template if there is one. Returns the URL of the queue.
pub(crate) async fn send_to_queue(world: &World, template: Option<InputTransformer>) -> String {
    let (events, name) = (&world.account.eventbridge, "events");
    let queue = world.account.sqs.create_queue().queue_name(name).send().await.expect("the queue is made");
    let pattern = json!({"source": ["sqjobs"], "detail-type": ["Job State Change"]});
    events.put_rule().name(name).event_pattern(pattern.to_string()).send().await.expect("the rule is made");
    let arn = format!("arn:aws:sqs:us-east-1:{}:{name}", world.account.id);
    let target = Target::builder().id("queue").arn(arn).set_input_transformer(template).build().expect("a target");
    events.put_targets().rule(name).targets(target).send().await.expect("the target is added");
    queue.queue_url.expect("a URL")
}

/// Waits until the details of this number of different events have arrived.
pub(crate) async fn details(world: &World, url: &str, count: usize) -> Vec<Value> {
    wait::until("events arrive", PATIENCE, async || {
        let mut details: Vec<Value> = Vec::new();
        for message in world.messages_in(url).await {
            let mut event: Value = serde_json::from_str(&message.body).expect("an event");
            let detail = event["detail"].take();
            if details.iter().all(|other| other["event_id"] != detail["event_id"]) {
                details.push(detail);
            }
        }
        if details.len() >= count { Ok(details) } else { Err(format!("{details:?}")) }
    })
    .await
}

#[test]
fn each_new_state_is_published_although_the_bus_was_away() {
    World::setup().test(async |world| {
        publish(world, &["failed", "succeeded"]).await;
        let url = send_to_queue(world, None).await;
        world.proxy.arm(Fault::answer("PutEvents", "", 400, r#"{"__type": "InternalException", "message": "away"}"#));
        world.deploy(&Function::probe()).await;
        let mut job = world.probe("a", &json!({"act": {"complain": "the disk is full"}, "secret": "s3cr3t"}));
        job["tags"] = json!(["night"]);
        world.send(&job).await;
        world.record_in("a", "failed").await;
        copy(world, "a").await;
        let record: sqjobs::Record = serde_dynamo::from_item(world.item("a").await).expect("a record");
        sqjobs(world, &["tag", "a", "--add", "day"]).yes();
        copy(world, "a").await;
        sqjobs(world, &["retry", "a", &world.probe("a", &json!({}))["args"].to_string()]).yes();
        world.record_in("a", "succeeded").await;
        copy(world, "a").await;

        let details = details(world, &url, 2).await;
        assert!(world.proxy.is_spent(), "the bus was away");
        let states: Vec<_> = details.iter().map(|detail| [&detail["previous_state"], &detail["state"]]).collect();
        assert_eq!(states, [[&Value::Null, &json!("failed")], [&json!("failed"), &json!("succeeded")]], "no event for the tag");
        let (event, record) = (&details[0], serde_json::to_value(record).expect("JSON"));
        for field in ["name", "queue", "attempts", "max_attempts", "generation", "error", "enqueued_at", "started_at", "finished_at"] {
            assert!(!record[field].is_null(), "{field} of {record}");
            assert_eq!(event[field], record[field], "{field}");
        }
        assert_eq!(event["tags"], json!(["night"]));
        assert!(!format!("{details:?}").contains("s3cr3t"), "{details:?}");
    });
}

#[test]
fn a_part_that_the_bus_refuses_is_repeated_from_its_first_event() {
    World::setup().test(async |world| {
        let function = Function::beater();
        world.create_function(&function).await;
        let change = |number: u32| {
            let image = json!({"id": {"S": format!("job-{number}")}, "name": {"S": "n"}, "queue": {"S": "n"}, "state": {"S": "failed"}});
            json!({"eventID": format!("e{number}"), "dynamodb": {"SequenceNumber": format!("10{number}"), "NewImage": image}})
        };
        let throttled = json!({"FailedEntryCount": 1, "Entries": [
            {"EventId": "1"}, {"ErrorCode": "ThrottlingException", "ErrorMessage": "slowly"}, {"EventId": "3"},
        ]});
        let malformed = throttled.to_string().replace("ThrottlingException", "MalformedDetail");
        world.proxy.arm(Fault::answer("PutEvents", "", 200, throttled.to_string()));
        world.proxy.arm(Fault::answer("PutEvents", "", 200, malformed));
        let batch = json!({"Records": [change(0), change(1), change(2)]});
        let answer = world.account.invoke(&function, &batch).await.expect("it answers");
        assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "101"}]}));
        // The bus never accepts the second event, and then all events.
        for _ in 0..2 {
            let answer = world.account.invoke(&function, &batch).await.expect("it answers");
            assert_eq!(answer, json!({"batchItemFailures": []}));
        }
    });
}

#[test]
fn a_webhook_gets_the_result_of_a_job_once_by_the_template_of_the_guide() {
    World::setup().test(async |world| {
        let guide = include_str!("../../../docs/events.md");
        let template = guide.lines().find_map(|line| line.trim().strip_prefix("input_template = ").filter(|line| line.contains("webhook")));
        let template: String = serde_json::from_str(template.expect("the template of the guide")).expect("a string");
        let paths = [("event", "$.detail.event_id"), ("detail", "$.detail")];
        for (name, path) in paths {
            assert!(guide.contains(&format!("{name} = \"{path}\"")), "{name}");
        }
        let paths = paths.map(|(name, path)| (name.to_owned(), path.to_owned())).into();
        let template = InputTransformer::builder().set_input_paths_map(Some(paths)).input_template(template).build().expect("a template");
        publish(world, &["succeeded"]).await;
        let url = send_to_queue(world, Some(template)).await;
        world.deploy(&Function::probe()).await;
        world.send(world.probe("a", &json!({}))).await;
        world.record_in("a", "succeeded").await;
        copy(world, "a").await;
        let body = wait::until("the job arrives", PATIENCE, async || {
            world.messages_in(&url).await.into_iter().next().map(|message| message.body).ok_or("nothing")
        })
        .await;
        let job: sqjobs::Envelope = serde_json::from_str(&body).unwrap_or_else(|flaw| panic!("{flaw}: {body}"));
        let event = &job.args["payload"];
        assert_eq!((&*job.name, job.args["url"].as_str()), ("webhook", Some("https://example.com/hook")));
        assert_eq!(job.id.as_deref(), event["event_id"].as_str().map(|id| format!("event-{id}")).as_deref());
        assert_eq!((&event["id"], &event["state"]), (&json!("a"), &json!("succeeded")));
    });
}
