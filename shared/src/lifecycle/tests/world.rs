//! A small world: one job, a table, a queue that delivers anything at any time, and three workers that are also the beater and the client.
//! Their clocks differ, their answers are lost, their writes arrive late and twice, and they crash. Events come in random order, and each
//! change of the record is checked.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::Index};

use super::*;

const WORKERS: usize = 3;
/// The beater sends jobs to the queue that are due within this time.
const LOOK_AHEAD: Duration = Duration::from_mins(1);

/// The next event. It affects one of the workers for which it is possible.
#[derive(Debug, Clone)]
enum Event {
    /// The time advances by that many milliseconds.
    Pass(i64),
    /// The time advances to that many milliseconds after the end of the lease, or before it.
    PassLease(i64),
    /// The time advances to that many milliseconds after the job's run time, or before it.
    PassDue(i64),
    /// A message reaches a worker, which decides and sends a write.
    Deliver(Index, Index),
    /// A write in transit reaches the table.
    Arrive(Index),
    /// A worker reads the record to find out if its write was made.
    Look(Index),
    /// Any write that was ever sent reaches the table, maybe for the second time.
    Stray(Index),
    Renew(Index),
    End(Index, How),
    Crash(Index),
    /// The job is cancelled, is moved to that many seconds from now, or its message is sent from the due index.
    Cancel(Index),
    Move(Index, u64),
    Beat(Index),
    /// A beater repairs jobs whose message is gone.
    Repair(Index),
    /// SQS moves a message to the dead-letter queue, and a beater finds a moved one.
    Fuse(Index),
    Explain(Index, Index),
    /// A copy in the dead-letter queue is sent back.
    Redrive(Index),
}

#[derive(Debug, Clone)]
enum How {
    Success,
    Asks(FollowUp),
}

struct RandomWorld {
    policy: Policy,
    request: Request,
    now: i64,
    table: Table,
    sent: Vec<Sent>,
    workers: Vec<Worker>,
    messages: Vec<Message>,
    /// The generations of the copies in the dead-letter queue.
    copies: Vec<u64>,
    /// The ending of each generation since the last redrive.
    spent: BTreeMap<u64, Spent>,
    tokens: usize,
}

/// A write that was sent, and the attempt that sent it.
struct Sent {
    write: Write,
    attempt: Option<String>,
    dead: Option<u64>,
    made: bool,
}

#[derive(Default)]
struct Message {
    dead: Option<u64>,
    deleted: bool,
    /// `true` if SQS has moved the message to the dead-letter queue.
    moved: bool,
}

/// A worker whose clock differs by `skew` milliseconds.
#[derive(Default)]
struct Worker {
    skew: i64,
    attempt: Option<Attempt>,
    under_way: Option<UnderWay>,
}

/// An attempt from the view of its worker. The lease counts from the send of the request that granted it.
#[derive(Clone)]
struct Attempt {
    message: usize,
    record: Record,
    held_until: i64,
    body: bool,
}

#[derive(Clone)]
struct UnderWay {
    sent: usize,
    asked: i64,
    then: Then,
}

/// The action of a worker once its write is confirmed.
#[derive(Clone)]
enum Then {
    Run(usize),
    Renewed,
    Settle(usize, Ending),
    Filed(usize),
    Marked(usize),
    Moved,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Spent {
    Running,
    Failed,
    Killed,
    GivenBack,
    Returned,
    Ended,
}

impl RandomWorld {
    fn new(policy: Policy, [run_at, expires_at]: [Option<u64>; 2], skews: [i64; WORKERS]) -> Self {
        let instant = |seconds: u64| after(at(0), secs(seconds));
        Self {
            policy,
            request: Request { run_at: run_at.map(instant), expires_at: expires_at.map(instant), ..request() },
            now: 0,
            table: Table::default(),
            sent: Vec::new(),
            workers: skews.map(|skew| Worker { skew, ..Worker::default() }).into(),
            messages: vec![Message::default()],
            copies: Vec::new(),
            spent: BTreeMap::new(),
            tokens: 0,
        }
    }

