//! The job `publish`: uploads the report of the job that it waited for.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Context, Job, JobError, Policy};

use crate::{service::Service, summarize::Report};

/// The place of the report.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The name of the file, which an upload replaces.
    pub file: String,
}

impl Arguments for Publish {
    const NAME: &'static str = "publish";
}

impl Job<Service> for Publish {
    const POLICY: Policy = Policy::new().timeout(Duration::from_secs(30));
    type Output = String;

    async fn run(&self, ctx: &Context<Service>) -> Result<String, JobError> {
        let summary = ctx.dependencies().await?.pop();
        let report: Option<Report> = summary.as_ref().map(sqjobs::Record::output).transpose()?.flatten();
        let report = report.ok_or_else(|| JobError::fatal("there is no report to publish"))?;
        ctx.state().put(&self.file, &report).await?;
        Ok(self.file.clone())
    }
}
