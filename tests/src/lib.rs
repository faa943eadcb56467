//! Code shared by the tests of this crate and its programs.

pub mod fuzz;
pub mod simulated;
