//! Settles the messages of a batch: copies dead letters, sets visibility timeouts, and reports the messages to return.

use std::{collections::BTreeMap, iter, sync::Arc, time::Duration};

use futures_util::future::{join, join_all};
use tokio::time::{Instant, timeout_at};

use super::{
    batch::Batch,
    decode::Delivery,
    ending::Settlement,
    engine::{Rejection, Report},
    metered,
};
use crate::{
    clock::{after, until},
    letter::letter,
    lifecycle::{Ending, Fate, dead_lettered},
    metrics::{BatchMeter, Outcome},
    names::is_fifo,
    queue::{MAX_BYTES, Message, Outgoing, Visibility, attribute::ID},
    retry::{free_return, jitter},
    store::{Write, Written},
};

/// The age at which a message is sent anew. By default, queues delete messages after four days.
const AGE: Duration = Duration::from_hours(48);
/// Maximum wait of a parked message before its next delivery.
const MAX_PARKED_WAIT: Duration = Duration::from_mins(5);
/// Minimum visibility timeout of a returned message.
const MIN_WAIT: Duration = Duration::from_secs(1);

/// The first message of a job in a batch, and the later ones that repeat it.
pub(super) struct Entry<'d> {
    pub(super) delivery: &'d Delivery,
    pub(super) repeats: Vec<&'d Delivery>,
    /// The end of the delivery, once it has ended.
    settlement: Option<Settlement>,
    fate: Fate,
}

/// A message, and the action on it.
struct Settled<'d> {
    delivery: &'d Delivery,
    fate: Fate,
}

impl<'d> Entry<'d> {
    pub(super) fn new(delivery: &'d Delivery) -> Self {
        Self { delivery, repeats: Vec::new(), settlement: None, fate: Fate::Leave }
    }

    pub(super) fn end(&mut self, settlement: Settlement) {
        self.fate = settlement.fate();
        self.settlement = Some(settlement);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settlement.is_some()
    }

    /// Returns the reason, if its message was rejected.
    fn rejection(&self) -> Option<Rejection> {
        let settlement = self.settlement.as_ref().filter(|settlement| matches!(settlement.ending, Ending::Rejected | Ending::Foreign))?;
        let (message_id, id) = (self.delivery.message.id.clone(), self.delivery.id.clone());
        Some(Rejection { message_id, id, reason: settlement.reason.as_ref()?.message.clone() })
    }

    /// Returns its messages. The repeats share the fate of the first.
    fn messages(&self) -> impl Iterator<Item = Settled<'d>> {
        let fate = self.fate;
        iter::once(self.delivery).chain(self.repeats.iter().copied()).map(move |delivery| Settled { delivery, fate })
    }
}

