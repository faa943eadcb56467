//! Finds jobs that wait for themselves, by way of other blocked jobs.

use std::collections::BTreeSet;

use sqjobs::{Record, State};

use crate::{aws::Aws, failure::Failure};

/// Maximum number of jobs that the search looks at.
const FOLLOWED: usize = 100;
/// Maximum number of jobs to read for which one blocked job waits.
const UNMET: usize = 20;

/// Returns the id of a job that waits for the job `id`, if that job waits for it in turn. `waits_for` are jobs for which the job `id`
/// waits, or the job itself.
pub(super) async fn last(aws: &Aws, id: &str, waits_for: Vec<Record>) -> Result<Option<String>, Failure> {
    let (client, mut open, mut seen) = (aws.client(), waits_for, BTreeSet::new());
    while let Some(job) = open.pop().filter(|_| seen.len() < FOLLOWED) {
        if job.state != State::Blocked {
            continue;
        }
        for (next, record) in client.unmet(&job, UNMET).await? {
            if next == id {
                return Ok(Some(job.id));
            }
            let is_new = seen.insert(next);
            open.extend(record.filter(|_| is_new));
        }
    }
    Ok(None)
}
