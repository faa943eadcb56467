//! Checks the properties at every change of the row, at every run of a job, and at the end.

use std::collections::BTreeSet;

use super::*;

/// The look-ahead of a beater.
const LOOK_AHEAD: Duration = Duration::from_mins(2);

/// An entry and all its fires.
#[derive(Debug)]
pub(super) struct Told {
    entry: Entry,
    fires: Vec<Timestamp>,
}

impl Told {
    pub(super) fn new(entry: Entry) -> Arc<Self> {
        let timetable = entry.check().expect("a good entry");
        let fires = std::iter::successors(timetable.next(minute(-1)), |fire| timetable.next(*fire)).collect();
        Arc::new(Self { entry, fires })
    }

    /// Returns the shards that can contain its jobs, until an instant.
    pub(super) fn shards(&self, until: Timestamp) -> impl Iterator<Item = String> {
        self.fires.iter().filter(move |fire| **fire <= until).map(|fire| crate::names::shard(&self.entry.job_id(*fire)))
    }

    /// Returns the run of a job as in the log.
    fn run(&self, fire: Timestamp) -> String {
        let envelope = self.entry.envelope(fire);
        format!("{} {}", envelope.id.unwrap_or_default(), envelope.args.as_str().unwrap_or_default())
    }
}

/// The schedule as an operator has written it.
#[derive(Debug)]
struct Version {
    told: Arc<Told>,
    paused: bool,
    deleted: bool,
    /// The time of the edit.
    since: Timestamp,
    /// `true` if the schedule continues, since its entry is the one that a tick has seen.
    goes_on: bool,
    /// The instant of the first tick that has fully processed it.
    seen_by: Option<Timestamp>,
    /// The latest tick that had changed the row until then. Fires due by that tick were not cancelled.
    due_by: Timestamp,
}

/// The observations, and the first violation.
#[derive(Debug)]
pub(super) struct Judge {
    told: Vec<Arc<Told>>,
    versions: Vec<Version>,
    latest: Timestamp,
    ran: BTreeSet<String>,
    judged: usize,
    pub(super) broken: Option<(Property, String)>,
}

impl Version {
    fn new(row: &Row, told: Arc<Told>) -> Self {
        let named = row.next_fire.as_deref().and_then(|text| text.parse().ok());
        Self {
            told,
            paused: row.paused,
            deleted: row.deleted,
            since: named.expect("an edit names its time"),
            goes_on: row.is_current(),
            seen_by: None,
            due_by: Timestamp::MIN,
        }
    }

    fn has(&self, fire: Timestamp) -> bool {
        self.told.fires.contains(&fire)
    }

    fn fires_now(&self) -> bool {
        !self.paused && !self.deleted
    }

    /// Returns the instant from which each of its fires must run.
    fn from(&self) -> Option<Timestamp> {
        self.seen_by.map(|tick| if self.goes_on { self.since } else { self.since.max(tick) })
    }
}

impl Judge {
    pub(super) fn new(told: Vec<Arc<Told>>) -> Self {
        Self { told, versions: Vec::new(), latest: Timestamp::MIN, ran: BTreeSet::new(), judged: 0, broken: None }
    }

