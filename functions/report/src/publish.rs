//! The job `publish`: uploads a report.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Context, Job, JobError, Policy};

use crate::{service::Service, summarize::Report};

/// A report, and the name of its file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The name of the file. An upload replaces an existing file.
    pub file: String,
    /// The report. In a workflow, a reference to the output of `summarize` stands for it.
    pub report: Report,
}

impl Arguments for Publish {
    const NAME: &'static str = "publish";
}

impl Job<Service> for Publish {
    const POLICY: Policy = Policy::new().timeout(Duration::from_secs(30));
    type Output = String;

    async fn run(&self, ctx: &Context<Service>) -> Result<String, JobError> {
        ctx.state().put(&self.file, &self.report).await?;
        Ok(self.file.clone())
    }
}
