//! A batch: its messages in lanes, the time it has, and what is answered for each message.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
};

use super::{
    delivery::{Decoded, Delivery, Ended, Step},
    engine::{Engine, Invocation, Report},
    executor::GRACE,
    ledger::Ledger,
};
use crate::{
    JobError,
    client::dedup,
    clock::until,
    lifecycle::{Ending, Fate, dead_lettered},
    queue::{Message, Outgoing, Visibility, is_fifo},
    retry::{free_return, jitter},
    store::{Write, Written},
};

/// The longest a hook may take.
const HOOK: Duration = Duration::from_secs(5);
/// The longest wait by visibility; what must wait longer comes back in between.
const HOP: Duration = Duration::from_mins(15);
/// The least time with which an attempt starts, where its policy sets no timeout.
const LEAST: Duration = Duration::from_secs(1);
/// The longest that a parked message waits for a worker that can run it.
const PARKED: Duration = Duration::from_mins(5);
/// Bytes of a reason that travel in a message attribute.
const REASON: usize = 1000;

/// One batch on its way through.
pub(crate) struct Batch<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) invocation: &'a Invocation,
    pub(crate) ledger: Ledger<'a>,
    /// When bodies are asked to stop.
    pub(crate) ask_to_stop_at: Instant,
    /// When bodies are stopped: early enough to record them before the invocation ends.
    pub(crate) stop_at: Instant,
    time: Duration,
    slots: HashMap<&'static str, Semaphore>,
    stuck: AtomicBool,
}

/// Messages that run one after the other: those of a FIFO group, or a single one.
type Lane = Vec<usize>;

impl<'a> Batch<'a> {
    pub(crate) fn new(engine: &'a Engine, invocation: &'a Invocation) -> Self {
        let now = Instant::now();
        let total = invocation.ends_at.saturating_duration_since(now);
        let reserve = (total / 5).clamp(Duration::from_millis(500), Duration::from_secs(3));
        let time = total.saturating_sub(reserve);
        let stop_at = now + time;
        let slots = engine.jobs.all().map(|job| (job.name(), Semaphore::new(job.policy().concurrency.min(engine.max_concurrency))));
        Self {
            engine,
            invocation,
            ledger: Ledger::new(&*engine.store),
            ask_to_stop_at: stop_at.checked_sub((time / 10).min(Duration::from_secs(1))).unwrap_or(stop_at),
            stop_at,
            time,
            slots: slots.collect(),
            stuck: AtomicBool::new(false),
        }
    }

    /// Takes every message to its end, and answers.
    pub(crate) async fn run(&self, messages: Vec<Message>) -> Report {
        let deliveries: Vec<_> = messages.into_iter().map(|message| Delivery::new(message, self)).collect();
        let firsts = firsts(&deliveries);
        let mut ended: Vec<Option<Ended>> = deliveries.iter().map(|_| None).collect();
        let mut suspects = Vec::new();
        let lanes = lanes(&deliveries, &firsts);
        for (done, rest) in join_all(lanes.into_iter().map(|lane| self.lane(lane, &deliveries, false))).await {
            settle(&mut ended, done);
            suspects.extend(rest);
        }
        // Each alone, so that one that kills the process takes no other along.
        for suspect in suspects {
            let (done, _) = self.lane(suspect, &deliveries, true).await;
            settle(&mut ended, done);
        }
        self.report(&deliveries, &firsts, ended).await
    }

    /// Runs messages in order; behind one that comes back, a FIFO group is held. What must run alone is left over.
    async fn lane(&self, lane: Lane, deliveries: &[Delivery], alone: bool) -> (Vec<(usize, Ended)>, Option<Lane>) {
        let mut done = Vec::new();
        let mut held = false;
        for (index, &place) in lane.iter().enumerate() {
            let delivery = &deliveries[place];
            let ended = match (held, delivery) {
                (true, _) => Ending::Held.into(),
                (false, delivery) => match delivery.process(alone, self).await {
                    Step::Ended(ended) => ended,
                    Step::Suspect => return (done, Some(lane[index..].to_vec())),
                },
            };
            held = is_fifo(&delivery.message.queue) && !matches!(ended.ending.fate(), Fate::Delete | Fate::DeadLetter);
            done.push((place, ended));
        }
        (done, None)
    }

