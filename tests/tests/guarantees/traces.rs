//! The spans that a function with the feature `otel` sends to a collector: a server on loopback that reads OTLP.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_sdk_sqs::types::{MessageSystemAttributeNameForSends, MessageSystemAttributeValue};
use hyper::{Response, body::Bytes};
use jiff::Timestamp;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span as Sent, span::SpanKind, status::StatusCode},
};
use prost::Message;
use serde_json::{Value, json};

use crate::{
    due::{at, now},
    events,
    function::Function,
    http::Server,
    outside::{TRACED, TRACED_BEATER},
    wait,
    world::{PATIENCE, World},
};

/// The span of a producer that sends a message without this library.
const PRODUCER: [&str; 2] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];

/// The same span as the system attribute of SQS that X-Ray's libraries set.
const HEADER: &str = "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1";

/// A collector of spans.
struct Collector {
    server: Server,
    spans: Arc<Mutex<Vec<Span>>>,
}

/// A span, with its ids as hexadecimal digits.
#[derive(Debug, Clone)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: SpanKind,
    attributes: BTreeMap<String, String>,
    /// The trace, the span and the state of each link.
    links: Vec<[String; 3]>,
    is_error: bool,
    millis: u64,
    service: String,
}

impl Collector {
    async fn start() -> Self {
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let collected = Arc::clone(&spans);
        let server = Server::start(move |request| {
            assert_eq!(request.uri().path(), "/v1/traces");
            assert_eq!(request.headers()["content-type"], "application/x-protobuf");
            let export = ExportTraceServiceRequest::decode(request.into_body()).expect("OTLP");
            collected.lock().unwrap_or_else(PoisonError::into_inner).extend(read(export));
            async { Ok(Response::new(Bytes::new())) }
        })
        .await;
        Self { server, spans }
    }

    /// Returns the function with this collector.
    fn traced(&self) -> Function {
        Function::outside(TRACED).env("OTEL_EXPORTER_OTLP_ENDPOINT", self.server.url())
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the span of an attempt.
    async fn attempt(&self, id: &str, attempt: u32) -> Span {
        self.found(&format!("attempt {attempt} of {id}"), |span| {
            span.get("sqjobs.job.id") == id && span.get("sqjobs.job.attempt") == attempt.to_string()
        })
        .await
    }

    async fn found(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        let spans = wait::until(what, PATIENCE, async || {
            let found: Vec<_> = self.spans().into_iter().filter(&is_it).collect();
            if found.is_empty() { Err(format!("{:#?}", self.spans())) } else { Ok(found) }
        })
        .await;
        assert_eq!(spans.len(), 1, "{spans:#?}");
        spans.into_iter().next().expect("it has one")
    }
}

impl Span {
    fn get(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }

    fn gets<const N: usize>(&self, attributes: [&str; N]) -> [&str; N] {
        attributes.map(|attribute| self.get(attribute))
    }
}

fn read(export: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in export.resource_spans {
        let service = attributes(resource.resource.expect("a resource").attributes).remove("service.name").expect("a service");
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            assert_eq!([span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count], [0; 3]);
            spans.push(Span::read(span, &service));
        }
    }
    spans
}

