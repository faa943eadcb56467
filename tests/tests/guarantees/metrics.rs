//! The metrics in the logs of functions and of a beater agree with the records, and each line follows the embedded metric format.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::{Value, json};
use sqjobs::Clock;

use crate::{
    function::Function,
    proxy::Fault,
    wait,
    world::{PATIENCE, World},
};

/// The units that this library uses, of those that the CloudWatch API reference names.
const UNITS: [&str; 2] = ["Count", "Milliseconds"];

fn metered(function: Function) -> Function {
    function.env("SQJOBS_METRICS", "on")
}

/// The metrics that a function has written.
#[derive(Debug, Default)]
struct Metrics {
    lines: Vec<Value>,
    /// The values by dimensions and name, such as `queue=adder` and `Succeeded`.
    values: BTreeMap<(String, String), Vec<u64>>,
}

impl Metrics {
    async fn of(world: &World, function: &Function) -> Self {
        let mut metrics = Self::default();
        for text in world.printed(function).await {
            // A line of metrics that is broken contains the word still.
            if !text.contains("CloudWatchMetrics") {
                continue;
            }
            let line: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert!(text.is_ascii(), "{text}");
            metrics.add(&line);
            metrics.lines.push(line);
        }
        metrics
    }

    /// Reads a line as CloudWatch does, and checks it: "Specification: Embedded metric format" in the CloudWatch user guide.
    fn add(&mut self, line: &Value) {
        let metadata = line["_aws"].as_object().expect("metadata");
        assert!(metadata["Timestamp"].as_i64().is_some_and(|at| at > 1_700_000_000_000), "milliseconds: {line}");
        assert_eq!(metadata.len(), 2, "{line}");
        let directives = metadata["CloudWatchMetrics"].as_array().expect("directives");
        assert!(!directives.is_empty(), "{line}");
        for directive in directives {
            assert_eq!(directive.as_object().map(serde_json::Map::len), Some(3), "{line}");
            assert_eq!(directive["Namespace"], "sqjobs");
            let definitions = directive["Metrics"].as_array().expect("metrics");
            assert!((1..=100).contains(&definitions.len()), "{line}");
            for set in directive["Dimensions"].as_array().expect("sets of dimensions") {
                let dimensions: Vec<_> = set.as_array().expect("dimensions").iter().map(|name| dimension(line, name)).collect();
                assert!((1..=30).contains(&dimensions.len()), "{line}");
                for definition in definitions {
                    let name = definition["Name"].as_str().expect("a name");
                    assert_eq!(definition.as_object().map(serde_json::Map::len), Some(2), "{line}");
                    assert!(UNITS.contains(&definition["Unit"].as_str().expect("a unit")), "{line}");
                    self.values.entry((dimensions.join(" "), name.to_owned())).or_default().extend(values(&line[name]));
                }
            }
        }
    }

    fn values(&self, dimensions: &str, name: &str) -> Vec<u64> {
        self.values.get(&(dimensions.to_owned(), name.to_owned())).cloned().unwrap_or_default()
    }

    fn sum(&self, dimensions: &str, name: &str) -> u64 {
        self.values(dimensions, name).iter().sum()
    }

    /// Returns the sums of several metrics.
    fn sums<const N: usize>(&self, dimensions: &str, names: [&str; N]) -> [u64; N] {
        names.map(|name| self.sum(dimensions, name))
    }
}

