//! Declares a schedule in its time zone, and shows when it fires around a change of clocks.
//!
//! ```text
//! at 02:30 in Europe/Madrid
//! 2026-03-28T02:30:00+01:00[Europe/Madrid]
//! 2026-03-29T03:00:00+02:00[Europe/Madrid]
//! 2026-03-30T02:30:00+02:00[Europe/Madrid]
//! ```

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Entry, Schedule, jiff::Timestamp};

#[derive(Serialize, Deserialize)]
struct Backup {
    bucket: String,
}

impl Arguments for Backup {
    const NAME: &'static str = "backup";
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nightly = Schedule::cron("30 2 * * *").timezone("Europe/Madrid");
    let entry = Entry::new("nightly-backup", nightly, &Backup { bucket: "archive".into() })?;

    // In production: `Beater::new().entry(entry).run().await`, in the function that EventBridge wakes each minute.
    let timetable = entry.check()?;
    println!("{timetable}");
    let mut now: Timestamp = "2026-03-27T12:00:00Z".parse()?;
    for _ in 0..3 {
        now = timetable.next(now).ok_or("it does not fire any more")?;
        println!("{}", now.in_tz("Europe/Madrid")?);
    }
    Ok(())
}