impl Span {
    fn read(span: Sent, service: &str) -> Self {
        Self {
            kind: span.kind(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            name: span.name,
            attributes: attributes(span.attributes),
            links: span.links.iter().map(|link| [hex(&link.trace_id), hex(&link.span_id), link.trace_state.clone()]).collect(),
            is_error: span.status.is_some_and(|status| status.code() == StatusCode::Error),
            millis: (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000,
            service: service.to_owned(),
        }
    }
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Any| match value {
        Any::StringValue(text) => text,
        Any::IntValue(number) => number.to_string(),
        Any::BoolValue(is_true) => is_true.to_string(),
        other => format!("{other:?}"),
    };
    let value = |attribute: KeyValue| text(attribute.value.and_then(|value| value.value).expect("a value"));
    attributes.into_iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn order(id: &str, args: &Value) -> Value {
    json!({"name": "order", "id": id, "args": args})
}

/// Returns the lines of a function's log with this message.
async fn lines(world: &World, function: &Function, message: &str) -> Vec<Value> {
    wait::until("the line is logged", PATIENCE, async || {
        let printed = world.printed(function).await;
        let lines = printed.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found: Vec<_> = lines.filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with(message))).collect();
        if found.is_empty() { Err(format!("{printed:#?}")) } else { Ok(found) }
    })
    .await
}

#[test]
fn a_job_that_fails_waits_and_enqueues_a_child_keeps_its_trace() {
    World::setup().test(async |world| {
        let collector = Collector::start().await;
        let mut first = order("first", &json!({"until": 2, "child": "second"}));
        first["traceparent"] = format!("00-{}-{}-01", PRODUCER[0], PRODUCER[1]).into();
        first["tracestate"] = "vendor=1".into();
        world.send(first).await;
        world.deploy(&collector.traced()).await;
        let filed = world.record_in("first", "scheduled").await;
        world.drained().await;
        at(world, filed.run_at.expect("a retry has its time"), collector.traced()).await;
        world.record_in("first", "succeeded").await;
        world.record_in("second", "succeeded").await;
        world.drained().await;

        let attempts = [collector.attempt("first", 1).await, collector.attempt("first", 2).await];
        for attempt in &attempts {
            assert_eq!(attempt.links, [[PRODUCER[0], PRODUCER[1], "vendor=1"].map(str::to_owned)], "the producer's span");
            let batch = collector.found("the invocation", |span| span.id == attempt.parent).await;
            assert_eq!([&*batch.parent, &batch.trace], ["", &attempt.trace]);
            let names = ["messaging.system", "messaging.batch.message_count", "faas.trigger"];
            assert_eq!(batch.gets(names), ["aws_sqs", "1", "pubsub"]);
            assert_eq!([&*batch.name, &attempt.name], ["process probes"; 2]);
            assert_eq!([batch.kind, attempt.kind], [SpanKind::Consumer; 2]);
            assert!(batch.service.contains(TRACED), "{batch:?}");
        }
        let ended = ["sqjobs.job.outcome", "error.type", "sqjobs.job.generation", "sqjobs.job.name"];
        assert_eq!(attempts[0].gets(ended), ["retried", "told", "1", "order"]);
        assert_eq!(attempts[1].gets(ended), ["succeeded", "", "2", "order"]);
        assert_eq!(attempts.each_ref().map(|attempt| attempt.is_error), [true, false]);

        let own = collector.found("the job's own span", |span| span.name == "place order").await;
        assert_eq!([&own.trace, &own.parent], [&attempts[1].trace, &attempts[1].id]);
        assert_eq!(own.get("pieces"), "3");
        let send = collector.found("the enqueue of the child", |span| span.kind == SpanKind::Producer).await;
        assert_eq!([&send.trace, &send.parent], [&own.trace, &own.id]);
        assert_eq!(send.name, "send probes");
        assert_eq!(send.gets(["sqjobs.job.id", "messaging.operation.type"]), ["second", "send"]);
        let child = collector.attempt("second", 1).await;
        assert_eq!(child.links, [[send.trace.clone(), send.id.clone(), String::new()]]);
        assert_eq!(child.get("messaging.message.id"), send.get("messaging.message.id"));

        let told = lines(world, &collector.traced(), "enqueueing as told").await;
        assert_eq!([told[0]["trace_id"].as_str(), told[0]["span_id"].as_str()], [Some(&*own.trace), Some(&*own.id)]);
        let ends = lines(world, &collector.traced(), "job ended").await;
        let end = ends.iter().find(|line| line["id"] == "second").expect("the end of the child");
        assert_eq!([end["trace_id"].as_str(), end["span_id"].as_str()], [Some(&*child.trace), Some(&*child.id)]);
    });
}

#[test]
fn a_job_keeps_the_trace_that_its_producer_has_set_as_a_system_attribute() {
    World::setup().test(async |world| {
        let collector = Collector::start().await;
        let body = order("instrumented", &json!({"until": 2})).to_string();
        let header = MessageSystemAttributeValue::builder().data_type("String").string_value(HEADER).build().expect("an attribute");
        let send = world.account.sqs.send_message().queue_url(&world.queues.url).message_body(body);
        send.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, header).send().await.expect("it is sent");
        world.deploy(&collector.traced()).await;
        let filed = world.record_in("instrumented", "scheduled").await;
        world.drained().await;
        at(world, filed.run_at.expect("a retry has its time"), collector.traced()).await;
        world.record_in("instrumented", "succeeded").await;
        for attempt in [1, 2] {
            let attempt = collector.attempt("instrumented", attempt).await;
            assert_eq!(attempt.links, [[PRODUCER[0], PRODUCER[1], ""].map(str::to_owned)], "the producer's span");
        }
    });
}

#[test]
fn a_job_of_a_schedule_is_linked_to_the_span_of_its_beater() {
    World::setup().test(async |world| {
        let collector = Collector::start().await;
        let beater = Function::outside(TRACED_BEATER).env("IS_BEATER", "1").env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.server.url());
        world.deploy_beater(&beater).await;
        let minute = Timestamp::from_second(now().as_second() / 60 * 60).expect("a minute");
        world.tick(&beater, minute).await;
        assert_eq!(collector.spans().len(), 0, "a tick that creates nothing has no spans");
        world.schedule(json!({"id": "minutely", "cron": "* * * * *", "job": "order", "queue": "probes", "args": {}})).await;
        world.tick(&beater, minute).await;
        let create = collector.found("the span of the beater", |span| span.kind == SpanKind::Producer).await;
        assert_eq!([&*create.name, &create.parent], ["create probes", ""]);
        let names = ["messaging.operation.type", "sqjobs.schedule.id", "faas.trigger", "error.type"];
        assert_eq!(create.gets(names), ["create", "minutely", "timer", ""]);
        assert_eq!(create.get("messaging.batch.message_count"), "3", "this minute and two ahead");

        // X-Ray and consumers without this library read the context from the system attribute, which the stack drops from a batch.
        let (time, rest) = create.trace.split_at(8);
        let header = format!("Root=1-{time}-{rest};Parent={};Sampled=1", create.id);
        let sent = world.proxy.passed("SendMessage").remove(0);
        let sent: Value = serde_json::from_str(&sent.body).expect("JSON");
        for entry in sent["Entries"].as_array().expect("entries") {
            let attribute = json!({"AWSTraceHeader": {"DataType": "String", "StringValue": header}});
            assert_eq!(entry["MessageSystemAttributes"], attribute);
        }

        world.deploy(&collector.traced()).await;
        let id = format!("schedule:minutely:{minute}");
        world.record_in(&id, "succeeded").await;
        let attempt = collector.attempt(&id, 1).await;
        assert_eq!(attempt.links, [[create.trace.clone(), create.id.clone(), String::new()]]);
    });
}

