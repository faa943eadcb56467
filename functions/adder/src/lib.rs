//! The job `adder`: adds numbers. The smallest job there is, and the template for others.
//!
//! This library has the arguments and the job; `main.rs` makes a function of it. A producer that depends on this library enqueues
//! the job by its type:
//!
//! ```
//! # async fn enqueue(client: &sqjobs::Client) -> Result<(), sqjobs::Error> {
//! let sent = client.enqueue(&adder::Adder(vec![1, 2, 3])).await?;
//! # Ok(()) }
//! ```

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Context, Job, JobError};

/// The numbers to add.
#[derive(Debug, Serialize, Deserialize)]
pub struct Adder(pub Vec<i64>);

impl Arguments for Adder {
    const NAME: &'static str = "adder";
}

impl Job for Adder {
    type Output = i64;

    async fn run(&self, _ctx: &Context) -> Result<i64, JobError> {
        add(&self.0).ok_or_else(|| JobError::fatal("the sum does not fit into 64 bits"))
    }
}

fn add(numbers: &[i64]) -> Option<i64> {
    numbers.iter().try_fold(0_i64, |sum, number| sum.checked_add(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_added() {
        assert_eq!(add(&[1, 2, 3]), Some(6));
        assert_eq!(add(&[]), Some(0));
        assert_eq!(add(&[i64::MAX, 1]), None);
    }
}