/// Returns a dimension with its value.
fn dimension(line: &Value, name: &Value) -> String {
    let name = name.as_str().expect("the name of a dimension");
    let value = line[name].as_str().unwrap_or_else(|| panic!("{name} is a text: {line}"));
    assert!((1..=1024).contains(&value.len()) && value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
    format!("{name}={value}")
}

fn values(value: &Value) -> Vec<u64> {
    let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    assert!((1..=100).contains(&values.len()), "{value}");
    values.iter().map(|value| value.as_u64().unwrap_or_else(|| panic!("{value} is a number"))).collect()
}

/// Waits until the metrics satisfy `enough`: log lines may arrive late.
async fn metrics_when(world: &World, function: &Function, what: &str, enough: impl Fn(&Metrics) -> bool) -> Metrics {
    wait::until(what, PATIENCE, async || {
        let metrics = Metrics::of(world, function).await;
        if enough(&metrics) { Ok(metrics) } else { Err(format!("{:#?}", metrics.values)) }
    })
    .await
}

#[test]
fn the_metrics_of_a_function_agree_with_what_ran() {
    World::setup().test(async |world| {
        let probe = metered(Function::probe());
        world.proxy.arm(Fault::refuse("BatchExecuteStatement", ""));
        let mut jobs: Vec<_> = (0..5).map(|number| world.probe(&format!("good-{number}"), &json!({}))).collect();
        jobs.extend(["fatal-1", "fatal-2"].map(|id| world.probe(id, &json!({"act": "fatal"}))));
        jobs.push(world.probe("again", &json!({"act": "fail", "until": 2})));
        jobs.push(world.job("hasty", "slow", &json!({"act": "hang", "until": 2})));
        world.send_all(&jobs).await;
        world.send("no JSON").await;
        world.deploy(&probe).await;
        world.drained().await;
        world.send(&jobs[0]).await;
        world.drained().await;
        let (queue, name, hasty) = ("queue=probes", "queue=probes name=probe", "queue=probes name=hasty");
        let messages = |metrics: &Metrics| metrics.sum(queue, "BatchSize");
        let metrics = metrics_when(world, &probe, "each delivery is counted", |metrics| messages(metrics) >= 13).await;

        let records = world.records().await;
        let ended = |state: &str| records.values().filter(|record| record.state == state).count() as u64;
        let (succeeded, failed) = (ended("succeeded"), ended("failed"));
        assert_eq!([succeeded, failed], [7, 2]);
        assert_eq!(metrics.sums(queue, ["Succeeded", "Failed", "Retries", "Killed"]), [succeeded, failed, 2, 0]);
        assert_eq!(metrics.sums(name, ["Succeeded", "Failed", "Retries"]), [succeeded - 1, failed, 1]);
        assert_eq!(metrics.sums(hasty, ["Succeeded", "Failed", "Retries"]), [1, 0, 1]);
        let letters = world.dead_letters().await.len() as u64;
        assert_eq!([metrics.sum(queue, "DeadLetters"), letters], [3, 3]);
        assert_eq!([messages(&metrics), metrics.sum(queue, "Duplicates")], [13, 1]);
        let endings = metrics.lines.iter().filter_map(|line| line["endings"].as_object()).collect::<Vec<_>>();
        assert_eq!(endings.iter().filter_map(|endings| endings["rejected"].as_u64()).sum::<u64>(), 1, "{endings:?}");

        assert_eq!(metrics.values(queue, "Run").len(), world.effects.runs().len());
        assert_eq!(metrics.values(queue, "Wait").len(), records.len(), "each job waits once");
        let slowest = metrics.values(hasty, "Run").into_iter().max();
        assert!(slowest.is_some_and(|run| (1000..5000).contains(&run)), "an attempt that timed out after one second: {slowest:?}");
        let oldest = metrics.values(queue, "Age").into_iter().max();
        assert!(oldest >= metrics.values(queue, "Wait").into_iter().max(), "{:#?}", metrics.values);

        let requests = |service: &str| world.proxy.passed(service).len() as u64;
        assert_eq!(metrics.sums(queue, ["StoreRequests", "QueueRequests"]), [requests("DynamoDB_"), requests("AmazonSQS")]);
        // On a busy machine a request may also take too long, which is an error, and is sent again.
        assert!(metrics.sum(queue, "StoreErrors") >= 1, "the armed error");
        let starts = metrics.sum(queue, "ColdStarts");
        assert!(starts >= 1 && starts <= metrics.values(queue, "BatchSize").len() as u64, "{starts}");
    });
}

#[test]
fn a_killed_attempt_is_counted_by_the_delivery_that_finds_it() {
    World::setup().visibility_s(10).test(async |world| {
        let probe = metered(Function::probe());
        world.send(world.probe("killer", &json!({"act": "abort", "until": 2}))).await;
        world.deploy(&probe).await;
        assert_eq!(world.record_in("killer", "succeeded").await.attempts, 2);
        world.drained().await;
        let name = "queue=probes name=probe";
        let metrics = metrics_when(world, &probe, "the success is counted", |metrics| metrics.sum(name, "Succeeded") == 1).await;
        assert_eq!(metrics.sum(name, "Killed"), 1);
        assert_eq!(metrics.values(name, "Run").len(), 1, "the killed process wrote nothing");
        assert_eq!(metrics.values(name, "Wait"), [0; 0], "the start of the second attempt is no wait");
    });
}

#[test]
fn parts_of_a_request_that_failed_are_errors() {
    World::setup().test(async |world| {
        let throttled = json!({"Responses": [{"Error": {"Code": "ThrottlingError", "Message": "armed"}}]});
        let unsent = json!({"Failed": [{"Id": "0", "Code": "InternalError", "SenderFault": false}], "Successful": []});
        world.proxy.arm(Fault::answer("BatchExecuteStatement", "INSERT", 200, throttled.to_string()));
        world.proxy.arm(Fault::answer("SendMessageBatch", "", 200, unsent.to_string()));
        let probe = metered(Function::probe());
        world.send(world.probe("fatal", &json!({"act": "fatal"}))).await;
        world.deploy(&probe).await;
        world.record_when("fatal", "is dead-lettered", |record| record.dlq.as_deref() == Some("sent")).await;
        world.drained().await;
        let queue = "queue=probes";
        let metrics = metrics_when(world, &probe, "the dead letter is counted", |metrics| metrics.sum(queue, "DeadLetters") == 1).await;
        let [store, sent] = metrics.sums(queue, ["StoreErrors", "QueueErrors"]);
        assert!(store >= 1 && sent >= 1, "{store} and {sent}");
    });
}

#[test]
fn a_hostile_name_breaks_no_line_and_adds_no_metric() {
    World::setup().test(async |world| {
        let probe = metered(Function::probe()).env("SQJOBS_CLOCK_AHEAD_S", (25 * 3600).to_string());
        let names = ["a\",\"b\":{\"", "a\nb", "zero\u{200b}width\u{2028}line", "\u{1b}[2J", "ñ", "constructor", "a b"];
        world.send_all(&names.map(|name| json!({"name": name, "args": [1]}))).await;
        world.send(world.probe("good\u{2028}id", &json!({}))).await;
        world.deploy(&probe).await;
        world.drained().await;
        let queue = "queue=probes";
        let metrics = metrics_when(world, &probe, "each message is counted", |metrics| metrics.sum(queue, "BatchSize") == 8).await;
        assert_eq!(metrics.sums(queue, ["DeadLetters", "Succeeded"]), [7, 1]);
        let dimensions: BTreeSet<_> = metrics.values.keys().map(|(dimensions, _)| &**dimensions).collect();
        assert_eq!(dimensions.into_iter().collect::<Vec<_>>(), [queue, "queue=probes name=probe"]);
    });
}

#[test]
fn the_metrics_of_a_beater_agree_with_its_reports() {
    World::setup().test(async |world| {
        let beater = metered(Function::beater());
        world.deploy_beater(&beater).await;
        world.schedule(json!({"id": "minutely", "cron": "* * * * *", "job": "probe", "queue": "probes"})).await;
        let now = Clock::system().now();
        let mut reports = Vec::new();
        for late_s in [60, 0] {
            reports.push(world.tick(&beater, now - SignedDuration::from_secs(late_s)).await);
        }
        let function = format!("beater={}", world.account.name(&beater));
        let metrics = metrics_when(world, &beater, "both ticks are counted", |metrics| metrics.sum(&function, "Ticks") == 2).await;
        for (name, field) in [("Fired", "fired"), ("Sent", "sent"), ("FailedActions", "failed"), ("Wrong", "wrong"), ("Overdue", "overdue")]
        {
            assert_eq!(metrics.sum(&function, name), reports.iter().filter_map(|report| report[field].as_u64()).sum::<u64>(), "{name}");
        }
        assert!(metrics.sum(&function, "Fired") >= 1);
        let late = metrics.values(&function, "ScheduleLateness");
        assert!(!late.is_empty() && late.iter().all(|late| *late < 5 * 60_000), "{late:?}");
        let requests = |service: &str| world.proxy.passed(service).len() as u64;
        assert_eq!(metrics.sums(&function, ["StoreRequests", "QueueRequests"]), [requests("DynamoDB_"), requests("AmazonSQS")]);
    });
}
