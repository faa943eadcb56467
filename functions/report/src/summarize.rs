//! The job `summarize`: adds up the results of the jobs that it waited for.

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Context, Job, JobError};

use crate::fetch::{Totals, add};

/// The report to make.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summarize {
    /// The name of the period, such as `2026-11`.
    pub period: String,
    /// The number of files.
    pub files: usize,
}

/// The sales of a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The name of the period.
    pub period: String,
    /// The number of files.
    pub files: usize,
    /// Cents by product.
    pub totals: Totals,
}

impl Arguments for Summarize {
    const NAME: &'static str = "summarize";
}

impl<S: Send + Sync + 'static> Job<S> for Summarize {
    type Output = Report;

    async fn run(&self, ctx: &Context<S>) -> Result<Report, JobError> {
        let fetched = ctx.dependencies().await?;
        // The table deletes old records. A retry after months must not publish a part of the sales.
        if fetched.len() != self.files {
            return Err(JobError::fatal(format!("found the results of {} files, but expected {}", fetched.len(), self.files)));
        }
        let mut totals = Totals::new();
        for job in fetched {
            let of_the_file: Totals = job.output()?.ok_or_else(|| JobError::fatal(format!("the job {} has no result", job.id)))?;
            for (product, cents) in of_the_file {
                add(&mut totals, product, cents).map_err(JobError::fatal)?;
            }
        }
        Ok(Report { period: self.period.clone(), files: self.files, totals })
    }
}
