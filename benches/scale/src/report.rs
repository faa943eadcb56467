//! The report as Markdown.

mod day;
mod saturation;
mod text;

use self::text::{grouped, money, table};
use crate::{
    cost::{self, Load, Recording},
    price::{self, ARM, X86},
    quota,
    simulation::BATCH,
};

/// The two rates of the report, in jobs per day.
const RATES: [(&str, f64); 2] = [("10 million", 1e7), ("1 billion", 1e9)];
/// Run times of a job, in milliseconds.
const RUNS: [(&str, u32); 3] = [("20 ms", 20), ("200 ms", 200), ("2 s", 2_000)];
/// Memory of the function in MB.
const MEMORY: f64 = 128.0;
/// Milliseconds of one request to DynamoDB, where requests follow one another.
const REQUEST_MS: u32 = 5;

/// Returns the whole of `SCALE.md`, for batches that take `overhead_ms` beyond their jobs.
pub(crate) fn document(overhead_ms: u32) -> String {
    let parts = [
        head(overhead_ms),
        costs(overhead_ms),
        peers(overhead_ms),
        saturation::section(overhead_ms),
        day::section(overhead_ms),
        rules(),
        prices(),
    ];
    parts.concat()
}

fn head(overhead_ms: u32) -> String {
    format!(
        "# Scale on paper and by simulation

`cargo run -q -p sqjobs-scale > benches/scale/SCALE.md` prints this document. Nothing in it was measured on AWS.
10 million jobs a day are 116 a second on average, 1 billion are 11,574; the peak is taken as three times that. Each job is new and succeeds at
once: an `INSERT` and an `UPDATE` of a record of 600 bytes. A batch of ten is one invocation, two DynamoDB requests and no SQS request of its own,
as the tests `request_count::*` assert. The ten run at the same time, the default, and a batch takes {overhead_ms} ms longer than its jobs. arm64,
{MEMORY} MB, us-east-1, a month of 30 days, no free tiers, taxes or savings plans. (?) marks what was not found; no figure stands on it.
"
    )
}

fn load(jobs: f64, run_ms: u32, overhead_ms: u32) -> Load {
    Load { jobs, batch_ms: f64::from(run_ms + overhead_ms), fill: BATCH, memory: MEMORY, duration: &ARM, recording: Recording::Always }
}

fn costs(overhead_ms: u32) -> String {
    format!(
        "
## What it costs

Dollars a month, jobs of 200 ms in full batches:

{}
Writes dominate, and no batching lowers them: DynamoDB bills each statement by its item, so a record over 1 KB doubles them. Storage is 700 bytes
a record ({} and {} GB), reached after 30 days; time to live deletes for free. A job with `Recording::OnTrouble` that succeeds at once writes nothing, and
its statistics are one write unit for each minute that a process is busy: more where processes are idle in between. Logs are 300 bytes a job, none with `RUST_LOG=warn`, and
260 an invocation, both from their form. By run time and by how full the batches are, dollars for a million jobs:

{}
Batches are full when messages wait. On a queue that keeps up they are smaller, between the two columns; a batching window fills them, for up to
its length of delay. A million retries cost {} more, each alone in its batch.
A function without work costs its polls: five pollers that wait 20 s each, the longest that SQS allows, make {} requests, {} dollars a month;
two make it {}. A beater that finds nothing to do costs {} with two dead-letter queues. How long Lambda does wait: (?). In provisioned mode two pollers cost {} before their requests, and the 116 that 1 billion jobs
a day keep busy on average {}.
",
        bill(overhead_ms),
        grouped(cost::stored(1e7)),
        grouped(cost::stored(1e9)),
        by_run(overhead_ms),
        money(cost::million_retries()),
        grouped(cost::idle_requests(5.0)),
        money(price::STANDARD.of(cost::idle_requests(5.0))),
        money(price::STANDARD.of(cost::idle_requests(2.0))),
        money(cost::idle_beater(2.0)),
        money(cost::provisioned(2.0)),
        money(cost::provisioned(116.0)),
    )
}

