//! The simulated days.

use super::{
    MEMORY, RATES, RUNS,
    text::{Time, grouped, rounded, table},
};
use crate::{
    quota,
    simulation::{self, Hold, Limit, Outcome, Setting, Source, Table},
};

/// Number of jobs in the burst.
const BURST: f64 = 1e6;

/// Settings that are simulated with several run times.
#[derive(Clone, Copy)]
struct Plan {
    rate: (&'static str, f64),
    name: &'static str,
    source: Source,
    concurrency: f64,
    /// Write units per second that the table accepts at first, and by its quota.
    warm: f64,
    quota: f64,
    runs: &'static [(&'static str, u32)],
}

const DEFAULT: Plan = Plan {
    rate: RATES[0],
    name: "defaults, new table",
    source: Source::Standard { most: quota::SOURCE_MOST },
    concurrency: quota::CONCURRENCY,
    warm: quota::TABLE_NEW,
    quota: quota::TABLE,
    runs: &RUNS,
};
const WARM: Plan = Plan { name: "warm throughput 40,000", warm: quota::TABLE, ..DEFAULT };
const LARGE: Plan = Plan { rate: RATES[1], name: "table quota 150,000, warm 120,000", warm: 120_000.0, quota: 150_000.0, ..DEFAULT };

const PLANS: [Plan; 7] = [
    DEFAULT,
    WARM,
    Plan { name: "and maximum concurrency 20", source: Source::Standard { most: 20.0 }, runs: &[RUNS[1]], ..WARM },
    Plan { name: "instead 10 to 200 pollers", source: Source::Provisioned { least: 10.0, most: 200.0 }, runs: &[RUNS[1], RUNS[2]], ..WARM },
    Plan { rate: RATES[1], runs: &[RUNS[1], RUNS[2]], ..DEFAULT },
    Plan { runs: &[RUNS[1]], ..LARGE },
    Plan {
        name: "and 200 to 2,000 pollers, concurrency 15,000",
        source: Source::Provisioned { least: 200.0, most: 2_000.0 },
        concurrency: 15_000.0,
        runs: &[RUNS[1], RUNS[2]],
        ..LARGE
    },
];

/// Returns this section of the document.
pub(super) fn section(overhead_ms: u32) -> String {
    let days = PLANS.iter().flat_map(|plan| plan.runs.iter().map(move |(run, run_ms)| (plan, run, run_ms + overhead_ms)));
    let rows: Vec<_> = days.map(|(plan, run, batch_ms)| row(plan, run, &simulation::day(plan.setting(batch_ms)))).collect();
    format!(
        "
## A simulated day

The simulation has steps of one second. Arrivals follow a wave from 1/11 of the mean at midnight to three times the mean at noon. From noon,
1,000,000 additional jobs arrive within a minute. Jobs start in order of arrival, as fast as the tightest limit allows. The table accepts its warm
throughput, or twice its highest load until half an hour ago.

{}
- *Refused*: write units beyond the limit of the table. A waiting job counts in each second.
- *Bound by*: the limit that causes most of the waiting, its duration, and the arrival time of the oldest job when most jobs waited.
- *Left*: jobs that had not started by midnight. The waits are those of all other jobs.

Results:

- The first limit for a burst is a new table. With warm throughput it is the event source, which needs four minutes to reach its full size.
- A maximum concurrency protects the systems that the jobs call, and makes a burst wait: 20 batches of {} ms are {} jobs a second.
- Pollers are available at once and fetch at most 100 jobs a second each. The default mode has no published limit (?), so the simulation has none:
  its rows for short jobs are optimistic. Jobs of 2 s gain from pollers until they reach the account's concurrency.
- 1 billion jobs of 200 ms a day wait for hours under the table's default quota. Jobs of 2 s never catch up without more concurrency and pollers.

The simulation leaves out:

- cold starts, retries, and the invocation and backoff of a throttled claim
- the event source's own time to receive and delete, its slowdown on errors, and its speed of scaling down (?)
- SQS's loose order, and batches that are not full
- DynamoDB's burst and adaptive capacity, which help
- jobs that compute: ten of them share a part of one CPU at {MEMORY} MB and take up to ten times as long
",
        table(&["a day", "settings", "a job runs", "backlog", "wait p50, p99, max", "burst drained in", "refused", "left", "bound by"], &rows),
        200 + overhead_ms,
        grouped(20.0 * 10.0 / f64::from(200 + overhead_ms) * 1_000.0),
    )
}

impl Plan {
    fn setting(&self, batch_ms: u32) -> Setting {
        Setting {
            jobs: self.rate.1,
            burst: BURST,
            batch: f64::from(batch_ms) / 1_000.0,
            source: self.source,
            in_flight: quota::IN_FLIGHT,
            concurrency: self.concurrency,
            environments: quota::ENVIRONMENTS,
            table: Table { warm: self.warm, quota: self.quota, partition: quota::PARTITION, hottest: 0.0 },
        }
    }
}

fn row(plan: &Plan, run: &str, outcome: &Outcome) -> [String; 9] {
    let waits = [(50, 100), (99, 100), (1, 1)].map(|share| Time(outcome.wait(share)).to_string());
    [
        plan.rate.0.to_owned(),
        plan.name.to_owned(),
        run.to_owned(),
        rounded(u64::from(outcome.backlog)),
        waits.join(", "),
        outcome.drained.map_or_else(|| "never".to_owned(), |seconds| Time(seconds).to_string()),
        rounded(outcome.refused),
        rounded(u64::from(outcome.waiting)),
        outcome.tightest().map_or_else(|| "nothing".to_owned(), bound),
    ]
}

fn bound((limit, hold): (Limit, Hold)) -> String {
    let name = match limit {
        Limit::EventSource => "event source",
        Limit::Polls => "polls",
        Limit::InFlight => "messages in flight",
        Limit::Concurrency => "concurrency",
        Limit::Environments => "new environments",
        Limit::Requests => "Lambda requests",
        Limit::TableQuota => "table quota",
        Limit::TableCeiling => "table, on demand",
        Limit::Partition => "partition",
    };
    format!("{name}, {}, {:02}:{:02}", Time(hold.seconds), hold.since / 3_600, hold.since % 3_600 / 60)
}
