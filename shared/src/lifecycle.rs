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
mod full;
mod give_up;
mod identity;
mod key;
mod lease;
mod node;
mod rate;
mod refuse;
mod repair;
mod replace;
mod request;
mod resolve;
#[cfg(test)]
mod tests;
mod transition;
mod workflow;

pub use self::lease::SKEW;
pub(crate) use self::{
    abandoned::{Abandoned, abandoned},
    change::{cancel, completed, moved, prioritized, retry},
    claim::{Claim, Decision, decide, lease_anew, starts_unrecorded},
    dependency::{
        Effect, Progress, Release, awaited, closed, effect, owed, progress, put_back, release, settled, waits_for, waits_for_jobs,
    },
    ending::{Ending, Fate},
    filing::{filed, is_filed, is_kept, is_sendable, put_off, sent, unsent},
    finish::{Outcome, dead_lettered, finish},
    full::{in_conflict, waiting},
    identity::{UNSTORABLE, differs, has_other_arguments, id_in_use, is_of, noted, other_workflow},
    key::{
        Kind, Needed, UNCLAIMED, awaited_key, freed, handed_entry, is_backed, is_handed, is_held, is_usable, job_of_entry, key_id,
        key_kept_until, needed, new_key, places, taken_place, timed_place, unmarked, waited_keys, waiting_list,
    },
    lease::renewed,
    node::{is_left_over, is_reopened, job_of, max_wait, members, nodes, overdue_expansion, page, pages, plan, reopened},
    rate::{new_rate_key, next_look, next_starts, started, with_declared, with_fixed_rate},
    refuse::refuse,
    repair::{Repair, repair},
    replace::{Replacement, replaced},
    request::Request,
    resolve::{Resolution, resolve},
    transition::{UNKNOWN, announced, created, with_message},
    workflow::{Expansion, expand},
};
#[cfg(not(feature = "operator"))]
pub(crate) use self::{
    dependency::unmet,
    identity::{is_awaited, is_unclaimed},
    key::{key_name, waits_for_key},
    node::{is_job, is_node, plan_id},
    transition::starts_at,
};
#[cfg(feature = "operator")]
pub use self::{
    dependency::unmet,
    identity::{is_awaited, is_unclaimed, waits_for_other_jobs, waits_for_other_time},
    key::{key_name, waits_for_key},
    node::{is_job, is_node, plan_id},
    transition::starts_at,
};
pub(crate) use crate::{envelope::step_id, job_error::FollowUp};
