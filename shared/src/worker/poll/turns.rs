//! Decides from which queue to receive next, and how many messages.

use std::time::Duration;

use tokio::time::Instant;

use super::QueueOrder;
use crate::{Backoff, retry::jitter};

/// Maximum number of messages of one receive.
const MOST: usize = 10;
/// Time for which a receive waits for a message. A worker that stops waits for its open receives, since messages may be on their way.
pub(super) const WAIT: Duration = Duration::from_secs(10);
/// The same, if other queues may need the slots of the receive.
const SHORT_WAIT: Duration = Duration::from_secs(1);
/// Wait before the next receive from a queue that does not answer.
const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(30));

/// The queues of a worker.
#[derive(Debug)]
pub(super) struct Turns {
    order: QueueOrder,
    queues: Vec<Source>,
    /// In strict order: the queues before it were just found empty.
    cursor: usize,
}

/// A queue.
#[derive(Debug)]
struct Source {
    weight: i64,
    /// Its share of turns that it has not had yet.
    credit: i64,
    /// `true` after a receive without messages.
    is_empty: bool,
    is_open: bool,
    failures: u32,
    retry_at: Option<Instant>,
}

/// The next receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// The place of the queue.
    pub(super) queue: usize,
    pub(super) max: usize,
    pub(super) wait: Duration,
}

impl Turns {
    /// Creates the turns of queues with these weights.
    pub(super) fn new(order: QueueOrder, weights: impl IntoIterator<Item = u32>) -> Self {
        let weight = |weight| if order == QueueOrder::Weighted { i64::from(weight) } else { 1 };
        let source = |own| Source { weight: weight(own), credit: 0, is_empty: true, is_open: false, failures: 0, retry_at: None };
        Self { order, queues: weights.into_iter().map(source).collect(), cursor: 0 }
    }

    /// Opens the next receive, for at most `free` messages. Returns `None` if no queue has a turn.
    pub(super) fn next(&mut self, free: usize, now: Instant) -> Option<Turn> {
        if free == 0 {
            return None;
        }
        let is_ready = |source: &Source| !source.is_open && source.retry_at.is_none_or(|at| at <= now);
        let queue = match self.order {
            // A queue has its turn only while all queues before it have no messages.
            QueueOrder::Strict => {
                let end = self.queues.iter().position(|source| !source.is_empty).map_or(self.queues.len(), |first| first + 1);
                let ready = self.queues[..end].iter().enumerate().filter(|(_, source)| is_ready(source)).map(|(place, _)| place);
                let ready: Vec<_> = ready.collect();
                *ready.iter().find(|place| **place >= self.cursor).or(ready.first())?
            }
            QueueOrder::Weighted | QueueOrder::RoundRobin => self.most_credited(is_ready)?,
        };
        let others = self.queues.iter().enumerate().filter(|(place, source)| *place != queue && is_ready(source));
        let (busy, others) = others.fold((0, 0), |(busy, all), (_, other)| (busy + usize::from(!other.is_empty), all + 1));
        let is_only = self.queues.len() == 1;
        let source = &mut self.queues[queue];
        source.is_open = true;
        // The slots of an open receive are lost to the other queues. A queue that had no messages needs one slot, to find the first.
        let max = if source.is_empty && !is_only { 1 } else { free.min(MOST) };
        let wait = match source.is_empty {
            _ if is_only => WAIT,
            true if free > others => WAIT,
            true if busy == 0 => SHORT_WAIT,
            false if others == 0 => SHORT_WAIT,
            _ => Duration::ZERO,
        };
        Some(Turn { queue, max, wait })
    }

    /// Chooses a queue so that each has turns by its weight, spread evenly.
    fn most_credited(&mut self, is_ready: impl Fn(&Source) -> bool) -> Option<usize> {
        let mut total = 0;
        for source in self.queues.iter_mut().filter(|source| is_ready(source)) {
            source.credit += source.weight;
            total += source.weight;
        }
        let ready = self.queues.iter().enumerate().filter(|(_, source)| is_ready(source));
        let (queue, _) = ready.rev().max_by_key(|(_, source)| source.credit)?;
        self.queues[queue].credit -= total;
        Some(queue)
    }

    /// Notes the number of messages of an answer.
    pub(super) fn answered(&mut self, queue: usize, messages: usize) {
        let source = &mut self.queues[queue];
        *source = Source { is_open: false, is_empty: messages == 0, failures: 0, retry_at: None, ..*source };
        self.cursor = if messages == 0 { self.cursor.max(queue + 1) % self.queues.len() } else { 0 };
    }

    /// Notes that a queue did not answer. Returns the time until its next turn.
    pub(super) fn failed(&mut self, queue: usize, now: Instant) -> Duration {
        let source = &mut self.queues[queue];
        let failures = source.failures.saturating_add(1);
        let wait = BACKOFF.delay(failures, jitter());
        *source = Source { is_open: false, is_empty: true, failures, retry_at: Some(now + wait), ..*source };
        wait
    }