    /// Runs an event. If `answered`, the write that it sends arrives at once and gets an answer.
    fn happens(&mut self, event: &Event, answered: bool) {
        let idle = |worker: &Worker| worker.attempt.is_none() && worker.under_way.is_none();
        let asks = |worker: &Worker| worker.under_way.is_some();
        let runs = |worker: &Worker| worker.attempt.is_some() && worker.under_way.is_none();
        let who = match event {
            Event::Pass(_) | Event::PassLease(_) | Event::PassDue(_) | Event::Stray(_) | Event::Redrive(_) | Event::Fuse(_) => {
                self.passes(event)
            }
            Event::Deliver(who, which) => self.one(*who, idle, |world, who| world.deliver(who, which.index(world.messages.len()))),
            Event::Arrive(who) => self.one(*who, asks, Self::arrive),
            Event::Look(who) => self.one(*who, asks, Self::look),
            Event::Renew(who) => self.one(*who, runs, Self::renew),
            Event::End(who, how) => self.one(*who, runs, |world, who| world.end(who, how)),
            Event::Crash(who) => self.one(*who, |_| true, Self::crash),
            Event::Cancel(who) => self.one(*who, idle, Self::cancel),
            Event::Move(who, wait) => self.one(*who, idle, |world, who| world.shift(who, *wait)),
            Event::Beat(who) => self.one(*who, idle, Self::beat),
            Event::Repair(who) => self.one(*who, idle, Self::repair),
            Event::Explain(who, which) => self.one(*who, idle, |world, who| world.explain(who, which.index(world.messages.len()))),
        };
        if answered && let Some(who) = who {
            self.answer(who);
        }
        self.one_runner();
        self.no_loss();
    }

    /// Runs an event that involves no worker.
    fn passes(&mut self, event: &Event) -> Option<usize> {
        match event {
            Event::Pass(millis) => self.now += millis,
            Event::PassLease(offset) => self.pass_to(|stands| stands.lease_until, *offset),
            Event::PassDue(offset) => self.pass_to(|stands| Some(stands.run_at?.as_millisecond()), *offset),
            Event::Stray(which) if !self.sent.is_empty() => self.reach(which.index(self.sent.len())),
            Event::Redrive(which) if !self.copies.is_empty() => {
                let dead = Some(self.copies[which.index(self.copies.len())]);
                self.messages.push(Message { dead, ..Message::default() });
            }
            Event::Fuse(which) => {
                let which = which.index(self.messages.len());
                self.messages[which].moved = true;
            }
            _ => {}
        }
        None
    }

    /// Runs an event with one of the workers for which it is possible.
    fn one(&mut self, who: Index, can: impl Fn(&Worker) -> bool, it: impl FnOnce(&mut Self, usize)) -> Option<usize> {
        let who_can: Vec<_> = (0..WORKERS).filter(|who| can(&self.workers[*who])).collect();
        let who = (!who_can.is_empty()).then(|| who_can[who.index(who_can.len())])?;
        it(self, who);
        Some(who)
    }

    fn clock(&self, who: usize) -> Timestamp {
        ms(self.now + self.workers[who].skew)
    }

    fn token(&mut self) -> String {
        self.tokens += 1;
        format!("token-{}", self.tokens)
    }

    fn pass_to(&mut self, until: impl Fn(&Record) -> Option<i64>, offset: i64) {
        let until = self.table.0.as_ref().and_then(until);
        let there = until.map_or(self.now, |until| until - ms(0).as_millisecond() + offset);
        self.now = self.now.max(there);
    }

    fn send(&mut self, who: usize, next: Record, then: Then, dead: Option<u64>) {
        let seen = match (&then, &self.workers[who].attempt) {
            (Then::Renewed | Then::Settle(..), Some(attempt)) => Some(&attempt.record),
            _ => self.table.0.as_ref(),
        };
        let write = write(seen, next);
        let attempt = self.workers[who].attempt.as_ref().and_then(|attempt| attempt.record.owner.clone());
        self.sent.push(Sent { write, attempt, dead, made: false });
        self.workers[who].under_way = Some(UnderWay { sent: self.sent.len() - 1, asked: self.now, then });
    }

    fn deliver(&mut self, who: usize, which: usize) {
        if self.messages[which].deleted || self.messages[which].moved {
            return;
        }
        let request = Request { dead: self.messages[which].dead, ..self.request.clone() };
        let claim = claim(&self.token());
        let stands = self.table.0.clone();
        match decide(stands.as_ref(), &request, &self.policy, &claim, self.clock(who)) {
            Decision::Run { next, .. } => self.send(who, *next, Then::Run(which), request.dead),
            Decision::End { next, ending: Ending::Early(_) } => self.send(who, *next, Then::Filed(which), request.dead),
            Decision::End { next, ending } => self.send(who, *next, Then::Settle(which, ending), request.dead),
            Decision::Leave(Ending::Failed) => self.dead_letter(who, which, &stands.expect("it has failed")),
            Decision::Leave(Ending::Early(_)) if stands.is_some_and(|stands| is_filed(&stands, self.clock(who))) => {
                self.messages[which].deleted = true;
            }
            Decision::Leave(ending) => self.messages[which].deleted = ending.fate() == Fate::Delete,
        }
    }

