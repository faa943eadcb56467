//! The metrics of batches, compared with the records.

use std::collections::BTreeSet;

use super::*;
use crate::{StoreFailure, metrics::Metrics, retry::Backoff};

/// The name of a metric, its unit and its value.
type Metric = (String, String, Value);

/// The parsed lines of metrics.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Value>>>);

impl Lines {
    fn metrics(&self) -> Arc<Metrics> {
        let lines = Arc::clone(&self.0);
        Arc::new(Metrics::new(move |line| {
            assert!(line.ends_with('\n') && line.lines().count() == 1, "{line:?}");
            lock(&lines).push(serde_json::from_str(line).expect("JSON"));
        }))
    }

    /// Returns the lines since the last call.
    fn take(&self) -> Vec<Value> {
        std::mem::take(&mut lock(&self.0))
    }

    fn one(&self) -> Value {
        let mut lines = self.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }
}

/// Returns the metrics of a line with their units, by dimensions.
fn metrics(line: &Value) -> Vec<(Value, Vec<Metric>)> {
    let directives = line["_aws"]["CloudWatchMetrics"].as_array().expect("directives");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let metric = |metric: &Value| (text(&metric["Name"]), text(&metric["Unit"]), line[text(&metric["Name"])].clone());
    let group = |directive: &Value| {
        (directive["Dimensions"].clone(), directive["Metrics"].as_array().expect("metrics").iter().map(metric).collect())
    };
    directives.iter().map(group).collect()
}

fn named(name: &str, unit: &str, value: Value) -> Metric {
    (name.to_owned(), unit.to_owned(), value)
}

fn metered(policy: Policy) -> (TestWorker, Lines) {
    let lines = Lines::default();
    let world = TestWorker::with(policy, async |attempt: Arc<Attempt>| match attempt.id() {
        id if id.starts_with("fatal") => Err(JobError::fatal("no")),
        id if id.starts_with("fails") => Err("no".into()),
        id if id.starts_with("snoozes") => Err(JobError::snooze(seconds(60))),
        _ => {
            sleep(Duration::from_millis(30)).await;
            Ok(Value::Null)
        }
    });
    (TestWorker { metrics: Some(lines.metrics()), ..world }, lines)
}

