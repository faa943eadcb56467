//! Retries an attempt that fails, gives up a job that cannot succeed, and finds its dead letter.
//!
//! ```text
//! flaky-1 succeeded after 3 attempts
//! broken-1 failed after 1 attempt: there is no account 7
//! dead letter: broken-1, fatal
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Backoff, Context, Enqueue, Job, JobError, Policy, Worker, testing::Eager};

#[derive(Serialize, Deserialize)]
struct Charge {
    account: u64,
}

impl Arguments for Charge {
    const NAME: &'static str = "charge";
}

impl Job for Charge {
    const POLICY: Policy = Policy::new().max_attempts(5).backoff(Backoff::exponential(Duration::from_secs(10), Duration::from_hours(1)));
    type Output = ();

    async fn run(&self, ctx: &Context) -> Result<(), JobError> {
        match self.account {
            // No retry can help: the job fails at once.
            7 => Err(JobError::fatal("there is no account 7")),
            // Any other error is retried by the policy.
            _ if ctx.attempt() < 3 => Err("the bank does not answer".into()),
            _ => Ok(()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sqjobs::Error> {
    let eager = Eager::new();
    let client = eager.client();
    client.enqueue_one(Enqueue::new(&Charge { account: 1 })?.id("flaky-1")).await?;
    client.enqueue_one(Enqueue::new(&Charge { account: 7 })?.id("broken-1")).await?;

    // Eager mode moves its clock to the next retry, so nothing waits.
    eager.run(&Worker::new(()).job::<Charge>()).await;

    let flaky = client.get("flaky-1").await?.unwrap_or_default();
    println!("{} {} after {} attempts", flaky.id, flaky.state.as_str(), flaky.attempts);
    let broken = client.get("broken-1").await?.unwrap_or_default();
    let error = broken.error.unwrap_or_default();
    println!("{} {} after {} attempt: {}", broken.id, broken.state.as_str(), broken.attempts, error.message);
    for letter in eager.dead_letters().into_iter().map(sqjobs::Letter::open) {
        println!("dead letter: {}, {}", letter.id, letter.kind().unwrap_or("unknown"));
    }
    Ok(())
}