    fn dead_letter(&mut self, who: usize, which: usize, failed: &Record) {
        self.copies.push(failed.generation);
        self.send(who, dead_lettered(failed), Then::Marked(which), None);
        self.sent.last_mut().expect("just sent").write.seen = Some(failed.clone().into());
    }

    fn renew(&mut self, who: usize) {
        let now = self.clock(who);
        if let Some(attempt) = self.held(who) {
            self.send(who, renewed(&attempt.record, LEASE, now), Then::Renewed, None);
        }
    }

    fn end(&mut self, who: usize, how: &How) {
        let now = self.clock(who);
        let Some(attempt) = self.held(who) else { return };
        let outcome = match how {
            How::Success => Outcome::Success("done".into()),
            How::Asks(next) => Outcome::Failure(failure("error"), *next),
        };
        let (next, ending) = finish(&attempt.record, outcome, &self.policy, 0.5, now);
        let next = put_off(next, &self.request, &self.policy, now);
        self.workers[who].attempt = Some(Attempt { body: false, ..attempt.clone() });
        self.send(who, next, Then::Settle(attempt.message, ending), None);
    }

    /// Returns the attempt of a worker, and drops it if its lease is over.
    fn held(&mut self, who: usize) -> Option<Attempt> {
        let worker = &mut self.workers[who];
        let held = worker.attempt.take().filter(|attempt| self.now < attempt.held_until);
        worker.attempt.clone_from(&held);
        held
    }

    fn crash(&mut self, who: usize) {
        self.workers[who] = Worker { skew: self.workers[who].skew, ..Worker::default() };
    }

    fn cancel(&mut self, who: usize) {
        let stands = self.table.0.clone();
        let asked = stands.as_ref().is_some_and(|stands| stands.cancel_requested);
        if !asked && let Some(next) = cancel(stands.as_ref(), &self.request, &self.policy, self.clock(who)) {
            self.send(who, next, Then::Nothing, None);
        }
    }

    fn shift(&mut self, who: usize, wait: u64) {
        let waits = self.table.0.clone().filter(|stands| stands.state != State::Running && !stands.state.is_terminal());
        if waits.is_some() {
            let (token, run_at) = (self.token(), after(self.clock(who), secs(wait)));
            self.send(who, filed_as(&token, waits.as_ref(), run_at), Then::Moved, None);
        }
    }

    fn beat(&mut self, who: usize) {
        let soon = Some(after(self.clock(who), LOOK_AHEAD));
        let due = self.table.0.clone().filter(|stands| stands.state == State::Scheduled && stands.run_at <= soon);
        if let Some(due) = due {
            self.messages.push(Message::default());
            self.send(who, sent(&due), Then::Nothing, None);
        }
    }

    fn repair(&mut self, who: usize) {
        let (token, expires_at) = (self.token(), self.request.expires_at);
        let stands = self.table.0.clone();
        match stands.map(|stands| repair(&stands, expires_at, &token, self.clock(who))) {
            Some(Repair::Write(next)) => self.send(who, *next, Then::Moved, None),
            Some(Repair::Send) => self.messages.push(Message::default()),
            Some(Repair::Nothing | Repair::Dependencies | Repair::Overdue) | None => {}
        }
    }

    /// Adds the reason to a message that SQS has moved, or deletes it.
    fn explain(&mut self, who: usize, which: usize) {
        if self.messages[which].deleted || !self.messages[which].moved {
            return;
        }
        let request = Request { dead: self.messages[which].dead, ..self.request.clone() };
        let stands = self.table.0.clone();
        let token = self.token();
        match abandoned(stands.as_ref(), &request, None, &token, self.clock(who)) {
            Abandoned::Delete => self.messages[which].deleted = true,
            Abandoned::Leave => {}
            Abandoned::Explain(_) => self.dead_letter(who, which, &stands.expect("it has failed")),
            Abandoned::End(next) => {
                let ending = if next.state == State::Failed { Ending::Failed } else { Ending::Cancelled };
                self.send(who, *next, Then::Settle(which, ending), None);
            }
        }
    }

