//! The simulated jobs: they fail, panic, wait, snooze, run for long, and save checkpoints.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqjobs::{
    Arguments, Backoff, Context, Enqueue, Job, JobError, Policy, Recording, Worker,
    testing::simulation::{Simulation, connected, keyed, workflow},
};

/// Number of jobs in one run, if there are many runs.
pub const JOBS: u64 = 12;

/// The behaviour of a job in each of its attempts.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// Duration of the run in milliseconds.
    ms: u64,
    /// Number of attempts that fail first.
    fails: u32,
    how: How,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    Error,
    Panic,
    Fatal,
    Snooze,
    RetryInAnHour,
    Checkpoint,
    Outage,
}

/// The behaviours of jobs without and with dependencies.
const ALONE: [How; 6] = [How::Error, How::Panic, How::Fatal, How::Snooze, How::RetryInAnHour, How::Checkpoint];
const CONNECTED: [How; 6] = [How::Error, How::Panic, How::Fatal, How::Snooze, How::Outage, How::Checkpoint];

impl Arguments for Plan {
    const NAME: &'static str = "plan";
}

impl Job for Plan {
    const POLICY: Policy = Policy::new()
        .max_attempts(12)
        .max_runs(60)
        .lease(Duration::from_secs(20))
        .backoff(Backoff::exponential(Duration::from_secs(2), Duration::from_mins(3)));
    type Output = u32;

    async fn run(&self, ctx: &Context) -> Result<u32, JobError> {
        tokio::time::sleep(Duration::from_millis(self.ms)).await;
        if ctx.attempt() > self.fails {
            return Ok(ctx.attempt());
        }
        match self.how {
            How::Error => Err("as planned".into()),
            How::Panic => panic!("as planned"),
            How::Fatal => Err(JobError::fatal("as planned")),
            How::Outage => match ctx.enqueued_at() {
                Some(at) if ctx.now().duration_since(at).as_mins() < 30 => Err(JobError::fatal("as planned")),
                _ => Ok(ctx.attempt()),
            },
            How::Snooze if ctx.last_checkpoint::<u32>()?.is_some() => Ok(ctx.attempt()),
            How::Snooze => {
                ctx.checkpoint(1).await?;
                Err(JobError::snooze(Duration::from_mins(20)))
            }
            How::RetryInAnHour => Err(JobError::retry_in(Duration::from_hours(1), "as planned")),
            How::Checkpoint => {
                if ctx.last_checkpoint::<u32>()?.is_none() {
                    ctx.checkpoint(1).await?;
                }
                tokio::time::sleep(Duration::from_mins(1)).await;
                Ok(ctx.attempt())
            }
        }
    }
}

/// The same job, recorded on trouble.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Quiet(Plan);

impl Arguments for Quiet {
    const NAME: &'static str = "quiet";
}

impl Job for Quiet {
    const POLICY: Policy = Plan::POLICY.recording(Recording::OnTrouble);
    type Output = u32;

    async fn run(&self, ctx: &Context) -> Result<u32, JobError> {
        self.0.run(ctx).await
    }
}

/// Returns the worker for these jobs.
pub fn worker() -> Worker {
    Worker::new(()).job::<Plan>().job::<Quiet>()
}

/// Returns `count` jobs; each seed gives a different mix.
pub fn jobs(seed: u64, count: u64) -> Vec<Enqueue> {
    (0..count).map(|number| job(seed, number, ALONE)).collect()
}

/// Returns a run of jobs that wait for each other, and that an operator cancels and retries. In one run of eight, there are more jobs than
/// can wait for the same one.
pub fn graph(seed: u64) -> (Simulation, Vec<Enqueue>) {
    let count = if seed.is_multiple_of(8) { 30 } else { JOBS };
    let recorded = |number: u64| {
        let job = job(seed, number, CONNECTED);
        if job.name() == "quiet" || number.is_multiple_of(5) { job.recorded() } else { job }
    };
    let changes = [0, 4, 12][usize::try_from(seed % 3).unwrap_or(0)];
    (Simulation::new(seed).changes(changes), connected(seed, (0..count).map(recorded).collect()))
}

/// Returns a run of one workflow of 5 to 60 jobs, which an operator cancels and retries. In one run of five, its message is sent twice.
pub fn whole(seed: u64) -> (Simulation, Vec<Enqueue>) {
    let step = |number: u64| plain(seed, number, CONNECTED);
    let count = if seed % 16 == 15 { 130 } else { 5 + seed * 7 % 56 };
    let delayed = |job: Enqueue| if seed.is_multiple_of(6) { job.delay(Duration::from_mins(2)) } else { job };
    let closing = delayed(step(count).id("whole"));
    let message = workflow(seed, closing, (0..count).map(step).collect());
    let changes = [0, 4, 12][usize::try_from(seed % 3).unwrap_or(0)];
    let copies = if seed.is_multiple_of(5) { 2 } else { 1 };
    (Simulation::new(seed).changes(changes), vec![message; copies])
}

/// Returns a run of jobs that share keys, some of which also wait for each other. In two runs of three, an operator cancels and retries jobs.
pub fn sharing(seed: u64) -> (Simulation, Vec<Enqueue>) {
    let recorded = |number: u64| {
        let job = job(seed, number, CONNECTED);
        if job.name() == "quiet" { job.recorded() } else { job }
    };
    let jobs = keyed(seed, (0..2 * JOBS).map(recorded).collect());
    let jobs = if seed.is_multiple_of(5) { connected(seed, jobs) } else { jobs };
    let changes = [0, 4, 12][usize::try_from(seed % 3).unwrap_or(0)];
    (Simulation::new(seed).functions(3).changes(changes), jobs)
}

fn job(seed: u64, number: u64, hows: [How; 6]) -> Enqueue {
    let job = plain(seed, number, hows);
    match mixed(seed, number) / 72 % 8 {
        0 => job.delay(Duration::from_mins(2)),
        1 => job.delay(Duration::from_mins(50)),
        _ => job,
    }
}

fn mixed(seed: u64, number: u64) -> u64 {
    (seed * JOBS + number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

/// Returns a job without a delay.
fn plain(seed: u64, number: u64, hows: [How; 6]) -> Enqueue {
    let mix = mixed(seed, number);
    let pick = |divisor: u64, choices: u64| usize::try_from(mix / divisor % choices).unwrap_or(0);
    let how = hows[pick(1, 6)];
    let plan = Plan { ms: [0, 700, 9_000, 35_000][pick(6, 4)], fails: [0, 1, 2][pick(24, 3)], how };
    let name = ["plan", "plan", "quiet"][pick(576, 3)];
    Enqueue::named(name, serde_json::to_value(plan).expect("plain data")).id(format!("job-{number}"))
}
