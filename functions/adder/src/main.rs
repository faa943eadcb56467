//! Adds numbers: the smallest job there is.

use serde::{Deserialize, Serialize};
use sqjobs::{Context, Job, JobError};

/// The numbers to be added.
#[derive(Debug, Serialize, Deserialize)]
struct Adder(Vec<i64>);

impl Job for Adder {
    const NAME: &'static str = "adder";
    type Output = i64;

    async fn run(&self, _ctx: &Context) -> Result<i64, JobError> {
        add(&self.0).ok_or_else(|| JobError::fatal("the sum does not fit 64 bits"))
    }
}

fn add(numbers: &[i64]) -> Option<i64> {
    numbers.iter().try_fold(0_i64, |sum, number| sum.checked_add(*number))
}

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    sqjobs::run::<Adder>().await
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
