//! The Lambda function: receives an SQS event and returns the partial batch response.

use std::{collections::BTreeMap, process, sync::Arc, time::Duration};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use jiff::Timestamp;
use lambda_runtime::{Context, LambdaEvent, service_fn};
use tokio::{runtime::Handle, time::Instant};
use uuid::Uuid;

use super::{
    engine::{Engine, Invocation, Jobs, Report},
    thread,
};
use crate::{
    Clock, Error, Priority,
    clock::{from_millis, until},
    config::{self, Config},
    metrics::Metrics,
    queue::{Message, Sqs, name_of},
    stats::Counter,
    store::DynamoDb,
    telemetry::{self, Traces},
};

/// Maximum visibility timeout that is set for a wait. Longer waits are usually in the due index. A message that must stay in its queue comes
/// back this often, so that a cancel or a new run time takes effect.
pub(super) const HOP: Duration = Duration::from_mins(15);
/// Maximum age of a message that this function cannot run. Until then, the message waits for another version of the function.
pub(super) const PARKS_FOR: Duration = Duration::from_hours(24);

pub(crate) async fn serve(jobs: Jobs) -> Result<(), Error> {
    let traces = telemetry::in_lambda();
    let metrics = config::metrics()?;
    let config = Config::from_env()?;
    let bodies = Handle::current();
    let clock = config::clock()?;
    let served = thread::run(async move || {
        let engine = Arc::new(engine(jobs, bodies, config, clock, metrics));
        lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| handle(&engine, &traces, event))).await
    });
    served.await?.map_err(|error| Error::process("the Lambda runtime has ended", error))
}

fn engine(jobs: Jobs, bodies: Handle, config: Config, clock: Clock, metrics: Option<Arc<Metrics>>) -> Engine {
    let requests = metrics.as_ref().map(|metrics| metrics.requests());
    let sdk = config::function_sdk(requests.clone());
    let urls = [config.queue_url.clone(), config.dlq_url.clone()].into_iter().chain(priority_urls(&config.queue_url));
    let queue = Sqs::with_urls(aws_sdk_sqs::Client::new(&sdk), urls).metered(requests.clone());
    let counter = Arc::new(Counter::new(Uuid::new_v4().simple().to_string()));
    let store = DynamoDb::new(aws_sdk_dynamodb::Client::new(&sdk), config.table).metered(requests);
    let store = if config.stats { store.counting(Arc::clone(&counter), clock.clone()) } else { store };
    Engine {
        jobs,
        store: Arc::new(store),
        queue: Arc::new(queue),
        prefix: config::prefix(),
        dlq: name_of(&config.dlq_url).into(),
        clock,
        counter,
        metrics,
        bodies,
        max_concurrency: config.max_concurrency,
        hop: HOP,
        records_always: false,
        parks_for: PARKS_FOR,
        polling: None,
    }
}

/// Returns the URLs of the queues of the other priorities, which feed this function too if they exist. They differ from the URL of its queue
/// only in the name, so the function need not look them up.
fn priority_urls(queue_url: &str) -> impl Iterator<Item = String> {
    let name = name_of(queue_url);
    let start = queue_url.strip_suffix(name).unwrap_or_default();
    [Priority::High, Priority::Default, Priority::Low].into_iter().map(move |priority| format!("{start}{}", priority.queue(name)))
}

/// Exits the process: a blocked body would otherwise resume in the next invocation. Recorded endings are kept.
fn end_process() -> ! {
    tracing::error!("exiting: a blocked job would otherwise leak into the next invocation");
    process::exit(1);
}

