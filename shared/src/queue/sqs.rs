//! Queues in SQS.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

#[cfg(feature = "poll")]
use aws_sdk_sqs::types::QueueAttributeName;
use aws_sdk_sqs::{
    Client, Config,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::{
        BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
        MessageSystemAttributeName as System, MessageSystemAttributeNameForSends as SendingSystem, MessageSystemAttributeValue,
        SendMessageBatchRequestEntry,
    },
};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::{ENTRIES, MAX_BYTES, Message, Outgoing, Queue, QueueError, Source, Visibility, is_fifo};
use crate::{metrics::Requests, traces};

/// Maximum number of concurrent requests of one call.
const AT_A_TIME: usize = 8;
/// Maximum number of attempts for an entry that fails inside a successful response.
const TRIES: usize = 3;

/// Time that an answer may take beyond the wait of a receive.
const PATIENCE: Duration = Duration::from_secs(3);

/// Queues in SQS, by name. Clones share the known URLs.
#[derive(Debug, Clone)]
pub struct Sqs {
    client: Client,
    urls: Arc<Mutex<HashMap<String, Arc<OnceCell<String>>>>>,
    /// Looks up the URL of a queue, if allowed. A function pointer, so that the program of a function does not contain the code.
    look_up: Option<LookUp>,
    requests: Option<Arc<Requests>>,
}

type LookUp = fn(Client, String) -> BoxFuture<'static, Result<String, QueueError>>;

/// The failed entries of a request, by their index.
type Failures = HashMap<usize, BatchResultErrorEntry>;

impl Sqs {
    /// Creates queues of the account and region of `client`, which looks up their URLs.
    pub fn new(client: Client) -> Self {
        Self { client, urls: Arc::default(), look_up: Some(|client, queue| look_up(client, queue).boxed()), requests: None }
    }

    /// Creates queues of the account and region of `client`. These URLs are known, and need no lookup and no permission for it.
    pub fn with_urls(client: Client, urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let urls = urls.into_iter().map(Into::into);
        let urls = urls.map(|url| (name_of(&url).to_owned(), Arc::new(OnceCell::new_with(Some(url)))));
        Self { urls: Arc::new(Mutex::new(urls.collect())), ..Self::new(client) }
    }

    /// Adds the counter of requests, which gets the failed parts of successful answers.
    #[cfg_attr(not(feature = "lambda"), expect(dead_code, reason = "only functions write metrics"))]
    pub(crate) fn metered(self, requests: Option<Arc<Requests>>) -> Self {
        Self { requests, ..self }
    }

    fn failures(&self, failed: Vec<BatchResultErrorEntry>) -> Failures {
        if let Some(requests) = &self.requests {
            requests.queue_failed(failed.len());
        }
        failures(failed)
    }

    /// Receives at most `max` messages (up to ten) that stay invisible for `visibility`. Waits up to `wait` for the first one, at most 20 s.
    pub(crate) async fn receive_within(
        &self,
        queue: &str,
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        let seconds = |time: Duration| i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
        let request = self.client.receive_message().queue_url(self.url(queue).await?);
        let request = request.message_attribute_names("All").message_system_attribute_names(System::All);
        // The default wait of a queue, of up to 20 s, could outlast the client's timeout.
        let request = request.wait_time_seconds(seconds(wait)).visibility_timeout(seconds(visibility));
        let request = request.max_number_of_messages(i32::try_from(max.clamp(1, ENTRIES)).unwrap_or(1));
        let answer = if wait.is_zero() {
            request.send().await
        } else {
            let timeouts = TimeoutConfig::builder().operation_attempt_timeout(wait + PATIENCE).operation_timeout(wait + PATIENCE);
            // The caller tries again: the second attempt would have less time than it asks SQS to wait.
            let config = Config::builder().timeout_config(timeouts.build()).retry_config(RetryConfig::disabled());
            request.customize().config_override(config).send().await
        };
        Ok(answer.map_err(failed)?.messages.unwrap_or_default().into_iter().map(|received| message(queue, received)).collect())
    }

