//! Reads a dead-letter queue, and hides its messages from others meanwhile.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use sqjobs::{
    Letter, Priority,
    queue::{Queue as _, Source as _, Sqs, Visibility, is_fifo},
    store::{DynamoDb, Store as _, StoreError},
};
use tokio::time::sleep;

use super::letter::DeadLetter;
use crate::{aws::Aws, command::queue, failure::Failure, shell::shell};

/// Visibility timeout of the messages that a walk has received. An interrupted redrive can be run again after this time.
pub(super) const HIDDEN: Duration = Duration::from_secs(30);
/// The number of dead letters that are received together.
pub(super) const WAVE: usize = 80;
/// The number of messages of one receive.
const PAGE: usize = 10;
/// The number of receives until a queue counts as empty: SQS may return nothing from a queue that holds messages.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// The largest number of dead letters among which those of one job are searched.
const SEARCHED: usize = 1000;

/// A queue and its dead-letter queue, by their full names.
pub(in crate::command) struct Pair {
    pub(super) queue: String,
    /// The ARN of the queue.
    pub(super) arn: String,
    pub(in crate::command) dlq: String,
    /// The number of dead letters, as SQS counts them.
    pub(super) total: u64,
    /// The other queues with this dead-letter queue whose jobs have another priority.
    pub(super) siblings: Vec<String>,
}

impl Pair {
    /// Finds a queue by its name, or by the name of its dead-letter queue.
    pub(in crate::command) async fn find(aws: &Aws, name: &str) -> Result<Self, Failure> {
        let source = queue::source_name(name).unwrap_or_else(|| name.to_owned());
        let (queue, dlq) = queue::pair(aws, &aws.queue(&source)).await?;
        let mut siblings = Vec::new();
        for priority in [Priority::High, Priority::Default, Priority::Low] {
            let name = priority.queue(&queue.name);
            if name != queue.name && queue::url(aws, &name).await?.is_some() && queue::find(aws, &name).await?.dlq == dlq.name {
                siblings.push(name);
            }
        }
        Ok(Self { queue: queue.name, arn: queue.arn, dlq: dlq.name, total: dlq.depth.all(), siblings })
    }

    /// Returns the queue to which a dead letter goes back: that of its job's record, or that from which SQS has moved the message, or that
    /// of the priority in the message.
    pub(super) fn queue_of(&self, dead: &DeadLetter) -> &str {
        let of_record = dead.record.as_ref().map(|record| record.queue.clone()).filter(|queue| !queue.is_empty());
        let of_message = || Some(dead.letter.envelope.as_ref().ok()?.priority.queue_for_job(&Priority::Default.queue(&self.queue)));
        let queue = of_record.or_else(|| dead.letter.message.source.clone()).or_else(of_message).unwrap_or_default();
        self.siblings.iter().find(|own| **own == queue).unwrap_or(&self.queue)
    }
}

/// A walk through a dead-letter queue. It returns each dead letter once.
pub(in crate::command) struct Walk<'a> {
    pub(super) queue: Sqs,
    store: DynamoDb,
    pair: &'a Pair,
    seen: HashSet<String>,
    /// Receipts of the hidden messages, and the time of each receive, by message id.
    held: HashMap<String, (String, Instant)>,
}

impl<'a> Walk<'a> {
    pub(in crate::command) fn new(aws: &Aws, pair: &'a Pair) -> Self {
        let store = DynamoDb::new(aws.dynamodb(), aws.place.table());
        Self { queue: Sqs::new(aws.sqs()), store, pair, seen: HashSet::new(), held: HashMap::new() }
    }

    /// Returns about `many` more dead letters with their records; none at the end.
    pub(super) async fn next(&mut self, many: usize) -> Result<Vec<DeadLetter>, Failure> {
        let letters = self.letters(many).await?;
        self.join(letters).await
    }

    /// Returns the dead letters of one job among the first [`SEARCHED`]. Stops when `enough` returns true for those found.
    pub(in crate::command) async fn of_job(&mut self, id: &str, enough: impl Fn(&[Letter]) -> bool) -> Result<Vec<Letter>, Failure> {
        let mut own = Vec::new();
        while self.seen.len() < SEARCHED && !enough(&own) {
            let letters = self.letters(WAVE).await?;
            if letters.is_empty() {
                break;
            }
            own.extend(letters.into_iter().filter(|letter| letter.has_id(id)));
        }
        Ok(own)
    }

