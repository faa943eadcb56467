//! The beater of the system: EventBridge invokes it every minute. Run outside Lambda, it prints the next fires of its entries.

use serde_json::json;
use sqjobs::{Beater, Entry, Schedule};

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    Beater::new().entry(nightly_sum()).run().await
}

/// Fires one minute past midnight in the time zone of the numbers, across every change of clocks.
fn nightly_sum() -> Entry {
    let nightly = Schedule::cron("1 0 * * *").timezone("Europe/Madrid");
    Entry::named("nightly-sum", nightly, "adder", json!([1, 2, 3]))
}
