//! Adds numbers. Fails if the sum is negative.

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Context, Job, JobError};

#[derive(Debug, Serialize, Deserialize)]
struct Adder(Vec<i64>);

impl Arguments for Adder {
    const NAME: &'static str = "adder";
}

impl Job for Adder {
    type Output = i64;

    async fn run(&self, _ctx: &Context) -> Result<i64, JobError> {
        match self.0.iter().sum() {
            sum if sum < 0 => Err("the sum is negative".into()),
            sum => Ok(sum),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    sqjobs::run::<Adder>().await
}
