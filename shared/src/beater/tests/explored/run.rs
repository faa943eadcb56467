//! One run: polls the actors by hand, one request at a time.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context as Polling, Wake, Waker},
};

use tokio::{task::unconstrained, time::advance};

use super::{
    gate::Gate,
    hub::{Fate, Hub, Kind},
    judge::Told,
    *,
};
use crate::beater::Due;

/// Longer than any beater sleeps before a retry.
const PAUSE: Duration = Duration::from_secs(2);
/// Longer than all pauses of a run together.
const LIFE: Duration = Duration::from_hours(24);
/// The minute after ten at which every schedule has ended.
const END: i64 = 9;

/// The next step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A request proceeds with this outcome.
    Grant(usize, Fate),
    /// A beater dies instead.
    Die(usize),
    /// A minute passes, and a worker runs the arrived jobs.
    Pass,
}

/// A future, and a flag that shows if it must be polled.
struct Actor {
    life: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Actor {
    fn new(life: impl Future<Output = ()> + 'static) -> Self {
        Self { life: Some(Box::pin(unconstrained(life))), woken: Arc::new(Woken(AtomicBool::new(true))) }
    }

    /// Polls it until it waits.
    fn poll(&mut self) {
        let waker = Waker::from(Arc::clone(&self.woken));
        while self.woken.0.swap(false, Ordering::SeqCst) {
            let Some(life) = &mut self.life else { return };
            if life.as_mut().poll(&mut Polling::from_waker(&waker)).is_ready() {
                self.life = None;
            }
        }
    }
}

pub(super) struct Run {
    pub(super) hub: Arc<Hub>,
    actors: Vec<Actor>,
    faults: u8,
    minutes: u8,
}

impl Run {
    /// Creates the world at the start of the exploration, with each actor at its first request.
    pub(super) async fn start(scenario: &Scenario, bounds: Bounds, told: &[Arc<Told>], mutation: Option<Mutation>) -> Self {
        let first = scenario.before.unwrap_or(scenario.now);
        let world = TestBeater::at(&(minute(first) - jiff::SignedDuration::from_secs(1)).to_string());
        let ticks = bounds.ticks.iter().map(|tick| Some(minute(*tick))).chain([None]).collect();
        let last = bounds.ticks.iter().max().copied().unwrap_or(0);
        let shards = told.iter().flat_map(|told| told.shards(minute(last + 2))).collect();
        let hub = Arc::new(Hub::new(world, mutation, ticks, told.to_vec(), shards));
        let mut run = Self { hub, actors: Vec::new(), faults: bounds.faults, minutes: bounds.minutes };
        run.schedules().put(&even()).await.expect("a good entry");
        if let Some(tick) = scenario.before {
            run.wait_until(minute(tick));
            run.hub.state().calm_at(minute(tick));
            run.tick(minute(tick)).await;
        }
        run.wait_until(minute(scenario.now));
        run.hub.state().explore();
        run.actors = (0..bounds.ticks.len()).map(|who| run.beater(who)).chain([run.operator(scenario.edits)]).collect();
        for who in 0..run.actors.len() {
            run.go_on(who).await;
        }
        run
    }

    fn gate(&self, who: usize) -> Arc<Gate> {
        Arc::new(Gate { hub: Arc::clone(&self.hub), who })
    }

    fn ports(&self, who: usize) -> Ports {
        let gate = self.gate(who);
        let due = Due { store: Arc::clone(&gate) as _, queue: Arc::clone(&gate) as _, clock: self.hub.world.local.clock.clone() };
        Ports { due, rows: gate, prefix: String::new(), dlqs: Arc::default() }
    }

    fn schedules(&self) -> Schedules {
        let (local, operator) = (&self.hub.world.local, self.hub.ticks.len() - 1);
        Schedules::new(self.gate(operator), local.client(), local.clock.clone())
    }

    fn beater(&self, who: usize) -> Actor {
        let (ports, at) = (self.ports(who), self.hub.ticks[who].expect("a beater"));
        // Failed parts of a tick are left to the next tick.
        Actor::new(async move { drop(tick(&ports, at, Instant::now() + LIFE).await) })
    }

    fn operator(&self, edits: &'static [Edit]) -> Actor {
        let (schedules, gate) = (self.schedules(), self.gate(self.hub.ticks.len() - 1));
        Actor::new(async move {
            for edit in edits {
                gate.ask(Kind::Begin, "begins an edit").await;
                let done = match edit {
                    Edit::Put(entry) => schedules.put(&entry()).await,
                    Edit::Pause => schedules.pause(ID).await,
                    Edit::Resume => schedules.resume(ID).await,
                    Edit::Delete => schedules.delete(ID).await,
                };
                done.expect("there is one");
            }
        })
    }

    /// Lets an actor continue to its next request. If it sleeps, the time passes.
    async fn go_on(&mut self, who: usize) {
        loop {
            self.actors[who].poll();
            if self.actors[who].life.is_none() || self.asks(who).is_some() {
                return;
            }
            advance(PAUSE).await;
        }
    }

