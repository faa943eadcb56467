//! Panics that end the process.

/// `true` if a panic ends the process and thereby every job of its batch.
pub(crate) const ABORT: bool = cfg!(panic = "abort");

/// The error that is logged in that case.
pub(crate) const WARNING: &str = "this program was built with `panic = \"abort\"`: a job that panics ends the process, and each job of \
    its batch loses an attempt; set `panic = \"unwind\"` under [profile.release] in the Cargo.toml of the workspace, and build and \
    deploy it again";