    fn arrive(&mut self, who: usize) {
        if let Some(under_way) = &self.workers[who].under_way {
            self.reach(under_way.sent);
        }
    }

    /// Applies a write to the table.
    fn reach(&mut self, which: usize) {
        let before = self.table.0.clone();
        let sent = &mut self.sent[which];
        if self.table.make(&sent.write) {
            assert!(!sent.made, "a write that came again was made again: {:?} over {before:?}", sent.write);
            sent.made = true;
            let (attempt, dead) = (sent.attempt.clone(), sent.dead);
            let stands = sent.write.next.clone();
            fenced(before.as_ref(), attempt.as_deref());
            self.judge(before.as_ref(), &stands, dead);
        }
    }

    /// Resolves a write of a worker from the record. A write that was not made is sent again later.
    fn look(&mut self, who: usize) {
        let Some(under_way) = self.workers[who].under_way.clone() else { return };
        let sent = &self.sent[under_way.sent];
        match self.table.resolve(&sent.write) {
            Resolution::Open => {}
            Resolution::Ours => {
                let shared = matches!(under_way.then, Then::Nothing | Then::Marked(_));
                assert!(sent.made || shared, "a write was taken for made: {:?}", sent.write);
                self.confirmed(who, &under_way);
            }
            Resolution::Refused(stored) => {
                self.workers[who].under_way = None;
                self.refused(who, &under_way, stored.map(|stored| *stored));
            }
        }
    }

    fn confirmed(&mut self, who: usize, under_way: &UnderWay) {
        let next = Record::clone(&self.sent[under_way.sent].write.next);
        let held_until = under_way.asked + i64::try_from(LEASE.as_millis()).expect("small");
        let worker = &mut self.workers[who];
        worker.under_way = None;
        match (&under_way.then, &mut worker.attempt) {
            (Then::Run(message), attempt) => *attempt = Some(Attempt { message: *message, record: next, held_until, body: true }),
            (Then::Renewed, Some(attempt)) => *attempt = Attempt { record: next, held_until, ..attempt.clone() },
            (Then::Settle(message, _), attempt) if next.state == State::Scheduled => {
                *attempt = None;
                self.messages[*message].deleted = true;
            }
            (Then::Settle(message, ending), attempt) => {
                *attempt = None;
                match ending.fate() {
                    Fate::Delete => self.messages[*message].deleted = true,
                    Fate::DeadLetter => self.dead_letter(who, *message, &next),
                    Fate::Wait(_) | Fate::WaitAndBackoff(_) | Fate::Now | Fate::Backoff | Fate::LongBackoff | Fate::Leave => {}
                }
            }
            (Then::Filed(message) | Then::Marked(message), _) => self.messages[*message].deleted = true,
            (Then::Renewed, None) | (Then::Moved | Then::Nothing, _) => {}
        }
    }

    /// Handles a refused write: a request to cancel came first, or the lease is lost.
    fn refused(&mut self, who: usize, under_way: &UnderWay, stored: Option<Record>) {
        let Some(attempt) = self.workers[who].attempt.take() else { return };
        let is_own = |stored: &Record| stored.state == State::Running && stored.owner == attempt.record.owner;
        if let Some(stored) = stored.filter(is_own) {
            let body = attempt.body && matches!(under_way.then, Then::Renewed);
            self.workers[who].attempt = Some(Attempt { record: stored, body, ..attempt });
        }
    }

    /// Checks a change of the record.
    fn judge(&mut self, before: Option<&Record>, after: &Record, dead: Option<u64>) {
        assert_shape(after);
        let generation = before.map_or(0, |before| before.generation);
        let claimed = after.state == State::Running && after.owner != before.and_then(|before| before.owner.clone());
        assert_eq!(after.generation, generation + u64::from(claimed), "generations are the numbers of claims");
        match before {
            Some(before) if before.state.is_terminal() => self.reopened(before, after, dead),
            Some(before) if before.state == State::Running && (claimed || after.state != State::Running) => {
                self.spent.insert(generation, spent(before, after));
                remembered(before, after, self.spent[&generation]);
                let heeded = matches!(after.state, State::Succeeded | State::Cancelled);
                assert!(heeded || !before.cancel_requested, "it was called off: {after:?}");
            }
            Some(before) if before.state == State::Scheduled && after.state == State::Queued => {
                assert_eq!(*after, sent(before), "a mark undoes no move");
            }
            _ => {}
        }
        if claimed {
            self.spent.insert(after.generation, Spent::Running);
        }
        self.bounded(after);
    }

