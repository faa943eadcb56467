//! A day by the second: jobs arrive, wait in the order in which they came, and start as fast as the tightest limit lets them.
//!
//! Jobs are counted, not followed: a started job counts as done, and a batch is full while jobs wait.

use std::{
    collections::{BTreeMap, VecDeque},
    f64::consts::PI,
};

use crate::{cost::WRITES, quota};

#[cfg(test)]
mod tests;

/// Seconds of the day.
pub(crate) const DAY: usize = 86_400;
/// The second in which the burst begins: noon, when most arrives anyway.
pub(crate) const BURST_AT: usize = DAY / 2;
/// Seconds for which the burst lasts.
const BURST_FOR: usize = 60;
/// Jobs of a batch, which run at the same time.
pub(crate) const BATCH: f64 = 10.0;
/// How many times the mean arrives at noon.
pub(crate) const PEAK: f64 = 3.0;

/// What can hold jobs back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limit {
    /// Concurrent batches of the event source: its growth, its cap, or its maximum concurrency.
    EventSource,
    /// The messages that the provisioned pollers can fetch.
    Polls,
    /// Messages of the queue in flight.
    InFlight,
    /// Concurrent executions of the account.
    Concurrency,
    /// New execution environments of the function.
    Environments,
    /// Invocations a second of the account.
    Requests,
    /// Write units that the table takes after what it took before.
    TableCeiling,
    /// Write units that its quota allows.
    TableQuota,
    /// Write units that its busiest partition takes.
    Partition,
}

impl Limit {
    fn is_of_table(self) -> bool {
        matches!(self, Self::TableCeiling | Self::TableQuota | Self::Partition)
    }
}

/// How the queue is polled.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// As Lambda sees fit, with at most so many batches at a time.
    Standard { most: f64 },
    /// By between so many pollers.
    Provisioned { least: f64, most: f64 },
}

impl Source {
    /// Concurrent batches at first, at most, and more a second.
    fn batches(self) -> (f64, f64, f64) {
        match self {
            Self::Standard { most } => (quota::SOURCE_START.min(most), most, quota::SOURCE_GROWTH / 60.0),
            Self::Provisioned { least, most } => (least * quota::POLLER_BATCHES, most * quota::POLLER_BATCHES, quota::POLLER_GROWTH / 60.0),
        }
    }

    /// Jobs a second that so many concurrent batches are fetched with.
    fn polled(self, batches: f64) -> f64 {
        match self {
            Self::Standard { .. } => f64::INFINITY, // not published
            Self::Provisioned { .. } => batches / quota::POLLER_BATCHES * quota::POLLER_MESSAGES,
        }
    }

    /// Concurrent batches that so many jobs a second need: to run, and to be fetched.
    fn needed(self, jobs: f64, batch: f64) -> f64 {
        (jobs / BATCH * batch).max(jobs / self.polled(1.0))
    }
}

/// A table on demand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    /// Write units a second that it takes from the start.
    pub(crate) warm: f64,
    /// Write units a second that it may ever take.
    pub(crate) quota: f64,
    /// Write units a second that one partition takes.
    pub(crate) partition: f64,
    /// The share of all writes that the busiest key gets, 0 if every job has a key of its own. It holds all jobs back, not only its own.
    pub(crate) hottest: f64,
}

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Jobs of the day, the burst not counted.
    pub(crate) jobs: f64,
    /// Jobs of the burst.
    pub(crate) burst: f64,
    /// Seconds that a batch takes.
    pub(crate) batch: f64,
    /// How the queue is polled.
    pub(crate) source: Source,
    /// Messages that may be in flight.
    pub(crate) in_flight: f64,
    /// Concurrent executions of the account.
    pub(crate) concurrency: f64,
    /// Execution environments that the function may add in 10 s.
    pub(crate) environments: f64,
    /// The table of the records.
    pub(crate) table: Table,
}

/// How a limit held jobs back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hold {
    /// Seconds at whose end jobs waited because of it.
    pub(crate) seconds: usize,
    /// The second since which jobs had been waiting when most did.
    pub(crate) since: usize,
    /// The most that waited.
    most: u32,
    /// The sum of those that waited.
    job_seconds: u64,
}