    /// A slot to run in, or none if none is free while there is time to start.
    pub(crate) async fn slot(&self, decoded: &Decoded) -> Option<SemaphorePermit<'_>> {
        let needed = decoded.policy.timeout.unwrap_or(LEAST).min(self.time * 9 / 10);
        let start_by = self.stop_at.checked_sub(needed)?;
        let slots = self.slots.get(decoded.request.name.as_str())?;
        timeout_at(start_by, slots.acquire()).await.ok()?.ok()
    }

    pub(crate) fn mark_stuck(&self) {
        self.stuck.store(true, Ordering::SeqCst);
    }

    /// Runs a hook where bodies run; its failure is logged and changes nothing.
    pub(crate) async fn hook(&self, hook: &'static str, work: BoxFuture<'static, Result<(), JobError>>) {
        let mut running = self.engine.bodies.spawn(work);
        let end_by = (self.stop_at + GRACE).min(Instant::now() + HOOK);
        let error = match timeout_at(end_by, &mut running).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                running.abort();
                if timeout(GRACE, &mut running).await.is_err() {
                    self.mark_stuck();
                }
                "it took too long".to_owned()
            }
        };
        tracing::warn!(hook, error, "a hook failed");
    }

    /// Settles what becomes of each message: dead letters are copied, waits are set, the rest is answered.
    async fn report(&self, deliveries: &[Delivery], firsts: &[usize], ended: Vec<Option<Ended>>) -> Report {
        let mut fates: Vec<_> = ended.iter().map(|ended| ended.as_ref().map_or(Fate::Leave, |ended| ended.ending.fate())).collect();
        let letters: Vec<_> = (0..fates.len()).filter(|&place| fates[place] == Fate::DeadLetter).collect();
        for (place, confirmed) in self.dead_letter(&letters, deliveries, &ended).await {
            fates[place] = if confirmed { Fate::Delete } else { Fate::Backoff };
        }
        for (place, &first) in firsts.iter().enumerate() {
            fates[place] = fates[first];
        }
        self.wait(deliveries, &fates).await;
        let stuck = self.stuck.load(Ordering::SeqCst);
        if stuck {
            self.delete(deliveries, &fates).await;
        }
        let back = deliveries.iter().zip(&fates).filter(|(_, fate)| **fate != Fate::Delete);
        Report { failures: back.map(|(delivery, _)| delivery.message.id.clone()).collect(), rejected: rejected(deliveries, &ended), stuck }
    }

    /// Copies messages to the dead-letter queue, then marks their records; says which are done.
    async fn dead_letter(&self, places: &[usize], deliveries: &[Delivery], ended: &[Option<Ended>]) -> Vec<(usize, bool)> {
        if places.is_empty() {
            return Vec::new();
        }
        let copies: Vec<_> = places.iter().map(|&place| letter(&deliveries[place], ended[place].as_ref(), &self.engine.dlq)).collect();
        let sent = self.engine.queue.send(&self.engine.dlq, &copies).await;
        let marks = places.iter().zip(sent).map(async |(&place, sent)| {
            if let Err(error) = &sent {
                tracing::error!(id = deliveries[place].id, %error, "cannot copy to the dead-letter queue");
            }
            let record = ended[place].as_ref().and_then(|ended| ended.record.as_deref());
            let marked = match record {
                Some(record) if sent.is_ok() => {
                    let write = Write { next: dead_lettered(record), seen: Some(record.version()) };
                    matches!(self.ledger.write(write).await, Ok(Written::Done))
                }
                _ => true,
            };
            (place, sent.is_ok() && marked)
        });
        join_all(marks).await
    }

    /// Sets for how long the returned messages stay invisible: first those held behind another, at once, then the rest.
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
                Some(Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).clamp(LEAST, HOP))
            }
            Fate::Backoff => Some(free_return(message.receives, jitter()).max(LEAST)),
            Fate::LongBackoff => Some((free_return(message.receives, jitter()) * 5).clamp(LEAST, PARKED)),
        }
    }

    /// A refused change is no error of the job: the message comes back with the queue's own timeout.
    pub(crate) async fn set_visibility(&self, queue: &str, changes: &[Visibility]) {
        for error in self.engine.queue.set_visibility(queue, changes).await.into_iter().filter_map(Result::err) {
            tracing::warn!(queue, %error, "cannot set the visibility of a message");
        }
    }

    /// Deletes what is done, since the process will end without an answer.
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

