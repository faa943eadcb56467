//! The demand on each limit at the peak, and the setting that raises the limit.

use super::{
    RATES, RUNS,
    text::{grouped, table},
};
use crate::{
    cost::WRITES,
    quota,
    simulation::{BATCH, PEAK},
};

/// The demand on one limit.
struct Need {
    limit: &'static str,
    /// The default value of the limit.
    most: f64,
    /// Returns the demand of `jobs` jobs per second whose batches take `batch` seconds.
    of: fn(jobs: f64, batch: f64) -> f64,
    /// The setting that raises the limit.
    moves: &'static str,
}

const NEEDS: [Need; 8] = [
    Need {
        limit: "new table, write units a second",
        most: quota::TABLE_NEW,
        of: |jobs, _| jobs * WRITES,
        moves: "warm throughput, or a slow ramp",
    },
    Need {
        limit: "table quota, write units a second",
        most: quota::TABLE,
        of: |jobs, _| jobs * WRITES,
        moves: "Service Quotas; a table for each function (`SQJOBS_TABLE`)",
    },
    Need {
        limit: "event source, concurrent batches",
        most: quota::SOURCE_MOST,
        of: |jobs, batch| jobs / BATCH * batch,
        moves: "provisioned mode; a queue for each job name",
    },
    Need {
        limit: "account, concurrent executions",
        most: quota::CONCURRENCY,
        of: |jobs, batch| jobs / BATCH * batch,
        moves: "Service Quotas; maximum concurrency divides it between functions",
    },
    Need {
        limit: "account, requests a second",
        most: quota::CONCURRENCY * quota::REQUESTS,
        of: |jobs, _| jobs / BATCH,
        moves: "batch size and window; the concurrency quota",
    },
    Need {
        limit: "pollers, in provisioned mode",
        most: quota::POLLERS,
        of: |jobs, batch| (jobs / quota::POLLER_MESSAGES).max(jobs / BATCH * batch / quota::POLLER_BATCHES),
        moves: "their maximum, up to 10,000",
    },
    Need {
        limit: "messages in flight, running",
        most: quota::IN_FLIGHT,
        of: |jobs, batch| jobs * batch,
        moves: "a queue for each job name; more on request",
    },
    Need {
        limit: "the same, if 1 % wait 300 s for a retry",
        most: quota::IN_FLIGHT,
        of: |jobs, batch| jobs * batch + jobs * 0.01 * 300.0,
        moves: "shorter waits; a queue for each job name; more on request",
    },
];

impl Need {
    /// Returns the demand at the peak of a day, for each run time.
    fn at_peak(&self, jobs_per_day: f64, overhead_ms: u32) -> [f64; 3] {
        RUNS.map(|(_, run_ms)| (self.of)(jobs_per_day / 86_400.0 * PEAK, f64::from(run_ms + overhead_ms) / 1_000.0))
    }

    fn cell(&self, jobs_per_day: f64, overhead_ms: u32) -> String {
        let cells = self.at_peak(jobs_per_day, overhead_ms).map(|need| {
            let text = grouped(need.ceil());
            if need > self.most { format!("**{text}**") } else { text }
        });
        if cells[0] == cells[2] { cells[0].clone() } else { cells.join(" / ") }
    }
}

/// Returns this section of the document.
pub(super) fn section(overhead_ms: u32) -> String {
    let rows = NEEDS.map(|need| {
        let [small, large] = RATES.map(|(_, jobs)| need.cell(jobs, overhead_ms));
        [need.limit.to_owned(), grouped(need.most), small, large, need.moves.to_owned()]
    });
    format!(
        "
## First limits to saturate

Demand at the peak, in full batches. Three figures are for jobs of 20 ms, 200 ms and 2 s. Bold figures exceed the default.

{}
**10 million a day** saturates nothing. The nearest limit is a new table, which could take five times the load. A burst saturates it; see below.

**1 billion a day** saturates the table: a new one by its warm throughput, any other by its quota, which is {} jobs a second. Its partitions are not
a limit: there are about 2,000 by size alone once 30 days are stored. The next limit is Lambda. Jobs of 200 ms need three quarters of an account's
concurrency, jobs of 2 s seven times all of it, and batches of one job would be 34,723 requests a second. Invisible messages are in flight, so
waiting retries reach the queue's quota long before running jobs do. Requests to a standard queue do not saturate. A FIFO queue needs high throughput
from 3,000 jobs a second, and as many active groups as concurrent batches.

**A hot partition** would be throttled with the reason `KeyRangeThroughputExceeded` at 1,000 write units a second, which is 500 jobs a second on one
range of keys, although the whole table is far below its limit. This happens only if few keys get much of the traffic. Here every job has its own
key, its id. Ids start with the name and a time-ordered UUID, which does no harm, because a hash of the whole key selects the partition. Only one `id`
in hundreds of messages a second (a dedupe key) would overload a partition with refused `INSERT`s, which are billed too.
",
        table(&["limit", "default", "10 million a day", "1 billion a day", "setting that raises it"], &rows),
        grouped(quota::TABLE / WRITES),
    )
}

#[cfg(test)]
mod tests {
    use super::{NEEDS, RATES};

    /// Returns the limits that a rate exceeds with jobs of 200 ms.
    fn exceeded(jobs_per_day: f64) -> Vec<&'static str> {
        NEEDS.iter().filter(|need| need.at_peak(jobs_per_day, 12)[1] > need.most).map(|need| need.limit).collect()
    }

    #[test]
    fn only_the_table_saturates_and_only_at_a_billion() {
        assert!(exceeded(RATES[0].1).is_empty());
        let pollers = "pollers, in provisioned mode";
        assert_eq!(exceeded(RATES[1].1), ["new table, write units a second", "table quota, write units a second", pollers]);
    }
}
