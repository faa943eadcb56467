//! The protocol's decisions, as pure functions. From a record, an event and the time, they compute the next record and the action on the
//! message. The code around them does only I/O.
//!
//! A write always sets absolute values, and only if the record is unchanged since it was read ([`Version`](crate::Version)). So a
//! repeated or late write changes nothing.

mod abandoned;
mod change;
mod claim;
mod dependency;
mod ending;
mod filing;
mod finish;
mod give_up;
mod identity;
mod lease;
mod node;
mod refuse;
mod repair;
mod request;
mod resolve;
#[cfg(test)]
mod tests;
mod transition;
mod workflow;

pub use self::lease::SKEW;
pub(crate) use self::{
    abandoned::{Abandoned, abandoned},
    change::{cancel, completed, moved, retry},
    claim::{Claim, Decision, decide, starts_unrecorded},
    dependency::{Effect, Progress, Release, awaited, closed, effect, progress, put_back, release, settled, waits_for},
    ending::{Ending, Fate},
    filing::{filed, is_filed, is_sendable, put_off, sent},
    finish::{Outcome, dead_lettered, finish},
    identity::{RESERVED, UNSTORABLE, differs, has_other_arguments, id_in_use, is_of, noted, other_workflow},
    lease::renewed,
    node::{is_left_over, is_reopened, job_of, max_wait, members, nodes, page, pages, plan, reopened},
    refuse::refuse,
    repair::{Repair, repair},
    request::Request,
    resolve::{Resolution, resolve},
    transition::{UNKNOWN, announced, created},
    workflow::{Expansion, expand},
};
#[cfg(not(feature = "operator"))]
pub(crate) use self::{
    dependency::unmet,
    identity::is_unclaimed,
    node::{is_job, is_node, plan_id},
    transition::starts_at,
};
#[cfg(feature = "operator")]
pub use self::{
    dependency::unmet,
    identity::{is_awaited, is_unclaimed, waits_for_other_jobs, waits_for_other_time},
    node::{is_job, is_node, plan_id},
    transition::starts_at,
};
pub(crate) use crate::{envelope::step_id, job_error::FollowUp};