fn settle(ended: &mut [Option<Ended>], done: Vec<(usize, Ended)>) {
    for (place, how) in done {
        ended[place] = Some(how);
    }
}

/// For each delivery the place of the first one of the same job in the batch, mostly itself.
fn firsts(deliveries: &[Delivery]) -> Vec<usize> {
    let mut first = HashMap::new();
    deliveries.iter().enumerate().map(|(place, delivery)| *first.entry(delivery.id.as_str()).or_insert(place)).collect()
}

/// Groups the deliveries that must run in order; one of a job that another one stands for is left out.
fn lanes(deliveries: &[Delivery], firsts: &[usize]) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    let mut groups = HashMap::new();
    for (place, delivery) in deliveries.iter().enumerate().filter(|(place, _)| firsts[*place] == *place) {
        let group = delivery.message.group.as_deref().filter(|_| is_fifo(&delivery.message.queue));
        match group.map(|group| *groups.entry(group).or_insert(lanes.len())) {
            Some(lane) if lane < lanes.len() => lanes[lane].push(place),
            _ => lanes.push(vec![place]),
        }
    }
    lanes
}

fn rejected(deliveries: &[Delivery], ended: &[Option<Ended>]) -> Vec<(String, String)> {
    let reasons = deliveries.iter().zip(ended).filter_map(|(delivery, ended)| {
        let ended = ended.as_ref().filter(|ended| matches!(ended.ending, Ending::Rejected | Ending::Foreign))?;
        Some((delivery.message.id.clone(), ended.reason.as_ref()?.message.clone()))
    });
    reasons.collect()
}

/// The copy of a message for the dead-letter queue, with the reason; cut, then omitted, where the body leaves no room.
fn letter(delivery: &Delivery, ended: Option<&Ended>, dlq: &str) -> Outgoing {
    let reason = ended.and_then(|ended| ended.reason.clone()).unwrap_or_default();
    let record = ended.and_then(|ended| ended.record.as_deref());
    let message = &delivery.message;
    let mut copy = Outgoing::new(if message.body.is_empty() { " " } else { &message.body });
    copy.attributes =
        message.attributes.iter().filter(|(name, _)| !name.starts_with("sqjobs.")).take(6).map(|(n, v)| (n.clone(), v.clone())).collect();
    copy.attributes.insert("sqjobs.kind".into(), reason.kind);
    if delivery.id.len() <= REASON {
        copy.attributes.insert("sqjobs.id".into(), delivery.id.clone());
    }
    if let Some(record) = record {
        copy.attributes.insert("sqjobs.dead".into(), record.generation.to_string());
    }
    copy.fit_attribute("sqjobs.reason", &printable(&reason.message), REASON);
    if is_fifo(dlq) {
        copy.group = Some(message.group.clone().unwrap_or_else(|| delivery.id.chars().take(128).collect()));
        copy.dedup = Some(dedup(&format!("{}:{}", delivery.id, record.map_or(0, |record| record.generation))));
    }
    copy
}

/// SQS takes no control characters in attributes.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}
