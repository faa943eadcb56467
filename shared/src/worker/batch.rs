//! A batch: its messages in lanes, the time it has, and what is answered for each message.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, join, join_all};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
};

use super::{
    delivery::{Decoded, Delivery, Ended, Step},
    engine::{Engine, Invocation, Report},
    executor::{GRACE, Task},
    ledger::Ledger,
};
use crate::{
    JobError,
    clock::{after, until},
    job::HOOK,
    letter::letter,
    lifecycle::{Ending, Fate, dead_lettered},
    queue::{MAX_BYTES, Message, Outgoing, Visibility, attribute::ID, is_fifo},
    retry::{free_return, jitter},
    store::{Write, Written},
};

/// How old a message may become before it is sent anew: queues forget after four days unless told otherwise.
const AGE: Duration = Duration::from_hours(48);
/// The least time with which an attempt starts, where its policy sets no timeout.
const LEAST: Duration = Duration::from_secs(1);
/// The longest that a parked message waits for a worker that can run it.
const PARKED: Duration = Duration::from_mins(5);

/// One batch on its way through.
pub(crate) struct Batch<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) invocation: &'a Invocation,
    pub(crate) ledger: Ledger<'a>,
    /// When bodies are asked to stop.
    pub(crate) ask_to_stop_at: Instant,
    /// When bodies are stopped: early enough to record them before the invocation ends.
    pub(crate) stop_at: Instant,
    /// How long a body or a hook has to end after it was stopped.
    pub(crate) grace: Duration,
    /// When the answer must be on its way, whatever is still open.
    answer_by: Instant,
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
        let reserve = (total / 4).clamp(Duration::from_millis(500), Duration::from_secs(3));
        let time = total.saturating_sub(reserve);
        let stop_at = now + time;
        let answer_by = stop_at + reserve * 9 / 10;
        let most = engine.max_concurrency.min(Semaphore::MAX_PERMITS);
        let slots = engine.jobs.all().map(|job| (job.name(), Semaphore::new(job.policy().concurrency.min(most))));
        Self {
            engine,
            invocation,
            ledger: Ledger::new(&*engine.store, stop_at + reserve * 2 / 3),
            ask_to_stop_at: stop_at.checked_sub((time / 10).min(Duration::from_secs(1))).unwrap_or(stop_at),
            stop_at,
            grace: GRACE.min(reserve / 3),
            answer_by,
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
        let suspects = self.lanes(lanes(&deliveries, &firsts), &deliveries, &mut ended, false).await;
        // Each alone, so that one that kills the process takes no other along.
        for suspect in suspects {
            self.lanes(vec![suspect], &deliveries, &mut ended, true).await;
        }
        self.report(&deliveries, &firsts, ended).await
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

    /// A slot to run in, or none if none is free while there is time to start, or the process is about to end.
    pub(crate) async fn slot(&self, decoded: &Decoded) -> Option<SemaphorePermit<'_>> {
        let needed = decoded.policy.timeout.unwrap_or(LEAST).min(self.time * 3 / 4);
        let start_by = self.stop_at.checked_sub(needed)?;
        let slots = self.slots.get(decoded.request.name.as_str())?;
        let slot = timeout_at(start_by, slots.acquire()).await.ok()?.ok()?;
        // A slot that is free is had at any time.
        (Instant::now() < start_by && !self.is_stuck()).then_some(slot)
    }

    pub(crate) fn mark_stuck(&self) {
        self.stuck.store(true, Ordering::SeqCst);
    }

    fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::SeqCst)
    }

    /// Runs a hook where bodies run, if there is time; its failure is logged and changes nothing.
    pub(crate) async fn hook(&self, hook: &'static str, work: BoxFuture<'static, Result<(), JobError>>) {
        // Where a thread is blocked, all may be, and no hook gets one.
        let longest = if self.is_stuck() { self.grace } else { HOOK };
        let end_by = (self.stop_at + self.grace).min(Instant::now() + longest);
        if Instant::now() >= end_by {
            tracing::warn!(hook, "no time is left for a hook");
            return;
        }
        let mut running = Task(self.engine.bodies.spawn(work));
        let error = match timeout_at(end_by, &mut running).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                running.abort();
                if timeout(self.grace, &mut running).await.is_err() {
                    self.mark_stuck();
                }
                "it took too long".to_owned()
            }
        };
        tracing::warn!(hook, error, "a hook failed");
    }

    /// Settles what becomes of each message: dead letters are copied, waits are set, the rest is answered.
    async fn report(&self, deliveries: &[Delivery], firsts: &[usize], ended: Vec<Option<Ended>>) -> Report {
        let mut fates: Vec<_> = ended.iter().map(|ended| ended.as_ref().map_or(Fate::Leave, Ended::fate)).collect();
        let letters: Vec<_> = (0..fates.len()).filter(|&place| fates[place] == Fate::DeadLetter).collect();
        for &place in &letters {
            fates[place] = Fate::Backoff; // until its copy is confirmed
        }
        for place in timeout_at(self.answer_by, self.dead_letter(&letters, deliveries, &ended)).await.unwrap_or_default() {
            fates[place] = Fate::Delete;
        }
        let is_unwritten = ended.iter().flatten().any(|ended| ended.unwritten);
        let mut is_noted = ended.iter().flatten().any(Ended::is_noted) || is_unwritten && self.engine.counter.is_late(Instant::now());
        for (place, &first) in firsts.iter().enumerate() {
            fates[place] = fates[first];
            if place != first && fates[first] == Fate::Delete {
                is_noted |= deliveries[place].repeats(&deliveries[first], self).is_some_and(|ended| ended.is_noted());
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
        // A function that runs none of the messages that it is given would otherwise write nothing of them.
        let told = async {
            if is_noted {
                self.engine.store.flush().await;
            }
        };
        timeout_at(self.answer_by, join(settled, told)).await.ok();
        let back = deliveries.iter().zip(&fates).filter(|(_, fate)| **fate != Fate::Delete);
        Report { failures: back.map(|(delivery, _)| delivery.message.id.clone()).collect(), rejected: rejected(deliveries, &ended), stuck }
    }

    /// Copies messages to the dead-letter queue, then marks their records; gives back those that are done.
    async fn dead_letter(&self, places: &[usize], deliveries: &[Delivery], ended: &[Option<Ended>]) -> Vec<usize> {
        if places.is_empty() {
            return Vec::new();
        }
        let copy = |&place: &usize| {
            let (delivery, ended) = (&deliveries[place], ended[place].as_ref());
            let reason = ended.and_then(|ended| ended.reason.as_ref());
            letter(&delivery.message, &delivery.id, reason, ended.and_then(|ended| ended.record.as_deref()), &self.engine.dlq)
        };
        let copies: Vec<_> = places.iter().map(copy).collect();
        let sent = self.engine.queue.send(&self.engine.dlq, &copies).await;
        let marks = places.iter().zip(sent).map(async |(&place, sent)| {
            if let Err(error) = &sent {
                tracing::error!(id = deliveries[place].id, %error, "cannot copy to the dead-letter queue");
            }
            let record = ended[place].as_ref().and_then(|ended| ended.record.as_ref());
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

    /// Sends messages that have waited for days anew, before their queue forgets them; gives back those that were. Their
    /// order would be lost on a FIFO queue.
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
                Some(Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).clamp(LEAST, self.engine.hop))
            }
            Fate::WaitAndBackoff(at) => {
                Some((until(self.engine.clock.now(), at) + free_return(message.receives, jitter())).clamp(LEAST, self.engine.hop))
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

fn rejected(deliveries: &[Delivery], ended: &[Option<Ended>]) -> Vec<(String, String)> {
    let reasons = deliveries.iter().zip(ended).filter_map(|(delivery, ended)| {
        let ended = ended.as_ref().filter(|ended| matches!(ended.ending, Ending::Rejected | Ending::Foreign))?;
        Some((delivery.message.id.clone(), ended.reason.as_ref()?.message.clone()))
    });
    reasons.collect()
}
