//! Saves a checkpoint after each page, fails in the middle, and goes on from the checkpoint in the next attempt.
//!
//! ```text
//! attempt 1 reads page 1
//! attempt 1 reads page 2
//! attempt 2 reads page 3
//! attempt 2 reads page 4
//! pages read: 4
//! ```

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Context, Job, JobError, Worker, testing::Eager};

#[derive(Serialize, Deserialize)]
struct Import {
    pages: u32,
}

impl Arguments for Import {
    const NAME: &'static str = "import";
}

impl Job for Import {
    type Output = u32;

    async fn run(&self, ctx: &Context) -> Result<u32, JobError> {
        let done: u32 = ctx.last_checkpoint()?.unwrap_or(0);
        for page in done + 1..=self.pages {
            if page == 3 && ctx.attempt() == 1 {
                return Err("the server closed the connection".into());
            }
            println!("attempt {} reads page {page}", ctx.attempt());
            // Also stops here, and goes on in another invocation, when the time of this one is over.
            ctx.checkpoint(page).await?;
        }
        Ok(self.pages)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let eager = Eager::new();
    let sent = eager.client().enqueue(&Import { pages: 4 }).await?;
    eager.run(&Worker::new(()).job::<Import>()).await;
    let record = eager.record(&sent.id).ok_or("there is no record")?;
    println!("pages read: {}", record.output::<u32>()?.ok_or("the import failed")?);
    Ok(())
}
