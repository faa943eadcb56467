//! A job that acts as its arguments say, so that a test can observe the outcome. The tests deploy it as a separate function.

use std::{
    fs::{self, OpenOptions},
    future::pending,
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Backoff, Client, Context, Enqueue, Job, JobError, Policy, Recording, Worker};

const HOUR: Duration = Duration::from_hours(1);

/// Arguments of every probe.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    /// File to which each run appends a line: the job's id, the attempt and the process.
    effects: PathBuf,
    /// Action of the run.
    #[serde(default)]
    act: Act,
    /// First attempt that succeeds without the action.
    #[serde(default = "never")]
    until: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Act {
    #[default]
    Succeed,
    Fail,
    Fatal,
    Panic,
    /// Waits forever, like a request without a timeout.
    Hang,
    /// Blocks its thread.
    Block,
    /// Computes forever.
    Spin,
    /// Aborts the process.
    Abort,
    /// Waits until the file exists.
    WaitFor(PathBuf),
    /// Is in this folder for a moment, and appends the number of jobs in it to the file with its name and the extension `counts`.
    Meet(PathBuf),
    /// Fails until the file exists.
    FailUntil(PathBuf),
    /// Snoozes until the file exists.
    SnoozeUntil(PathBuf),
    /// Enqueues a probe with this id that succeeds.
    Enqueue(String),
    /// Enqueues a listed probe to this queue. The child's id derives from this job's id.
    EnqueueTo(String),
    /// Saves a checkpoint and hangs. Succeeds if an earlier attempt saved one.
    Resume,
    /// Fails permanently with this text and kind.
    Complain(String),
}

fn never() -> u32 {
    u32::MAX
}

impl Orders {
    async fn follow<S>(&self, ctx: &Context<S>) -> Result<u32, JobError> {
        note(&self.effects, &format!("{} {} {}\n", ctx.id(), ctx.attempt(), std::process::id()))?;
        if ctx.attempt() < self.until {
            self.act.perform(ctx, &self.effects).await?;
        }
        Ok(ctx.attempt())
    }
}

impl Act {
    async fn perform<S>(&self, ctx: &Context<S>, effects: &Path) -> Result<(), JobError> {
        match self {
            Self::Succeed => Ok(()),
            Self::FailUntil(file) | Self::SnoozeUntil(file) if file.exists() => Ok(()),
            Self::Fail | Self::FailUntil(_) => Err("failed as told".into()),
            Self::SnoozeUntil(_) => Err(JobError::snooze(Duration::from_secs(1))),
            Self::Resume if ctx.last_checkpoint::<String>()?.is_some() => Ok(()),
            Self::Resume => {
                ctx.checkpoint("half").await?;
                pending().await
            }
            Self::Complain(text) => Err(JobError::fatal(text.as_str()).kind(text.clone())),
            Self::Enqueue(id) => {
                let child = Enqueue::named("probe", serde_json::json!({ "effects": effects })).queue(ctx.queue()).id(id).recorded();
                Client::from_env().await.enqueue_one(child).await?;
                Ok(())
            }
            Self::EnqueueTo(queue) => {
                let child =
                    Enqueue::named("probe", serde_json::json!({ "effects": effects })).queue(queue).id(format!("{}-child", ctx.id()));
                Client::from_env().await.enqueue_one(child.listed()).await?;
                Ok(())
            }
            Self::Fatal => Err(JobError::fatal("gave up as told")),
            Self::Panic => panic!("panicked as told"),
            Self::Hang => pending().await,
            Self::Block => {
                thread::sleep(HOUR);
                Ok(())
            }
            Self::Spin => loop {
                std::hint::spin_loop();
            },
            Self::Abort => std::process::abort(),
            Self::WaitFor(file) => {
                appears(file).await;
                Ok(())
            }
            Self::Meet(folder) => {
                let own = folder.join(ctx.id());
                fs::write(&own, "")?;
                note(&folder.with_extension("counts"), &format!("{}\n", fs::read_dir(folder)?.count()))?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                fs::remove_file(own)?;
                Ok(())
            }
        }
    }
}

