//! The possible events and their effects.

use std::sync::Arc;

use futures_util::future::FutureExt;
use serde_json::Value;

use super::{
    port::{Answer, PART, Request},
    process::{Kind, Known, Process, Replays, Step},
    world::{Ghost, Row, Sent, World, index},
    *,
};
use crate::{Clock, Enqueue, Envelope, Keys, Record, State, queue::Message, record::Dependencies, store::Written, worker::Local};

/// The maximum number of strays to keep.
const STRAYS: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Event {
    /// A worker that knows the job gets this message.
    Deliver(u8),
    /// A worker that does not know the job gets this message.
    Reject(u8),
    /// The next request of a process is made, and answered.
    Arrive(usize),
    /// The body of a job ends.
    Run(usize, How),
    /// The next request of a process is made, but its answer is lost.
    Lose(usize),
    /// A process ends.
    End(usize),
    Crash(usize),
    /// A process dies, and its next request is made later.
    CrashAsking(usize),
    Stray(usize),
    Fuse(u8),
    Explain(u8),
    Beat(&'static str),
    Scan(&'static str),
    Cancel(&'static str),
    Retry(&'static str),
    /// Time passes.
    Leap,
}

/// The bounds of a world, and the rule that is broken in it.
#[derive(Clone)]
pub(super) struct Laws {
    pub(super) bounds: Bounds,
    pub(super) mutation: Option<Mutation>,
    pub(super) replays: Arc<Replays>,
    /// For each examined state, the property that fails once the faults stop.
    pub(super) calms: Arc<Known<Option<Property>>>,
}

impl Laws {
    pub(super) fn new(bounds: Bounds, mutation: Option<Mutation>) -> Self {
        Self { bounds, mutation, replays: Arc::default(), calms: Arc::default() }
    }

    pub(super) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Returns a job as its producer enqueues it.
    pub(super) fn job(&self, id: &str) -> Enqueue {
        let Bounds { when, otherwise, recorded, fifo, has_node, max_blocked, .. } = self.bounds;
        let job = Enqueue::named(NAME, Value::Null).id(id);
        let job = if recorded { job.recorded() } else { job };
        let job = if fifo { job.queue("probe.fifo").group("group") } else { job };
        if self.bounds.has_key {
            return job.keys(Keys::new().limit(KEY.split_once(PART).expect("the id of a key").0, 1));
        }
        if id == A {
            return job;
        }
        job.after([if has_node { NODE } else { A }]).when(when).otherwise(otherwise).max_blocked(Duration::from_mins(max_blocked))
    }

    /// Returns a job as its first message names it: a workflow also sends A the ids that A tells of its end.
    fn first_job(&self, id: &str) -> Enqueue {
        let job = self.job(id);
        if id == A && self.bounds.has_node { job.with(|envelope| envelope.dependents = vec![NODE.into()]) } else { job }
    }

    /// Returns the node as a workflow writes it, before it sends the message of A.
    fn node(&self) -> Record {
        let Bounds { when, otherwise, .. } = self.bounds;
        Record {
            id: NODE.into(),
            state: State::Blocked,
            enqueued_at: Some(minute(0)),
            dependencies: Some(Box::new(Dependencies { ids: vec![A.into()], when, otherwise, ..Dependencies::default() })),
            blocked_on: [A.to_owned()].into(),
            dependents: [B.to_owned()].into(),
            ..Record::default()
        }
    }

    pub(super) fn start(&self) -> World {
        let local = Local::new(Clock::frozen(minute(0)));
        let ids = if self.bounds.has_a { [A, B].as_slice() } else { &[B] };
        let mut world = World {
            now: 0,
            rows: [].into(),
            phantoms: Vec::new(),
            messages: Vec::new(),
            remembered: Vec::new(),
            processes: Vec::new(),
            strays: Vec::new(),
            ghost: Ghost::default(),
            left: self.bounds.budget,
            broken: None,
        };
        for id in ids {
            let enqueued = local.client().enqueue_one(self.first_job(id)).now_or_never().expect("memory answers at once");
            enqueued.expect("it is enqueued");
        }
        for queue in local.queue.names() {
            for message in local.queue.messages(&queue) {
                world.send(Message { sent_at: Some(minute(0)), ..message }, None);
            }
        }
        let records = local.store.records().into_iter().chain(self.bounds.has_node.then(|| self.node()));
        world.rows.extend(records.map(|record| (record.id.clone(), Row::new(Arc::new(record)))));
        for id in self.bounds.first {
            let number = world.messages.iter().find(|sent| sent.id == *id).map(|sent| sent.number);
            self.to_the_end(&mut world, Event::Deliver(number.expect("it is enqueued")));
        }
        world
    }

    /// Returns all events that are possible next.
    pub(super) fn events(&self, world: &World) -> Vec<Event> {
        let left = world.left;
        // No other process sees the end of a body or the deletion of a message that it does not have. So their order among the events of
        // others makes no difference.
        let is_local = |process: &Arc<Process>| match &*process.step {
            _ if process.is_due => false,
            Step::Asks(Request::Run(_)) => true,
            Step::Ends { .. } => left.doubles == 0,
            Step::Asks(_) => false,
        };
        let alone = world.processes.iter().position(is_local);
        let mut events = Vec::new();
        for (who, process) in world.processes.iter().enumerate().filter(|(who, _)| alone.is_none_or(|alone| alone == *who)) {
            events.extend((left.crashes > 0).then_some(Event::Crash(who)));
            match &*process.step {
                _ if process.is_due => events.push(Event::Arrive(who)),
                Step::Ends { .. } => events.push(Event::End(who)),
                Step::Asks(Request::Run(id)) => {
                    let results = if id == A { self.bounds.results } else { &[How::Succeeds] };
                    events.extend(results.iter().map(|how| Event::Run(who, *how)));
                }
                Step::Asks(request) => {
                    events.push(Event::Arrive(who));
                    let can_change = matches!(request, Request::Write(_) | Request::Link(_) | Request::Send(..));
                    events.extend((can_change && left.losses > 0).then_some(Event::Lose(who)));
                    let can_stray = can_change && left.crashes > 0 && left.strays > 0 && world.strays.len() < STRAYS;
                    events.extend(can_stray.then_some(Event::CrashAsking(who)));
                }
            }
        }
        if alone.is_some() {
            return events;
        }
        events.extend((0..world.strays.len()).map(Event::Stray));
        if world.processes.len() < self.bounds.processes {
            self.starts(world, &mut events);
        }
        let movable = world.messages.iter().filter(|sent| left.fuses > 0 && !sent.is_moved && !world.is_held(sent.number));
        events.extend(movable.map(|sent| Event::Fuse(sent.number)));
        events.extend((left.leaps > 0 && world.processes.is_empty()).then_some(Event::Leap));
        events
    }

    /// Adds the starts of processes.
    fn starts(&self, world: &World, events: &mut Vec<Event>) {
        let left = world.left;
        // Two jobs that share a key differ only in their ids.
        let is_symmetric = self.bounds.has_key && world.rows.is_empty() && world.processes.is_empty();
        let may_start = |sent: &&Sent| !is_symmetric || sent.id == A;
        for sent in world.messages.iter().filter(may_start).filter(|sent| left.doubles > 0 || !world.is_held(sent.number)) {
            if sent.is_moved {
                events.push(Event::Explain(sent.number));
            } else {
                events.push(Event::Deliver(sent.number));
                events.extend((left.rejects > 0 && sent.id == A).then_some(Event::Reject(sent.number)));
            }
        }
        for id in [A, B, KEY] {
            let Some(record) = world.get(id) else { continue };
            events.extend((left.beats > 0 && is_due(record, world.now)).then_some(Event::Beat(id)));
            if id == KEY {
                continue;
            }
            events.extend((self.bounds.scans && world.now > 0 && !record.state.is_terminal()).then_some(Event::Scan(id)));
            events.extend((left.retries[index(id)] > 0 && record.state.is_terminal()).then_some(Event::Retry(id)));
        }
        events.extend([A, B].into_iter().filter(|id| left.cancels[index(id)] > 0).map(Event::Cancel));
    }

    /// Returns the world after an event.
    pub(super) fn after(&self, world: &World, event: Event) -> World {
        let mut next = world.clone();
        self.happens(&mut next, event);
        if next.broken.is_none() && !self.bounds.has_key {
            self.owed_or_guarded(&mut next);
        }
        if next.broken.is_none() && next.processes.is_empty() && next.strays.is_empty() {
            next.broken = self.lacks(&next);
        }
        next
    }

    fn happens(&self, world: &mut World, event: Event) {
        match event {
            Event::Deliver(number) => self.deliver(world, number, true),
            Event::Reject(number) => {
                world.left.rejects -= 1;
                self.deliver(world, number, false);
            }
            Event::Arrive(who) => self.arrive(world, who),
            Event::Run(who, how) => self.answer(world, who, Answer::Ran(how)),
            Event::Lose(who) => {
                world.left.losses -= 1;
                let process = &world.processes[who];
                if let (kind, Step::Asks(request)) = (Arc::clone(&process.kind), Step::clone(&process.step)) {
                    self.make(world, &kind, &request);
                    self.answer(world, who, Answer::Lost);
                }
            }
            Event::End(who) => {
                let process = world.processes.remove(who);
                if let (Kind::Deliver { number, .. }, Step::Ends { deletes: true }) = (&*process.kind, &*process.step) {
                    world.messages.retain(|sent| sent.number != *number);
                }
            }
            Event::Crash(who) => Self::crash(world, who),
            Event::CrashAsking(who) => {
                let process = &world.processes[who];
                if let Step::Asks(request) = &*process.step {
                    world.strays.push((Arc::clone(&process.kind), request.clone()));
                }
                world.left.strays -= 1;
                Self::crash(world, who);
            }
            Event::Stray(which) => {
                let (kind, request) = world.strays.remove(which);
                world.ghost.is_stray = true;
                self.make(world, &kind, &request);
                world.ghost.is_stray = false;
            }
            Event::Fuse(number) => {
                world.left.fuses -= 1;
                for sent in world.messages.iter_mut().filter(|sent| sent.number == number) {
                    sent.is_moved = true;
                }
            }
            Event::Explain(number) => {
                let sent = world.sent(number);
                let message = Message { source: Some(sent.message.queue.clone()), queue: DLQ.into(), ..sent.received() };
                self.begin(world, Kind::Explain(message));
            }
            Event::Beat(id) => {
                world.left.beats -= 1;
                self.begin(world, Kind::Beat(id.into()));
            }
            Event::Scan(id) => {
                let record = world.get(id).cloned().expect("it is stored");
                self.begin(world, Kind::Scan(Box::new(record)));
            }
            Event::Cancel(id) => {
                world.left.cancels[index(id)] -= 1;
                self.begin(world, Kind::Cancel(id.into()));
            }
            Event::Retry(id) => {
                world.left.retries[index(id)] -= 1;
                self.begin(world, Kind::Retry(Box::new(self.job(id))));
            }
            Event::Leap => {
                world.left.leaps -= 1;
                Self::pass(world, self.bounds.leap);
            }
        }
    }

    fn pass(world: &mut World, minutes: i64) {
        world.now += minutes;
        world.remembered.clear(); // for five minutes
    }

    fn begin(&self, world: &mut World, kind: Kind) {
        let mut process = Process::start(kind, world.prefix(), world.now, &self.replays);
        process.has_ended = world.state(A).is_some_and(State::is_terminal);
        world.processes.push(Arc::new(process));
    }

    fn deliver(&self, world: &mut World, number: u8, knows: bool) {
        if world.is_held(number) {
            world.left.doubles -= 1;
        }
        let mut message = world.sent(number).received();
        if self.is(Mutation::IgnoreNamed) && world.rows.contains_key(A) {
            let envelope = Envelope::parse(&message.body).expect("a message of this model");
            message.body = Envelope { dependents: Vec::new(), ..envelope }.to_body();
        }
        for sent in world.messages.iter_mut().filter(|sent| sent.number == number) {
            sent.is_fresh = false;
        }
        self.begin(world, Kind::Deliver { number, message, knows });
    }

    fn crash(world: &mut World, who: usize) {
        world.left.crashes -= 1;
        let process = world.processes.remove(who);
        if let Kind::Deliver { message, .. } = &*process.kind {
            let (id, _) = message.open();
            world.ghost.killed[index(&id)] += 1;
        }
    }

    /// Makes the next request of a process.
    fn arrive(&self, world: &mut World, who: usize) {
        let process = Arc::clone(&world.processes[who]);
        let kind = Arc::clone(&process.kind);
        if process.is_due {
            let next = Arc::make_mut(&mut world.processes[who]);
            let held = next.held.take().expect("it is due");
            next.is_due = false;
            self.make(world, &kind, &held);
            return;
        }
        let Step::Asks(request) = &*process.step else { return };
        if let Some(answer) = self.held_back(&process, request) {
            Arc::make_mut(&mut world.processes[who]).held = Some(request.clone());
            self.answer(world, who, answer);
            return;
        }
        let answer = self.make(world, &kind, request);
        if let Request::Write(writes) = request {
            let ends = writes.iter().find(|write| write.next.state.is_terminal() && write.next.id == A);
            let is_made = matches!(&answer, Answer::Written(written) if written.iter().all(|it| matches!(it, Ok(Written::Done))));
            if let (Some(_), true) = (ends, is_made) {
                Arc::make_mut(&mut world.processes[who]).has_ended = true;
                if let (Kind::Deliver { number, .. }, true) = (&*kind, self.is(Mutation::DeleteBeforeResolving)) {
                    world.messages.retain(|sent| sent.number != *number);
                }
            }
        }
        let answer = self.shown(&process, answer);
        // A request that was held back follows the next one.
        if process.held.is_some() {
            Arc::make_mut(&mut world.processes[who]).is_due = true;
        }
        self.answer(world, who, answer);
    }

    /// Returns the answer to a request that a broken rule makes later.
    fn held_back(&self, process: &Process, request: &Request) -> Option<Answer> {
        let is_blocking = |record: &Record| record.state == State::Blocked;
        match (self.mutation, request) {
            _ if process.held.is_some() => None,
            (Some(Mutation::ReadBeforeInsert), Request::Write(writes)) if writes.iter().all(|write| is_blocking(&write.next)) => {
                Some(Answer::Written(writes.iter().map(|_| Ok(Written::Done)).collect()))
            }
            (Some(Mutation::MarkBeforeSend), Request::Send(..)) => Some(Answer::Done),
            (Some(Mutation::GiveFirst), Request::Write(writes)) if writes.iter().all(|write| write.next.state.is_terminal()) => {
                Some(Answer::Written(writes.iter().map(|_| Ok(Written::Done)).collect()))
            }
            _ => None,
        }
    }

    fn answer(&self, world: &mut World, who: usize, answer: Answer) {
        let process = Process::clone(&world.processes[who]);
        world.processes[who] = Arc::new(process.answered(answer, &self.replays));
    }

    /// Lets an hour pass without faults.
    pub(super) fn calm_hour(&self, world: &mut World) {
        let sent: Vec<_> = world.messages.iter().map(|sent| (sent.number, sent.is_moved)).collect();
        for (number, is_moved) in sent {
            if world.messages.iter().any(|sent| sent.number == number) {
                self.to_the_end(world, if is_moved { Event::Explain(number) } else { Event::Deliver(number) });
            }
        }
        for id in [A, B, C, KEY] {
            if world.get(id).is_some_and(|record| is_due(record, world.now)) {
                world.left.beats = 1;
                self.to_the_end(world, Event::Beat(id));
            }
            if self.bounds.scans && world.get(id).is_some() {
                self.to_the_end(world, Event::Scan(id));
            }
        }
        Self::pass(world, 60);
    }

    /// Lets a process run to its end.
    fn to_the_end(&self, world: &mut World, event: Event) {
        self.happens(world, event);
        while let Some(process) = world.processes.first() {
            let next = match &*process.step {
                _ if process.is_due => Event::Arrive(0),
                Step::Ends { .. } => Event::End(0),
                Step::Asks(Request::Run(_)) => Event::Run(0, How::Succeeds),
                Step::Asks(_) => Event::Arrive(0),
            };
            self.happens(world, next);
        }
    }
}

/// Returns `true` if the due index lists a job that a beater handles now.
fn is_due(record: &Record, now: i64) -> bool {
    record.due.is_some() && record.run_at.is_some_and(|at| at <= minute(now))
}

impl World {
    /// Returns `true` if a process has this message.
    pub(super) fn is_held(&self, number: u8) -> bool {
        self.processes.iter().any(|process| match &*process.kind {
            Kind::Deliver { number: held, .. } => *held == number,
            Kind::Explain(message) => message.receipt == number.to_string(),
            _ => false,
        })
    }

    fn sent(&self, number: u8) -> Sent {
        self.messages.iter().find(|sent| sent.number == number).cloned().expect("it is in the queue")
    }
}

impl Sent {
    /// Returns the message as a process receives it.
    fn received(&self) -> Message {
        let (number, receives) = (self.number.to_string(), if self.is_fresh { 1 } else { 2 });
        Message { id: format!("message-{number}"), receipt: number, receives, ..Message::clone(&self.message) }
    }
}
