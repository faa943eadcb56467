//! Enqueues jobs and reads what became of them.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Clock, Error, Job, Policy, Record, State,
    clock::after,
    config,
    envelope::Envelope,
    lifecycle::{self, Request},
    queue::{MAX_DELAY, Outgoing, Queue, Sqs, is_fifo},
    store::{DynamoDb, Store, Write, Written},
    worker::Local,
};

/// How often a record is changed anew that changed meanwhile.
const CHANGES: usize = 5;

/// Enqueues jobs, one or many, and reads their records. Cheap to clone.
///
/// ```
/// use std::time::Duration;
/// use sqjobs::{Enqueue, testing::Eager};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), sqjobs::Error> {
/// // `Client::from_env().await` for AWS.
/// let client = Eager::new().client();
/// let report = Enqueue::named("report", serde_json::json!({"month": 2})).id("report-2026-02").delay(Duration::from_secs(60));
/// let sent = client.enqueue_many([report, Enqueue::named("adder", serde_json::json!([1, 2, 3]))]).await;
/// assert_eq!(sent[0].as_ref().unwrap().id, "report-2026-02");
/// assert!(sent[1].as_ref().unwrap().id.starts_with("adder-"));
/// assert_eq!(client.get("report-2026-02").await?, None); // no attempt was started yet
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    queue: Arc<dyn Queue>,
    store: Arc<dyn Store>,
    clock: Clock,
    prefix: String,
}

/// A job to be enqueued, with its options.
#[derive(Debug, Clone)]
#[must_use = "it is enqueued by Client::enqueue_many"]
pub struct Enqueue {
    queue: String,
    envelope: Envelope,
    delay: Duration,
    group: Option<String>,
}

/// A job that was enqueued.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enqueued {
    /// The job's id, under which its record is found.
    pub id: String,
    /// The id of the SQS message.
    pub message_id: String,
}

impl Enqueue {
    /// The job, on its own queue.
    ///
    /// # Errors
    ///
    /// When the arguments cannot be written as JSON.
    pub fn new<J: Job<S>, S: Send + Sync + 'static>(job: &J) -> Result<Self, Error> {
        Ok(Self { queue: J::QUEUE.into(), ..Self::named(J::NAME, serde_json::to_value(job)?) })
    }

    /// A job of which only the name is known here, on the queue of that name.
    pub fn named(name: &str, args: Value) -> Self {
        Self { queue: name.into(), envelope: Envelope::new(name, args), delay: Duration::ZERO, group: None }
    }

    /// Sends it to another queue; the environment's prefix is put before the name.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Names the job: a second one of the same id is a duplicate and does not run. A generated id carries the name.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.envelope.id = Some(id.into());
        self
    }

    /// Lets it run after that time at the earliest.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The message group on a FIFO queue: its jobs run in order. Without one, the job is a group of its own.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Changes the other fields of the message.
    pub fn with(mut self, change: impl FnOnce(&mut Envelope)) -> Self {
        change(&mut self.envelope);
        self
    }

    /// The message, with its queue and the job's id.
    fn message(self, prefix: &str, now: Timestamp) -> Result<(String, String, Outgoing), Error> {
        let (mut envelope, queue) = (self.envelope, prefix.to_owned() + &self.queue);
        let id = envelope.id.take().unwrap_or_else(|| format!("{}-{}", envelope.name, Uuid::now_v7().simple()));
        envelope.id = Some(id.clone());
        if !self.delay.is_zero() {
            envelope.run_at = Some(after(now, self.delay));
        }
        envelope.check()?;
        let mut message = Outgoing::new(envelope.to_body());
        message.group = self.group;
        if is_fifo(&queue) {
            message.group = message.group.or_else(|| Some(Uuid::new_v4().to_string()));
            message.dedup = Some(dedup(&id));
        } else if self.delay <= MAX_DELAY {
            message.delay = self.delay; // what waits longer is filed by its function, the sooner the better
        }
        Ok((queue, id, message))
    }
}

/// A deduplication id of at most 128 of the characters that SQS takes.
pub(crate) fn dedup(text: &str) -> String {
    if text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text.into();
    }
    Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).to_string()
}

impl Client {
    /// A client of AWS, configured as the SDK and `SQJOBS_TABLE` and `SQJOBS_PREFIX` say.
    pub async fn from_env() -> Self {
        let sdk = config::sdk().await;
        let queue = Sqs::new(aws_sdk_sqs::Client::new(&sdk));
        let store = DynamoDb::new(aws_sdk_dynamodb::Client::new(&sdk), config::table());
        Self::new(Arc::new(queue), Arc::new(store), Clock::system(), config::prefix())
    }

    /// A client of any queues and store; `prefix` precedes the names of queues.
    pub fn new(queue: Arc<dyn Queue>, store: Arc<dyn Store>, clock: Clock, prefix: impl Into<String>) -> Self {
        Self { queue, store, clock, prefix: prefix.into() }
    }

