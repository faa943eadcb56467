//! The possible events and their effects: the protocol's steps around the decisions.

use super::{
    world::{Actor, Asks, Attempt, Goes, Message, ModelState, Place, Sent, Then},
    *,
};

/// The beater sends jobs to the queue that are due within this time.
const LOOK_AHEAD: i64 = 120_000;
/// Maximum number of stray requests to keep.
const STRAYS: usize = 2;

/// [`LEASE`] in milliseconds.
fn lease() -> i64 {
    i64::try_from(LEASE.as_millis()).expect("small")
}

impl Attempt {
    /// Returns the record that its next write must find in the table.
    fn seen(&self) -> Option<Record> {
        self.stored.then(|| self.record.clone())
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Event {
    /// A message reaches an actor, which decides and may send a write.
    Deliver(usize, usize),
    /// A write in transit reaches the table.
    Arrive(usize),
    /// Its answer reaches the actor.
    Answer(usize),
    /// Its answer is lost, and the actor reads the record to find out if it was made.
    Look(usize),
    Renew(usize),
    End(usize, How),
    Crash(usize),
    Stray(usize),
    /// The time advances to that instant.
    Leap(i64),
    Cancel(usize),
    Move(usize),
    Beat(usize),
    Repair(usize),
    Redrive(usize),
    Fuse(usize),
    Explain(usize, usize),
}

/// The bounds of a world, and the rule that is broken in it.
#[derive(Debug, Clone)]
pub(super) struct Laws {
    pub(super) bounds: Bounds,
    pub(super) mutation: Option<Mutation>,
}

impl Laws {
    pub(super) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(super) fn request(&self, dead: Option<u64>) -> Request {
        Request { run_at: self.bounds.due.map(|due| after(ms(0), secs(due))), dead, ..request() }
    }

    pub(super) fn policy(&self) -> Policy {
        policy()
            .max_attempts(if self.is(Mutation::NoBudget) { 1000 } else { self.bounds.attempts })
            .max_runs(self.bounds.attempts + 3)
            .max_snoozes(2)
            .recording(self.bounds.recording)
    }

    pub(super) fn start(&self) -> ModelState {
        ModelState {
            now: 0,
            record: None,
            messages: vec![Message { dead: None, place: Place::Queue, fresh: self.bounds.recording == Recording::OnTrouble }],
            actors: vec![Actor::default(); self.bounds.skews.len()],
            strays: Vec::new(),
            spent: Vec::new(),
            done: false,
            left: self.bounds.budget,
            broken: None,
        }
    }

    /// Returns all events that are possible next.
    pub(super) fn events(&self, world: &ModelState) -> Vec<Event> {
        let mut events = Vec::new();
        let left = world.left;
        for (who, actor) in world.actors.iter().enumerate() {
            match (&actor.attempt, &actor.asks) {
                (_, Some(asks)) => {
                    if asks.made.is_none() {
                        events.push(Event::Arrive(who));
                    } else {
                        events.push(Event::Answer(who));
                        events.extend((left.losses > 0).then_some(Event::Look(who)));
                    }
                    events.extend((left.crashes > 0).then_some(Event::Crash(who)));
                }
                (Some(_), None) => {
                    events.extend(self.bounds.endings.iter().map(|how| Event::End(who, *how)));
                    events.extend((left.renewals > 0).then_some(Event::Renew(who)));
                    events.extend((left.crashes > 0).then_some(Event::Crash(who)));
                }
                (None, None) => events.extend(Self::chances(world, who)),
            }
        }
        events.extend((0..world.strays.len()).filter(|_| left.strays > 0).map(Event::Stray));
        let at =
            |place: Place| world.messages.iter().enumerate().filter(move |(_, message)| message.place == place).map(|(which, _)| which);
        events.extend(at(Place::Letter).filter(|_| left.redrives > 0).map(Event::Redrive));
        events.extend(at(Place::Queue).filter(|_| left.fuses > 0).map(Event::Fuse));
        if left.leaps > 0 {
            events.extend(self.instants(world).into_iter().map(Event::Leap));
        }
        events
    }

    /// Returns the events that an idle actor can start.
    fn chances(world: &ModelState, who: usize) -> Vec<Event> {
        let left = world.left;
        let is_there = |message: &Message| match message.place {
            Place::Queue => true,
            Place::Gone => left.ghosts > 0,
            Place::Moved | Place::Letter => false,
        };
        let messages = || world.messages.iter().enumerate();
        let mut events: Vec<_> = messages().filter(|(_, it)| is_there(it)).map(|(which, _)| Event::Deliver(who, which)).collect();
        events.extend(messages().filter(|(_, it)| it.place == Place::Moved).map(|(which, _)| Event::Explain(who, which)));
        let others = [
            (left.cancels, Event::Cancel(who)),
            (left.moves, Event::Move(who)),
            (left.beats, Event::Beat(who)),
            (left.repairs, Event::Repair(who)),
        ];
        events.extend(others.into_iter().filter(|(left, _)| *left > 0).map(|(_, event)| event));
        events
    }

    /// Returns the future instants at which a decision changes.
    fn instants(&self, world: &ModelState) -> Vec<i64> {
        let millis = |at: Timestamp| at.as_millisecond() - ms(0).as_millisecond();
        let mut true_times: Vec<i64> = world.actors.iter().filter_map(|actor| Some(actor.attempt.as_ref()?.held_until)).collect();
        if let Some(record) = &world.record {
            let mut shown = Vec::new();
            if record.state == State::Running {
                let free = millis(free_from(record));
                shown.extend([free - 4_999, free + 1, free + 15 * 60_000 + 1]);
            }
            if let Some(run_at) = record.run_at {
                shown.extend([millis(run_at) - LOOK_AHEAD, millis(run_at)]);
            }
            true_times.extend(self.bounds.skews.iter().flat_map(|skew| shown.iter().map(move |at| at - skew)));
        }
        true_times.retain(|at| *at > world.now);
        true_times.sort_unstable();
        true_times.dedup();
        true_times
    }

    fn clock(&self, world: &ModelState, who: usize) -> Timestamp {
        ms(world.now + self.bounds.skews[who])
    }

    /// Returns the world after an event. Returns `None` if nothing has changed.
    pub(super) fn after(&self, world: &ModelState, event: Event) -> Option<ModelState> {
        let mut next = world.clone();
        self.happens(&mut next, event);
        if next.left.strays == 0 {
            next.strays.clear();
        }
        next.one_runner();
        self.what_is_claimed_runs(&mut next);
        next.no_loss();
        (next != *world).then_some(next)
    }

    pub(super) fn happens(&self, world: &mut ModelState, event: Event) {
        match event {
            Event::Deliver(who, which) => self.deliver(world, who, which),
            Event::Arrive(who) => self.arrive(world, who),
            Event::Answer(who) => self.answer(world, who),
            Event::Look(who) => {
                world.left.losses -= 1;
                self.look(world, who);
            }
            Event::Renew(who) => {
                world.left.renewals -= 1;
                self.renew(world, who);
            }
            Event::End(who, how) => self.end(world, who, how),
            Event::Crash(who) => {
                world.left.crashes -= 1;
                Self::crash(world, who);
            }
            Event::Stray(which) => {
                world.left.strays -= 1;
                let mut sent = world.strays.remove(which);
                self.reach(world, &mut sent);
            }
            Event::Leap(until) => {
                world.left.leaps -= 1;
                world.now = until;
            }
            Event::Cancel(who) => {
                world.left.cancels -= 1;
                self.cancel(world, who);
            }
            Event::Move(who) => {
                world.left.moves -= 1;
                self.shift(world, who);
            }
            Event::Beat(who) => {
                world.left.beats -= 1;
                self.beat(world, who);
            }
            Event::Repair(who) => {
                world.left.repairs -= 1;
                self.repair(world, who);
            }
            Event::Redrive(which) => {
                world.left.redrives -= 1;
                world.messages[which].place = Place::Queue;
            }
            Event::Fuse(which) => {
                world.left.fuses -= 1;
                world.messages[which].place = Place::Moved;
            }
            Event::Explain(who, which) => self.explain(world, who, which),
        }
    }

    /// Returns the first unused token. So worlds that differ only in tokens that are no longer used are equal.
    fn token(world: &ModelState) -> String {
        let attempts = world.actors.iter().filter_map(|actor| Some(&actor.attempt.as_ref()?.record));
        let requests = world.actors.iter().filter_map(|actor| Some(&actor.asks.as_ref()?.sent)).chain(&world.strays);
        let requested = requests.flat_map(|sent| sent.seen.iter().chain([&sent.next]));
        let used: Vec<_> = world.record.iter().chain(attempts).chain(requested).filter_map(|record| record.owner.as_deref()).collect();
        let free = (0..=used.len()).map(|number| format!("token-{number}")).find(|token| !used.contains(&token.as_str()));
        free.expect("one more than are used")
    }

    fn send(world: &mut ModelState, who: usize, seen: Option<Record>, next: Record, then: Then, dead: Option<u64>) {
        let attempt = world.actors[who].attempt.as_ref();
        let by = attempt.and_then(|attempt| attempt.record.owner.clone());
        let imagined = attempt.filter(|attempt| !attempt.stored).map(|attempt| attempt.record.clone());
        let sent = Sent { seen, next, imagined, by, dead, made: false };
        world.actors[who].asks = Some(Asks { sent, asked: world.now, then, made: None });
    }

    fn deliver(&self, world: &mut ModelState, who: usize, which: usize) {
        if world.messages[which].place == Place::Gone {
            world.left.ghosts -= 1;
        }
        let receives = if std::mem::take(&mut world.messages[which].fresh) { 1 } else { 2 };
        let unrecorded = starts_unrecorded(&self.policy(), receives, false);
        let stands = world.record.clone().filter(|_| !unrecorded);
        let dead = world.messages[which].dead;
        let mut request = self.request(dead);
        if self.is(Mutation::RedriveAny) && request.dead.is_some() {
            request.dead = stands.as_ref().map(|stands| stands.generation);
        }
        let claim = claim(&Self::token(world));
        let mut now = self.clock(world, who);
        if self.is(Mutation::NoSkewMargin) && stands.as_ref().is_some_and(|stands| stands.state == State::Running) {
            now = after(now, SKEW);
        }
        let shown = stands.clone().map(|stands| self.shown(stands));
        let request_shown = if self.is(Mutation::StartEarly) { Request { run_at: None, ..request.clone() } } else { request.clone() };
        match decide(shown.as_ref(), &request_shown, &self.policy(), &claim, now) {
            Decision::Run { next, .. } if unrecorded => {
                let (record, held_until) = (self.claimed(*next, None), world.now + lease());
                world.actors[who].attempt = Some(Attempt { message: which, record, held_until, body: true, stored: false });
            }
            Decision::Run { next, .. } => {
                let next = self.claimed(*next, stands.as_ref());
                Self::send(world, who, stands, next, Then::Run(which), dead);
            }
            Decision::End { next, ending: Ending::Early(_) } => {
                if self.is(Mutation::DeleteBeforeFiled) {
                    world.messages[which].place = Place::Gone;
                }
                Self::send(world, who, stands, *next, Then::Filed(which), dead);
            }
            Decision::End { next, ending } => self.settle(world, who, stands, *next, which, ending.fate().into(), dead),
            Decision::Leave(Ending::Failed) => self.dead_letter(world, who, which, &stands.expect("it has failed")),
            Decision::Leave(Ending::Early(_)) if stands.is_some_and(|stands| is_filed(&stands, self.clock(world, who))) => {
                world.messages[which].place = Place::Gone;
            }
            Decision::Leave(ending) => {
                if ending.fate() == Fate::Delete {
                    world.messages[which].place = Place::Gone;
                }
            }
        }
    }

    /// Returns the record as the decision sees it, which a broken rule may change.
    fn shown(&self, stands: Record) -> Record {
        match self.mutation {
            Some(Mutation::StartEarly) => Record { run_at: None, ..stands },
            Some(Mutation::ReopenEnded) if stands.state == State::Succeeded => {
                Record { state: State::Queued, purge_at: None, finished_at: None, ..stands }
            }
            Some(Mutation::IgnoreCancel) => Record { cancel_requested: false, ..stands },
            _ => stands,
        }
    }

    fn claimed(&self, next: Record, stands: Option<&Record>) -> Record {
        match self.mutation {
            Some(Mutation::CountAtFinish) => Record { attempts: next.attempts - 1, ..next },
            Some(Mutation::TroubleForgets) => Record { envelope: None, ..next },
            Some(Mutation::ForgetEnvelope) if stands.is_some_and(|stands| stands.state == State::Scheduled) => {
                Record { envelope: None, ..next }
            }
            _ => next,
        }
    }

    /// Sends the write of an ending, after which the message is handled.
    #[expect(clippy::too_many_arguments, reason = "an ending is all of these")]
    fn settle(&self, world: &mut ModelState, who: usize, seen: Option<Record>, next: Record, which: usize, goes: Goes, dead: Option<u64>) {
        if self.is(Mutation::DeleteBeforeRecord) && goes == Goes::Delete {
            world.messages[which].place = Place::Gone;
        }
        Self::send(world, who, seen, next, Then::Settle(which, goes), dead);
    }

    /// Copies a message to the dead-letter queue, then sends the mark.
    fn dead_letter(&self, world: &mut ModelState, who: usize, which: usize, failed: &Record) {
        if self.is(Mutation::DeleteBeforeLetter) {
            world.messages[which].place = Place::Gone;
        } else {
            world.messages.push(Message { dead: Some(failed.generation), place: Place::Letter, fresh: false });
        }
        Self::send(world, who, Some(failed.clone()), dead_lettered(failed), Then::Marked(which), None);
    }

    /// Returns the attempt of a worker, and drops it if its lease is over.
    fn held(world: &mut ModelState, who: usize) -> Option<Attempt> {
        let now = world.now;
        let actor = &mut world.actors[who];
        let held = actor.attempt.take().filter(|attempt| now < attempt.held_until);
        actor.attempt.clone_from(&held);
        held
    }

    fn renew(&self, world: &mut ModelState, who: usize) {
        let now = self.clock(world, who);
        if let Some(attempt) = Self::held(world, who) {
            let next = renewed(&attempt.record, LEASE, now);
            Self::send(world, who, attempt.seen(), next, Then::Renewed, None);
        }
    }

    fn end(&self, world: &mut ModelState, who: usize, how: How) {
        let now = self.clock(world, who);
        let Some(attempt) = Self::held(world, who) else { return };
        let asks = |next| Outcome::Failure(failure("error"), next);
        let outcome = match how {
            How::Success => Outcome::Success("done".into()),
            How::Fails => asks(FollowUp::Retry(None)),
            How::Fatal => asks(FollowUp::GiveUp),
            How::SnoozesShort => asks(FollowUp::Snooze(secs(60))),
            How::SnoozesLong => asks(FollowUp::Snooze(secs(3600))),
            How::Resumes => asks(FollowUp::Resume),
        };
        let running = self.shown(attempt.record.clone());
        let running = if self.is(Mutation::CountAtFinish) { Record { attempts: running.attempts + 1, ..running } } else { running };
        let (next, ending) = finish(&running, outcome, &self.policy(), 0.5, now);
        let next = put_off(next, &self.request(None), &self.policy(), now);
        let forgets = self.is(Mutation::ForgetOwed) && next.dlq == Some(Dlq::Pending);
        let next = if forgets { Record { envelope: None, ..next } } else { next };
        let gave_back = next.attempts < running.attempts;
        let next = if self.is(Mutation::GenerationFalls) && gave_back { Record { generation: next.generation - 1, ..next } } else { next };
        let goes = if next.state == State::Scheduled { Goes::Delete } else { ending.fate().into() };
        let (seen, which) = (attempt.seen(), attempt.message);
        if !ending.is_trouble() && (!attempt.stored || self.is(Mutation::SuccessUnwritten)) {
            world.actors[who].attempt = None;
            world.messages[which].place = Place::Gone;
            world.done = true;
            return;
        }
        world.actors[who].attempt = Some(Attempt { body: false, ..attempt });
        self.settle(world, who, seen, next, which, goes, None);
    }

    pub(super) fn crash(world: &mut ModelState, who: usize) {
        let actor = std::mem::take(&mut world.actors[who]);
        Self::astray(world, actor.asks.map(|asks| asks.sent));
    }

    /// Keeps a request that may arrive late or again.
    fn astray(world: &mut ModelState, sent: Option<Sent>) {
        world.strays.extend(sent);
        let surplus = world.strays.len().saturating_sub(STRAYS);
        world.strays.drain(..surplus);
    }

    fn cancel(&self, world: &mut ModelState, who: usize) {
        let stands = world.record.clone();
        let asked = stands.as_ref().is_some_and(|stands| stands.cancel_requested);
        if !asked && let Some(next) = cancel(stands.as_ref(), &self.request(None), &self.policy(), self.clock(world, who)) {
            Self::send(world, who, stands, next, Then::Nothing, None);
        }
    }

    /// Moves a waiting job to half an hour from now.
    fn shift(&self, world: &mut ModelState, who: usize) {
        let waits = |stands: &Record| stands.envelope.is_some() && stands.state != State::Running && !stands.state.is_terminal();
        let Some(stands) = world.record.clone().filter(waits) else { return };
        let fresh = Self::token(world);
        let token = stands.owner.clone().filter(|_| self.is(Mutation::MoveKeepsToken)).unwrap_or(fresh);
        let next = filed_as(&token, Some(&stands), after(self.clock(world, who), secs(1800)));
        Self::send(world, who, Some(stands), next, Then::Nothing, None);
    }

    fn beat(&self, world: &mut ModelState, who: usize) {
        let horizon = ms(world.now + self.bounds.skews[who] + LOOK_AHEAD);
        let Some(due) = world.record.clone().filter(|stands| is_sendable(stands, horizon)) else { return };
        let next = sent(&due);
        if self.is(Mutation::MarkBeforeSend) {
            Self::send(world, who, Some(due), next, Then::Send, None);
        } else {
            world.messages.push(Message { dead: None, place: Place::Queue, fresh: false });
            Self::send(world, who, Some(due), next, Then::Nothing, None);
        }
    }

    fn repair(&self, world: &mut ModelState, who: usize) {
        if self.is(Mutation::NoRepair) {
            return;
        }
        let Some(stands) = world.record.clone() else { return };
        let token = Self::token(world);
        let now = self.clock(world, who);
        let lapsed = stands.lease_until.map(|_| 0);
        let shown = if self.is(Mutation::RepairAtOnce) { Record { lease_until: lapsed, ..stands.clone() } } else { stands.clone() };
        match repair(&shown, None, &token, now) {
            Repair::Write(next) => Self::send(world, who, Some(stands), *next, Then::Nothing, None),
            Repair::Send if self.is(Mutation::NoOwed) => {}
            Repair::Send => world.messages.push(Message { dead: None, place: Place::Queue, fresh: false }),
            Repair::Nothing | Repair::Dependencies | Repair::Overdue => {}
        }
    }

    /// Adds the reason to a message that SQS has moved, or deletes it.
    fn explain(&self, world: &mut ModelState, who: usize, which: usize) {
        if self.is(Mutation::DropAbandoned) {
            world.messages[which].place = Place::Gone;
            return;
        }
        let request = self.request(world.messages[which].dead);
        let (stands, token) = (world.record.clone(), Self::token(world));
        match abandoned(stands.as_ref(), &request, None, &token, self.clock(world, who)) {
            Abandoned::Delete => world.messages[which].place = Place::Gone,
            Abandoned::Leave => {}
            Abandoned::Explain(_) => self.dead_letter(world, who, which, &stands.expect("it has failed")),
            Abandoned::End(next) => {
                let goes = if next.state == State::Failed { Goes::DeadLetter } else { Goes::Delete };
                self.settle(world, who, stands, *next, which, goes, None);
            }
        }
    }

    fn arrive(&self, world: &mut ModelState, who: usize) {
        let Some(mut asks) = world.actors[who].asks.take() else { return };
        asks.made = Some(self.reach(world, &mut asks.sent));
        world.actors[who].asks = Some(asks);
    }

    fn answer(&self, world: &mut ModelState, who: usize) {
        let Some(asks) = world.actors[who].asks.take() else { return };
        let stands = world.record.clone();
        match asks.made {
            Some(true) => self.confirmed(world, who, &asks),
            // The stored record may still be of this write, which arrived twice.
            _ => self.resolved(world, who, &asks, stands),
        }
        Self::astray(world, Some(asks.sent));
    }

    pub(super) fn look(&self, world: &mut ModelState, who: usize) {
        let Some(asks) = world.actors[who].asks.take() else { return };
        let stands = world.record.clone();
        self.resolved(world, who, &asks, stands);
        Self::astray(world, Some(asks.sent));
    }

    fn resolved(&self, world: &mut ModelState, who: usize, asks: &Asks, stands: Option<Record>) {
        match resolve(&asks.sent.next, asks.sent.seen.as_ref(), stands.clone()) {
            Resolution::Ours if self.is(Mutation::NoOwnSuccess) => Self::refused(world, who, asks, stands),
            Resolution::Ours => self.confirmed(world, who, asks),
            // The write can still be made, and is sent again.
            Resolution::Open => {
                let (sent, asked) = (asks.sent.clone(), asks.asked);
                world.actors[who].asks = Some(Asks { sent, asked, then: asks.then, made: None });
            }
            Resolution::Refused(stored) => Self::refused(world, who, asks, stored.map(|stored| *stored)),
        }
    }

    fn confirmed(&self, world: &mut ModelState, who: usize, asks: &Asks) {
        let next = asks.sent.next.clone();
        let from = if self.is(Mutation::LeaseFromAnswer) { world.now } else { asks.asked };
        let held_until = from + lease();
        let actor = &mut world.actors[who];
        match (asks.then, actor.attempt.take()) {
            (Then::Run(message), _) => actor.attempt = Some(Attempt { message, record: next, held_until, body: true, stored: true }),
            (Then::Renewed, Some(attempt)) => actor.attempt = Some(Attempt { record: next, held_until, stored: true, ..attempt }),
            (Then::Settle(which, Goes::Delete) | Then::Filed(which) | Then::Marked(which), _) => world.messages[which].place = Place::Gone,
            (Then::Settle(which, Goes::DeadLetter), _) => self.dead_letter(world, who, which, &next),
            (Then::Send, _) => world.messages.push(Message { dead: None, place: Place::Queue, fresh: false }),
            (Then::Settle(_, Goes::Stay) | Then::Renewed | Then::Nothing, _) => {}
        }
    }

    /// Handles a refused write: a request to cancel came first, or the lease is lost.
    fn refused(world: &mut ModelState, who: usize, asks: &Asks, stored: Option<Record>) {
        let Some(attempt) = world.actors[who].attempt.take() else { return };
        let is_own = |stored: &Record| stored.is_run_by(attempt.record.owner.as_deref());
        if let Some(stored) = stored.filter(is_own) {
            let body = attempt.body && asks.then == Then::Renewed;
            world.actors[who].attempt = Some(Attempt { record: stored, body, stored: true, ..attempt });
        }
    }
}