#[tokio::test(start_paused = true)]
async fn a_batch_writes_one_line_with_what_ran() {
    let (world, lines) = metered(Policy::new().backoff(Backoff::constant(seconds(5))));
    let messages = [message("a"), message("b"), message("a"), message("fails"), message("fatal"), message("snoozes")];
    world.handle(messages).await;
    let line = lines.one();
    assert_eq!(line["_aws"]["Timestamp"], json!(world.clock.now().as_millisecond()));
    assert!(line["_aws"]["CloudWatchMetrics"].as_array().expect("directives").iter().all(|directive| directive["Namespace"] == "sqjobs"));
    assert_eq!([&line["queue"], &line["name"], &line["request_id"]], ["probe", "probe", "request"]);
    let (count, ms) = ("Count", "Milliseconds");
    let expected = [
        (
            json!([["queue"], ["queue", "name"]]),
            vec![
                named("Succeeded", count, json!(2)),
                named("Failed", count, json!(1)),
                named("Retries", count, json!(1)),
                named("Run", ms, json!([0, 0, 0, 30, 30])),
                named("Wait", ms, json!([2000, 2000, 2000, 2000, 2000])),
            ],
        ),
        (
            json!([["queue"]]),
            vec![
                named("BatchSize", count, json!(6)),
                named("Age", ms, json!(2000)),
                named("DeadLetters", count, json!(1)),
                named("Duplicates", count, json!(1)),
                named("ColdStarts", count, json!(1)),
            ],
        ),
    ];
    let mut found = metrics(&line);
    for (_, _, value) in found.iter_mut().flat_map(|(_, metrics)| metrics) {
        value.as_array_mut().into_iter().for_each(|values| values.sort_by_key(Value::as_u64));
    }
    assert_eq!(found, expected);
    assert_eq!(line["endings"], json!({"snoozed": 1}));
    assert_eq!(world.states(&["a", "b", "fails", "fatal"]), [State::Succeeded, State::Succeeded, State::Retrying, State::Failed]);
    world.clock.advance(seconds(5));
    world.handle([again("a"), again("fails")]).await;
    let line = lines.one();
    assert_eq!([&line["Retries"], &line["Duplicates"], &line["Killed"]], [&json!(1), &json!(1), &Value::Null]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_figure_is_left_out_and_a_process_starts_once() {
    let (world, lines) = metered(Policy::new());
    world.deliver("a").await;
    assert_eq!(lines.one()["ColdStarts"], 1);
    world.clock.advance(seconds(60));
    world.deliver("b").await;
    let line = lines.one();
    let names: Vec<_> = metrics(&line).into_iter().flat_map(|(_, metrics)| metrics).map(|(name, ..)| name).collect();
    assert_eq!(names, ["Succeeded", "Run", "Wait", "BatchSize", "Age"]);
    assert_eq!(line["Age"], 62_000);
    assert_eq!(line["endings"], Value::Null);
    world.handle([]).await;
    assert_eq!(lines.take(), [Value::Null; 0], "a batch without messages has no queue");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_of_a_killed_process_is_counted_by_the_next_delivery() {
    let (world, lines) = metered(Policy::new().max_attempts(2));
    world.store.put(held(&world, "a", seconds(10)));
    world.store.put(Record { attempts: 2, max_attempts: 2, ..held(&world, "b", seconds(10)) });
    world.handle([again("a"), again("b")]).await;
    let line = lines.one();
    assert_eq!([&line["Killed"], &line["endings"]], [&Value::Null, &json!({"busy": 2})], "their leases still hold");
    world.clock.advance(seconds(60));
    world.handle([again("a"), again("b")]).await;
    let line = lines.one();
    assert_eq!([&line["Killed"], &line["Succeeded"], &line["Failed"]], [2, 1, 1]);
    assert_eq!(line["Wait"], Value::Null, "it is no first attempt");
    assert_eq!(line["Run"], json!([30]));
}

#[tokio::test(start_paused = true)]
async fn each_name_has_a_line_and_the_queue_is_counted_once() {
    let (world, lines) = metered(Policy::new());
    let world = world.and("other", Policy::new(), async |_| Ok(Value::Null));
    let other = with_body("o", json!({"name": "other", "id": "o"}));
    world.handle([message("a"), other, message("b")]).await;
    let lines = lines.take();
    let names: BTreeSet<_> = lines.iter().filter_map(|line| line["name"].as_str()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["other", "probe"]);
    assert_eq!(lines.iter().filter_map(|line| line["Succeeded"].as_u64()).sum::<u64>(), 3);
    assert_eq!(lines.iter().filter_map(|line| line["BatchSize"].as_u64()).collect::<Vec<_>>(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_no_job_has_is_no_dimension() {
    let (world, lines) = metered(Policy::new());
    let hostile = ["stranger", "a\",\"b\":{\"", "ñ\u{2028}"].map(|name| with_body(name, json!({"name": name})));
    world
        .handle(hostile.into_iter().chain([with_body("unreadable", "no JSON\n{"), with_body("probe", json!({"name": "probe", "id": ""}))]))
        .await;
    let line = lines.one();
    assert_eq!(line["name"], Value::Null);
    assert_eq!([&line["Parked"], &line["DeadLetters"], &line["BatchSize"]], [2, 3, 5]);
    assert_eq!(line["endings"], json!({"rejected": 3}));
    assert_eq!(metrics(&line).iter().map(|(dimensions, _)| dimensions.clone()).collect::<Vec<_>>(), [json!([["queue"]])]);
}

#[tokio::test(start_paused = true)]
async fn a_line_has_at_most_a_hundred_durations_of_a_name() {
    let (world, lines) = metered(Policy::new().concurrency(250));
    let ids: Vec<_> = (0..250).map(|number| number.to_string()).collect();
    world.handle(ids.iter().map(|id| message(id))).await;
    let lines = lines.take();
    let lengths = |name: &str| lines.iter().map(|line| line[name].as_array().map_or(0, Vec::len)).collect::<Vec<_>>();
    assert_eq!([lengths("Run"), lengths("Wait")], [[100, 100, 50], [100, 100, 50]]);
    assert_eq!(lines.iter().filter_map(|line| line["Succeeded"].as_u64()).collect::<Vec<_>>(), [250]);
    assert_eq!(lines.iter().filter_map(|line| line["BatchSize"].as_u64()).collect::<Vec<_>>(), [250]);
    for line in &lines {
        for (_, metrics) in metrics(line) {
            assert!(metrics.iter().all(|(.., value)| !value.is_null()), "{line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_time_or_record_is_counted_for_what_it_did() {
    let (world, lines) = metered(Policy::new().on_store_failure(StoreFailure::Run));
    world.store.on_all(StoreFault::Unknown);
    world.deliver("a").await;
    let line = lines.one();
    assert_eq!([&line["Succeeded"], &line["Run"], &line["Wait"]], [&json!(1), &json!([30]), &Value::Null], "it ran without a record");
    world.store.heal();
    let world = world.lasting(Duration::from_millis(400));
    world.deliver("b").await;
    let line = lines.one();
    assert_eq!([&line["Run"], &line["endings"]], [&Value::Null, &json!({"not_started": 1})]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_claimed_too_late_has_not_run() {
    let (world, lines) = metered(Policy::new());
    let world = world.lasting(seconds(4));
    world.store.on_write(is_claim, 0..1, StoreFault::Delay(Duration::from_millis(2800)));
    world.deliver("a").await;
    assert_eq!(world.record("a").attempts, 0, "the attempt was given back");
    let line = lines.one();
    assert_eq!([&line["Run"], &line["Wait"], &line["endings"]], [&Value::Null, &Value::Null, &json!({"not_started": 1})]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_not_sent_is_not_counted() {
    let (world, lines) = metered(Policy::new());
    world.queue.refuse_sends(true);
    world.handle([message("fatal"), message("fatal")]).await;
    let line = lines.one();
    assert_eq!([&line["Failed"], &line["DeadLetters"], &line["Duplicates"]], [&json!(1), &Value::Null, &Value::Null], "both come back");
    world.queue.refuse_sends(false);
    world.handle([again("fatal")]).await;
    assert_eq!(lines.one()["DeadLetters"], 1);
}
