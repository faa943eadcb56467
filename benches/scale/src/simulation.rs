//! Simulates a day second by second. Jobs arrive, wait in order of arrival, and start as fast as the tightest limit allows.
//!
//! Jobs are counted, not tracked one by one. A started job counts as done, and batches are full while jobs wait.

use std::{
    collections::{BTreeMap, VecDeque},
    f64::consts::PI,
};

use crate::{cost::WRITES, quota};

#[cfg(test)]
mod tests;

/// Seconds of the day.
pub(crate) const DAY: usize = 86_400;
/// The second in which the burst begins: noon, when the arrival rate is highest.
pub(crate) const BURST_AT: usize = DAY / 2;
/// Duration of the burst in seconds.
const BURST_FOR: usize = 60;
/// Jobs of a batch, which run concurrently.
pub(crate) const BATCH: f64 = 10.0;
/// Arrival rate at noon, as a multiple of the mean rate.
pub(crate) const PEAK: f64 = 3.0;

/// A limit that can hold jobs back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limit {
    /// Concurrent batches of the event source: by its growth, its upper limit, or its maximum concurrency.
    EventSource,
    /// Messages that the provisioned pollers can fetch.
    Polls,
    /// Messages of the queue in flight.
    InFlight,
    /// Concurrent executions of the account.
    Concurrency,
    /// New execution environments of the function.
    Environments,
    /// Invocations per second of the account.
    Requests,
    /// Write units that the table accepts after its earlier peaks.
    TableCeiling,
    /// Write units that the table's quota allows.
    TableQuota,
    /// Write units that the busiest partition accepts.
    Partition,
}

impl Limit {
    fn is_of_table(self) -> bool {
        matches!(self, Self::TableCeiling | Self::TableQuota | Self::Partition)
    }
}

/// The polling mode of the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// Scaled by Lambda, with at most `most` concurrent batches.
    Standard { most: f64 },
    /// Polled by `least` to `most` provisioned pollers.
    Provisioned { least: f64, most: f64 },
}

impl Source {
    /// Concurrent batches: initially, at most, and added per second.
    fn batches(self) -> (f64, f64, f64) {
        match self {
            Self::Standard { most } => (quota::SOURCE_START.min(most), most, quota::SOURCE_GROWTH / 60.0),
            Self::Provisioned { least, most } => (least * quota::POLLER_BATCHES, most * quota::POLLER_BATCHES, quota::POLLER_GROWTH / 60.0),
        }
    }

    /// Returns the jobs per second that `batches` concurrent batches can fetch.
    fn polled(self, batches: f64) -> f64 {
        match self {
            Self::Standard { .. } => f64::INFINITY, // not published
            Self::Provisioned { .. } => batches / quota::POLLER_BATCHES * quota::POLLER_MESSAGES,
        }
    }

    /// Returns the concurrent batches that `jobs` jobs per second need, for running and for fetching.
    fn needed(self, jobs: f64, batch: f64) -> f64 {
        (jobs / BATCH * batch).max(jobs / self.polled(1.0))
    }
}

/// An on-demand table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    /// Write units per second that it accepts from the start.
    pub(crate) warm: f64,
    /// Write units per second that it may accept at most.
    pub(crate) quota: f64,
    /// Write units per second that one partition accepts.
    pub(crate) partition: f64,
    /// Share of all writes that go to the busiest key; 0 if each job has its own key. It limits all jobs, not only those of that key.
    pub(crate) hottest: f64,
}

/// The parameters of a simulated day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Jobs of the day, without the burst.
    pub(crate) jobs: f64,
    /// Jobs of the burst.
    pub(crate) burst: f64,
    /// Seconds that a batch takes.
    pub(crate) batch: f64,
    /// The polling mode of the queue.
    pub(crate) source: Source,
    /// Maximum number of messages in flight.
    pub(crate) in_flight: f64,
    /// Concurrent executions of the account.
    pub(crate) concurrency: f64,
    /// Execution environments that the function may add in 10 s.
    pub(crate) environments: f64,
    /// The table of the records.
    pub(crate) table: Table,
}

/// The jobs that one limit held back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hold {
    /// Number of seconds at whose end jobs waited because of this limit.
    pub(crate) seconds: usize,
    /// The arrival second of the oldest waiting job when the number of waiting jobs was highest.
    pub(crate) since: usize,
    /// The highest number of waiting jobs.
    most: u32,
    /// The sum of waiting jobs over all seconds.
    job_seconds: u64,
}

/// The result of a simulated day.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Number of jobs that arrived.
    pub(crate) arrived: u64,
    /// Number of jobs that ran.
    pub(crate) done: u64,
    /// Number of jobs that still wait at the end of the day.
    pub(crate) waiting: u32,
    /// The highest number of jobs that waited at the end of a second.
    pub(crate) backlog: u32,
    /// Seconds from the first job of the burst to the start of its last job, if that job started.
    pub(crate) drained: Option<usize>,
    /// Write units beyond the limit of the table. A waiting job counts in each second in which it would otherwise have started.
    pub(crate) refused: u64,
    /// The jobs that each limit held back.
    held: BTreeMap<Limit, Hold>,
    /// Number of jobs by their wait in seconds.
    waits: Vec<u32>,
}

impl Outcome {
    /// Returns the seconds within which the given share of the finished jobs had started.
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

    /// Returns the limit that caused most of the waiting.
    pub(crate) fn tightest(&self) -> Option<(Limit, Hold)> {
        self.held.iter().map(|(limit, hold)| (*limit, *hold)).max_by_key(|(_, hold)| hold.job_seconds)
    }
}

/// Simulates one day.
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

/// The state at one second.
struct Day {
    setting: Setting,
    /// Waiting jobs by their second of arrival.
    queue: VecDeque<(usize, u32)>,
    backlog: u32,
    waiting_since: Option<usize>,
    /// Fractions of a job: of the arrivals, and of the unused capacity.
    coming: f64,
    spare: f64,
    /// Concurrent batches of the event source.
    batches: f64,
    /// Existing execution environments, and the number that may be added at once.
    environments: f64,
    allowance: f64,
    /// Highest write units per second up to each second of the last half hour. The front entry is old enough to be doubled.
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

    /// Starts as many jobs as the tightest limit allows. Returns that limit and the number of jobs.
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

    /// Returns the number of jobs that each limit allows to start in this second.
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

    /// Removes the jobs that have waited longest from the queue.
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

    /// Accounts for the resources of the started jobs: environments, and write units that the table remembers.
    fn use_up(&mut self, started: f64) {
        let more = (started / BATCH * self.setting.batch - self.environments).max(0.0);
        self.environments += more;
        self.allowance = (self.allowance - more + self.setting.environments / 10.0).min(self.setting.environments);
        let peak = self.peaks.back().copied().unwrap_or_default().max(started * WRITES);
        self.peaks.push_back(peak);
        self.peaks.pop_front();
    }

    /// Adds batches while jobs wait; otherwise removes batches beyond twice the need. Lambda does not publish how fast it
    /// removes them; this simulation removes them as fast as it adds them.
    fn scale(&mut self, started: f64) {
        let (fewest, most, growth) = self.setting.source.batches();
        let enough = 2.0 * self.setting.source.needed(started, self.setting.batch);
        let next = if self.backlog > 0 { self.batches + growth } else { self.batches.min((self.batches - growth).max(enough)) };
        self.batches = next.clamp(fewest, most);
    }

    /// Records the number of waiting jobs, the oldest arrival, and the limit that holds them back.
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

/// Returns the arrival rate of a second as a multiple of the mean: a wave from 1/11 at midnight to 3 at noon, with mean 1.
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
