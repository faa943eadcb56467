//! The client: enqueues jobs, reads their records, and changes them.

mod change;
mod enqueue;
mod graph;
mod limit;
mod list;
mod outbox;
mod publish;
mod tag;
#[cfg(test)]
mod tests;
mod unique;
mod wait;
mod workflow;

use std::{fmt, sync::Arc};

pub use self::{
    change::Cancelled,
    enqueue::Enqueue,
    graph::{CancelledJobs, Graph, GraphJob},
    limit::{KeyWait, Limit, RateLimit, Waits},
    list::By,
    outbox::OutboxJob,
    publish::PublishHook,
    workflow::Workflow,
};
use crate::{
    Arguments, Clock, Error, Record, config,
    envelope::check_id,
    queue::{Queue, Sqs},
    store::{DynamoDb, Index},
};

/// Enqueues jobs, one or many, and reads their records. Clones are cheap.
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
    store: Arc<dyn Index>,
    clock: Clock,
    prefix: String,
    hooks: publish::Hooks,
}

/// A job that was enqueued.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Enqueued {
    /// The job's id, which is the key of its record.
    pub id: String,
    /// The id of the SQS message. Empty if no message was sent: the job is filed until it is due, or it is a duplicate, or another job
    /// holds its unique key.
    pub message_id: String,
    /// The id of the job that holds the [unique key](crate::Keys::unique). This job was not enqueued; its record is `cancelled`.
    pub holder: Option<String>,
    /// `true` if that job had not started and has got the arguments of this one, or later ones. See
    /// [`OnConflict::Replace`](crate::OnConflict::Replace).
    pub replaced: bool,
    /// The error, if the [requested record](Enqueue::recorded) could not be written. The job still runs, and its first attempt writes the
    /// record.
    pub unrecorded: Option<String>,
    /// The error, if the job is missing in some of the [requested lists](Enqueue::listed). It still runs. To list it, enqueue it again with
    /// the same id: it does not run a second time.
    pub unlisted: Option<String>,
    /// The record of an earlier job with this id but other arguments or another run time. This job is then a duplicate, and the earlier one
    /// stays unchanged. The field is set only if a record was [requested](Enqueue::recorded). For any other job, compare
    /// [`Record::digest`] with [`Envelope::digest`](crate::Envelope::digest).
    pub first: Option<Box<Record>>,
}

impl Client {
    /// Creates a client for AWS. The environment variables of the SDK, `SQJOBS_PREFIX` and `SQJOBS_TABLE` configure it.
    pub async fn from_env() -> Self {
        let sdk = config::sdk().await;
        let queue = Sqs::new(aws_sdk_sqs::Client::new(&sdk));
        let store = DynamoDb::new(aws_sdk_dynamodb::Client::new(&sdk), config::table());
        Self::new(Arc::new(queue), Arc::new(store), Clock::system(), config::prefix())
    }

    /// Creates a client for any queue and store. `prefix` precedes the names of queues.
    pub fn new(queue: Arc<dyn Queue>, store: Arc<dyn Index>, clock: Clock, prefix: impl Into<String>) -> Self {
        Self { queue, store, clock, prefix: prefix.into(), hooks: Vec::new() }
    }

    /// Adds a hook that is called for every job that this client enqueues.
    #[must_use]
    pub fn hook(mut self, hook: impl PublishHook) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Enqueues a job on its own queue.
    ///
    /// # Errors
    ///
    /// When the arguments cannot be written as JSON, the message breaks a limit, or SQS does not take it.
    pub async fn enqueue<A: Arguments>(&self, arguments: &A) -> Result<Enqueued, Error> {
        self.enqueue_one(Enqueue::new(arguments)?).await
    }

    /// Enqueues a job with its options.
    ///
    /// # Errors
    ///
    /// As for [`Client::enqueue`].
    pub async fn enqueue_one(&self, job: Enqueue) -> Result<Enqueued, Error> {
        let mut answers = self.enqueue_many([job]).await;
        answers.pop().unwrap_or_else(|| Err(Error::Process("cannot enqueue a job: the client returned no answer".into())))
    }

    /// Reads a job's record. Returns `None` if no attempt was started yet, or if the record was deleted.
    ///
    /// # Errors
    ///
    /// When no job can have this id, the table does not answer, or the table has an unreadable item under this id.
    pub async fn get(&self, id: &str) -> Result<Option<Record>, Error> {
        Self::check(id)?;
        let mut answers = self.store.read(&[id.to_owned()]).await;
        answers.pop().unwrap_or(Ok(None)).map_err(|error| Error::store(format!("cannot read the record of job {id:?}"), error))
    }

    fn check(id: &str) -> Result<(), Error> {
        check_id(id).map_err(|error| Error::Invalid(format!("cannot read job {id:?}: {error}")))
    }

    /// Returns the name of a queue without the prefix of the environment.
    fn short(&self, queue: &str) -> String {
        queue.strip_prefix(&*self.prefix).unwrap_or(queue).to_owned()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
