//! Examines dead-letter queues for messages that SQS itself has moved there, or that a producer has sent there. Adds a reason to
//! these messages, and ends the records of moved ones.

use std::{slice, sync::Arc, time::Duration};

use futures_util::{
    future::join_all,
    stream::{self, StreamExt as _},
};
use tokio::time::Instant;

use super::{
    dlqs::Dlqs,
    part::{Due, Tally},
};
use crate::{
    Error,
    envelope::{Envelope, Form, check_id},
    letter::{Letter, MISDIRECTED, letter},
    lifecycle::{self, Abandoned, Request, dead_lettered},
    links::Links,
    outbox::token,
    queue::{Message, Visibility},
    record::{Failure, Record, State},
    store::{Write, Written},
};

/// Number of messages in one receive.
const BATCH: usize = 10;
/// Maximum number of receives of one queue in one tick.
const BATCHES: usize = 10;
/// Number of queues examined concurrently.
const AT_A_TIME: usize = 32;
/// Maximum time for which examined messages are invisible to others.
const HIDDEN: Duration = Duration::from_secs(30);

/// Examines dead-letter queues. `done` counts messages that got a reason, or that were deleted since their jobs continue
/// without them.
///
/// Successive turns begin with different queues, in case one tick is too short for all.
pub(super) async fn explain(due: &Due, dlqs: &Dlqs, turn: u64, stop_at: Instant) -> Tally {
    let mut names = dlqs.names(&*due.store).await;
    let first = usize::try_from(turn).unwrap_or(0).wrapping_mul(AT_A_TIME) % names.len().max(1);
    names.rotate_left(first);
    let mut looks = stream::iter(&names).map(async |dlq| Letters { due, dlq, stop_at }.explain().await).buffer_unordered(AT_A_TIME);
    let mut total = Tally::default();
    while let Some(explained) = looks.next().await {
        total += explained;
    }
    if total.failed > 0 {
        dlqs.forget();
    }
    total
}

/// One dead-letter queue.
struct Letters<'a> {
    due: &'a Due,
    dlq: &'a str,
    stop_at: Instant,
}

