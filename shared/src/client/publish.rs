//! Sends jobs as messages, calls hooks, and writes records and listings.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Client, Enqueue, Enqueued, enqueue::Prepared};
use crate::{
    Error, Record,
    lifecycle::{self, Needed},
    queue::QueueError,
    store::{Listing, Write, Written},
    traces::Outcome,
};
use futures_util::{
    future::{FutureExt, join},
    stream::{self, StreamExt},
};

/// Number of jobs that are prepared and sent together. It limits the memory of a bulk enqueue.
const CHUNK: usize = 1_000;
/// Maximum number of jobs with a unique key that are enqueued at the same time.
const AT_A_TIME: usize = 8;

/// A hook that a client calls for every job, such as to add a label, count jobs or refuse one.
///
/// Before the job is sent, the hooks are called in the order in which they were added; afterwards, in the reverse order.
///
/// ```
/// use sqjobs::{Enqueue, Error, PublishHook, testing::Eager};
///
/// /// Adds the customer to each job, and refuses jobs without one.
/// struct Tenant(Option<u64>);
///
/// impl PublishHook for Tenant {
///     fn before_publish(&self, job: Enqueue) -> Result<Enqueue, Error> {
///         let tenant = self.0.ok_or_else(|| Error::config("there is no tenant"))?;
///         Ok(job.meta("tenant", tenant))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), sqjobs::Error> {
/// let eager = Eager::new();
/// let job = || Enqueue::named("adder", serde_json::json!([1, 2, 3]));
/// eager.client().hook(Tenant(Some(7))).enqueue_one(job()).await?;
/// assert_eq!(eager.enqueued("adder")[0].meta["tenant"], 7);
/// assert!(eager.client().hook(Tenant(None)).enqueue_one(job()).await.is_err());
/// # Ok(()) }
/// ```
pub trait PublishHook: Send + Sync + 'static {
    /// Changes a job before it is sent, or refuses it.
    ///
    /// # Errors
    ///
    /// When the hook refuses the job. The job is not sent, and the enqueue returns the error.
    fn before_publish(&self, job: Enqueue) -> Result<Enqueue, Error> {
        Ok(job)
    }

    /// Receives the result of the enqueue of a job.
    fn after_publish(&self, _job: &Enqueue, _sent: &Result<Enqueued, Error>) {}
}

impl Client {
    /// Enqueues many jobs, and returns one answer for each, in order.
    ///
    /// A request sends ten jobs, and several requests run concurrently. Messages that SQS refuses for a transient reason are sent again. At
    /// most a thousand jobs are in memory at a time. An interrupted bulk enqueue can be repeated: jobs with an id of their own run once.
    pub async fn enqueue_many(&self, jobs: impl IntoIterator<Item = Enqueue, IntoIter: Send>) -> Vec<Result<Enqueued, Error>> {
        let mut jobs = jobs.into_iter();
        let mut answers = Vec::with_capacity(jobs.size_hint().0);
        loop {
            let chunk: Vec<_> = jobs.by_ref().take(CHUNK).map(|job| self.prepare(job)).collect();
            if chunk.is_empty() {
                return answers;
            }
            answers.extend(self.publish(chunk).await);
        }
    }

    pub(super) fn prepare(&self, job: Enqueue) -> Result<(Enqueue, Prepared), Error> {
        let now = self.clock.now();
        let job = self.hooks.iter().try_fold(job.settled(now), |job, hook| hook.before_publish(job))?;
        let (job, span) = job.traced(&self.prefix);
        match job.prepared(&self.prefix, now) {
            Ok(prepared) => Ok((job, Prepared { span, ..prepared })),
            Err(error) => {
                span.ended(|| refused(&error));
                Err(error)
            }
        }
    }