    /// Returns about `many` more dead letters; none at the end.
    async fn letters(&mut self, many: usize) -> Result<Vec<Letter>, Failure> {
        for look in 0..LOOKS {
            if look > 0 {
                sleep(BETWEEN_LOOKS).await;
            }
            // A receive asks only some servers of SQS, so several receives miss fewer messages.
            let many = if look > 0 { WAVE } else { many };
            let receive = |_| self.queue.receive(&self.pair.dlq, many.min(PAGE), HIDDEN);
            let received: Result<Vec<_>, _> = join_all((0..many.div_ceil(PAGE)).map(receive)).await.into_iter().collect();
            let received = received.map_err(|error| Failure::because(&format!("cannot read {}", self.pair.dlq), error))?;
            let mut letters = Vec::new();
            for message in received.into_iter().flatten() {
                self.held.insert(message.id.clone(), (message.receipt.clone(), Instant::now()));
                if self.seen.insert(message.id.clone()) {
                    letters.push(Letter::open(message));
                }
            }
            if !letters.is_empty() {
                letters.sort_by_key(|letter| letter.message.sent_at);
                return Ok(letters);
            }
        }
        Ok(Vec::new())
    }

    /// Adds the records, or why they cannot be read.
    async fn join(&self, letters: Vec<Letter>) -> Result<Vec<DeadLetter>, Failure> {
        let ids: Vec<_> = letters.iter().map(|letter| letter.id.clone()).collect();
        let mut found = Vec::new();
        for (letter, record) in letters.into_iter().zip(self.store.read(&ids).await) {
            match record {
                Ok(record) => found.push(DeadLetter { letter, record, unreadable: None }),
                Err(error @ StoreError::Unreadable { .. }) => {
                    found.push(DeadLetter { letter, record: None, unreadable: Some(error.to_string()) });
                }
                Err(error) => return Err(Failure::because("cannot read the record of a dead letter", error)),
            }
        }
        Ok(found)
    }

    /// Deletes dead letters; returns the number that SQS did not delete. [`end`](Self::end) makes those visible again.
    pub(in crate::command) async fn delete(&mut self, letters: &[&Letter]) -> u64 {
        let held: Vec<_> = letters.iter().filter_map(|letter| self.held.remove_entry(&letter.message.id)).collect();
        let receipts: Vec<_> = held.iter().map(|(_, (receipt, _))| receipt.clone()).collect();
        let mut undeleted = 0;
        for (letter, answer) in held.into_iter().zip(self.queue.delete(&self.pair.dlq, &receipts).await) {
            if let Err(error) = answer {
                note!("cannot delete a dead letter: {error}; run the command again: no job runs twice");
                self.held.extend([letter]);
                undeleted += 1;
            }
        }
        undeleted
    }

    /// Makes the remaining dead letters visible again.
    pub(in crate::command) async fn end(self) {
        let held = self.held.into_values().filter(|(_, since)| since.elapsed() < HIDDEN);
        let changes: Vec<_> = held.map(|(receipt, _)| Visibility { receipt, timeout: Duration::ZERO }).collect();
        self.queue.set_visibility(&self.pair.dlq, &changes).await;
    }

    /// The number of dead letters that were seen.
    pub(in crate::command) fn seen(&self) -> usize {
        self.seen.len()
    }

    /// The number of dead letters that were not seen.
    pub(in crate::command) fn unseen(&self) -> u64 {
        self.pair.total.saturating_sub(self.seen.len() as u64)
    }

    /// Returns true if another reader may hide dead letters, and shows them within [`HIDDEN`].
    pub(super) fn hides_more(&self) -> bool {
        self.unseen() > 0 && !is_fifo(&self.pair.dlq)
    }
}

/// Describes the dead letters that the walk did not see.
pub(super) fn more(count: u64, dlq: &str) -> String {
    if is_fifo(dlq) {
        format!("SQS shows the first ten messages of each group: about {count} more follow when these are deleted")
    } else {
        format!("about {count} more are hidden for now; run the command again in {} s", HIDDEN.as_secs())
    }
}

/// Describes how to send dead letters back. SQS does not know the source queue of messages that the library has sent:
/// `StartMessageMoveTask` in its API reference.
pub(in crate::command) fn ways_back(queue: &str, arn: &str) -> String {
    format!(
        "`sqjobs dlq list {}` shows the dead letters, and `sqjobs dlq redrive {}` sends them back; the console and `aws sqs \
         start-message-move-task` send them back only with the custom destination {arn}",
        shell(queue),
        shell(queue)
    )
}
