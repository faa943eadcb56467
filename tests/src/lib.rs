//! What the tests of this crate and its programs share.

pub mod fuzz;
pub mod simulated;
