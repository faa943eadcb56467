//! Shares state between all attempts, and runs code around each of them.
//!
//! ```text
//! greet begins attempt 1
//! greet ended: "hello ada"
//! ```

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Attempt, BoxFuture, Context, Job, JobError, Middleware, Next, Worker, serde_json::Value, testing::Eager};

/// Built once when the function starts. A real one holds clients and pools.
struct Greetings {
    word: String,
}

#[derive(Serialize, Deserialize)]
struct Greet {
    whom: String,
}

impl Arguments for Greet {
    const NAME: &'static str = "greet";
}

impl Job<Greetings> for Greet {
    type Output = String;

    async fn run(&self, ctx: &Context<Greetings>) -> Result<String, JobError> {
        Ok(format!("{} {}", ctx.state().word, self.whom))
    }
}

/// Prints the begin and the end of each attempt. Metrics, rate limits and the like have the same form.
struct Trace;

impl Middleware for Trace {
    fn handle<'a>(&'a self, attempt: &'a Attempt, next: Next<'a>) -> BoxFuture<'a, Result<Value, JobError>> {
        Box::pin(async move {
            println!("{} begins attempt {}", attempt.name(), attempt.attempt());
            let output = next.run().await?;
            println!("{} ended: {output}", attempt.name());
            Ok(output)
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sqjobs::Error> {
    let worker = Worker::new(Greetings { word: "hello".into() }).middleware(Trace).job::<Greet>();
    // In production: `worker.run().await`.
    let eager = Eager::new();
    eager.client().enqueue(&Greet { whom: "ada".into() }).await?;
    eager.run(&worker).await;
    Ok(())
}
