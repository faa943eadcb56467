//! The checks of every step and of every state.

use super::{
    event::{Event, Laws},
    world::{Actor, Message, ModelState, Place, Sent, Spent},
    *,
};

/// Maximum number of hours without a fault until a job must have ended.
const CALM: usize = 60;

impl ModelState {
    /// Notes the first broken invariant.
    fn ensure(&mut self, holds: bool, invariant: Invariant) {
        if !holds && self.broken.is_none() {
            self.broken = Some(invariant);
        }
    }

    pub(super) fn one_runner(&mut self) {
        let attempts = self.actors.iter().filter_map(|actor| actor.attempt.as_ref());
        // An unrecorded run does not prevent another one.
        let runners = attempts.filter(|attempt| attempt.stored && attempt.body && self.now < attempt.held_until).count();
        self.ensure(runners <= 1, Invariant::OneRunner);
    }

    pub(super) fn no_loss(&mut self) {
        let letter = self.messages.iter().any(|message| message.place == Place::Letter);
        let goes_on = |stands: &Record| match stands.state {
            State::Scheduled => stands.due.is_some(),
            // A beater files it again.
            State::Running | State::Queued | State::Retrying => stands.envelope.is_some(),
            // A beater sends its message, and a worker then sends the dead letter.
            State::Failed if stands.dlq == Some(Dlq::Pending) => stands.envelope.is_some(),
            State::Failed => letter,
            state => state.is_terminal(),
        };
        let waits = self.messages.iter().any(|message| matches!(message.place, Place::Queue | Place::Moved));
        self.ensure(waits || self.record.as_ref().map_or(self.done, goes_on), Invariant::NoLoss);
    }

    fn note(&mut self, generation: u64, spent: Spent) {
        self.spent.retain(|(other, _)| *other != generation);
        self.spent.push((generation, spent));
        self.spent.sort_unstable_by_key(|(generation, _)| *generation);
    }
}

impl Laws {
    /// Applies a write to the table. Returns `true` if it was made.
    pub(super) fn reach(&self, world: &mut ModelState, sent: &mut Sent) -> bool {
        let same = world.record.as_ref().map(Record::version) == sent.seen.as_ref().map(Record::version);
        let made = same || self.is(Mutation::NoOwnerCheck) && world.record.is_some() && sent.seen.is_some();
        if made {
            let before = world.record.replace(sent.next.clone());
            world.ensure(!sent.made, Invariant::Fencing);
            if same {
                world.ensure(before == sent.seen, Invariant::Fencing); // one version is one record
            }
            sent.made = true;
            if let (Some(owner), Some(before)) = (&sent.by, &before) {
                world.ensure(before.is_run_by(Some(owner)), Invariant::Fencing);
            }
            let before = before.or_else(|| {
                let imagined = sent.imagined.clone()?;
                self.judge(world, None, &imagined, sent.dead);
                Some(imagined)
            });
            self.judge(world, before.as_ref(), &sent.next, sent.dead);
        }
        made
    }

    fn judge(&self, world: &mut ModelState, before: Option<&Record>, next: &Record, dead: Option<u64>) {
        shape(world, next);
        let generation = before.map_or(0, |before| before.generation);
        let claimed = next.state == State::Running && next.owner != before.and_then(|before| before.owner.clone());
        world.ensure(next.generation == generation + u64::from(claimed), Invariant::Fencing);
        match before {
            Some(before) if before.state.is_terminal() => reopened(world, before, next, dead),
            Some(before) if before.state == State::Running && (claimed || next.state != State::Running) => {
                world.note(generation, spent(before, next));
                let heeded = matches!(next.state, State::Succeeded | State::Cancelled);
                world.ensure(heeded || !before.cancel_requested, Invariant::CalledOff);
            }
            Some(before) if before.state == State::Scheduled && next.state == State::Queued => {
                world.ensure(*next == sent(before), Invariant::RecordWins);
                // There are the message of the producer and the one of a beater.
                world.ensure(world.messages.len() > 1, Invariant::NoLoss);
            }
            _ => {}
        }
        if claimed {
            world.note(next.generation, Spent::Running);
            let due = before.map_or(self.request(None).run_at, |before| before.run_at.filter(|_| !before.state.is_terminal()));
            let soonest = after(ms(world.now), SKEW);
            world.ensure(due.is_none_or(|due| due <= soonest), Invariant::RecordWins);
        }
        self.bounded(world, next);
    }