async fn handle(engine: &Arc<Engine>, traces: &Traces, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, lambda_runtime::Error> {
    let messages = messages(event.payload)?;
    let (engine, traces, invocation) = (Arc::clone(engine), traces.clone(), invocation(&event.context));
    // This runs as a separate task: each wake-up of a future that runs directly in the runtime's `block_on` costs a system call.
    let report = tokio::spawn(async move {
        let report = engine.handle(messages, &invocation).await;
        traces.flush(invocation.ends_at).await;
        report
    })
    .await;
    // After a panic in this library, bodies may still run, so the process exits then too.
    let report = report.ok().filter(|report| !report.stuck).unwrap_or_else(|| end_process());
    Ok(response(report))
}

pub(crate) fn messages(event: SqsEvent) -> Result<Vec<Message>, Error> {
    event.records.into_iter().map(message).collect()
}

pub(crate) fn response(report: Report) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    report.failures.into_iter().for_each(|id| response.add_failure(id));
    response
}

fn invocation(context: &Context) -> Invocation {
    let deadline = from_millis(i64::try_from(context.deadline).unwrap_or(i64::MAX));
    let left = until(Clock::system().now(), deadline).min(Duration::from_mins(15));
    Invocation { request_id: context.request_id.clone(), ends_at: Instant::now() + left }
}

/// Converts one record of the event. The body is decoded later, so that an unreadable one fails alone.
///
/// An empty id in the response would fail the whole batch, so an event with a record without an id is refused.
fn message(record: SqsMessage) -> Result<Message, Error> {
    let missing = |field: &str| Error::Invalid(format!("the event is not an event of SQS: a record has no {field}"));
    let system = |name: &str| record.attributes.get(name);
    let mut attributes = BTreeMap::new();
    attributes.extend(record.message_attributes.iter().filter_map(|(name, value)| Some((name.clone(), value.string_value.clone()?))));
    Ok(Message {
        queue: name_of(record.event_source_arn.as_deref().ok_or_else(|| missing("eventSourceARN"))?).into(),
        attributes,
        receives: system("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1),
        sent_at: system("SentTimestamp").and_then(|millis| Timestamp::from_millisecond(millis.parse().ok()?).ok()),
        group: system("MessageGroupId").cloned(),
        trace_header: system("AWSTraceHeader").cloned(),
        id: record.message_id.filter(|id| !id.is_empty()).ok_or_else(|| missing("messageId"))?,
        receipt: record.receipt_handle.filter(|receipt| !receipt.is_empty()).ok_or_else(|| missing("receiptHandle"))?,
        source: None,
        body: record.body.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The event in Lambda's documentation.
    const EVENT: &str = include_str!("../../fixtures/sqs-event.json");

    #[test]
    fn an_event_becomes_messages() {
        let event: SqsEvent = serde_json::from_str(EVENT).expect("a valid event");
        let messages: Vec<_> = event.records.into_iter().map(|record| message(record).expect("complete")).collect();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].queue, "adder.fifo");
        assert_eq!(messages[0].receives, 3);
        assert_eq!(messages[0].group.as_deref(), Some("g1"));
        assert_eq!(messages[0].attributes["sqjobs.id"], "a");
        assert_eq!(messages[0].sent_at.expect("sent").as_millisecond(), 1_545_082_649_183);
        assert_eq!(messages[1].body, "not json");
    }

    #[test]
    fn the_urls_of_all_priorities_follow_from_one() {
        let url = |name: &str| format!("https://sqs.eu-west-1.amazonaws.com/123456789012/{name}");
        let expected = ["a-high.fifo", "a.fifo", "a-low.fifo"].map(url);
        for name in ["a.fifo", "a-low.fifo"] {
            assert_eq!(priority_urls(&url(name)).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_empty_identifier_is_never_answered() {
        for field in ["messageId", "receiptHandle", "eventSourceARN"] {
            let mut event: serde_json::Value = serde_json::from_str(EVENT).expect("JSON");
            event["Records"][1][field] = "".into();
            if field == "eventSourceARN" {
                event["Records"][1][field].take();
            }
            let event: SqsEvent = serde_json::from_value(event).expect("an event");
            let error = event.records.into_iter().map(message).collect::<Result<Vec<_>, _>>().expect_err("refused");
            assert!(error.to_string().contains(field));
        }
    }
}
