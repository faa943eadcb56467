//! A hand-written handler for the adder alone. It makes the same claims, records and requests as sqjobs, and omits
//! everything that this one job does not need: it renews no lease, calls no hook, reads no older message format, and lets a
//! panic fail the whole batch. It logs one line for each job, as sqjobs does.

use std::collections::HashMap;

use aws_config::BehaviorVersion;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementErrorCodeEnum as Code, BatchStatementRequest, BatchStatementResponse, KeysAndAttributes,
};
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use uuid::Uuid;

const LEASE: SignedDuration = SignedDuration::from_secs(30);
const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);
const BACKOFF_S: i32 = 10;

const UPDATE: &str = r#"SET "state"=? SET "finished_at"=? SET "purge_at"=? SET "result"=? REMOVE "lease_until" WHERE "id"=? AND "owner"=?"#;
const RETRY: &str = r#"SET "state"=? SET "error"=? REMOVE "lease_until" WHERE "id"=? AND "owner"=?"#;

#[derive(Deserialize)]
struct Body<'a> {
    id: Option<&'a str>,
    name: &'a str,
    #[serde(borrow)]
    args: &'a serde_json::value::RawValue,
}

struct Handler {
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    table: String,
    queue_url: String,
}

/// One message and its decoded content.
struct Job<'a> {
    message: &'a SqsMessage,
    id: &'a str,
    name: &'a str,
    args: &'a str,
    owner: String,
}

/// The outcome of a message that reached its end.
#[derive(Clone, Copy, PartialEq)]
enum Ended {
    Done,
    Retried,
    Busy,
}

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "it has no module for its configuration")]
async fn main() -> Result<(), Error> {
    let level = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    tracing_subscriber::fmt().json().flatten_event(true).with_max_level(level).init();
    let https = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(https).load().await;
    let handler = Handler {
        dynamodb: aws_sdk_dynamodb::Client::new(&config),
        sqs: aws_sdk_sqs::Client::new(&config),
        table: std::env::var("SQJOBS_TABLE").unwrap_or_else(|_| "jobs".into()),
        queue_url: std::env::var("SQJOBS_QUEUE_URL")?,
    };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<SqsEvent>| handler.handle(&event.payload).await)).await
}

impl Ended {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "succeeded",
            Self::Retried => "retried",
            Self::Busy => "busy",
        }
    }
}

impl Handler {
    async fn handle(&self, event: &SqsEvent) -> Result<SqsBatchResponse, Error> {
        let jobs = event.records.iter().map(Job::new).collect::<Result<Vec<_>, _>>()?;
        let claimed = self.claim(&jobs).await?;
        let outputs: Vec<_> = jobs.iter().zip(claimed).map(|(job, claimed)| claimed.then(|| job.run())).collect();
        self.finish(&jobs, &outputs).await?;
        let ended = self.known(&jobs, &outputs).await?;
        self.retry(&jobs, &ended).await?;
        let mut response = SqsBatchResponse::default();
        for (job, ended) in jobs.iter().zip(&ended) {
            tracing::info!(id = job.id, job = job.name, outcome = ended.as_str(), "job ended");
        }
        for (job, _) in jobs.iter().zip(&ended).filter(|(_, ended)| **ended != Ended::Done) {
            response.add_failure(job.message.message_id.clone().unwrap_or_default());
        }
        Ok(response)
    }