    fn bounded(&self, world: &mut ModelState, record: &Record) {
        let count = |which: &dyn Fn(Spent) -> bool| world.spent.iter().filter(|(_, spent)| which(*spent)).count();
        let failed = count(&|spent| matches!(spent, Spent::Failed | Spent::Killed));
        let used = count(&|spent| spent != Spent::GivenBack);
        let runs = world.spent.len();
        let is = |number: u32, count: usize| usize::try_from(number) == Ok(count);
        world.ensure(failed <= usize::try_from(self.bounds.attempts).unwrap_or(usize::MAX), Invariant::Bounded);
        world.ensure(is(record.attempts, used) && is(record.runs, runs), Invariant::HonestAttempts);
        let policy = self.policy();
        world.ensure(record.runs <= policy.max_runs && record.snoozes <= policy.max_snoozes, Invariant::Bounded);
    }

    /// Checks that a lost answer costs no attempt: without a crash and before the lease can be over, the actor still has its attempt.
    pub(super) fn what_is_claimed_runs(&self, world: &mut ModelState) {
        let Budget { crashes, leaps, .. } = self.bounds.budget;
        let Some(record) = world.record.as_ref().filter(|stands| stands.state == State::Running) else { return };
        let asks = |actor: &Actor| actor.asks.as_ref().map(|asks| asks.sent.next.owner.clone());
        let runs = |actor: &Actor| actor.attempt.as_ref().map(|attempt| attempt.record.owner.clone());
        let has = world.actors.iter().any(|actor| [asks(actor), runs(actor)].contains(&Some(record.owner.clone())));
        world.ensure(has || (world.left.crashes, world.left.leaps) != (crashes, leaps), Invariant::HonestAttempts);
    }

    /// Returns `true` if the job ends once the faults stop. One actor continues, and all its requests arrive.
    pub(super) fn comes_to_its_end(&self, world: &ModelState) -> bool {
        let mut world = world.clone();
        (0..world.actors.len()).for_each(|who| Self::crash(&mut world, who));
        world.left = Budget { beats: u8::MAX, repairs: u8::MAX, ..Budget::default() };
        let ended =
            |world: &ModelState| world.record.as_ref().map_or(world.done, |it| it.state.is_terminal() && it.dlq != Some(Dlq::Pending));
        for _ in 0..CALM {
            let generation = world.record.as_ref().map(|record| record.generation);
            let settled = |message: &Message| match message.place {
                Place::Gone | Place::Letter => true,
                // It was redriven, came back, and already has the reason.
                Place::Moved => message.dead == generation,
                Place::Queue => false,
            };
            if ended(&world) && world.messages.iter().all(settled) {
                return true;
            }
            world.now += 3_600_000;
            for event in [Event::Beat(0), Event::Repair(0)] {
                self.goes_on(&mut world, event);
            }
            for which in 0..world.messages.len() {
                match world.messages[which].place {
                    Place::Queue => self.goes_on(&mut world, Event::Deliver(0, which)),
                    Place::Moved => self.goes_on(&mut world, Event::Explain(0, which)),
                    Place::Letter | Place::Gone => {}
                }
                if world.actors[0].attempt.is_some() {
                    self.goes_on(&mut world, Event::End(0, How::Success));
                }
            }
        }
        false
    }

    /// Runs an event, and delivers all its requests and answers.
    fn goes_on(&self, world: &mut ModelState, event: Event) {
        self.happens(world, event);
        for _ in 0..4 {
            self.happens(world, Event::Arrive(0));
            self.happens(world, Event::Answer(0));
        }
        // A claim that this actor made before a crash is not its own any more.
        world.left = Budget { beats: u8::MAX, repairs: u8::MAX, ..Budget::default() };
    }
}

/// Checks the change of a terminal record. Only the mark of its dead letter or a redrive of the failed generation may change it.
fn reopened(world: &mut ModelState, before: &Record, next: &Record, dead: Option<u64>) {
    if *next == dead_lettered(before) && before.dlq == Some(Dlq::Pending) {
        return;
    }
    world.ensure(before.state == State::Failed && dead == Some(before.generation), Invariant::OnceRemembered);
    world.spent.clear();
}

fn spent(before: &Record, next: &Record) -> Spent {
    match next.state {
        _ if next.owner != before.owner => Spent::Killed,
        State::Succeeded | State::Cancelled => Spent::Ended,
        State::Queued | State::Scheduled if next.attempts < before.attempts => Spent::GivenBack,
        State::Queued if next.run_at.is_none() || next.snoozes > before.snoozes => Spent::GivenBack,
        _ => Spent::Failed,
    }
}

fn shape(world: &mut ModelState, record: &Record) {
    let state = record.state;
    let remembered = record.finished_at.map(|finished| finished.as_second() + REMEMBERED);
    world.ensure(record.purge_at.is_some() == state.is_terminal() && record.purge_at >= remembered, Invariant::OnceRemembered);
    world.ensure(record.lease_until.is_some() == (state == State::Running), Invariant::Fencing);
    world.ensure(record.dlq.is_some() == (state == State::Failed), Invariant::NoLoss);
    let filed = record.due.is_some() && record.envelope.is_some() && record.run_at.is_some();
    world.ensure(filed || state != State::Scheduled, Invariant::NoLoss);
}
