//! Handles a batch: decodes its messages, runs them in lanes, and settles them.

use std::collections::{HashMap, hash_map::Entry as Place};

use futures_util::future::{FutureExt, join_all};
use tokio::time::timeout;

use super::{
    batch::{Batch, Shared},
    claim::Turn,
    decode::{Decoded, Delivery},
    delivery::Step,
    engine::{Engine, Invocation, Polling, Report},
    metered::meter,
    settle::Entry,
};
use crate::{
    lifecycle::{Ending, Fate},
    names::is_fifo,
    queue::Message,
    traces::{Outcome, Span},
};

/// Entries that run one after the other: those of a FIFO group, or of one id.
type Lane<'d> = Vec<Entry<'d>>;

impl Engine {
    /// Handles all messages of a batch and reports their results.
    pub(crate) async fn handle(&self, messages: Vec<Message>, invocation: &Invocation) -> Report {
        let shared = Shared::new(self, invocation.ends_at);
        tokio::select! { biased;
            report = self.handle_beside_others(messages, invocation, &shared) => report,
            never = shared.ledger.drive() => match never {},
        }
    }

    /// Handles all messages of a batch and reports their results, while the ledger is driven.
    pub(crate) async fn handle_beside_others(&self, messages: Vec<Message>, invocation: &Invocation, shared: &Shared<'_>) -> Report {
        let mut batch = Batch::new(self, invocation, shared);
        batch.meter = self.metrics.as_ref().and_then(|_| meter(&messages, self.clock.now()));
        let span = if self.polling.is_some() { Span::default() } else { invoked(&messages, invocation) };
        batch.span = span.clone();
        let report = span.within(batch.run(messages)).await;
        span.ended(Outcome::default);
        if let Some((metrics, meter)) = self.metrics.as_ref().zip(batch.meter) {
            metrics.batch(&meter, &invocation.request_id);
        }
        report
    }
}

/// Starts the span of an invocation. The messages of an invocation are of one queue.
fn invoked(messages: &[Message], invocation: &Invocation) -> Span {
    messages.first().map(|first| Span::invocation(&first.queue, &invocation.request_id, messages.len())).unwrap_or_default()
}

impl Batch<'_> {
    /// Handles all messages and reports their results.
    pub(crate) async fn run(&self, messages: Vec<Message>) -> Report {
        let deliveries: Vec<_> = messages.into_iter().map(|message| Delivery::new(message, self)).collect();
        let mut lanes = lanes(entries(&deliveries));
        let messages = deliveries.iter().map(|delivery| &*delivery.message);
        self.keep_invisible(messages, self.process(&mut lanes)).await;
        self.settle(lanes.iter_mut().flatten().collect()).await
    }

    /// Runs all lanes.
    async fn process(&self, lanes: &mut [Lane<'_>]) {
        let Some(Polling { isolation, invisible_for, .. }) = &self.engine.polling else {
            join_all(lanes.iter_mut().map(|lane| self.lane(lane, Turn::Shared))).await;
            // Each runs alone, so that a job that kills the process affects no other.
            for lane in unsettled(lanes) {
                self.lane(lane, Turn::Alone).boxed().await;
            }
            return;
        };
        // Messages that cannot run soon return to their queue, where other workers find them.
        match isolation.try_read() {
            Ok(_shared) => drop(join_all(lanes.iter_mut().map(|lane| self.lane(lane, Turn::Shared))).await),
            Err(_) => return unsettled(lanes).flatten().for_each(|entry| entry.end(Ending::NotStarted.into())),
        }
        for lane in unsettled(lanes) {
            match timeout(*invisible_for, isolation.write()).await {
                Ok(_alone) => self.lane(lane, Turn::Alone).boxed().await,
                Err(_) => lane.iter_mut().filter(|entry| !entry.is_settled()).for_each(|entry| entry.end(Ending::NotStarted.into())),
            }
        }
    }

    /// Runs the entries of a lane in order. After a returned message, the rest of a FIFO group is held. Stops before a job that must
    /// run alone.
    async fn lane(&self, lane: &mut [Entry<'_>], turn: Turn) {
        let mut held = false;
        for entry in lane.iter_mut().filter(|entry| !entry.is_settled()) {
            let step = if held { Step::Settle(Ending::Held.into()) } else { entry.delivery.process(turn, self).await };
            let Step::Settle(settlement) = step else { return };
            held = is_fifo(&entry.delivery.message.queue) && !matches!(settlement.fate(), Fate::Delete | Fate::DeadLetter);
            entry.end(settlement);
        }
    }
}

fn unsettled<'l, 'd>(lanes: &'l mut [Lane<'d>]) -> impl Iterator<Item = &'l mut Lane<'d>> {
    lanes.iter_mut().filter(|lane| !lane.iter().all(Entry::is_settled))
}

/// Joins deliveries with the same id and job name. A redriven message is joined only with messages that were redriven after the same
/// failed generation, and a workflow only with messages that have the same jobs. A message that cannot be decoded is never joined.
fn entries(deliveries: &[Delivery]) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::with_capacity(deliveries.len());
    let mut places = HashMap::with_capacity(deliveries.len());
    for delivery in deliveries {
        if let Ok(Decoded { request, workflow, .. }) = &delivery.decoded {
            let workflow = workflow.as_ref().map(|workflow| workflow.digest);
            match places.entry((&request.id, &request.name, request.dead, workflow)) {
                Place::Occupied(place) => {
                    let first: &mut Entry<'_> = &mut entries[*place.get()];
                    first.repeats.push(delivery);
                    continue;
                }
                Place::Vacant(place) => drop(place.insert(entries.len())),
            }
        }
        entries.push(Entry::new(delivery));
    }
    entries
}

/// Groups the entries that must run in order: those of a FIFO group, or of one id.
fn lanes(entries: Vec<Entry<'_>>) -> Vec<Lane<'_>> {
    let mut lanes: Vec<Lane<'_>> = Vec::with_capacity(entries.len());
    let mut places = HashMap::with_capacity(entries.len());
    for entry in entries {
        let Delivery { message, id, .. } = entry.delivery;
        let group = message.group.as_deref().filter(|_| is_fifo(&message.queue));
        match *places.entry(group.ok_or(id)).or_insert(lanes.len()) {
            place if place < lanes.len() => lanes[place].push(entry),
            _ => lanes.push(vec![entry]),
        }
    }
    lanes
}
