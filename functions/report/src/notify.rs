//! The job `notify`: sends a text to people, and names the jobs that failed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqjobs::{Arguments, Context, Job, JobError, Policy, Record, State};

use crate::service::Service;

/// A text to send.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// The first line. A line follows for each job that this one waited for and that has ended without success.
    pub text: String,
}

impl Arguments for Notify {
    const NAME: &'static str = "notify";
}

impl Job<Service> for Notify {
    const POLICY: Policy = Policy::new().timeout(Duration::from_secs(30));
    type Output = ();

    async fn run(&self, ctx: &Context<Service>) -> Result<(), JobError> {
        let jobs = ctx.dependencies().await?;
        let failures = jobs.iter().filter_map(failure);
        let text = [self.text.clone()].into_iter().chain(failures).collect::<Vec<_>>().join("\n");
        ctx.state().post(ctx.id(), &json!({"text": text})).await
    }
}

/// Returns a line about a job that failed. Jobs that were cancelled because of it are left out.
fn failure(job: &Record) -> Option<String> {
    let (kind, message) = job.error.as_ref().map(|error| (&*error.kind, &*error.message)).unwrap_or_default();
    let is_failure = job.state.is_terminal() && job.state != State::Succeeded && kind != "dependency";
    is_failure.then(|| format!("{} is {}: {message}", job.id, job.state.as_str()))
}
