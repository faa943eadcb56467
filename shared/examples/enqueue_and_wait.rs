//! Enqueues a job by its type, waits for its end, and reads its typed output.
//!
//! ```text
//! invoice-1: 360 cents
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Context, Enqueue, Job, JobError, Worker, testing::Eager};

/// A producer needs only these two items. Put them into a library of their own.
#[derive(Serialize, Deserialize)]
struct Invoice {
    hours: u64,
}

impl Arguments for Invoice {
    const NAME: &'static str = "invoice";
}

/// The work: only the function needs it.
impl Job for Invoice {
    type Output = u64;

    async fn run(&self, _ctx: &Context) -> Result<u64, JobError> {
        Ok(self.hours * 120)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In production: `Client::from_env().await`, and a function that runs the job.
    let eager = Eager::new();
    let client = eager.client();

    let sent = client.enqueue_one(Enqueue::new(&Invoice { hours: 3 })?.id("invoice-1").tag("urgent")).await?;
    eager.run(&Worker::new(()).job::<Invoice>()).await;

    let record = client.wait(&sent.id, Duration::from_secs(30)).await?.ok_or("the invoice has not ended in time")?;
    let cents: u64 = record.output()?.ok_or("the invoice failed")?;
    println!("{}: {cents} cents", record.id);
    Ok(())
}