    fn asks(&self, who: usize) -> Option<(Kind, &'static str)> {
        self.hub.state().asked.iter().find(|asked| asked.who == who).map(|asked| (asked.kind, asked.what))
    }

    /// Returns all possible next steps; none once all actors are done.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for who in 0..self.actors.len() {
            let Some((kind, _)) = self.asks(who).filter(|_| !self.waits_for_twin(who)) else { continue };
            steps.push(Step::Grant(who, Fate::Through));
            if self.hub.ticks[who].is_none() || kind == Kind::Begin {
                continue;
            }
            if self.faults > 0 {
                steps.push(Step::Grant(who, Fate::Refused));
                steps.extend((kind == Kind::Write).then_some([Step::Grant(who, Fate::Lost), Step::Die(who)]).into_iter().flatten());
            }
        }
        if !steps.is_empty() && self.minutes > 0 {
            steps.push(Step::Pass);
        }
        steps
    }

    /// Orders two ticks of the same minute: until their first request they are interchangeable.
    fn waits_for_twin(&self, who: usize) -> bool {
        let is_first = |twin: &usize| self.hub.ticks[*twin] == self.hub.ticks[who] && !self.hub.state().was_told(*twin);
        (0..who).any(|twin| is_first(&twin) && self.asks(twin).is_some())
    }

    /// Describes a step for people.
    pub(super) fn told(&self, step: Step) -> String {
        let who = |who: usize| self.hub.ticks[who].map_or("the operator".into(), |at| format!("tick {who} of {at}"));
        let what = |who: usize| self.asks(who).map_or("nothing", |(_, what)| what);
        match step {
            Step::Grant(it, fate) => format!("{} {}: {fate:?}", who(it), what(it)),
            Step::Die(it) => format!("{} dies before it {}", who(it), what(it)),
            Step::Pass => "a minute passes".into(),
        }
    }

    pub(super) async fn take(&mut self, step: Step) {
        match step {
            Step::Grant(who, fate) => {
                self.faults -= u8::from(fate != Fate::Through);
                self.hub.grant(who, fate);
                self.go_on(who).await;
            }
            Step::Die(who) => {
                self.faults -= 1;
                self.actors[who].life = None;
                self.hub.state().asked.retain(|asked| asked.who != who);
            }
            Step::Pass => {
                self.minutes -= 1;
                self.hub.world.pass(60);
                self.work().await;
            }
        }
    }

    async fn work(&self) {
        self.hub.world.work().await;
        let runs = self.hub.world.runs.lock().expect("nobody panics with the lock").clone();
        let (records, now) = (self.hub.world.local.store.records(), self.hub.world.now());
        let mut state = self.hub.state();
        state.learn_all("worker, token ", &records);
        state.judge.ran(&runs, now);
    }

    fn wait_until(&self, at: Timestamp) {
        self.hub.world.local.clock.advance(until(self.hub.world.now(), at));
    }

    /// Makes an on-time tick without faults, by the first beater.
    async fn tick(&self, at: Timestamp) {
        let ports = self.ports(0);
        tick(&ports, at, Instant::now() + LIFE).await.expect("a table in memory");
    }

    /// Returns a hash of everything that affects the result.
    pub(super) async fn sum(&self) -> u64 {
        let world = &self.hub.world;
        let row = world.rows.get(ID).await.expect("rows in memory");
        let messages: Vec<_> = world.local.queue.messages("note").into_iter().map(|it| (it.body, it.receives, it.sent_at)).collect();
        let lives: Vec<_> = self.actors.iter().map(|actor| actor.life.is_some()).collect();
        let asked: Vec<_> = (0..self.actors.len()).map(|who| self.asks(who)).collect();
        let state = self.hub.state();
        let tables = state.named(&(row, world.local.store.records()));
        let mut sum = DefaultHasher::new();
        (tables, messages, lives, &asked, &state.told, state.judge.sum()).hash(&mut sum);
        (self.faults, self.minutes, world.now()).hash(&mut sum);
        sum.finish()
    }

    /// Returns a hash of the final state, without the path to it.
    pub(super) async fn outcome(&mut self) -> u64 {
        self.hub.state().told.fill(0);
        (self.faults, self.minutes) = (0, 0);
        self.sum().await
    }

    /// Ticks and works without faults until the schedule has ended, then checks the final state.
    pub(super) async fn end(&mut self) {
        self.work().await;
        let next = |now: Timestamp| now.as_second().div_euclid(60) + 1;
        for at in next(self.hub.world.now())..=minute(END).as_second() / 60 {
            let at = Timestamp::from_second(at * 60).expect("a minute");
            self.wait_until(at);
            self.hub.state().calm_at(at);
            self.tick(at).await;
            self.work().await;
            self.hub.world.pass(30);
            self.work().await;
        }
        let row = self.hub.world.rows.get(ID).await.expect("rows in memory").and_then(Result::ok);
        let (records, messages) = (self.hub.world.local.store.records(), self.hub.world.local.queue.messages("note").len());
        self.hub.state().judge.ended(row.as_ref(), &records, messages);
    }

    pub(super) fn broken(&self) -> Option<(Property, String)> {
        self.hub.state().judge.broken.clone()
    }
}