    /// Returns the name of the dead-letter queue to which SQS moves messages of a queue. `None`: it has none. The URL of the dead-letter
    /// queue is known afterwards, because it is in the account and region of the queue.
    #[cfg(feature = "poll")]
    pub(crate) async fn dlq_of(&self, queue: &str) -> Result<Option<String>, QueueError> {
        let (attribute, url) = (QueueAttributeName::RedrivePolicy, self.url(queue).await?);
        let request = self.client.get_queue_attributes().queue_url(&url).attribute_names(attribute.clone());
        let policy = request.send().await.map_err(failed)?.attributes.and_then(|mut attributes| attributes.remove(&attribute));
        let policy = policy.and_then(|policy| serde_json::from_str::<serde_json::Value>(&policy).ok());
        let dlq = policy.and_then(|policy| Some(name_of(policy.get("deadLetterTargetArn")?.as_str()?).to_owned()));
        if let Some(dlq) = &dlq {
            let url = format!("{}{dlq}", url.strip_suffix(queue).unwrap_or_default());
            let known = Arc::new(OnceCell::new_with(Some(url)));
            self.urls.lock().unwrap_or_else(PoisonError::into_inner).entry(dlq.clone()).or_insert(known);
        }
        Ok(dlq)
    }

    async fn url(&self, queue: &str) -> Result<String, QueueError> {
        let url = Arc::clone(self.urls.lock().unwrap_or_else(PoisonError::into_inner).entry(queue.to_owned()).or_default());
        // Concurrent callers wait for the same lookup.
        let found = url.get_or_try_init(async || {
            let look_up = self.look_up.ok_or_else(|| {
                QueueError::refused(format!("its URL is not known; set SQJOBS_QUEUE_URL to that of {queue}, which feeds this function"))
            })?;
            look_up(self.client.clone(), queue.to_owned()).await
        });
        found.await.cloned()
    }

    async fn send_batch(&self, queue: &str, messages: &[&Outgoing]) -> Vec<Result<String, QueueError>> {
        let entries = entries(messages, |place, message| entry(place, message, is_fifo(queue)));
        let sent = Mutex::new(HashMap::new());
        let answers = retried(entries, messages.len(), &|entries| {
            async {
                let request = self.client.send_message_batch().queue_url(self.url(queue).await?).set_entries(Some(entries));
                let answer = request.send().await.map_err(failed)?;
                let ids = answer.successful.into_iter().filter_map(|sent| Some((sent.id.parse().ok()?, sent.message_id)));
                sent.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
                Ok(self.failures(answer.failed))
            }
            .boxed()
        })
        .await;
        let mut sent: HashMap<usize, String> = sent.into_inner().unwrap_or_else(PoisonError::into_inner);
        let answers = answers.into_iter().enumerate();
        answers.map(|(place, answer)| answer.and_then(|()| sent.remove(&place).ok_or_else(unnamed))).collect()
    }

    async fn change_batch(&self, queue: &str, changes: &[&Visibility]) -> Vec<Result<(), QueueError>> {
        retried(entries(changes, change_entry), changes.len(), &|entries| {
            async {
                let request = self.client.change_message_visibility_batch().queue_url(self.url(queue).await?);
                Ok(self.failures(request.set_entries(Some(entries)).send().await.map_err(failed)?.failed))
            }
            .boxed()
        })
        .await
    }

    async fn delete_batch(&self, queue: &str, receipts: &[&String]) -> Vec<Result<(), QueueError>> {
        retried(entries(receipts, |place, receipt| delete_entry(place, receipt)), receipts.len(), &|entries| {
            async {
                let request = self.client.delete_message_batch().queue_url(self.url(queue).await?);
                Ok(self.failures(request.set_entries(Some(entries)).send().await.map_err(failed)?.failed))
            }
            .boxed()
        })
        .await
    }
}