    /// Writes the record of each job if none exists. Returns, for each job, `true` if its record was written.
    async fn claim(&self, jobs: &[Job<'_>]) -> Result<Vec<bool>, Error> {
        let now = now();
        let statements = jobs.iter().map(|job| job.insert(&self.table, now)).collect::<Result<Vec<_>, _>>()?;
        let answers = self.execute(statements).await?;
        let claimed = answers.iter().map(|answer| match answer.error.as_ref().and_then(|error| error.code.as_ref()) {
            None => Ok(true),
            Some(Code::DuplicateItem | Code::ConditionalCheckFailed) => Ok(false),
            Some(code) => Err(format!("cannot claim: {code:?}").into()),
        });
        claimed.collect()
    }

    /// Records the outcomes of the jobs that ran.
    async fn finish(&self, jobs: &[Job<'_>], outputs: &[Option<Result<i64, String>>]) -> Result<(), Error> {
        let now = now();
        let ran = jobs.iter().zip(outputs).filter_map(|(job, output)| Some(job.update(&self.table, output.as_ref()?, now)));
        let statements = ran.collect::<Result<Vec<_>, _>>()?;
        if statements.is_empty() {
            return Ok(());
        }
        match self.execute(statements).await?.into_iter().find_map(|answer| answer.error) {
            None => Ok(()),
            Some(error) => Err(format!("cannot record: {error:?}").into()),
        }
    }

    /// Returns the outcome of each job. Outcomes of jobs that had a record are read from the table.
    async fn known(&self, jobs: &[Job<'_>], outputs: &[Option<Result<i64, String>>]) -> Result<Vec<Ended>, Error> {
        let unclaimed: Vec<_> = jobs.iter().zip(outputs).filter(|(_, output)| output.is_none()).map(|(job, _)| job).collect();
        let states = if unclaimed.is_empty() { HashMap::new() } else { self.states(&unclaimed).await? };
        let ended = jobs.iter().zip(outputs).map(|(job, output)| match output {
            Some(Ok(_)) => Ended::Done,
            Some(Err(_)) => Ended::Retried,
            None if states.get(job.id).is_some_and(|state| state == "succeeded") => Ended::Done,
            None => Ended::Busy,
        });
        Ok(ended.collect())
    }

    async fn states(&self, jobs: &[&Job<'_>]) -> Result<HashMap<String, String>, Error> {
        let keys = jobs.iter().map(|job| HashMap::from([("id".to_owned(), text(job.id))])).collect();
        let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build()?;
        let answer = self.dynamodb.batch_get_item().request_items(&self.table, keys).send().await?;
        let items = answer.responses.unwrap_or_default().remove(&self.table).unwrap_or_default();
        let states = items.into_iter().filter_map(|mut item| match (item.remove("id"), item.remove("state")) {
            (Some(AttributeValue::S(id)), Some(AttributeValue::S(state))) => Some((id, state)),
            _ => None,
        });
        Ok(states.collect())
    }

    /// Hides the messages that are retried until their next attempt.
    async fn retry(&self, jobs: &[Job<'_>], ended: &[Ended]) -> Result<(), Error> {
        let back = jobs.iter().zip(ended).enumerate().filter(|(_, (_, ended))| **ended != Ended::Done);
        let entries = back.map(|(place, (job, _))| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(place.to_string()).visibility_timeout(BACKOFF_S);
            entry.set_receipt_handle(job.message.receipt_handle.clone()).build()
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        if !entries.is_empty() {
            self.sqs.change_message_visibility_batch().queue_url(&self.queue_url).set_entries(Some(entries)).send().await?;
        }
        Ok(())
    }

    async fn execute(&self, statements: Vec<BatchStatementRequest>) -> Result<Vec<BatchStatementResponse>, Error> {
        let answer = self.dynamodb.batch_execute_statement().set_statements(Some(statements)).send().await?;
        Ok(answer.responses.unwrap_or_default())
    }
}

impl<'a> Job<'a> {
    fn new(message: &'a SqsMessage) -> Result<Self, Error> {
        let body: Body<'a> = serde_json::from_str(message.body.as_deref().unwrap_or_default())?;
        let id = body.id.or(message.message_id.as_deref()).unwrap_or_default();
        Ok(Self { message, id, name: body.name, args: body.args.get(), owner: Uuid::new_v4().simple().to_string() })
    }

    fn run(&self) -> Result<i64, String> {
        let numbers: Vec<i64> = serde_json::from_str(self.args).map_err(|error| error.to_string())?;
        match numbers.iter().sum() {
            sum if sum < 0 => Err("the sum is negative".into()),
            sum => Ok(sum),
        }
    }

    fn insert(&self, table: &str, now: Timestamp) -> Result<BatchStatementRequest, Error> {
        let queue = self.message.event_source_arn.as_deref().and_then(|arn| arn.rsplit(':').next()).unwrap_or_default();
        let sent_at = self.message.attributes.get("SentTimestamp").and_then(|millis| millis.parse().ok()).unwrap_or(0);
        let lease_until = (now + LEASE).as_millisecond();
        let statement = format!(
            r#"INSERT INTO "{table}" VALUE {{'id': ?, 'name': ?, 'queue': ?, 'state': ?, 'attempts': ?, 'max_attempts': ?, 'generation': ?, 'owner': ?, 'lease_until': ?, 'enqueued_at': ?, 'started_at': ?, 'runs': ?}}"#
        );
        let parameters = vec![
            text(self.id),
            text(self.name),
            text(queue),
            text("running"),
            number(1),
            number(5),
            number(1),
            text(&self.owner),
            number(lease_until),
            instant(Timestamp::from_millisecond(sent_at)?),
            instant(now),
            number(1),
        ];
        Ok(BatchStatementRequest::builder().statement(statement).set_parameters(Some(parameters)).build()?)
    }

    fn update(&self, table: &str, output: &Result<i64, String>, now: Timestamp) -> Result<BatchStatementRequest, Error> {
        let (assignments, mut parameters) = match output {
            Ok(sum) => {
                let purge_at = (now + RETENTION).as_second();
                (UPDATE, vec![text("succeeded"), instant(now), number(purge_at), number(*sum)])
            }
            Err(error) => (RETRY, vec![text("retrying"), text(error)]),
        };
        parameters.extend([text(self.id), text(&self.owner)]);
        let statement = format!(r#"UPDATE "{table}" {assignments}"#);
        Ok(BatchStatementRequest::builder().statement(statement).set_parameters(Some(parameters)).build()?)
    }
}

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "it has no clock of its own")]
    Timestamp::now()
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn instant(at: Timestamp) -> AttributeValue {
    AttributeValue::S(format!("{at:.3}"))
}