    pub(crate) fn in_memory(local: &Local) -> Self {
        Self::new(Arc::new(local.queue.clone()), Arc::new(local.store.clone()), local.clock.clone(), "")
    }

    /// Enqueues a job on its own queue.
    ///
    /// # Errors
    ///
    /// When the arguments cannot be written as JSON, the message breaks a limit, or SQS does not take it.
    pub async fn enqueue<J: Job<S>, S: Send + Sync + 'static>(&self, job: &J) -> Result<Enqueued, Error> {
        self.enqueue_one(Enqueue::new(job)?).await
    }

    /// Enqueues a job with its options.
    ///
    /// # Errors
    ///
    /// As for [`Client::enqueue`].
    pub async fn enqueue_one(&self, job: Enqueue) -> Result<Enqueued, Error> {
        let mut answers = self.enqueue_many([job]).await;
        answers.pop().unwrap_or_else(|| Err(Error::config("nothing was enqueued")))
    }

    /// Enqueues many jobs, ten a request. One answer for each, in order.
    pub async fn enqueue_many(&self, jobs: impl IntoIterator<Item = Enqueue>) -> Vec<Result<Enqueued, Error>> {
        let now = self.clock.now();
        let messages: Vec<_> = jobs.into_iter().map(|job| job.message(&self.prefix, now)).collect();
        let mut queues: Vec<&String> = messages.iter().flatten().map(|(queue, ..)| queue).collect();
        queues.sort_unstable();
        queues.dedup();
        let mut sent = HashMap::new();
        for queue in queues {
            let (ids, outgoing): (Vec<_>, Vec<_>) = messages
                .iter()
                .flatten()
                .filter(|(other, ..)| other == queue)
                .map(|(_, id, message)| (id.clone(), message.clone()))
                .unzip();
            let answers = self.queue.send(queue, &outgoing).await;
            sent.insert(queue.clone(), ids.into_iter().zip(answers).collect::<VecDeque<_>>());
        }
        let mut answer = |queue: &String| match sent.get_mut(queue).and_then(VecDeque::pop_front) {
            Some((id, Ok(message_id))) => Ok(Enqueued { id, message_id }),
            Some((_, Err(error))) => Err(error.into()),
            None => Err(Error::config("the message was not sent")),
        };
        messages.iter().map(|message| message.as_ref().map_err(Clone::clone).and_then(|(queue, ..)| answer(queue))).collect()
    }

    /// Reads a job's record. None: no attempt was started yet, or it was purged.
    ///
    /// # Errors
    ///
    /// When the table does not answer, or holds something else under this id.
    pub async fn get(&self, id: &str) -> Result<Option<Record>, Error> {
        let mut answers = self.store.read(&[id.to_owned()]).await;
        Ok(answers.pop().unwrap_or(Ok(None))?)
    }
}

/// Jobs that wait.
impl Client {
    /// Calls a job off: one that waits never runs, also where no function has seen its message yet; one that runs is told,
    /// and may still succeed. Its record is then kept for 30 days. False: it has ended.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn cancel(&self, id: &str) -> Result<bool, Error> {
        let now = self.clock.now();
        let unseen = Request { id: id.to_owned(), ..Request::default() };
        self.change(id, |record| lifecycle::cancel(record, &unseen, &Policy::new(), now)).await
    }

    /// Moves a job that waits in the due index to another time, also where its message is on its way already. False: it
    /// does not wait there.
    ///
    /// # Errors
    ///
    /// When the table does not answer.
    pub async fn reschedule(&self, id: &str, run_at: Timestamp) -> Result<bool, Error> {
        self.change(id, |record| {
            let record = record?;
            let waits = matches!(record.state, State::Scheduled | State::Queued | State::Retrying) && record.envelope.is_some();
            let owner = Uuid::new_v4().simple().to_string();
            waits.then(|| {
                lifecycle::filed(Some(record), &Request { id: id.to_owned(), ..Request::default() }, &Policy::new(), &owner, run_at)
            })
        })
        .await
    }

    /// Replaces a record by what `change` makes of it, as often as it changes meanwhile.
    async fn change(&self, id: &str, change: impl Fn(Option<&Record>) -> Option<Record> + Send + Sync) -> Result<bool, Error> {
        for _ in 0..CHANGES {
            let seen = self.get(id).await?;
            let Some(next) = change(seen.as_ref()) else { return Ok(false) };
            let write = Write { next: Arc::new(next), seen: seen.map(Arc::new) };
            if let Some(Written::Done) = self.store.write(&[write]).await.pop().transpose()? {
                return Ok(true);
            }
        }
        Err(Error::config(format!("job {id:?} changes all the time; try again")))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