/// What came of the day.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Jobs that arrived.
    pub(crate) arrived: u64,
    /// Jobs that were run.
    pub(crate) done: u64,
    /// Jobs that still wait at the end of the day.
    pub(crate) waiting: u32,
    /// The most jobs that waited at the end of a second.
    pub(crate) backlog: u32,
    /// Seconds from the first job of the burst to the start of its last, if it did start.
    pub(crate) drained: Option<usize>,
    /// Write units beyond what the table took; a job that waits is counted in each second in which it would have started.
    pub(crate) refused: u64,
    /// What each limit held back.
    held: BTreeMap<Limit, Hold>,
    /// Jobs by the seconds that they waited.
    waits: Vec<u32>,
}

impl Outcome {
    /// Seconds within which `share` of the jobs that were run had started.
    pub(crate) fn wait(&self, share: (u64, u64)) -> usize {
        let mut left = (self.done * share.0).div_ceil(share.1);
        for (seconds, jobs) in self.waits.iter().enumerate() {
            left = left.saturating_sub(u64::from(*jobs));
            if left == 0 {
                return seconds;
            }
        }
        self.waits.len()
    }

    /// The limit to which most of the waiting is due.
    pub(crate) fn tightest(&self) -> Option<(Limit, Hold)> {
        self.held.iter().map(|(limit, hold)| (*limit, *hold)).max_by_key(|(_, hold)| hold.job_seconds)
    }
}

/// Runs the day of a setting.
pub(crate) fn day(setting: Setting) -> Outcome {
    let mut day = Day::new(setting);
    for second in 0..DAY {
        day.arrive(second);
        let (limit, started) = day.start(second);
        day.use_up(f64::from(started));
        day.scale(f64::from(started));
        day.note(second, limit);
    }
    day.outcome.waiting = day.backlog;
    day.outcome
}

/// The state of a second.
struct Day {
    setting: Setting,
    /// Jobs that wait, by the second in which they came.
    queue: VecDeque<(usize, u32)>,
    backlog: u32,
    waiting_since: Option<usize>,
    /// The part of a job that has come, and the part that could have started.
    coming: f64,
    spare: f64,
    /// Concurrent batches of the event source.
    batches: f64,
    /// Execution environments, and how many more there may be at once.
    environments: f64,
    allowance: f64,
    /// The most write units of a second, up to each second of the last half hour; the front is old enough to be doubled.
    peaks: VecDeque<f64>,
    outcome: Outcome,
}

impl Day {
    fn new(setting: Setting) -> Self {
        let outcome =
            Outcome { arrived: 0, done: 0, waiting: 0, backlog: 0, drained: None, refused: 0, held: BTreeMap::new(), waits: vec![0; DAY] };
        Self {
            setting,
            queue: VecDeque::new(),
            backlog: 0,
            waiting_since: None,
            coming: 0.0,
            spare: 0.0,
            batches: setting.source.batches().0,
            environments: 0.0,
            allowance: setting.environments,
            peaks: VecDeque::from(vec![0.0; quota::DOUBLING]),
            outcome,
        }
    }

    fn arrive(&mut self, second: usize) {
        self.coming += self.setting.jobs / seconds(DAY) * curve(second);
        if (BURST_AT..BURST_AT + BURST_FOR).contains(&second) {
            self.coming += self.setting.burst / seconds(BURST_FOR);
        }
        let jobs = whole(self.coming);
        self.coming -= f64::from(jobs);
        if jobs > 0 {
            self.queue.push_back((second, jobs));
        }
        self.backlog += jobs;
        self.outcome.arrived += u64::from(jobs);
    }

    /// Starts what the tightest limit allows; that limit, and how many jobs.
    fn start(&mut self, second: usize) -> (Limit, u32) {
        let limits = self.limits();
        let (limit, jobs) = least(limits.into_iter());
        let able = jobs + self.spare;
        let started = whole(able).min(self.backlog);
        self.take(second, started);
        self.spare = if self.backlog > 0 { able - f64::from(started) } else { 0.0 };
        if limit.is_of_table() {
            let wanted = least(limits.into_iter().filter(|(limit, _)| !limit.is_of_table())).1;
            let refused = wanted.min(f64::from(self.backlog + started)) - f64::from(started);
            self.outcome.refused += u64::from(whole(refused * WRITES));
        }
        (limit, started)
    }