async fn look_up(client: Client, queue: String) -> Result<String, QueueError> {
    let answer = client.get_queue_url().queue_name(&queue).send().await.map_err(|error| match failed(error) {
        QueueError::Refused(reason) => QueueError::refused(format!("{reason} (queue {queue})")),
        unknown @ QueueError::Unknown(_) => unknown,
    })?;
    answer.queue_url.ok_or_else(|| QueueError::refused(format!("there is no queue {queue}")))
}

/// Builds the entries of a request, each with its index.
fn entries<T, E>(parts: &[&T], entry: impl Fn(usize, &T) -> Result<E, QueueError>) -> Result<Vec<(usize, E)>, QueueError> {
    parts.iter().enumerate().map(|(place, part)| Ok((place, entry(place, part)?))).collect()
}

/// Makes one request, and repeats it for the entries that failed but can be retried.
async fn retried<'a, E: Clone>(
    entries: Result<Vec<(usize, E)>, QueueError>,
    parts: usize,
    request: &(dyn Fn(Vec<E>) -> BoxFuture<'a, Result<Failures, QueueError>> + Sync),
) -> Vec<Result<(), QueueError>> {
    let mut answers: Vec<Result<(), QueueError>> = (0..parts).map(|_| Ok(())).collect();
    let mut rest = match entries {
        Ok(entries) => entries,
        Err(error) => return answers.into_iter().map(|_| Err(error.clone())).collect(),
    };
    for _ in 0..TRIES {
        match request(rest.iter().map(|(_, entry)| entry.clone()).collect()).await {
            Ok(failures) => {
                for (place, _) in &rest {
                    answers[*place] = failures.get(place).map_or(Ok(()), |failure| Err(refused(failure)));
                }
                rest.retain(|(place, _)| failures.get(place).is_some_and(|failure| !failure.sender_fault));
            }
            Err(error) => {
                for (place, _) in rest.drain(..) {
                    answers[place] = Err(error.clone());
                }
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    answers
}

fn failures(failed: Vec<BatchResultErrorEntry>) -> Failures {
    failed.into_iter().filter_map(|entry| Some((entry.id.parse().ok()?, entry))).collect()
}

fn refused(entry: &BatchResultErrorEntry) -> QueueError {
    QueueError::refused(format!("{}: {}", entry.code, entry.message.as_deref().unwrap_or_default()))
}

fn unnamed() -> QueueError {
    QueueError::unknown("the answer does not name the message")
}

fn entry(place: usize, message: &Outgoing, fifo: bool) -> Result<SendMessageBatchRequestEntry, QueueError> {
    let attributes = message.attributes.iter().map(|(name, value)| Ok((name.clone(), attribute(value)?)));
    let attributes: HashMap<_, _> = attributes.collect::<Result<_, QueueError>>()?;
    let delay = i32::try_from(message.delay.as_secs()).ok().filter(|seconds| !fifo && *seconds > 0);
    let trace = traces::header(&message.body).map(trace_attribute).transpose()?;
    SendMessageBatchRequestEntry::builder()
        .id(place.to_string())
        .message_body(&message.body)
        .set_message_attributes(Some(attributes).filter(|attributes| !attributes.is_empty()))
        .set_message_system_attributes(trace.map(|trace| HashMap::from([(SendingSystem::AwsTraceHeader, trace)])))
        .set_delay_seconds(delay)
        .set_message_group_id(message.group.clone())
        .set_message_deduplication_id(message.dedup.clone().filter(|_| fifo))
        .build()
        .map_err(built)
}

fn attribute(value: &str) -> Result<MessageAttributeValue, QueueError> {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().map_err(built)
}

fn trace_attribute(header: String) -> Result<MessageSystemAttributeValue, QueueError> {
    MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().map_err(built)
}

fn change_entry(place: usize, change: &Visibility) -> Result<ChangeMessageVisibilityBatchRequestEntry, QueueError> {
    let seconds = i32::try_from(change.timeout.as_secs()).unwrap_or(i32::MAX);
    ChangeMessageVisibilityBatchRequestEntry::builder()
        .id(place.to_string())
        .receipt_handle(&change.receipt)
        .visibility_timeout(seconds)
        .build()
        .map_err(built)
}

fn delete_entry(place: usize, receipt: &str) -> Result<DeleteMessageBatchRequestEntry, QueueError> {
    DeleteMessageBatchRequestEntry::builder().id(place.to_string()).receipt_handle(receipt).build().map_err(built)
}

fn built(error: impl std::error::Error) -> QueueError {
    QueueError::refused(error.to_string())
}

fn failed<E, R>(error: SdkError<E, R>) -> QueueError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), message) if ["NonExistentQueue", "QueueDoesNotExist", "Denied"].iter().any(|refusal| code.contains(refusal)) => {
            QueueError::refused(format!("{code}: {}", message.unwrap_or_default()))
        }
        _ => QueueError::unknown(error),
    }
}