#[test]
fn a_metric_a_span_an_event_and_the_record_of_a_job_agree() {
    World::setup().test(async |world| {
        events::publish(world, &["succeeded"]).await;
        let events = events::send_to_queue(world, None).await;
        let collector = Collector::start().await;
        let traced = collector.traced().env("SQJOBS_METRICS", "on");
        let mut malformed = order("one", &json!({}));
        malformed["traceparent"] = "00-nothing-of-w3c-01".into();
        malformed["tracestate"] = 7.into();
        let message_id = world.send(malformed).await;
        world.deploy(&traced).await;
        let record = world.record_in("one", "succeeded").await;
        world.drained().await;
        let span = collector.attempt("one", 1).await;
        assert_eq!(span.get("sqjobs.job.attempt"), record.attempts.to_string());
        assert_eq!(span.get("sqjobs.job.generation"), record.generation.to_string());
        assert_eq!(span.get("sqjobs.job.outcome"), record.state);
        assert_eq!(span.get("messaging.message.id"), message_id);
        let item = world.item("one").await;
        assert_eq!(item["trace_id"].as_s().expect("text"), &span.trace);
        assert_eq!(span.links, [[""; 3]; 0], "a malformed context is no link, and fails no job");

        let printed = world.printed(&traced).await;
        let line = printed.iter().find(|line| line.contains("CloudWatchMetrics")).expect("a line of metrics");
        let metrics: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!([&metrics["Succeeded"], &metrics["BatchSize"], &metrics["name"]], [&json!(1), &json!(1), &json!("order")]);
        let run = metrics["Run"].as_u64().or_else(|| metrics["Run"][0].as_u64()).expect("a duration");
        assert!(span.millis >= run, "the span of {} ms covers the run of {run} ms", span.millis);
        let batch = collector.found("the invocation", |batch| batch.id == span.parent).await;
        assert_eq!(batch.get("faas.invocation_id"), metrics["request_id"]);
        assert_eq!(batch.get("faas.coldstart"), "true");
        events::copy(world, "one").await;
        let event = events::details(world, &events, 1).await.remove(0);
        assert_eq!([&event["id"], &event["state"], &event["attempts"]], [&json!("one"), &json!(record.state), &json!(record.attempts)]);
        assert_eq!(event["started_at"].as_str(), item["started_at"].as_s().ok().map(String::as_str));
        assert_eq!(event["finished_at"].as_str(), item["finished_at"].as_s().ok().map(String::as_str));
        assert_eq!(collector.spans().len(), 2, "a log line is no span: {:#?}", collector.spans());
    });
}

#[test]
fn a_collector_that_hangs_holds_no_response_for_long() {
    World::setup().test(async |world| {
        let server = Server::start(|_| pending()).await;
        let traced = Function::outside(TRACED).env("OTEL_EXPORTER_OTLP_ENDPOINT", server.url());
        world.create_function(&traced).await;
        let mut held = Vec::new();
        for id in ["cold", "warm", "warm-again"] {
            let started = Instant::now();
            let response = world.account.invoke(&traced, &event(&order(id, &json!({})))).await.expect("it responds");
            held.push(started.elapsed());
            assert_eq!(response, json!({"batchItemFailures": []}));
            assert_eq!(world.record(id).await.expect("it ran").state, "succeeded");
        }
        let shortest = held.iter().min().copied().expect("three invocations");
        assert!(shortest >= Duration::from_millis(500), "the spans were waited for: {held:?}");
        // The limit is half a second; a busy machine needs time of its own.
        assert!(shortest < Duration::from_secs(3), "{held:?}");
        let warnings = lines(world, &traced, "spans are lost").await;
        assert_eq!(warnings.iter().map(|line| line["lost"].as_u64()).collect::<Vec<_>>(), [Some(2); 3], "one line for each invocation");
        assert_eq!(warnings[0]["reason"], "it did not answer in time");
    });
}

/// Returns the event of a batch with one message.
fn event(body: &Value) -> Value {
    json!({"Records": [{
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "a receipt",
        "body": body.to_string(),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:probes",
        "awsRegion": "us-east-1",
    }]})
}