    /// Returns the next instant at which a queue that did not answer has a turn again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.queues.iter().filter(|source| !source.is_open).filter_map(|source| source.retry_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the queues of the first turns, if each queue always has messages.
    fn busy(order: QueueOrder, weights: &[u32], count: usize) -> Vec<usize> {
        let mut turns = Turns::new(order, weights.iter().copied());
        let mut next = || {
            let turn = turns.next(10, Instant::now()).expect("a turn");
            turns.answered(turn.queue, 1);
            turn.queue
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn queues_have_turns_by_their_order_and_weights() {
        assert_eq!(busy(QueueOrder::RoundRobin, &[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(busy(QueueOrder::RoundRobin, &[5, 1], 4), [0, 1, 0, 1], "weights need the order `Weighted`");
        assert_eq!(busy(QueueOrder::Weighted, &[3, 1], 8), [0, 0, 1, 0, 0, 0, 1, 0]);
        assert_eq!(busy(QueueOrder::Strict, &[1, 1], 3), [0, 0, 0]);
    }

    #[test]
    fn in_strict_order_a_queue_waits_until_those_before_it_are_empty() {
        let now = Instant::now();
        let mut turns = Turns::new(QueueOrder::Strict, [1, 1]);
        let first = turns.next(20, now).expect("the first queue");
        turns.answered(first.queue, 3);
        let first = turns.next(20, now).expect("the first queue again");
        assert_eq!((first.queue, turns.next(10, now)), (0, None), "it may have more");
        turns.answered(0, 0);
        let mut open = [turns.next(20, now), turns.next(20, now)].map(|turn| turn.map(|turn| turn.queue));
        open.sort();
        assert_eq!(open, [Some(0), Some(1)], "both are asked");
        turns.answered(0, 1);
        turns.answered(1, 1);
        assert_eq!(turns.next(20, now).map(|turn| turn.queue), Some(0));
        turns.failed(0, now);
        assert_eq!(turns.next(20, now).map(|turn| turn.queue), Some(1), "a queue that does not answer holds up no other");
    }

    #[test]
    fn with_one_slot_in_strict_order_an_empty_queue_keeps_no_other_waiting() {
        let now = Instant::now();
        let mut turns = Turns::new(QueueOrder::Strict, [1, 1, 1]);
        let mut next = |messages| {
            let turn = turns.next(1, now).expect("a turn");
            turns.answered(turn.queue, messages);
            (turn.queue, turn.wait)
        };
        assert_eq!([next(0), next(0), next(1)], [(0, SHORT_WAIT), (1, SHORT_WAIT), (2, SHORT_WAIT)]);
        assert_eq!(
            [next(0), next(0), next(1)],
            [(0, Duration::ZERO), (1, Duration::ZERO), (2, Duration::ZERO)],
            "the last one has messages"
        );
        assert_eq!([next(1), next(1), next(0)].map(|(queue, _)| queue), [0, 0, 0]);
    }

    #[test]
    fn an_idle_queue_holds_few_slots_and_a_busy_one_takes_all() {
        let now = Instant::now();
        let mut turns = Turns::new(QueueOrder::RoundRobin, [1]);
        assert_eq!(turns.next(100, now), Some(Turn { queue: 0, max: 10, wait: WAIT }), "a single queue has all slots");
        assert_eq!(turns.next(90, now), None, "it has one open receive");

        let mut turns = Turns::new(QueueOrder::RoundRobin, [1, 1]);
        assert_eq!(turns.next(4, now), Some(Turn { queue: 0, max: 1, wait: WAIT }));
        assert_eq!(turns.next(3, now), Some(Turn { queue: 1, max: 1, wait: WAIT }));
        turns.answered(0, 1);
        assert_eq!(turns.next(0, now), None, "no slot is free");
        assert_eq!(turns.next(3, now), Some(Turn { queue: 0, max: 3, wait: SHORT_WAIT }), "it had messages");

        let mut turns = Turns::new(QueueOrder::RoundRobin, [1, 1]);
        assert_eq!(turns.next(1, now), Some(Turn { queue: 0, max: 1, wait: SHORT_WAIT }), "the other queue has no slot");
    }

    #[test]
    fn a_queue_that_does_not_answer_is_asked_less_and_less() {
        let mut now = Instant::now();
        let mut turns = Turns::new(QueueOrder::RoundRobin, [1]);
        let mut waits = Vec::new();
        for _ in 0..8 {
            turns.next(1, now).expect("a turn");
            let wait = turns.failed(0, now);
            assert_eq!(turns.next(1, now), None);
            assert_eq!(turns.retry_at(), Some(now + wait));
            now += wait;
            waits.push(wait);
        }
        assert!(
            waits[0] <= Duration::from_secs(1) && waits[7] > Duration::from_secs(5) && waits[7] <= Duration::from_secs(30),
            "{waits:?}"
        );
        turns.next(1, now).expect("a turn");
        turns.answered(0, 0);
        assert_eq!(turns.retry_at(), None);
    }
}