/// Returns the last part of a queue's URL or ARN.
pub(crate) fn name_of(url: &str) -> &str {
    url.rsplit(['/', ':']).next().unwrap_or(url)
}

/// Splits messages into requests that have neither too many nor too large messages.
fn by_bytes<'a>(messages: &[&'a Outgoing]) -> Vec<Vec<&'a Outgoing>> {
    let mut chunks: Vec<Vec<&Outgoing>> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < ENTRIES && bytes + message.bytes() <= MAX_BYTES => {
                bytes += message.bytes();
                chunk.push(message);
            }
            _ => {
                bytes = message.bytes();
                chunks.push(vec![message]);
            }
        }
    }
    chunks
}

fn message(queue: &str, received: aws_sdk_sqs::types::Message) -> Message {
    let system = received.attributes.unwrap_or_default();
    let text = |name: System| system.get(&name).cloned();
    let attributes = received.message_attributes.unwrap_or_default().into_iter();
    Message {
        id: received.message_id.unwrap_or_default(),
        receipt: received.receipt_handle.unwrap_or_default(),
        queue: queue.into(),
        body: received.body.unwrap_or_default(),
        attributes: attributes.filter_map(|(name, value)| Some((name, value.string_value?))).collect(),
        receives: text(System::ApproximateReceiveCount).and_then(|n| n.parse().ok()).unwrap_or(1),
        sent_at: text(System::SentTimestamp).and_then(|ms| Timestamp::from_millisecond(ms.parse().ok()?).ok()),
        group: text(System::MessageGroupId),
        source: text(System::DeadLetterQueueSourceArn).map(|arn| name_of(&arn).to_owned()),
        trace_header: text(System::AwsTraceHeader),
    }
}

impl Queue for Sqs {
    fn send<'a>(&'a self, queue: &'a str, messages: &'a [Outgoing]) -> BoxFuture<'a, Vec<Result<String, QueueError>>> {
        async move {
            let checks: Vec<_> = messages.iter().map(|message| message.check(queue)).collect();
            let fitting: Vec<_> = messages.iter().zip(&checks).filter(|(_, check)| check.is_ok()).map(|(m, _)| m).collect();
            let chunks = by_bytes(&fitting);
            // A FIFO queue keeps the order only if requests follow one another.
            let at_a_time = if is_fifo(queue) { 1 } else { AT_A_TIME };
            let mut answers = Vec::new();
            for chunks in chunks.chunks(at_a_time) {
                answers.extend(join_all(chunks.iter().map(|chunk| self.send_batch(queue, chunk))).await);
            }
            let mut answers = answers.into_iter().flatten();
            checks.into_iter().map(|check| check.and_then(|()| answers.next().unwrap_or_else(|| Err(unnamed())))).collect()
        }
        .boxed()
    }

    fn set_visibility<'a>(&'a self, queue: &'a str, changes: &'a [Visibility]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        async move {
            let checks: Vec<_> = changes.iter().map(Visibility::check).collect();
            let fitting: Vec<_> = changes.iter().zip(&checks).filter(|(_, check)| check.is_ok()).map(|(c, _)| c).collect();
            let mut answers = Vec::new();
            for changes in fitting.chunks(ENTRIES * AT_A_TIME) {
                answers.extend(join_all(changes.chunks(ENTRIES).map(|chunk| self.change_batch(queue, chunk))).await);
            }
            let mut answers = answers.into_iter().flatten();
            checks.into_iter().map(|check| check.and_then(|()| answers.next().unwrap_or_else(|| Err(unnamed())))).collect()
        }
        .boxed()
    }

    fn find<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<(), QueueError>> {
        async move { self.url(queue).await.map(drop) }.boxed()
    }

    fn delete<'a>(&'a self, queue: &'a str, receipts: &'a [String]) -> BoxFuture<'a, Vec<Result<(), QueueError>>> {
        async move {
            let receipts: Vec<_> = receipts.iter().collect();
            let mut answers = Vec::new();
            for receipts in receipts.chunks(ENTRIES * AT_A_TIME) {
                answers.extend(join_all(receipts.chunks(ENTRIES).map(|chunk| self.delete_batch(queue, chunk))).await);
            }
            answers.into_iter().flatten().collect()
        }
        .boxed()
    }
}