impl Batch<'_> {
    /// Copies dead letters, sets visibility timeouts, and reports the messages to return.
    pub(super) async fn settle(&self, mut entries: Vec<&mut Entry<'_>>) -> Report {
        let mut letters: Vec<_> = entries.iter_mut().map(|entry| &mut **entry).filter(|entry| entry.fate == Fate::DeadLetter).collect();
        for letter in &mut letters {
            letter.fate = Fate::Backoff; // until its copy is confirmed
        }
        for letter in timeout_at(self.answer_by, self.dead_letter(letters)).await.unwrap_or_default() {
            letter.fate = Fate::Delete;
            if let Some(meter) = &self.meter {
                meter.dead_letter();
            }
        }
        if let Some(meter) = &self.meter {
            self.count_endings(meter, &entries);
        }
        let is_noted = self.is_noted(&entries);
        let rejected = entries.iter().filter_map(|entry| entry.rejection()).collect();
        let mut messages: Vec<_> = entries.iter().flat_map(|entry| entry.messages()).collect();
        let stuck = self.is_stuck();
        for message in timeout_at(self.answer_by, self.send_anew(&mut messages)).await.unwrap_or_default() {
            message.fate = Fate::Delete;
        }
        let settled = async {
            self.wait(&messages).await;
            if stuck {
                self.delete(&messages).await;
            }
        };
        // A function that can run none of its messages would otherwise write no statistics about them.
        let flushed = async {
            if is_noted {
                self.engine.store.flush().await;
            }
        };
        timeout_at(self.answer_by, join(settled, flushed)).await.ok();
        let back = messages.iter().filter(|message| message.fate != Fate::Delete);
        Report { failures: back.map(|message| message.delivery.message.id.clone()).collect(), rejected, stuck }
    }

    /// Passes the endings to the meter. The repeats of a message are duplicates if they are deleted with it.
    fn count_endings(&self, meter: &BatchMeter, entries: &[&mut Entry<'_>]) {
        for Entry { delivery, repeats, settlement, fate } in entries {
            if let Some(settlement) = settlement {
                metered::ended(meter, delivery, &settlement.ending, self);
            }
            if *fate == Fate::Delete {
                for _ in repeats {
                    meter.ended(None, Outcome::Duplicate);
                }
            }
        }
    }

    /// Counts the repeats of each message that will be deleted. Returns true if the statistics must be written at once.
    fn is_noted(&self, entries: &[&mut Entry<'_>]) -> bool {
        let settlements = || entries.iter().filter_map(|entry| entry.settlement.as_ref());
        let is_unwritten = settlements().any(|settlement| settlement.unwritten);
        let mut is_noted = settlements().any(Settlement::is_noted) || is_unwritten && self.engine.counter.is_late(Instant::now());
        for entry in entries.iter().filter(|entry| entry.fate == Fate::Delete) {
            for repeat in &entry.repeats {
                is_noted |= repeat.repeats(entry.delivery, self).is_some_and(|settlement| settlement.is_noted());
            }
        }
        is_noted
    }

    /// Copies messages to the dead-letter queue, then marks their records. Returns the entries for which both were done.
    async fn dead_letter<'e, 'd>(&self, entries: Vec<&'e mut Entry<'d>>) -> Vec<&'e mut Entry<'d>> {
        // The messages of a batch are of one queue, or of one with other priorities.
        let Some(first) = entries.first() else { return Vec::new() };
        let dlq = self.engine.dlq(&first.delivery.message.queue);
        let copy = |Entry { delivery, settlement, .. }: &Entry<'_>| {
            let reason = settlement.as_ref().and_then(|settlement| settlement.reason.as_ref());
            let record = settlement.as_ref().and_then(|settlement| settlement.record.as_deref());
            letter(&delivery.message, &delivery.id, reason, record, dlq)
        };
        let copies: Vec<_> = entries.iter().map(|entry| copy(entry)).collect();
        let sent = self.engine.queue.send(dlq, &copies).await;
        let marks = entries.into_iter().zip(sent).map(async |(entry, sent)| {
            if let Err(error) = &sent {
                tracing::error!(id = entry.delivery.id, %error, "cannot copy to the dead-letter queue");
            }
            let settlement = entry.settlement.as_ref();
            let marked = match settlement.and_then(|settlement| settlement.record.as_ref()) {
                Some(record) if sent.is_ok() => {
                    let write = Write::replace(Arc::clone(record), dead_lettered(record));
                    match self.ledger.write(write).await {
                        Ok(Written::Done) => true,
                        // Another message has replaced the record of the rejected one, which would only be rejected again.
                        Ok(Written::Refused(_)) => settlement.is_some_and(|settlement| settlement.ending == Ending::Rejected),
                        Err(_) => false,
                    }
                }
                _ => true,
            };
            (sent.is_ok() && marked).then_some(entry)
        });
        join_all(marks).await.into_iter().flatten().collect()
    }

    /// Sends again the messages that have waited for days, before their queue deletes them. Returns the sent ones. FIFO queues are left
    /// out, since the messages would lose their order.
    async fn send_anew<'m, 'd>(&self, messages: &'m mut [Settled<'d>]) -> Vec<&'m mut Settled<'d>> {
        let now = self.engine.clock.now();
        let is_old = |message: &Message| !is_fifo(&message.queue) && message.sent_at.is_some_and(|sent| after(sent, AGE) <= now);
        let old = messages.iter_mut().filter(|settled| is_old(&settled.delivery.message));
        let sends = old.filter_map(|settled| Some((self.visibility(settled)?, settled)));
        let sent = sends.map(async |(delay, settled)| {
            let Delivery { message, id, .. } = &settled.delivery;
            let attributes = message.attributes.clone();
            let mut again = Outgoing { delay, group: message.group.clone(), attributes, ..Outgoing::new(&message.body) };
            again.add_attribute(ID, id, MAX_BYTES);
            let named = again.attributes.contains_key(ID);
            let sent = if named { self.engine.queue.send(&message.queue, &[again]).await.pop() } else { None };
            if let Some(Err(error)) = &sent {
                tracing::warn!(id, %error, "cannot send an old message again, before its queue deletes it");
            }
            matches!(sent, Some(Ok(_))).then_some(settled)
        });
        join_all(sent).await.into_iter().flatten().collect()
    }

    /// Sets the visibility timeouts of returned messages: first of those that become visible at once, because they were held behind
    /// another message or their attempt was interrupted, then of the rest.
    async fn wait(&self, messages: &[Settled<'_>]) {
        for at_once in [true, false] {
            let mut changes: BTreeMap<&str, Vec<Visibility>> = BTreeMap::new();
            for settled in messages.iter().filter(|settled| (settled.fate == Fate::Now) == at_once) {
                if let Some(timeout) = self.visibility(settled) {
                    let message = &settled.delivery.message;
                    changes.entry(&message.queue).or_default().push(Visibility { receipt: message.receipt.clone(), timeout });
                }
            }
            for (queue, changes) in changes {
                self.set_visibility(queue, &changes).await;
            }
        }
    }

    /// Returns the visibility timeout to set for a message, if any.
    fn visibility(&self, Settled { delivery, fate }: &Settled<'_>) -> Option<Duration> {
        let receives = delivery.message.receives;
        match *fate {
            Fate::Delete | Fate::DeadLetter | Fate::Leave => None,
            Fate::Now => Some(Duration::ZERO),
            Fate::Wait(at) => {
                let wait = until(self.engine.clock.now(), at);
                Some(Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).clamp(MIN_WAIT, self.engine.hop))
            }
            Fate::WaitAndBackoff(at) => {
                Some((until(self.engine.clock.now(), at) + free_return(receives, jitter())).clamp(MIN_WAIT, self.engine.hop))
            }
            Fate::Backoff => Some(free_return(receives, jitter()).max(MIN_WAIT)),
            Fate::LongBackoff => Some((free_return(receives, jitter()) * 5).clamp(MIN_WAIT, MAX_PARKED_WAIT)),
        }
    }

    /// Deletes completed messages, since the process will exit without a response.
    async fn delete(&self, messages: &[Settled<'_>]) {
        let mut receipts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for Settled { delivery, .. } in messages.iter().filter(|settled| settled.fate == Fate::Delete) {
            receipts.entry(&delivery.message.queue).or_default().push(delivery.message.receipt.clone());
        }
        for (queue, receipts) in receipts {
            for error in self.engine.queue.delete(queue, &receipts).await.into_iter().filter_map(Result::err) {
                tracing::warn!(queue, %error, "cannot delete the message of an ended job; it comes back");
            }
        }
    }
}
