//! The clock of the system: EventBridge wakes it each minute. Run here, it prints when its entries fire next.

use serde_json::json;
use sqjobs::{Beater, Entry, Schedule};

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    Beater::new().entry(nightly_sum()).run().await
}

/// One minute past midnight where the numbers come from, through every change of clocks.
fn nightly_sum() -> Entry {
    let nightly = Schedule::cron("1 0 * * *").timezone("Europe/Madrid");
    Entry::named("nightly-sum", nightly, "adder", json!([1, 2, 3]))
}
