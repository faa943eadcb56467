//! Tests a job in process, with time under control: a reminder is enqueued, waits a day and runs once.
//!
//! ```text
//! waits: scheduled
//! a day later: succeeded
//! enqueued for the mailer: mail to ada@example.com
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Client, Context, Enqueue, Job, JobError, Worker, testing::Eager};

#[derive(Serialize, Deserialize)]
struct Remind {
    address: String,
}

impl Arguments for Remind {
    const NAME: &'static str = "remind";
}

/// The arguments of a job that another function runs.
#[derive(Serialize, Deserialize)]
struct Mail {
    to: String,
}

impl Arguments for Mail {
    const NAME: &'static str = "mail";
}

impl Job<Client> for Remind {
    type Output = ();

    async fn run(&self, ctx: &Context<Client>) -> Result<(), JobError> {
        ctx.state().enqueue(&Mail { to: self.address.clone() }).await?;
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    const DAY: Duration = Duration::from_hours(24);

    let eager = Eager::new();
    let worker = Worker::new(eager.client()).job::<Remind>();
    let remind = Enqueue::new(&Remind { address: "ada@example.com".into() })?.id("remind-1").delay(DAY);
    eager.client().enqueue_one(remind).await?;

    eager.run_due(&worker).await;
    let record = eager.record("remind-1").ok_or("the function filed no record")?;
    println!("waits: {}", record.state.as_str());

    eager.advance(DAY);
    eager.run_due(&worker).await;
    let record = eager.record("remind-1").ok_or("the record is gone")?;
    println!("a day later: {}", record.state.as_str());

    for envelope in eager.enqueued("mail") {
        println!("enqueued for the mailer: {} to {}", envelope.name, envelope.args["to"].as_str().unwrap_or_default());
    }
    Ok(())
}
