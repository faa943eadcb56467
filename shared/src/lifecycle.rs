//! The protocol's decisions, as pure functions: a record, an event and the time give the next record and what
//! happens to the message. All I/O is thin around them.
//!
//! A record is always replaced with absolute values, on the condition that it is as it was seen
//! ([`Version`](crate::Version)). So a write that is repeated, or arrives late, changes nothing.

mod abandoned;
mod change;
mod claim;
mod ending;
mod filing;
mod finish;
mod give_up;
mod identity;
mod lease;
mod refuse;
mod repair;
mod request;
mod resolve;
#[cfg(test)]
mod tests;
mod transition;

#[cfg(feature = "operator")]
pub use self::identity::waits_for_other_time;
pub use self::lease::SKEW;
pub(crate) use self::{
    abandoned::{Abandoned, abandoned},
    change::{cancel, moved, retry},
    claim::{Claim, Decision, decide, starts_unrecorded},
    ending::{Ending, Fate},
    filing::{filed, is_filed, is_sendable, put_off, sent},
    finish::{Outcome, dead_lettered, finish},
    identity::{differs, has_other_arguments, id_in_use, is_of},
    lease::renewed,
    refuse::refuse,
    repair::{Repair, repair},
    request::Request,
    resolve::{Resolution, resolve},
    transition::{UNKNOWN, announced, created},
};
pub(crate) use crate::job_error::FollowUp;
