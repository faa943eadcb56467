//! Settles the messages of a batch: copies dead letters, sets visibility timeouts, and reports the messages to return.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::{join, join_all};
use tokio::time::{Instant, timeout_at};

use super::{batch::Batch, decode::Delivery, ending::Settlement, engine::Report};
use crate::{
    clock::{after, until},
    letter::letter,
    lifecycle::{Ending, Fate, dead_lettered},
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

impl Batch<'_> {
    /// Copies dead letters, sets visibility timeouts, and reports the messages to return.
    pub(super) async fn settle(&self, deliveries: &[Delivery], firsts: &[usize], settlements: Vec<Option<Settlement>>) -> Report {
        let mut fates: Vec<_> = settlements.iter().map(|settlement| settlement.as_ref().map_or(Fate::Leave, Settlement::fate)).collect();
        let letters: Vec<_> = (0..fates.len()).filter(|&place| fates[place] == Fate::DeadLetter).collect();
        for &place in &letters {
            fates[place] = Fate::Backoff; // until its copy is confirmed
        }
        for place in timeout_at(self.answer_by, self.dead_letter(&letters, deliveries, &settlements)).await.unwrap_or_default() {
            fates[place] = Fate::Delete;
        }
        let is_unwritten = settlements.iter().flatten().any(|settlement| settlement.unwritten);
        let mut is_noted =
            settlements.iter().flatten().any(Settlement::is_noted) || is_unwritten && self.engine.counter.is_late(Instant::now());
        for (place, &first) in firsts.iter().enumerate() {
            fates[place] = fates[first];
            if place != first && fates[first] == Fate::Delete {
                is_noted |= deliveries[place].repeats(&deliveries[first], self).is_some_and(|settlement| settlement.is_noted());
            }
        }
        let stuck = self.is_stuck();
        for place in timeout_at(self.answer_by, self.send_anew(deliveries, &fates)).await.unwrap_or_default() {
            fates[place] = Fate::Delete;
        }
        let settled = async {
            self.wait(deliveries, &fates).await;
            if stuck {
                self.delete(deliveries, &fates).await;
            }
        };
        // A function that can run none of its messages would otherwise write no statistics about them.
        let told = async {
            if is_noted {
                self.engine.store.flush().await;
            }
        };
        timeout_at(self.answer_by, join(settled, told)).await.ok();
        let back = deliveries.iter().zip(&fates).filter(|(_, fate)| **fate != Fate::Delete);
        Report {
            failures: back.map(|(delivery, _)| delivery.message.id.clone()).collect(),
            rejected: rejected(deliveries, &settlements),
            stuck,
        }
    }

    /// Copies messages to the dead-letter queue, then marks their records. Returns the indices of the completed ones.
    async fn dead_letter(&self, places: &[usize], deliveries: &[Delivery], settlements: &[Option<Settlement>]) -> Vec<usize> {
        if places.is_empty() {
            return Vec::new();
        }
        let copy = |&place: &usize| {
            let (delivery, settlement) = (&deliveries[place], settlements[place].as_ref());
            let reason = settlement.and_then(|settlement| settlement.reason.as_ref());
            letter(
                &delivery.message,
                &delivery.id,
                reason,
                settlement.and_then(|settlement| settlement.record.as_deref()),
                &self.engine.dlq,
            )
        };
        let copies: Vec<_> = places.iter().map(copy).collect();
        let sent = self.engine.queue.send(&self.engine.dlq, &copies).await;
        let marks = places.iter().zip(sent).map(async |(&place, sent)| {
            if let Err(error) = &sent {
                tracing::error!(id = deliveries[place].id, %error, "cannot copy to the dead-letter queue");
            }
            let record = settlements[place].as_ref().and_then(|settlement| settlement.record.as_ref());
            let marked = match record {
                Some(record) if sent.is_ok() => {
                    let write = Write::replace(Arc::clone(record), dead_lettered(record));
                    matches!(self.ledger.write(write).await, Ok(Written::Done))
                }
                _ => true,
            };
            (sent.is_ok() && marked).then_some(place)
        });
        join_all(marks).await.into_iter().flatten().collect()
    }

    /// Sends messages anew that have waited for days, before their queue deletes them. Returns the indices of the sent ones. FIFO queues
    /// are left out, since the messages would lose their order.
    async fn send_anew(&self, deliveries: &[Delivery], fates: &[Fate]) -> Vec<usize> {
        let now = self.engine.clock.now();
        let is_old = |message: &Message| !is_fifo(&message.queue) && message.sent_at.is_some_and(|sent| after(sent, AGE) <= now);
        let old = deliveries.iter().zip(fates).enumerate().filter(|(_, (delivery, _))| is_old(&delivery.message));
        let sends = old.filter_map(|(place, (delivery, fate))| Some((place, delivery, self.visibility(&delivery.message, *fate)?)));
        let sent = sends.map(async |(place, delivery, delay)| {
            let message = &delivery.message;
            let attributes = message.attributes.clone();
            let mut again = Outgoing { delay, group: message.group.clone(), attributes, ..Outgoing::new(&message.body) };
            again.add_attribute(ID, &delivery.id, MAX_BYTES);
            let named = again.attributes.contains_key(ID);
            let sent = if named { self.engine.queue.send(&message.queue, &[again]).await.pop() } else { None };
            if let Some(Err(error)) = &sent {
                tracing::warn!(id = delivery.id, %error, "cannot send a message anew that has waited for days");
            }
            matches!(sent, Some(Ok(_))).then_some(place)
        });
        join_all(sent).await.into_iter().flatten().collect()
    }

    /// Sets the visibility timeouts of returned messages: first those that were held behind another, then the rest.
    async fn wait(&self, deliveries: &[Delivery], fates: &[Fate]) {
        for at_once in [true, false] {
            let mut changes: BTreeMap<&str, Vec<Visibility>> = BTreeMap::new();
            for (delivery, fate) in deliveries.iter().zip(fates).filter(|(_, fate)| (**fate == Fate::Now) == at_once) {
                if let Some(timeout) = self.visibility(&delivery.message, *fate) {
                    let receipt = delivery.message.receipt.clone();
                    changes.entry(&delivery.message.queue).or_default().push(Visibility { receipt, timeout });
                }
            }
            for (queue, changes) in changes {
                self.set_visibility(queue, &changes).await;
            }
        }
    }

    fn visibility(&self, message: &Message, fate: Fate) -> Option<Duration> {
        match fate {
            Fate::Delete | Fate::DeadLetter | Fate::Leave => None,
            Fate::Now => Some(Duration::ZERO),
            Fate::Wait(at) => {
                let wait = until(self.engine.clock.now(), at);
                Some(Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).clamp(MIN_WAIT, self.engine.hop))
            }
            Fate::WaitAndBackoff(at) => {
                Some((until(self.engine.clock.now(), at) + free_return(message.receives, jitter())).clamp(MIN_WAIT, self.engine.hop))
            }
            Fate::Backoff => Some(free_return(message.receives, jitter()).max(MIN_WAIT)),
            Fate::LongBackoff => Some((free_return(message.receives, jitter()) * 5).clamp(MIN_WAIT, MAX_PARKED_WAIT)),
        }
    }

    /// Deletes completed messages, since the process will exit without a response.
    async fn delete(&self, deliveries: &[Delivery], fates: &[Fate]) {
        let mut receipts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (delivery, _) in deliveries.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Delete) {
            receipts.entry(&delivery.message.queue).or_default().push(delivery.message.receipt.clone());
        }
        for (queue, receipts) in receipts {
            self.engine.queue.delete(queue, &receipts).await;
        }
    }
}

fn rejected(deliveries: &[Delivery], settlements: &[Option<Settlement>]) -> Vec<(String, String)> {
    let reasons = deliveries.iter().zip(settlements).filter_map(|(delivery, settlement)| {
        let settlement = settlement.as_ref().filter(|settlement| matches!(settlement.ending, Ending::Rejected | Ending::Foreign))?;
        Some((delivery.message.id.clone(), settlement.reason.as_ref()?.message.clone()))
    });
    reasons.collect()
}