/// Appends in a single write, which the system does not interleave with others.
fn note(file: &Path, line: &str) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())
}

async fn appears(file: &Path) {
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    while !file.exists() {
        pause.tick().await;
    }
}

/// Retried twice with a short backoff, and protected by a short lease.
#[derive(Debug, Serialize, Deserialize)]
struct Probe(Orders);

impl Arguments for Probe {
    const NAME: &'static str = "probe";
}

impl Job for Probe {
    const POLICY: Policy = Policy::new().max_attempts(3).lease(Duration::from_secs(3)).backoff(Backoff::constant(Duration::from_secs(1)));
    type Output = u32;

    async fn run(&self, ctx: &Context) -> Result<u32, JobError> {
        self.0.follow(ctx).await
    }
}

/// Times out after one second.
#[derive(Debug, Serialize, Deserialize)]
struct Hasty(Orders);

impl Arguments for Hasty {
    const NAME: &'static str = "hasty";
}

impl Job for Hasty {
    const POLICY: Policy = Probe::POLICY.timeout(Duration::from_secs(1));
    type Output = u32;

    async fn run(&self, ctx: &Context) -> Result<u32, JobError> {
        self.0.follow(ctx).await
    }
}

/// Retried after several minutes.
#[derive(Debug, Serialize, Deserialize)]
struct Patient(Orders);

impl Arguments for Patient {
    const NAME: &'static str = "patient";
}

impl Job for Patient {
    const POLICY: Policy = Policy::new().max_attempts(3).backoff(Backoff::exponential(Duration::from_secs(200), HOUR));
    type Output = u32;

    async fn run(&self, ctx: &Context) -> Result<u32, JobError> {
        self.0.follow(ctx).await
    }
}

/// Retried after several hours.
#[derive(Debug, Serialize, Deserialize)]
struct Hourly(Orders);

impl Arguments for Hourly {
    const NAME: &'static str = "hourly";
}

impl Job for Hourly {
    const POLICY: Policy = Policy::new().max_attempts(3).backoff(Backoff::constant(HOUR));
    type Output = u32;

    async fn run(&self, ctx: &Context) -> Result<u32, JobError> {
        self.0.follow(ctx).await
    }
}

/// Starts again soon after a crash.
#[derive(Debug, Serialize, Deserialize)]
struct Swift(Orders);

impl Arguments for Swift {
    const NAME: &'static str = "swift";
}

impl Job for Swift {
    const POLICY: Policy = Probe::POLICY.fast_recovery();
    type Output = u32;

    async fn run(&self, ctx: &Context) -> Result<u32, JobError> {
        self.0.follow(ctx).await
    }
}

/// Recorded on trouble. The lease is long enough that a busy machine does not let it expire.
#[derive(Debug, Serialize, Deserialize)]
struct Quiet(Orders);

impl Arguments for Quiet {
    const NAME: &'static str = "quiet";
}

impl Job for Quiet {
    const POLICY: Policy = Probe::POLICY.recording(Recording::OnTrouble).lease(Duration::from_mins(1));
    type Output = u32;

    async fn run(&self, ctx: &Context) -> Result<u32, JobError> {
        self.0.follow(ctx).await
    }
}

/// Writes a secret wherever a job can: to its checkpoint, its progress and its result.
#[derive(Debug, Serialize, Deserialize)]
struct Vault {
    orders: Orders,
    secret: String,
}

impl Arguments for Vault {
    const NAME: &'static str = "vault";
}

impl Job for Vault {
    const POLICY: Policy = Probe::POLICY.max_attempts(2).timeout(Duration::from_secs(2));
    type Output = String;

    async fn run(&self, ctx: &Context) -> Result<String, JobError> {
        ctx.checkpoint(&self.secret).await?;
        ctx.progress(&self.secret);
        self.orders.follow(ctx).await?;
        Ok(self.secret.clone())
    }
}

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    Worker::new(()).job::<Probe>().job::<Hasty>().job::<Patient>().job::<Hourly>().job::<Quiet>().job::<Swift>().job::<Vault>().run().await
}
