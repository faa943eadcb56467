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
        "# Scale, computed and simulated

`cargo run -q -p sqjobs-scale > benches/scale/SCALE.md` prints this document. Nothing in it was measured on AWS.

- 10 million jobs a day are 116 a second on average, and 1 billion are 11,574. The peak is assumed to be three times the average.
- Each job is new and succeeds at its first attempt: an `INSERT` and an `UPDATE` of a record of 600 bytes.
- A batch of ten is one invocation and two DynamoDB requests. The function makes no SQS request, as the tests `request_count::*` assert.
- The ten jobs run concurrently, which is the default. A batch takes {overhead_ms} ms longer than its jobs.
- Functions use arm64 and {MEMORY} MB in us-east-1. A month has 30 days. Free tiers, taxes and savings plans are left out.
- (?) marks a fact that was not found; no figure depends on it.
"
    )
}

fn load(jobs: f64, run_ms: u32, overhead_ms: u32) -> Load {
    Load { jobs, batch_ms: f64::from(run_ms + overhead_ms), fill: BATCH, memory: MEMORY, duration: &ARM, recording: Recording::Always }
}

fn costs(overhead_ms: u32) -> String {
    format!(
        "
## Cost

Dollars per month, for jobs of 200 ms in full batches:

{}
Writes dominate, and batching does not lower their cost: DynamoDB bills each statement by its item, so a record over 1 KB doubles it. Storage is 700
bytes a record ({} and {} GB), reached after 30 days; deletion by time to live is free. A job with `Recording::OnTrouble` that succeeds at its first
attempt writes nothing. Its statistics take one write unit for each minute in which a process is busy, and more if processes are idle in between. Logs
are 300 bytes a job, or none with `RUST_LOG=warn`, and 260 bytes an invocation; both follow from their format.

Dollars per million jobs, by run time and batch size:

{}
Batches are full while messages wait. If a queue has no backlog, batches are smaller and the cost is between the two columns. A batching window fills
them, and delays jobs by at most its length. A million retries cost {} more, each alone in its batch.

A function without work costs its polls. Five pollers that wait 20 s each, the maximum of SQS, make {} requests, which cost {} dollars a month;
two pollers cost {}. Lambda's actual wait is unknown (?). A beater without work costs {} with two dead-letter queues. In provisioned mode two
pollers cost {} without their requests, and the 116 pollers that 1 billion jobs a day keep busy on average cost {}.
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
    rows.push(row("**per month**", sums, String::new()));
    rows.push(row("per million jobs", loads.map(|load| cost::per_million(&load)), String::new()));
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
        ["milliseconds of the batch".to_owned(), together_ms.to_string(), in_turn_ms.to_string()],
        ["dollars per million jobs: writes".to_owned(), writes.clone(), writes],
        ["dollars per million jobs: duration".to_owned(), duration(together_ms), duration(in_turn_ms)],
    ];
    format!(
        "
### Comparison with a record for each message

According to its documentation, the idempotency of Powertools makes two requests per message: a `PutItem` and an `UpdateItem`, of one write unit each
up to 1 KB. For new messages of 20 ms, handled one after another, with an assumed {REQUEST_MS} ms per request:

{}
Requests are not billed, so grouping them saves time but no write units. The saved duration costs little compared with the writes. Powertools keeps
a record for an hour by default. sqjobs keeps it for 30 days, which is {} of the dollars per million jobs.
",
        table(&["", "sqjobs", "a record for each"], &rows),
        money(price::STORAGE.of(cost::stored(1e6 / cost::DAYS) * price::GB)),
    )
}

fn rules() -> String {
    let rows = quota::RULES.map(|rule| [rule.of.to_owned(), rule.says.to_owned(), rule.source.to_owned()]);
    format!(
        "
## Rules

The rules are from copies of AWS's documentation of 2025 and 2026. Its pages have no dates, so the dates here are those of announcements.

{}",
        table(&["service", "rule", "source"], &rows)
    )
}

fn prices() -> String {
    let rows = price::LIST.map(|price| {
        let dollars: Vec<_> = price.tiers.iter().map(|(_, dollars)| dollars.to_string()).collect();
        [format!("{}, per {}", price.item, price.unit), dollars.join(", then "), price.source.to_owned(), price.date.to_owned()]
    });
    format!(
        "
## Prices

Dollars in us-east-1, from public copies of AWS's Price List, with the date of each offer. On-demand writes cost 1.25 until November 2024. The prices
of warm throughput and of provisioned write capacity were not found (?).

{}",
        table(&["item", "dollars", "source", "date"], &rows)
    )
}
