//! A batch on its way: messages are decoded, run in lanes, and settled.

use std::collections::HashMap;

use futures_util::future::join_all;

use super::{
    batch::Batch,
    decode::{Decoded, Delivery},
    delivery::Step,
    ending::Ended,
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
    /// Takes every message of a batch to its end, and answers.
    pub(crate) async fn handle(&self, messages: Vec<Message>, invocation: &Invocation) -> Report {
        let batch = Batch::new(self, invocation);
        tokio::select! { biased;
            report = batch.run(messages) => report,
            never = batch.ledger.drive() => match never {},
        }
    }
}

impl Batch<'_> {
    /// Takes every message to its end, and answers.
    pub(crate) async fn run(&self, messages: Vec<Message>) -> Report {
        let deliveries: Vec<_> = messages.into_iter().map(|message| Delivery::new(message, self)).collect();
        let firsts = firsts(&deliveries);
        let mut ended: Vec<Option<Ended>> = deliveries.iter().map(|_| None).collect();
        let suspects = self.lanes(lanes(&deliveries, &firsts), &deliveries, &mut ended, false).await;
        // Each alone, so that one that kills the process takes no other along.
        for suspect in suspects {
            self.lanes(vec![suspect], &deliveries, &mut ended, true).await;
        }
        self.settle(&deliveries, &firsts, ended).await
    }

    /// Runs lanes side by side, and notes how their messages ended; gives back what must run alone.
    async fn lanes(&self, lanes: Vec<Lane>, deliveries: &[Delivery], ended: &mut [Option<Ended>], alone: bool) -> Vec<Lane> {
        let mut suspects = Vec::new();
        for (done, rest) in join_all(lanes.into_iter().map(|lane| self.lane(lane, deliveries, alone))).await {
            for (place, how) in done {
                ended[place] = Some(how);
            }
            suspects.extend(rest);
        }
        suspects
    }

    /// Runs messages in order; behind one that comes back, a FIFO group is held. What must run alone is left over.
    async fn lane(&self, lane: Lane, deliveries: &[Delivery], alone: bool) -> (Vec<(usize, Ended)>, Option<Lane>) {
        let mut done = Vec::new();
        let mut held = false;
        for (index, &place) in lane.iter().enumerate() {
            let delivery = &deliveries[place];
            let step = if held { Step::Ended(Ending::Held.into()) } else { delivery.process(alone, self).await };
            let Step::Ended(ended) = step else {
                return (done, Some(lane[index..].to_vec()));
            };
            held = is_fifo(&delivery.message.queue) && !matches!(ended.fate(), Fate::Delete | Fate::DeadLetter);
            done.push((place, ended));
        }
        (done, None)
    }
}

/// For each delivery the place of the first one that asks for the same, mostly itself. What cannot be run stands for
/// nothing else, nor does a job of another name, or one redriven, for the one that has its id.
fn firsts(deliveries: &[Delivery]) -> Vec<usize> {
    let mut first = HashMap::new();
    let place_of_first = |(place, delivery): (usize, &'_ Delivery)| match &delivery.decoded {
        Ok(Decoded { request, .. }) => *first.entry((request.id.clone(), request.name.clone(), request.dead)).or_insert(place),
        Err(_) => place,
    };
    deliveries.iter().enumerate().map(place_of_first).collect()
}

/// Groups the deliveries that must run in order, those of a FIFO group or of one id; one that another stands for is
/// left out.
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