    /// Jobs that each limit lets start in this second.
    fn limits(&self) -> [(Limit, f64); 9] {
        let Setting { batch, source, in_flight, concurrency, table, .. } = self.setting;
        let jobs_of = |batches: f64| batches / batch * BATCH;
        let ceiling = table.warm.max(2.0 * self.peaks[0]);
        let partitions = (ceiling / quota::PARTITION).ceil();
        [
            (Limit::EventSource, jobs_of(self.batches)),
            (Limit::Polls, source.polled(self.batches)),
            (Limit::InFlight, jobs_of(in_flight / BATCH)),
            (Limit::Concurrency, jobs_of(concurrency)),
            (Limit::Environments, jobs_of(self.environments + self.allowance)),
            (Limit::Requests, concurrency * quota::REQUESTS * BATCH),
            (Limit::TableQuota, table.quota / WRITES),
            (Limit::TableCeiling, ceiling / WRITES),
            (Limit::Partition, table.partition / table.hottest.max(1.0 / partitions) / WRITES),
        ]
    }

    /// Takes the jobs that have waited longest from the queue.
    fn take(&mut self, second: usize, started: u32) {
        self.backlog -= started;
        self.outcome.done += u64::from(started);
        let mut left = started;
        while left > 0
            && let Some((came, jobs)) = self.queue.front_mut()
        {
            let taken = left.min(*jobs);
            self.outcome.waits[second - *came] += taken;
            *jobs -= taken;
            left -= taken;
            if *jobs == 0 {
                self.queue.pop_front();
            }
        }
        let burst_over = second + 1 >= BURST_AT + BURST_FOR;
        let burst_waits = self.queue.front().is_some_and(|(came, _)| *came < BURST_AT + BURST_FOR);
        if burst_over && !burst_waits {
            self.outcome.drained.get_or_insert(second + 1 - BURST_AT);
        }
    }

    /// What the started jobs occupy: environments, and write units that the table will remember.
    fn use_up(&mut self, started: f64) {
        let more = (started / BATCH * self.setting.batch - self.environments).max(0.0);
        self.environments += more;
        self.allowance = (self.allowance - more + self.setting.environments / 10.0).min(self.setting.environments);
        let peak = self.peaks.back().copied().unwrap_or_default().max(started * WRITES);
        self.peaks.push_back(peak);
        self.peaks.pop_front();
    }

    /// Adds batches while jobs wait, and else takes back what is beyond twice the need. How fast Lambda does the latter is not
    /// published; here it is as fast as the former.
    fn scale(&mut self, started: f64) {
        let (fewest, most, growth) = self.setting.source.batches();
        let enough = 2.0 * self.setting.source.needed(started, self.setting.batch);
        let next = if self.backlog > 0 { self.batches + growth } else { self.batches.min((self.batches - growth).max(enough)) };
        self.batches = next.clamp(fewest, most);
    }

    /// Notes how many wait, since when, and because of what.
    fn note(&mut self, second: usize, limit: Limit) {
        self.outcome.backlog = self.outcome.backlog.max(self.backlog);
        if self.backlog == 0 {
            self.waiting_since = None;
            return;
        }
        let since = *self.waiting_since.get_or_insert(second);
        let hold = self.outcome.held.entry(limit).or_default();
        hold.seconds += 1;
        hold.job_seconds += u64::from(self.backlog);
        if self.backlog > hold.most {
            hold.most = self.backlog;
            hold.since = since;
        }
    }
}

/// How many times the mean arrives in a second: a wave from 1/11 at midnight to 3 at noon, whose mean over the day is 1.
fn curve(second: usize) -> f64 {
    let height = (PI * seconds(second) / seconds(DAY)).sin().powi(6);
    (1.0 + (11.0 * PEAK - 1.0) * height) / 11.0
}

fn least(limits: impl Iterator<Item = (Limit, f64)>) -> (Limit, f64) {
    limits.min_by(|(_, one), (_, other)| one.total_cmp(other)).unwrap_or((Limit::EventSource, 0.0))
}

#[expect(clippy::cast_precision_loss, reason = "a day has few seconds")]
fn seconds(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates, as is meant")]
fn whole(jobs: f64) -> u32 {
    jobs as u32
}
