//! The outbox: jobs that the application's own transaction enqueues.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::TransactWriteItem;

use super::{Client, Enqueue, Enqueued, publish::refused};
use crate::{
    Error, Record,
    clock::after,
    lifecycle::{self, is_sendable},
    names::is_fifo,
    outbox::{self, token},
    queue::MAX_DELAY,
    traces::Outcome,
};

/// A job for a transaction of the application; see [`Client::outbox`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OutboxJob {
    /// The job's id, for [`Client::send_outbox`].
    pub id: String,
    /// The parts of a transaction that enqueue the job: its record, and one item for each of its [lists](Enqueue::listed). A transaction
    /// can have 100 parts.
    pub parts: Vec<TransactWriteItem>,
}

impl Client {
    /// Returns a job for a transaction of your own. If you write your data and enqueue a job in two steps, a crash in between loses the
    /// job, or runs it for data that does not exist. With the outbox, both happen or none does.
    ///
    /// Add [`OutboxJob::parts`] to the `TransactWriteItems` that changes your data. After the transaction has succeeded, call
    /// [`Client::send_outbox`], which sends the job at once. If the process dies first, a beater sends the job within a minute.
    ///
    /// If the table has a record with this id, the condition of the first part fails, and DynamoDB cancels the transaction. So give a job
    /// an id of its own if you repeat the transaction. If this condition fails then, check that your own data is there.
    ///
    /// The name must be that of the job, not one of its [aliases](crate::Job::ALIASES). The record holds the message, so the arguments
    /// may have about 370 KB. The job takes a [unique key](crate::Keys::unique) when its message is received. Jobs of a FIFO group may
    /// be sent in another order than that of their transactions. A [`PublishHook`](crate::PublishHook) is called before, but not after.
    ///
    /// ```
    /// use sqjobs::{
    ///     Client, Enqueue,
    ///     aws_sdk_dynamodb::{self as dynamodb, types::{AttributeValue, Put, TransactWriteItem}},
    /// };
    ///
    /// async fn place(order: &str, table: &dynamodb::Client, client: &Client) -> Result<(), Box<dyn std::error::Error>> {
    ///     let put = Put::builder().table_name("orders").item("id", AttributeValue::S(order.into())).build()?;
    ///     let mail = Enqueue::named("mail", serde_json::json!({ "order": order })).id(format!("mail-{order}"));
    ///     let mail = client.outbox(mail)?;
    ///     let parts = [TransactWriteItem::builder().put(put).build()].into_iter().chain(mail.parts);
    ///     table.transact_write_items().set_transact_items(Some(parts.collect())).send().await?;
    ///     client.send_outbox([mail.id]).await;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Client::enqueue`], if the job has an option that an outbox cannot keep, and if the client has no table in DynamoDB.
    pub fn outbox(&self, job: Enqueue) -> Result<OutboxJob, Error> {
        let (job, prepared) = self.prepare(job)?;
        let now = self.clock.now();
        let refuse = |flaw: &str| Err(Error::Invalid(format!("cannot put job {:?} into an outbox: {flaw}", prepared.id)));
        if !job.envelope().jobs.is_empty() {
            return refuse("it is a workflow; put a job into the outbox that enqueues the workflow");
        }
        if job.has_dedup() {
            return refuse("a deduplication id has no effect there; leave it out");
        }
        if prepared.unique.is_some() && job.envelope().run_at.is_some_and(|at| at > now) {
            return refuse(
                "it takes its unique key only when it is due, so others could take the key before; leave out the delay or the key",
            );
        }
        let record = lifecycle::unsent(&job.request(&prepared.queue, now), &token(), now);
        let parts = self.store.transaction_parts(&record, &prepared.listings);
        let parts = parts.map_err(|error| Error::store(format!("cannot put job {:?} into an outbox", prepared.id), error));
        prepared.span.ended(|| parts.as_ref().err().map_or_else(Outcome::default, refused));
        Ok(OutboxJob { id: prepared.id, parts: parts? })
    }

    /// Sends jobs of the [outbox](Client::outbox) whose transaction has succeeded. Returns one answer for each id, in order.
    ///
    /// A job has no message id in its answer if it was sent before, if it is due in more than 15 minutes, or if SQS did not take its message.
    /// A beater then sends it in time. Nothing is sent for a transaction that has failed: the answer is [`Error::NotFound`].
    pub async fn send_outbox(&self, ids: impl IntoIterator<Item = impl Into<String>>) -> Vec<Result<Enqueued, Error>> {
        let ids: Vec<String> = ids.into_iter().map(Into::into).collect();
        let (mut queues, mut seen) = (BTreeMap::<String, Vec<Record>>::new(), BTreeSet::new());
        let mut answers = Vec::with_capacity(ids.len());
        let now = self.clock.now();
        for (id, stored) in ids.iter().zip(self.store.read(&ids).await) {
            let answer = match stored {
                Ok(Some(record)) if !lifecycle::is_awaited(&record) => {
                    let until = if is_fifo(&record.queue) { now } else { after(now, MAX_DELAY) };
                    if is_sendable(&record, until) && seen.insert(id) {
                        queues.entry(record.queue.clone()).or_default().push(record);
                    }
                    Ok(Enqueued { id: id.clone(), ..Enqueued::default() })
                }
                Ok(_) => Err(Error::NotFound(format!("cannot send job {id:?}: the table has no such job; commit its transaction first"))),
                Err(error) => Err(Error::store(format!("cannot send job {id:?}"), error)),
            };
            answers.push(answer);
        }
        let mut message_ids = BTreeMap::new();
        for (queue, records) in queues {
            let ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
            let sent = outbox::send(&*self.queue, &*self.store, &queue, records, now).await;
            let taken = ids.into_iter().filter(|id| sent.unsent.iter().all(|unsent| unsent.id != *id));
            message_ids.extend(taken.zip(sent.message_ids));
        }
        for sent in answers.iter_mut().flatten() {
            sent.message_id = message_ids.remove(&sent.id).unwrap_or_default();
        }
        answers
    }
}