    /// Checks the change of a terminal record. Only the mark of its dead letter or a redrive of the failed generation may change it.
    fn reopened(&mut self, before: &Record, after: &Record, dead: Option<u64>) {
        if *after == dead_lettered(before) && before.dlq == Some(Dlq::Pending) {
            return;
        }
        assert_eq!(before.state, State::Failed, "what is terminal stays: {after:?}");
        assert_eq!(Some(before.generation), dead, "what is terminal stays: {after:?}");
        self.spent.clear();
    }

    fn bounded(&self, record: &Record) {
        let count = |which: &dyn Fn(Spent) -> bool| u32::try_from(self.spent.values().filter(|spent| which(**spent)).count()).ok();
        let failed = count(&|spent| matches!(spent, Spent::Failed | Spent::Killed));
        assert!(failed <= Some(record.max_attempts), "attempts that failed or were killed: {:?}", self.spent);
        assert_eq!(
            Some(record.attempts),
            count(&|spent| !matches!(spent, Spent::GivenBack | Spent::Returned)),
            "honest attempts: {:?}",
            self.spent
        );
        assert_eq!(Some(record.runs), count(&|spent| spent != Spent::Returned));
        assert!(record.runs <= self.policy.max_runs && record.snoozes <= self.policy.max_snoozes);
    }

    fn one_runner(&self) {
        let attempts = self.workers.iter().filter_map(|worker| worker.attempt.as_ref());
        let runners = attempts.filter(|attempt| attempt.body && self.now < attempt.held_until).count();
        assert!(runners <= 1, "{runners} valid leases at {}", self.now);
    }

    /// Checks that an unfinished job has a message, or a record from which one will be sent.
    fn no_loss(&self) {
        let done = |stands: &Record| match stands.state {
            State::Scheduled => stands.due.is_some(),
            // A beater sends its message.
            State::Running | State::Queued | State::Retrying => stands.envelope.is_some(),
            State::Failed if stands.dlq == Some(Dlq::Pending) => stands.envelope.is_some(),
            state => state.is_terminal() && stands.dlq != Some(Dlq::Pending),
        };
        let waits = self.messages.iter().any(|message| !message.deleted);
        assert!(waits || self.table.0.as_ref().is_some_and(done), "nothing will finish {:?}", self.table.0);
    }

    /// Stops the faults: one worker continues, and all its requests arrive.
    fn calms_down(&mut self) {
        (0..WORKERS).for_each(|who| self.crash(who));
        for _ in 0..60 {
            self.now += 3_600_000;
            self.beat(0);
            self.answer(0);
            self.repair(0);
            self.answer(0);
            for which in 0..self.messages.len() {
                self.explain(0, which);
                self.answer(0);
                self.answer(0);
                self.deliver(0, which);
                self.answer(0);
                self.end(0, &How::Success);
                self.answer(0);
                self.answer(0);
                self.no_loss();
            }
        }
    }