    fn ensure(&mut self, holds: bool, property: Property, told: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some((property, told()));
        }
    }

    /// Returns everything on which later checks depend.
    pub(super) fn sum(&self) -> String {
        let versions: Vec<_> = self.versions.iter().map(|it| (it.since, it.goes_on, it.seen_by, it.due_by)).collect();
        format!("{versions:?} {:?} {:?}", self.latest, self.ran)
    }

    /// Records a change of the row, by the tick of an instant or by an operator.
    pub(super) fn changed(&mut self, tick: Option<Timestamp>, stood: Option<&Row>, stands: Option<&Row>, now: Timestamp) {
        match (tick, stands) {
            (None, Some(row)) => {
                let told = self.told.iter().find(|told| told.entry == row.entry).expect("an entry of the scenario");
                self.versions.push(Version::new(row, Arc::clone(told)));
            }
            (None, None) => unreachable!("an operator leaves a row for a beater to delete"),
            (Some(tick), stands) => self.changed_by_beater(tick, stood, stands, now),
        }
    }

    fn changed_by_beater(&mut self, tick: Timestamp, stood: Option<&Row>, stands: Option<&Row>, now: Timestamp) {
        let last = self.versions.last_mut().expect("somebody has written it");
        self.latest = self.latest.max(tick);
        let through = stands.is_none_or(|row| if row.paused { row.due.is_none() } else { row.is_settled() && !row.deleted });
        if last.seen_by.is_none() && through {
            (last.seen_by, last.due_by) = (Some(tick), self.latest);
        }
        let is_kept = |row: &Row| row.entry == last.told.entry && (row.paused, row.deleted) == (last.paused, last.deleted);
        let kept = stands.map_or(last.deleted, is_kept);
        self.ensure(kept, Property::EditsStand, || format!("{stands:?}"));
        let Some(stands) = stands else { return };
        let next = |row: &Row| row.next_fire.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
        let (was, is) = (stood.and_then(next), next(stands));
        let forward = was.zip(is).is_none_or(|(was, is)| was <= is);
        self.ensure(forward, Property::CursorForward, || format!("{was:?} {is:?}"));
        let in_order = stands.ahead.is_sorted_by(|a, b| a < b);
        let is_fire = |fire: &Timestamp| *fire <= crate::clock::after(now, LOOK_AHEAD) && self.versions.iter().any(|it| it.has(*fire));
        let bounded = in_order && stands.ahead.iter().all(is_fire);
        self.ensure(bounded, Property::AheadBounded, || format!("{:?}", stands.ahead));
    }

    /// Records runs; `runs` contains all runs since the beginning.
    pub(super) fn ran(&mut self, runs: &[(String, Timestamp)], now: Timestamp) {
        for (run, _) in &runs[self.judged..] {
            let (id, _) = run.split_once(' ').expect("an id and an argument");
            let fire = instant(id.rsplit_once(&format!("{ID}:")).expect("an id of the schedule").1);
            self.ensure(fire <= now, Property::NoneEarly, || format!("{run} at {now}"));
            let is_of = |it: &Version| it.has(fire) && it.since <= fire;
            let known = self.versions.iter().any(is_of) && self.versions.iter().any(|it| it.has(fire) && it.told.run(fire) == *run);
            self.ensure(known, Property::NoneInvented, || run.clone());
            self.called_off(run, fire);
            let first = self.ran.insert(id.to_owned());
            self.ensure(first, Property::NoneDoubled, || run.clone());
        }
        self.judged = runs.len();
    }

    /// Checks that jobs which are due after the last tick that has fully processed a version belong to that version or a later one.
    fn called_off(&mut self, run: &str, fire: Timestamp) {
        let Some(seen) = self.versions.iter().rposition(|it| it.seen_by.is_some() && it.due_by < fire) else { return };
        let is_of = |it: &Version| it.fires_now() && it.has(fire) && it.told.run(fire) == run;
        let stands = self.versions[seen..].iter().any(is_of);
        self.ensure(stands, Property::CalledOff, || format!("{run}, after version {seen}"));
    }

    /// Checks the final state, after the schedule has ended and no request is left.
    pub(super) fn ended(&mut self, row: Option<&Row>, records: &[Record], messages: usize) {
        let unfinished: Vec<_> =
            records.iter().filter(|record| !record.state.is_terminal()).map(|record| (&record.id, record.state)).collect();
        self.ensure(unfinished.is_empty() && messages == 0, Property::AtRest, || format!("{unfinished:?}, {messages} messages"));
        let stands = self.versions.last().expect("somebody has written it");
        let at_rest = if stands.deleted { row.is_none() } else { row.is_some_and(|row| row.due.is_none()) };
        let (from, fires) = (stands.from(), stands.fires_now());
        let due = stands.told.fires.iter().filter(|fire| from.is_some_and(|from| **fire >= from));
        let lost: Vec<_> = due.map(|fire| stands.told.entry.job_id(*fire)).filter(|id| fires && !self.ran.contains(id)).collect();
        self.ensure(lost.is_empty(), Property::NoFireLost, || format!("{lost:?}"));
        self.ensure(at_rest && from.is_some(), Property::AtRest, || format!("{row:?}"));
    }
}
