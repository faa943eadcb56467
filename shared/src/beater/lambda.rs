//! The Lambda function: receives an EventBridge event, and returns the report of the tick. Or it receives changes of the table, and
//! publishes them.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use lambda_runtime::{Context, LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use tokio::{sync::OnceCell, time::Instant};

use super::{
    Beater,
    dlqs::Dlqs,
    part::{Due, Ports},
    rows,
    tick::{Report, tick},
};
use crate::{
    Clock, Error,
    clock::{from_millis, until},
    config,
    queue::Sqs,
    store::DynamoDb,
    telemetry,
};

/// Time that a tick reserves for its last requests.
const RESERVE: Duration = Duration::from_secs(5);

/// The event that EventBridge sends each minute. Any other event counts as a tick at the current time.
#[derive(Deserialize)]
struct Event {
    /// The scheduled time of the event. It counts even if the event is late or duplicated.
    time: Option<Timestamp>,
    /// The changes of the table, if its stream invokes the function.
    #[serde(rename = "Records")]
    changes: Option<Vec<Change>>,
}

#[cfg(feature = "events")]
type Change = super::events::Change;
#[cfg(not(feature = "events"))]
type Change = serde::de::IgnoredAny;

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Tick(Box<Report>),
    #[cfg(feature = "events")]
    Events(super::events::Answer),
}

pub(super) async fn serve(beater: Beater) -> Result<(), Error> {
    let traces = telemetry::in_lambda();
    let metrics = config::metrics()?;
    let requests = metrics.as_ref().map(|metrics| metrics.requests());
    let sdk = config::function_sdk(requests.clone());
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk);
    let due = Due {
        store: Arc::new(DynamoDb::new(dynamodb.clone(), config::table()).metered(requests.clone())),
        queue: Arc::new(Sqs::new(aws_sdk_sqs::Client::new(&sdk)).metered(requests)),
        clock: config::clock()?,
    };
    let rows = Arc::new(rows::DynamoDb::new(dynamodb, config::schedules_table(), config::table()));
    let ports = Ports { due, rows, prefix: config::prefix(), dlqs: Arc::new(Dlqs::new(config::dlqs())) };
    let settled = OnceCell::new();
    let name = config::function_name();
    #[cfg(feature = "events")]
    let publisher = super::events::Publisher::new(&sdk, config::event_bus(), config::event_results()?);
    let served = lambda_runtime::run(service_fn(async |event: LambdaEvent<Event>| {
        #[cfg(feature = "events")]
        if let Some(changes) = event.payload.changes {
            return Ok(Answer::Events(publisher.publish(changes).await?));
        }
        #[cfg(not(feature = "events"))]
        if event.payload.changes.is_some() {
            return Err(
                Error::config("changes of the table arrive, but this beater is built without the feature `events` of sqjobs").into()
            );
        }
        let request_id = metrics.as_ref().map(|_| event.context.request_id.clone());
        let ends_at = Instant::now() + left(&event.context);
        let report = handle(&beater, &settled, &ports, event).await;
        traces.flush(ends_at).await;
        if let Some((metrics, request_id)) = metrics.as_ref().zip(request_id) {
            let figures = report.as_ref().ok().map(Report::figures);
            metrics.tick(&name, figures.as_ref(), ports.due.clock.now(), &request_id);
        }
        report.map(|report| Answer::Tick(Box::new(report)))
    }))
    .await;
    served.map_err(|error| Error::process("the Lambda runtime has ended", error))
}

async fn handle(
    beater: &Beater,
    settled: &OnceCell<()>,
    ports: &Ports,
    event: LambdaEvent<Event>,
) -> Result<Report, lambda_runtime::Error> {
    let settle = async || beater.settle(&*ports.rows, ports.due.clock.now()).await;
    if let Err(error) = settled.get_or_try_init(settle).await {
        tracing::error!(%error, "cannot write the entries of this beater to the table of schedules; the next tick tries again");
    }
    let stop_at = Instant::now() + left(&event.context).saturating_sub(RESERVE);
    Ok(tick(ports, event.payload.time.unwrap_or_else(|| ports.due.clock.now()), stop_at).await?)
}

/// Returns the time that is left to an invocation.
fn left(context: &Context) -> Duration {
    until(Clock::system().now(), from_millis(i64::try_from(context.deadline).unwrap_or(i64::MAX)))
}
