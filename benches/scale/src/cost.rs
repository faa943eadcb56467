//! The monthly cost of jobs, line by line: 30 days of new jobs that succeed at their first attempt.

use crate::price::{self, GB, Price};

/// Days in the month of all tables.
pub(crate) const DAYS: f64 = 30.0;
/// Write request units of a job: its claim and its finish, each of a record under 1 KB.
pub(crate) const WRITES: f64 = 2.0;
/// Days for which a record is kept.
const KEPT_DAYS: f64 = 30.0;
/// Bytes of a record, including the overhead that DynamoDB adds to each stored item.
const RECORD: f64 = 600.0 + 100.0;
/// Messages in one request of the producer.
const SENT: f64 = 10.0;
/// Bytes of the line that a job logs at `info`, and of the three lines that Lambda logs for an invocation.
const JOB_LOG: f64 = 300.0;
const INVOCATION_LOG: f64 = 260.0;
/// Seconds that an idle poller waits for a message; SQS allows no longer wait.
const LONG_POLL: f64 = 20.0;

/// The moment at which the record of a job is written, by its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recording {
    Always,
    OnTrouble,
}

/// The load whose cost is computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Jobs per day.
    pub(crate) jobs: f64,
    /// Milliseconds that a batch runs in its function.
    pub(crate) batch_ms: f64,
    /// Average number of jobs in a batch.
    pub(crate) fill: f64,
    /// Memory of the function in MB.
    pub(crate) memory: f64,
    /// The price of a GB-second.
    pub(crate) duration: &'static Price,
    /// The recording of its jobs. They succeed at the first attempt, so recorded on trouble they write nothing.
    pub(crate) recording: Recording,
}

/// One line of the bill.
#[derive(Debug)]
pub(crate) struct Line {
    /// The billed item.
    pub(crate) item: &'static str,
    /// Dollars per month.
    pub(crate) dollars: f64,
}

/// Returns the bill of a month.
pub(crate) fn month(load: &Load) -> [Line; 8] {
    let jobs = load.jobs * DAYS;
    let batches = jobs / load.fill;
    let gb_seconds = batches * load.batch_ms / 1_000.0 * load.memory / 1_024.0;
    let (recorded, statistics) = match load.recording {
        Recording::Always => (load.jobs, batches),
        // One write for each minute in which a process is busy.
        Recording::OnTrouble => (0.0, batches * load.batch_ms / 60_000.0),
    };
    let line = |item, price: &Price, quantity| Line { item, dollars: price.of(quantity) };
    [
        line("DynamoDB: 2 write units a job", &price::WRITE, recorded * DAYS * WRITES),
        line("DynamoDB: statistics, at most 1 write unit a batch", &price::WRITE, statistics),
        line("DynamoDB: records kept 30 days", &price::STORAGE, recorded * KEPT_DAYS * RECORD),
        line("SQS: producer, 1 request per ten jobs", &price::STANDARD, jobs / SENT),
        line("SQS: event source, 2 requests a batch", &price::STANDARD, batches * 2.0),
        line("Lambda: 1 request a batch", &price::INVOCATION, batches),
        line("Lambda: duration", load.duration, gb_seconds),
        line("CloudWatch Logs: a line a job, Lambda's three a batch", &price::LOGS, jobs * JOB_LOG + batches * INVOCATION_LOG),
    ]
}

/// Returns the sum of a bill.
pub(crate) fn total(lines: &[Line]) -> f64 {
    lines.iter().map(|line| line.dollars).sum()
}

/// Returns the dollars per million jobs.
pub(crate) fn per_million(load: &Load) -> f64 {
    total(&month(load)) / (load.jobs * DAYS / 1e6)
}

/// Returns the monthly requests of `pollers` pollers that wait for messages in an empty queue.
pub(crate) fn idle_requests(pollers: f64) -> f64 {
    pollers * DAYS * 86_400.0 / LONG_POLL
}

/// Returns the cost of a million retries, each alone in its batch. A retry takes a read, a claim, a finish, an invocation
/// and two SQS requests: one hides the message and one receives it again.
pub(crate) fn million_retries() -> f64 {
    let requests = price::STANDARD.of(2e6) + price::INVOCATION.of(1e6);
    price::READ.of(1e6) + price::WRITE.of(WRITES * 1e6) + requests
}

