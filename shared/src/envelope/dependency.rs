//! The fields of a job that waits for other jobs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Envelope, Unreadable, limit};

/// Maximum number of jobs that a job outside of a workflow waits for.
pub(super) const MOST: usize = 20;
/// Maximum time to wait for other jobs or for a key, in seconds: ten years.
const MOST_S: f64 = 315_360_000.0;

/// The endings of the dependencies that release a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum When {
    /// Every dependency has succeeded.
    #[default]
    Succeeded,
    /// Every dependency has ended in any way.
    Ended,
    /// One dependency has failed, was cancelled, or has expired.
    Failed,
}

impl When {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The consequence for a job if a dependency does not succeed although it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Otherwise {
    /// The job stays blocked. It is released if the dependency is retried and succeeds.
    #[default]
    Hold,
    /// The job is cancelled.
    Cancel,
}

impl Otherwise {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Checks the ids and the conditions of a job that waits for others.
pub(super) fn check(envelope: &Envelope, most: usize) -> Result<(), Unreadable> {
    let Envelope { id, depends_on, dependents, when, otherwise, max_blocked_s, jobs, keys, .. } = envelope;
    let refuse = |field: &str, flaw: String| Err(Unreadable::new(field, flaw, limit::remedy(field)));
    if dependents.len() > limit::DEPENDENTS {
        return refuse("dependents", format!("it has {} ids", dependents.len()));
    }
    dependents.iter().try_for_each(|dependent| limit::record_id("dependents", dependent))?;
    if depends_on.is_empty() && jobs.is_empty() {
        let fields = [
            ("when", !when.is_default()),
            ("otherwise", !otherwise.is_default()),
            ("max_blocked_s", max_blocked_s.is_some() && keys.is_none()),
        ];
        return match fields.into_iter().find(|(_, is_set)| *is_set) {
            Some((field, _)) => refuse(field, "the message has no `depends_on`".into()),
            None => check_max_blocked(*max_blocked_s),
        };
    }
    if depends_on.len() > most {
        return refuse("depends_on", format!("it has {} ids", depends_on.len()));
    }
    let mut ids = BTreeSet::new();
    for dependency in depends_on {
        limit::record_id("depends_on", dependency)?;
        if Some(dependency) == id.as_ref() {
            return refuse("depends_on", "it has the id of the job itself".into());
        }
        if !ids.insert(dependency) {
            return refuse("depends_on", "it has an id twice".into());
        }
    }
    if *otherwise == Otherwise::Cancel && *when != When::Succeeded {
        return refuse("otherwise", "it is only for jobs that wait for success".into());
    }
    check_max_blocked(*max_blocked_s)
}

fn check_max_blocked(seconds: Option<f64>) -> Result<(), Unreadable> {
    match seconds {
        Some(seconds) if !(seconds > 0.0 && seconds <= MOST_S) => {
            Err(Unreadable::new("max_blocked_s", format!("it is {seconds}"), limit::remedy("max_blocked_s")))
        }
        _ => Ok(()),
    }
}

/// The feature that a worker needs for these fields.
pub(crate) const FEATURE: &str = "dependencies";