impl Letters<'_> {
    async fn explain(&self) -> Tally {
        let mut total = Tally::default();
        let mut seen = Vec::new();
        for _ in 0..BATCHES {
            if Instant::now() >= self.stop_at {
                break;
            }
            let messages = match self.due.queue.receive(self.dlq, BATCH, HIDDEN).await {
                Ok(messages) => messages,
                Err(error) => {
                    tracing::error!(queue = self.dlq, %error, "cannot search a dead-letter queue");
                    total.failed += 1;
                    break;
                }
            };
            let (moved, letters): (Vec<_>, Vec<_>) = messages.into_iter().map(Letter::open).partition(Letter::is_unexplained);
            let is_last = moved.is_empty();
            let done = join_all(moved.iter().map(|letter| self.explain_one(letter))).await;
            let mut left: Vec<_> = letters.into_iter().map(|letter| letter.message).collect();
            for (message, done) in moved.into_iter().map(|letter| letter.message).zip(done) {
                match done {
                    Ok(true) => total.done += 1,
                    Ok(false) => left.push(message),
                    Err(error) => {
                        tracing::error!(queue = self.dlq, message_id = message.id, %error, "cannot add the reason to a dead letter");
                        total.failed += 1;
                        left.push(message);
                    }
                }
            }
            seen.extend(left);
            if is_last {
                break;
            }
        }
        self.show(seen).await;
        total
    }

    /// Makes the examined messages that stay in the queue visible again.
    async fn show(&self, messages: Vec<Message>) {
        let changes: Vec<_> = messages.into_iter().map(|m| Visibility { receipt: m.receipt, timeout: Duration::ZERO }).collect();
        for error in self.due.queue.set_visibility(self.dlq, &changes).await.into_iter().filter_map(Result::err) {
            tracing::warn!(queue = self.dlq, %error, "cannot make a dead letter visible again; it becomes visible by itself");
        }
    }

    /// Explains one message. Returns `true` if the message was replaced or deleted.
    async fn explain_one(&self, letter: &Letter) -> Result<bool, Error> {
        let now = self.due.clock.now();
        let Letter { message, id, envelope } = letter;
        if letter.is_misdirected() {
            // Its job, if there is one, has another message.
            let reason = "a producer sent the message directly to the dead-letter queue; it must send a message to the queue of its job";
            return self.replace(message, id, &Failure::new(MISDIRECTED, reason.into(), now), None).await;
        }
        if let Err(error) = check_id(id) {
            return self.replace(message, id, &Failure::new("rejected", error.to_string(), now), None).await;
        }
        let stored = self.due.store.read(slice::from_ref(id)).await.pop().transpose();
        let mut stored = stored.map_err(|error| Error::store(format!("cannot read the record of job {id:?}"), error))?.flatten();
        let flaw = envelope.as_ref().err().map(|error| Failure::new("rejected", error.to_string(), now));
        let request = request(message, id.clone(), envelope.as_ref().ok(), stored.as_ref());
        if let Some(job) = stored.as_ref().filter(|job| lifecycle::is_of(job, &request))
            && let Some(next) = lifecycle::noted(job, &request, &token())
        {
            if !self.write(Write::replace(job.clone(), next.clone())).await? {
                return Ok(false); // a later tick decides about it
            }
            stored = Some(next);
        }
        let owner = token();
        let decision = lifecycle::abandoned(stored.as_ref(), &request, flaw, &owner, now);
        if let (Abandoned::Delete | Abandoned::Explain(_), Some(job)) = (&decision, &stored) {
            self.complete_links(job).await?;
        }
        match decision {
            Abandoned::Leave => Ok(false),
            Abandoned::Delete => self.delete(message).await,
            Abandoned::Explain(reason) => self.replace(message, &request.id, &reason, stored.map(Arc::new)).await,
            Abandoned::End(next) => {
                let next = Arc::from(next);
                let write = Write { next: Arc::clone(&next), seen: stored.map(Arc::new) };
                if !self.write(write).await? {
                    return Ok(false); // the job continues by itself
                }
                tracing::error!(
                    id = next.id,
                    job = next.name,
                    queue = next.queue,
                    "SQS moved the message of a job to the dead-letter queue; the job has ended"
                );
                match (next.state, &next.error) {
                    (State::Failed, Some(reason)) => self.replace(message, &next.id, reason, Some(Arc::clone(&next))).await,
                    _ => self.delete(message).await,
                }
            }
        }
    }

    /// Tells the dependents of an ended job, or registers a blocked job. SQS may have moved the message before a worker did this.
    async fn complete_links(&self, job: &Record) -> Result<(), Error> {
        let links = Links { store: &*self.due.store, queue: &*self.due.queue, clock: &self.due.clock };
        let done = match job.state {
            State::Blocked => links.look_again(job).await.map(drop),
            state if state.is_terminal() && !job.dependents.is_empty() => links.resolve_ended(job.clone()).await,
            _ => Ok(()),
        };
        done.map_err(|error| Error::store(format!("cannot complete the links of job {:?}", job.id), error))
    }

    /// Replaces a message by a copy with the reason: sends the copy, marks the record, and deletes the message.
    async fn replace(&self, message: &Message, id: &str, reason: &Failure, record: Option<Arc<Record>>) -> Result<bool, Error> {
        let copy = letter(message, id, Some(reason), record.as_deref(), self.dlq);
        let sent = self.due.queue.send(self.dlq, &[copy]).await.pop().transpose();
        sent.map_err(|error| Error::queue(format!("cannot send the dead letter of job {id:?}"), error))?;
        if let Some(record) = record.filter(|record| record.state == State::Failed)
            && !self.write(Write::replace(Arc::clone(&record), dead_lettered(&record))).await?
        {
            return Ok(false);
        }
        self.delete(message).await
    }

    async fn delete(&self, message: &Message) -> Result<bool, Error> {
        let deleted = self.due.queue.delete(self.dlq, slice::from_ref(&message.receipt)).await.pop().transpose();
        deleted.map_err(|error| Error::queue("cannot delete a message from the dead-letter queue", error))?;
        Ok(true)
    }

    /// Returns false where the record has changed meanwhile.
    async fn write(&self, write: Write) -> Result<bool, Error> {
        let id = write.next.id.clone();
        let written = self.due.store.write(&[write]).await.pop().transpose();
        Ok(matches!(written.map_err(|error| Error::store(format!("cannot write the record of job {id:?}"), error))?, Some(Written::Done)))
    }
}

/// Builds the request of the message. A beater does not know the aliases of a job, nor the queue if SQS does not name it. It takes
/// both from the record, if there is one.
fn request(message: &Message, id: String, envelope: Option<&Envelope>, stored: Option<&Record>) -> Request {
    let is_named = envelope.is_some_and(|envelope| envelope.form == Form::Native);
    let asked = envelope.map(|envelope| Request::of(envelope.clone(), message.body.clone())).unwrap_or_default();
    let mut request = Request { id, sent_at: message.sent_at, dead: message.dead(), ..asked };
    if !is_named {
        let unread = || message.field("name").filter(|_| envelope.is_none());
        request.name = stored.map(|record| record.name.clone()).or_else(unread).unwrap_or_default();
    }
    request.queue = message.source.clone().or_else(|| stored.map(|record| record.queue.clone())).unwrap_or_default();
    request
}