fn bill(overhead_ms: u32) -> String {
    let [small, large] = RATES.map(|(_, jobs)| load(jobs, 200, overhead_ms));
    let loads = [small, large, Load { recording: Recording::OnTrouble, ..large }];
    let months = loads.map(|load| cost::month(&load));
    let sums = months.each_ref().map(|lines| cost::total(lines));
    let row = |item: &str, dollars: [f64; 3], share| {
        let [small, large, on_trouble] = dollars.map(money);
        [item.to_owned(), small, large, share, on_trouble]
    };
    let mut rows: Vec<_> = (0..months[0].len())
        .map(|place| {
            let dollars = months.each_ref().map(|lines| lines[place].dollars);
            row(months[0][place].item, dollars, format!("{:.1} %", dollars[1] / sums[1] * 100.0))
        })
        .collect();
    rows.push(row("**a month**", sums, String::new()));
    rows.push(row("for a million jobs", loads.map(|load| cost::per_million(&load)), String::new()));
    table(&["line", "10 million a day", "1 billion a day", "share", "1 billion a day, recorded on trouble"], &rows)
}

fn by_run(overhead_ms: u32) -> String {
    let rows = RUNS.map(|(name, run_ms)| {
        let full = load(1e7, run_ms, overhead_ms);
        let alone = Load { fill: 1.0, ..full };
        let x86 = Load { duration: &X86, ..full };
        let on_trouble = Load { recording: Recording::OnTrouble, ..full };
        let [full, alone, x86, on_trouble] = [full, alone, x86, on_trouble].map(|load| money(cost::per_million(&load)));
        [name.to_owned(), full, alone, x86, on_trouble]
    });
    table(&["a job runs", "batches of ten", "batches of one", "batches of ten, x86", "batches of ten, recorded on trouble"], &rows)
}

/// Returns the cost of writing one record for each message, one request after another.
fn peers(overhead_ms: u32) -> String {
    let together_ms = 20 + overhead_ms;
    let in_turn_ms = 10 * (20 + 2 * REQUEST_MS);
    let duration = |batch_ms: u32| money(ARM.of(1e6 / BATCH * f64::from(batch_ms) / 1_000.0 * MEMORY / 1_024.0));
    let writes = money(price::WRITE.of(cost::WRITES * 1e6));
    let rows = [
        ["DynamoDB requests, write units of ten messages".to_owned(), "2, 20".to_owned(), "20, 20".to_owned()],
        ["milliseconds of their batch".to_owned(), together_ms.to_string(), in_turn_ms.to_string()],
        ["dollars for a million jobs: writes".to_owned(), writes.clone(), writes],
        ["dollars for a million jobs: duration".to_owned(), duration(together_ms), duration(in_turn_ms)],
    ];
    format!(
        "
### Beside a record for each message

The idempotency of Powertools makes two requests a message, a `PutItem` and an `UpdateItem` of a write unit each up to 1 KB, as its documentation
says. For new messages of 20 ms, one after another, with {REQUEST_MS} ms a request (assumed):

{}
Requests are not billed, so grouping them saves time and no write unit; in money that is the duration, little beside the writes. Powertools keeps
a record for an hour by default; that sqjobs keeps it 30 days is {} of the dollars for a million jobs.
",
        table(&["", "sqjobs", "a record for each"], &rows),
        money(price::STORAGE.of(cost::stored(1e6 / cost::DAYS) * price::GB)),
    )
}

fn rules() -> String {
    let rows = quota::RULES.map(|rule| [rule.of.to_owned(), rule.says.to_owned(), rule.source.to_owned()]);
    format!(
        "
## The rules

From copies of AWS's documentation of 2025 and 2026; its pages bear no dates, so those here are of announcements.

{}",
        table(&["whose", "rule", "source"], &rows)
    )
}

fn prices() -> String {
    let rows = price::LIST.map(|price| {
        let dollars: Vec<_> = price.tiers.iter().map(|(_, dollars)| dollars.to_string()).collect();
        [format!("{}, per {}", price.item, price.unit), dollars.join(", then "), price.source.to_owned(), price.date.to_owned()]
    });
    format!(
        "
## The price list

Dollars in us-east-1, as public documents transcribe AWS's Price List, with the date of each of its offers. Writes on demand were 1.25 until
November 2024. What warm throughput and provisioned write capacity cost: (?).

{}",
        table(&["what", "dollars", "source", "date"], &rows)
    )
}