/// Returns the monthly cost of a beater that ticks every minute and finds no work.
///
/// Its invocations take a fifth of a second at 256 MB. A tick makes 32 queries and two scans, of half a read unit each, and
/// one receive for each of the `dlqs` dead-letter queues. These counts are those of `benches/recorded.json`.
pub(crate) fn idle_beater(dlqs: f64) -> f64 {
    let ticks = DAYS * 24.0 * 60.0;
    let asked = price::READ.of(ticks * 34.0 * 0.5) + price::STANDARD.of(ticks * dlqs);
    asked + price::INVOCATION.of(ticks) + price::ARM.of(ticks * 0.2 * 0.25)
}

/// Returns the monthly cost of `pollers` pollers in provisioned mode.
pub(crate) fn provisioned(pollers: f64) -> f64 {
    price::POLLER.of(pollers * DAYS * 24.0)
}

/// Returns the GB stored once the first records are purged.
pub(crate) fn stored(jobs_per_day: f64) -> f64 {
    jobs_per_day * KEPT_DAYS * RECORD / GB
}

#[cfg(test)]
mod tests {
    use super::{Load, Recording, idle_beater, idle_requests, million_retries, month, per_million, provisioned, total};
    use crate::price::ARM;

    const MILLION_A_DAY: Load = Load { jobs: 1e6, batch_ms: 32.0, fill: 10.0, memory: 128.0, duration: &ARM, recording: Recording::Always };

    fn assert_close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 0.005, "{value} is not {expected}");
    }

    #[test]
    fn a_month_of_a_million_jobs_a_day_costs_what_is_computed_by_hand() {
        let lines = month(&MILLION_A_DAY);
        let by_hand = [
            37.50, // 60 million write units at 0.625 a million
            1.875, // 3 million write units
            4.89,  // 30 million records of 700 bytes: 19.558 GB at 0.25
            1.20,  // 3 million requests at 0.40 a million
            2.40,  // 6 million requests
            0.60,  // 3 million at 0.20 a million
            0.16,  // 3 million times 0.032 s times 0.125 GB: 12,000 GB-seconds
            4.55,  // 30 million lines of 300 bytes and 3 million times 260: 9.108 GB at 0.50
        ];
        for (line, expected) in lines.iter().zip(by_hand) {
            assert_close(line.dollars, expected);
        }
        assert_close(total(&lines), 53.175);
        assert_close(per_million(&MILLION_A_DAY), 53.175 / 30.0);
    }

    #[test]
    fn jobs_recorded_on_trouble_cost_no_writes_and_no_storage() {
        let lines = month(&Load { recording: Recording::OnTrouble, ..MILLION_A_DAY });
        // Statistics take one write unit for each busy minute: 3 million times 0.032 s are 1,600 minutes.
        for (line, expected) in lines.iter().zip([0.0, 0.001, 0.0, 1.20, 2.40, 0.60, 0.16, 4.55]) {
            assert_close(line.dollars, expected);
        }
        assert_close(total(&lines), 8.911);
    }

    #[test]
    fn batches_of_one_change_requests_and_leave_writes_alone() {
        let alone = month(&Load { fill: 1.0, ..MILLION_A_DAY });
        let full = month(&MILLION_A_DAY);
        assert_close(alone[0].dollars, full[0].dollars);
        assert_close(alone[4].dollars, full[4].dollars * 10.0);
    }

    #[test]
    fn an_idle_function_costs_its_polls() {
        assert_close(idle_requests(5.0), 648_000.0);
        assert_close(provisioned(2.0), 13.32);
        // 43,200 ticks: 734,400 read units, 86,400 requests, invocations and 2,160 GB-seconds
        assert_close(idle_beater(2.0), 0.0918 + 0.0346 + 0.0086 + 0.0288);
    }

    #[test]
    fn a_retry_costs_a_read_and_two_writes_more_than_its_batch() {
        assert_close(million_retries(), 0.125 + 1.25 + 0.20 + 0.80);
    }
}
