//! Handles a batch: decodes its messages, runs them in lanes, and settles them.

use std::collections::HashMap;

use futures_util::future::join_all;

use super::{
    batch::Batch,
    claim::Turn,
    decode::{Decoded, Delivery},
    delivery::Step,
    ending::Settlement,
    engine::{Engine, Invocation, Report},
};
use crate::{
    lifecycle::{Ending, Fate},
    names::is_fifo,
    queue::Message,
};

/// Messages that run one after the other: those of a FIFO group, or a single one.
type Lane = Vec<usize>;

impl Engine {
    /// Handles all messages of a batch and reports their results.
    pub(crate) async fn handle(&self, messages: Vec<Message>, invocation: &Invocation) -> Report {
        let batch = Batch::new(self, invocation);
        tokio::select! { biased;
            report = batch.run(messages) => report,
            never = batch.ledger.drive() => match never {},
        }
    }
}

impl Batch<'_> {
    /// Handles all messages and reports their results.
    pub(crate) async fn run(&self, messages: Vec<Message>) -> Report {
        let deliveries: Vec<_> = messages.into_iter().map(|message| Delivery::new(message, self)).collect();
        let firsts = firsts(&deliveries);
        let mut settlements: Vec<Option<Settlement>> = deliveries.iter().map(|_| None).collect();
        let suspects = self.lanes(lanes(&deliveries, &firsts), &deliveries, &mut settlements, Turn::Shared).await;
        // Each runs alone, so that a job that kills the process affects no other.
        for suspect in suspects {
            self.lanes(vec![suspect], &deliveries, &mut settlements, Turn::Alone).await;
        }
        self.settle(&deliveries, &firsts, settlements).await
    }

    /// Runs lanes concurrently and stores the endings of their messages. Returns the lanes that must run alone.
    async fn lanes(&self, lanes: Vec<Lane>, deliveries: &[Delivery], settlements: &mut [Option<Settlement>], turn: Turn) -> Vec<Lane> {
        let mut suspects = Vec::new();
        for (done, rest) in join_all(lanes.into_iter().map(|lane| self.lane(lane, deliveries, turn))).await {
            for (place, settlement) in done {
                settlements[place] = Some(settlement);
            }
            suspects.extend(rest);
        }
        suspects
    }

    /// Runs messages in order. After a returned message, the rest of a FIFO group is held. Returns the rest if it must run alone.
    async fn lane(&self, lane: Lane, deliveries: &[Delivery], turn: Turn) -> (Vec<(usize, Settlement)>, Option<Lane>) {
        let mut done = Vec::new();
        let mut held = false;
        for (index, &place) in lane.iter().enumerate() {
            let delivery = &deliveries[place];
            let step = if held { Step::Settle(Ending::Held.into()) } else { delivery.process(turn, self).await };
            let Step::Settle(settlement) = step else {
                return (done, Some(lane[index..].to_vec()));
            };
            held = is_fifo(&delivery.message.queue) && !matches!(settlement.fate(), Fate::Delete | Fate::DeadLetter);
            done.push((place, settlement));
        }
        (done, None)
    }
}

/// Returns, for each delivery, the index of the first delivery of the same job in the batch, usually its own. Undecodable messages,
/// redriven messages and jobs of another name are never treated as duplicates.
fn firsts(deliveries: &[Delivery]) -> Vec<usize> {
    let mut first = HashMap::new();
    let place_of_first = |(place, delivery): (usize, &'_ Delivery)| match &delivery.decoded {
        Ok(Decoded { request, .. }) => *first.entry((request.id.clone(), request.name.clone(), request.dead)).or_insert(place),
        Err(_) => place,
    };
    deliveries.iter().enumerate().map(place_of_first).collect()
}

/// Groups the deliveries that must run in order: those of a FIFO group or of one id. Duplicates are left out.
fn lanes(deliveries: &[Delivery], firsts: &[usize]) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    let mut lane_of = HashMap::new();
    for (place, delivery) in deliveries.iter().enumerate().filter(|(place, _)| firsts[*place] == *place) {
        let group = delivery.message.group.as_deref().filter(|_| is_fifo(&delivery.message.queue));
        match *lane_of.entry(group.ok_or(&delivery.id)).or_insert(lanes.len()) {
            lane if lane < lanes.len() => lanes[lane].push(place),
            _ => lanes.push(vec![place]),
        }
    }
    lanes
}