impl Source for Sqs {
    fn receive<'a>(&'a self, queue: &'a str, max: usize, visibility: Duration) -> BoxFuture<'a, Result<Vec<Message>, QueueError>> {
        self.receive_within(queue, max, visibility, Duration::ZERO).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_at_most_ten_messages_and_a_megabyte() {
        let small = vec![Outgoing::new("{}"); 11];
        let sizes: Vec<_> = by_bytes(&small.iter().collect::<Vec<_>>()).iter().map(Vec::len).collect();
        assert_eq!(sizes, [10, 1]);
        let large = vec![Outgoing::new("x".repeat(MAX_BYTES / 2)); 3];
        let sizes: Vec<_> = by_bytes(&large.iter().collect::<Vec<_>>()).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1]);
        let uneven = ["x".into(), "x".repeat(MAX_BYTES - 1), "x".into()].map(|body: String| Outgoing::new(body));
        let sizes: Vec<_> = by_bytes(&uneven.iter().collect::<Vec<_>>()).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1]);
    }

    #[test]
    fn a_queue_is_named_by_the_end_of_its_url_or_arn() {
        assert_eq!(name_of("https://sqs.eu-west-1.amazonaws.com/1/adder"), "adder");
        assert_eq!(name_of("arn:aws:sqs:eu-west-1:1:adder.fifo"), "adder.fifo");
    }
    #[test]
    fn only_a_standard_queue_gets_a_delay_and_only_if_there_is_one() {
        let delay = |seconds, fifo| {
            let message = Outgoing { delay: std::time::Duration::from_secs(seconds), ..Outgoing::new("{}") };
            entry(0, &message, fifo).expect("an entry").delay_seconds
        };
        assert_eq!([delay(5, false), delay(0, false), delay(5, true), delay(0, true)], [Some(5), None, None, None]);
    }

    #[tokio::test]
    async fn entries_that_sqs_could_not_execute_are_sent_again() {
        let failure = |place: &str, is_ours| {
            BatchResultErrorEntry::builder().id(place).code("C").message("m").sender_fault(is_ours).build().expect("an entry")
        };
        let requests = std::sync::Mutex::new(Vec::new());
        let entries = Ok(vec![(0, "good"), (1, "ours"), (2, "theirs")]);
        let request = |entries: Vec<&'static str>| {
            let mut requests = requests.lock().expect("nobody panics with the lock");
            requests.push(entries);
            let failed = if requests.len() == 1 { vec![failure("1", true), failure("2", false)] } else { Vec::new() };
            async move { Ok(failures(failed)) }.boxed()
        };
        let answers = retried(entries, 3, &request).await;
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.map_err(|error| error.to_string())).collect();
        assert_eq!(answers, [Ok(()), Err("the queue refuses it: C: m".into()), Ok(())]);
        assert_eq!(*requests.lock().expect("nobody panics with the lock"), [vec!["good", "ours", "theirs"], vec!["theirs"]]);
    }
}