    fn answer(&mut self, who: usize) {
        self.arrive(who);
        self.look(who);
    }
}

/// Checks that a write of an attempt was made only while that attempt held the job.
fn fenced(before: Option<&Record>, attempt: Option<&str>) {
    if let (Some(owner), Some(before)) = (attempt, before) {
        assert_eq!(before.owner.as_deref(), Some(owner), "fencing");
        assert_eq!(before.state, State::Running, "fencing");
    }
}

fn spent(before: &Record, after: &Record) -> Spent {
    match after.state {
        _ if after.owner != before.owner => Spent::Killed,
        State::Retrying | State::Failed => Spent::Failed,
        State::Queued if after.runs < before.runs => Spent::Returned,
        State::Scheduled if after.attempts == before.attempts => Spent::Failed,
        State::Queued | State::Scheduled => Spent::GivenBack,
        State::Succeeded | State::Cancelled => Spent::Ended,
        State::Running | State::Blocked | State::Expired => panic!("no way for an attempt to end: {after:?}"),
    }
}

/// Checks that the history contains the failed and killed attempts under their generations, and nothing else.
fn remembered(before: &Record, after: &Record, spent: Spent) {
    match spent {
        Spent::Failed | Spent::Killed => assert_eq!(after.history.last().map(|past| past.generation), Some(before.generation)),
        Spent::Running | Spent::GivenBack | Spent::Returned | Spent::Ended => assert_eq!(after.history, before.history),
    }
}

fn assert_shape(record: &Record) {
    let state = record.state;
    assert!(record.history.len() <= 10);
    assert_eq!(record.lease_until.is_some(), state == State::Running, "{record:?}");
    assert_eq!(record.dlq.is_some(), state == State::Failed, "{record:?}");
    assert_eq!(record.due.is_some(), state == State::Scheduled, "{record:?}");
    assert!(state != State::Scheduled || record.envelope.is_some() && record.run_at.is_some(), "{record:?}");
    assert_eq!(record.finished_at.is_some(), state.is_terminal(), "{record:?}");
    let purge_at = record.finished_at.map(|finished| finished.as_second() + REMEMBERED);
    assert_eq!(record.purge_at.is_some(), purge_at.is_some(), "remembered in a terminal state, and only there");
    assert!(record.purge_at >= purge_at, "remembered for long enough");
}

fn how() -> impl Strategy<Value = How> {
    let waits = prop_oneof![0_u64..100, 0_u64..5000];
    prop_oneof![
        1 => Just(How::Success),
        20 => prop::option::of(waits.clone()).prop_map(|wait| How::Asks(FollowUp::Retry(wait.map(secs)))),
        1 => Just(How::Asks(FollowUp::GiveUp)),
        6 => waits.prop_map(|wait| How::Asks(FollowUp::Snooze(secs(wait)))),
        1 => Just(How::Asks(FollowUp::Cancel)),
        6 => Just(How::Asks(FollowUp::Resume)),
        2 => Just(How::Asks(FollowUp::Return)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let any = any::<Index>;
    prop_oneof![
        60 => (any(), any()).prop_map(|(who, which)| Event::Deliver(who, which)),
        40 => (any(), how()).prop_map(|(who, how)| Event::End(who, how)),
        10 => any().prop_map(Event::Renew),
        20 => any().prop_map(Event::Arrive),
        20 => any().prop_map(Event::Look),
        12 => any().prop_map(Event::Stray),
        4 => any().prop_map(Event::Crash),
        10 => any().prop_map(Event::Beat),
        2 => any().prop_map(Event::Repair),
        1 => any().prop_map(Event::Fuse),
        4 => (any(), any()).prop_map(|(who, which)| Event::Explain(who, which)),
        4 => (any(), 0_u64..5000).prop_map(|(who, wait)| Event::Move(who, wait)),
        1 => any().prop_map(Event::Cancel),
        6 => any().prop_map(Event::Redrive),
        12 => (0_i64..3000).prop_map(Event::Pass),
        1 => (0_i64..100_000).prop_map(Event::Pass),
        12 => (-6000_i64..9000).prop_map(Event::PassLease),
        50 => (-2000_i64..5000).prop_map(Event::PassDue),
    ]
}

fn policies() -> impl Strategy<Value = Policy> {
    let backoff = Backoff::exponential(secs(10), secs(3000));
    let caps = prop_oneof![(1_u32..4, 1_u32..10, 0_u32..3), (10_u32..30, 10_u32..60, 3_u32..20)];
    caps.prop_map(move |(attempts, runs, snoozes)| policy().backoff(backoff).max_attempts(attempts).max_runs(runs).max_snoozes(snoozes))
}

fn worlds() -> impl Strategy<Value = RandomWorld> {
    let skew = || -2000_i64..=2000;
    let times = [prop::option::weighted(0.3, 0_u64..5000), prop::option::weighted(0.1, 0_u64..5000)];
    (policies(), times, [skew(), skew(), skew()]).prop_map(|(policy, times, skews)| RandomWorld::new(policy, times, skews))
}

impl std::fmt::Debug for RandomWorld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let skews: Vec<_> = self.workers.iter().map(|worker| worker.skew).collect();
        write!(f, "{:?}, due {:?} to {:?}, skews {skews:?}", self.policy, self.request.run_at, self.request.expires_at)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn no_order_of_events_breaks_a_guarantee_and_every_job_ends(
        mut world in worlds(),
        events in prop::collection::vec((event(), prop::bool::weighted(0.7)), 0..200),
    ) {
        for (event, answered) in &events {
            world.happens(event, *answered);
        }
        world.calms_down();
        let stands = world.table.0.expect("it was claimed");
        prop_assert!(stands.state.is_terminal() && stands.dlq != Some(Dlq::Pending), "still {stands:?}");
    }
}