    async fn publish(&self, jobs: Vec<Result<(Enqueue, Prepared), Error>>) -> Vec<Result<Enqueued, Error>> {
        let mut queues: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, (_, prepared)) in jobs.iter().enumerate().filter_map(|(place, job)| Some((place, job.as_ref().ok()?))) {
            if prepared.unique.is_some() {
                continue; // sent one by one
            }
            queues.entry(&prepared.queue).or_default().push(place);
        }
        let mut uniques = self.publish_uniques(&jobs).await;
        let mut sent: BTreeMap<usize, Result<String, QueueError>> = BTreeMap::new();
        for (queue, places) in queues {
            let messages: Vec<_> = places.iter().filter_map(|place| Some(jobs[*place].as_ref().ok()?.1.message.clone())).collect();
            sent.extend(places.into_iter().zip(self.queue.send(queue, &messages).await));
        }
        let (mut published, mut answers) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
        let (mut records, mut listings) = (Vec::new(), Vec::new());
        for (place, job) in jobs.into_iter().enumerate() {
            let (job, prepared) = match job {
                Ok(job) => job,
                Err(error) => {
                    published.push(None);
                    answers.push(Err(error));
                    continue;
                }
            };
            let is_unique = prepared.unique.is_some();
            let answer = match sent.remove(&place) {
                _ if is_unique => uniques.remove(&place).unwrap_or_else(|| Err(Error::Process("the job was not enqueued".into()))),
                Some(Ok(message_id)) => Ok(Enqueued { id: prepared.id, message_id, ..Enqueued::default() }),
                Some(Err(error)) => Err(Error::queue(format!("cannot enqueue job {:?}", prepared.id), error)),
                None => Err(Error::Process(format!("cannot enqueue job {:?}: the queue returned no answer for it", prepared.id))),
            };
            if answer.as_ref().is_ok_and(|sent| sent.holder.is_none()) {
                records.extend(prepared.record.filter(|_| !is_unique).map(|record| (place, Write::insert(record))));
                listings.extend(prepared.listings.into_iter().map(|listing| (place, listing)));
            }
            prepared.span.ended(|| match &answer {
                Ok(sent) => Outcome { attribute: Some(("messaging.message.id", sent.message_id.clone())), error: None },
                Err(error) => refused(error),
            });
            published.push(Some(job));
            answers.push(answer);
        }
        self.record(records, listings, &mut answers).await;
        for (job, answer) in published.iter().zip(&answers).filter_map(|(job, answer)| Some((job.as_ref()?, answer))) {
            self.hooks.iter().rev().for_each(|hook| hook.after_publish(job, answer));
        }
        answers
    }

    /// Enqueues the jobs that have a unique key, those of one key one after the other. Returns the answers by their places.
    async fn publish_uniques(&self, jobs: &[Result<(Enqueue, Prepared), Error>]) -> BTreeMap<usize, Result<Enqueued, Error>> {
        let mut keys: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (place, job) in jobs.iter().enumerate() {
            if let Ok((job, prepared)) = job
                && let Some(key) = &prepared.unique
            {
                keys.entry(&key.id).or_default().push((place, job, prepared, key));
            }
        }
        let keys: Vec<_> = keys.into_values().map(|jobs| self.publish_in_order(jobs).boxed()).collect();
        stream::iter(keys).buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await.into_iter().flatten().collect()
    }

    async fn publish_in_order<'a>(
        &self,
        jobs: Vec<(usize, &'a Enqueue, &'a Prepared, &'a Needed)>,
    ) -> Vec<(usize, Result<Enqueued, Error>)> {
        let mut answers = Vec::with_capacity(jobs.len());
        for (place, job, prepared, key) in jobs {
            answers.push((place, self.publish_unique(job, prepared, key).await));
        }
        answers
    }

    /// Writes the records and the listings of jobs that were sent, and adds failures to the answers. It does not replace existing records,
    /// which say more than new ones.
    async fn record(&self, records: Vec<(usize, Write)>, listings: Vec<(usize, Listing)>, answers: &mut [Result<Enqueued, Error>]) {
        // A store accepts one write for an id. Of several jobs with the same id, the first is recorded.
        let mut own: HashMap<String, Arc<Record>> = HashMap::new();
        let (again, records): (Vec<_>, Vec<_>) = records.into_iter().partition(|(_, write)| {
            let is_known = own.contains_key(&write.next.id);
            own.entry(write.next.id.clone()).or_insert_with(|| Arc::clone(&write.next));
            is_known
        });
        let (recorded, records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        let (listed, listings): (Vec<_>, Vec<_>) = listings.into_iter().unzip();
        let (written, enlisted) = join(self.store.write(&records), self.store.enlist(&listings)).await;
        for ((place, answer), write) in recorded.into_iter().zip(written).zip(&records) {
            let Ok(sent) = &mut answers[place] else { continue };
            match answer {
                Ok(Written::Done) => {}
                Ok(Written::Refused(first)) => {
                    // The answer may lack the record.
                    let first = if first.is_some() { first.map(|first| *first) } else { self.get(&sent.id).await.ok().flatten() };
                    sent.first = first.filter(|first| lifecycle::differs(first, &write.next)).map(Box::new);
                }
                Err(error) => {
                    tracing::warn!(id = sent.id, %error, "a job was enqueued, but its record could not be written");
                    sent.unrecorded = Some(error.to_string());
                }
            }
        }
        for (place, write) in again {
            let Ok(sent) = &mut answers[place] else { continue };
            let first = own.get(&sent.id).filter(|first| lifecycle::differs(first, &write.next));
            sent.first = first.map(|first| Box::new(Record::clone(first)));
        }
        let unlisted = listed.into_iter().zip(enlisted).filter_map(|(place, answer)| Some((place, answer.err()?)));
        for (place, error) in unlisted {
            if let Ok(sent) = &mut answers[place] {
                tracing::warn!(id = sent.id, %error, "a job was enqueued, but could not be listed");
                sent.unlisted = Some(error.to_string());
            }
        }
    }
}

/// Returns the outcome of an enqueue that has failed.
pub(super) fn refused(error: &Error) -> Outcome {
    let kind = match error {
        Error::Queue { .. } => "queue",
        Error::Store { .. } => "store",
        Error::Invalid(_) => "invalid",
        Error::Conflict(_) => "conflict",
        Error::Config(_) | Error::NotFound(_) | Error::Setup { .. } | Error::Process(_) => "_OTHER",
    };
    Outcome { attribute: None, error: Some((kind.to_owned(), error.to_string())) }
}

/// The hooks of a client.
pub(super) type Hooks = Vec<Arc<dyn PublishHook>>;
