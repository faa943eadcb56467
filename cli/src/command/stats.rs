//! Statistics by queue and day.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use serde_json::{Value, json};
use sqjobs::{
    Waits,
    stats::{Spread, Tally},
    store::DynamoDb,
};

use super::queue::{self, Status};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean, print_notes},
    time::{brief, fine, from_now, millis},
    value::text,
};

#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// The queue. Default: all queues.
    #[arg(value_parser = text)]
    pub(crate) queue: Option<String>,
    /// The number of days, in UTC, up to today.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) days: u16,
    /// Print each queue as a line of JSON, and then each key for which jobs wait.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The kind of duplicates that were discarded though their arguments differ from those of the job.
pub(super) const OTHER_ARGUMENTS: &str = "other_arguments";
/// Width of the longest bar.
const BAR: u64 = 40;
/// Number of kinds of failures to show.
const KINDS: usize = 5;

pub(super) async fn stats(aws: &Aws, wanted: Stats) -> Result<bool, Failure> {
    let (now, mut output) = (aws.clock.now(), Output::new());
    let all = queue::all(aws).await?;
    let notes = all.left_out.notes();
    let statuses = all.statuses(aws);
    let mut queues = counted(aws, now, wanted.days).await?;
    for status in &statuses {
        queues.entry(status.name.clone()).or_default();
    }
    queues.retain(|queue, _| wanted.queue.as_ref().is_none_or(|name| name == queue));
    if let Some(name) = wanted.queue.as_ref().filter(|_| queues.is_empty()) {
        return Err(Failure::new(format!(
            "there is no queue {name}, and there are no statistics of it; `sqjobs queue list` shows the queues"
        )));
    }
    for (queue, days) in &queues {
        let status = statuses.iter().find(|status| status.name == *queue);
        let page = Page { queue, days, status, now };
        if wanted.json {
            output.json(&page.json())?;
        } else {
            page.show(wanted.queue.is_some(), &mut output)?;
        }
    }
    if queues.is_empty() {
        note!("none");
    }
    if wanted.queue.is_none() {
        show_waits(&aws.client().waits().await?, wanted.json, now, &mut output)?;
        print_notes(&notes);
    }
    Ok(true)
}

/// Prints the keys for which jobs wait, in all queues.
fn show_waits(waits: &[Waits], json: bool, now: Timestamp, output: &mut Output) -> Result<(), Failure> {
    if json {
        let lines = waits.iter().map(|wait| json!({"waits_for": wait.name, "jobs": wait.jobs, "since": wait.since}));
        return lines.into_iter().try_for_each(|line| output.json(&line));
    }
    if waits.is_empty() {
        return Ok(());
    }
    output.line("\u{1b}[1mjobs that wait for keys\u{1b}[0m")?;
    let rows = waits.iter().map(|wait| {
        let oldest = wait.since.map(|at| from_now(at, now)).unwrap_or_default();
        [format!("  {}", wait.name.strip_prefix("the ").unwrap_or(&wait.name)), wait.jobs.to_string(), oldest]
    });
    output.table(["  key", "waiting", "oldest enqueued"], rows)
}

/// Returns the statistics of today and yesterday, by queue. A nightly job may not have run today.
pub(super) async fn recent(aws: &Aws, now: Timestamp) -> Result<BTreeMap<String, Tally>, String> {
    let (store, mut tallies) = (DynamoDb::new(aws.dynamodb(), aws.place.table()), BTreeMap::<_, Tally>::new());
    for at in [now, now - SignedDuration::from_hours(24)] {
        for (queue, tally) in store.stats(at.to_zoned(TimeZone::UTC).date()).await.map_err(|error| error.to_string())? {
            tallies.entry(queue).or_default().merge(&tally);
        }
    }
    Ok(tallies)
}

/// Returns the statistics by queue and day.
async fn counted(aws: &Aws, now: Timestamp, days: u16) -> Result<BTreeMap<String, BTreeMap<Date, Tally>>, Failure> {
    let (store, today) = (DynamoDb::new(aws.dynamodb(), aws.place.table()), now.to_zoned(TimeZone::UTC).date());
    let mut queues: BTreeMap<String, BTreeMap<Date, Tally>> = BTreeMap::new();
    for ago in 0..i32::from(days) {
        let day = today.saturating_sub(ago.days());
        let tallies = store.stats(day).await.map_err(|error| Failure::because("cannot read the statistics", error))?;
        for (queue, tally) in tallies.into_iter().filter(|(queue, _)| queue.starts_with(&aws.place.prefix)) {
            queues.entry(aws.short(&queue).to_owned()).or_default().insert(day, tally);
        }
    }
    Ok(queues)
}

/// The data to show for a queue.
struct Page<'a> {
    queue: &'a str,
    days: &'a BTreeMap<Date, Tally>,
    status: Option<&'a Status>,
    now: Timestamp,
}

impl Page<'_> {
    /// Returns the sum of all days.
    fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.days.values().for_each(|tally| total.merge(tally));
        total
    }

    fn json(&self) -> Value {
        let total = self.total();
        let days = self.days.iter().map(|(day, tally)| {
            json!({"day": day, "endings": tally.endings, "hours": tally.hours, "kinds": tally.kinds, "wait": spread(&tally.wait), "run": spread(&tally.run)})
        });
        json!({
            "queue": self.queue,
            "waiting": self.status.map(|status| status.depth.waiting),
            "in_flight": self.status.map(|status| status.depth.in_flight),
            "delayed": self.status.map(|status| status.depth.delayed),
            "dead": self.status.map(|status| status.dead),
            "last_started_at": total.last_at,
            "last_waited_ms": total.last_at.map(|_| total.last_waited_ms),
            "days": days.collect::<Vec<_>>(),
        })
    }

    fn show(&self, total: bool, output: &mut Output) -> Result<(), Failure> {
        let tally = self.total();
        let depth = self.status.map(|Status { depth, dead, .. }| {
            format!("{} waiting, {} in flight, {} delayed, {dead} dead", depth.waiting, depth.in_flight, depth.delayed)
        });
        let age = tally.last_at.map(|at| {
            let waited = Duration::from_millis(tally.last_waited_ms);
            format!("the last job started {} and had waited {}", from_now(at, self.now), brief(waited))
        });
        let facts: Vec<_> = [depth, age].into_iter().flatten().collect();
        output.line(format!("\u{1b}[1m{}\u{1b}[0m  {}", clean(self.queue), facts.join("; ")))?;
        if self.days.is_empty() {
            return output.line("  no statistics");
        }
        output.table(["  day", "succeeded", "retried", "failed", "others", "waited", "ran"], self.days.iter().rev().map(row))?;
        if !tally.kinds.is_empty() {
            let mut kinds: Vec<_> = tally.kinds.iter().collect();
            kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), *kind));
            let kinds: Vec<_> = kinds.iter().take(KINDS).map(|(kind, count)| format!("{count} {}", clean(kind))).collect();
            output.line(format!("  most frequent errors  {}", kinds.join(", ")))?;
        }
        if total {
            bars("waited", &tally.wait).into_iter().chain(bars("ran", &tally.run)).try_for_each(|line| output.line(line))?;
        }
        Ok(())
    }
}

fn spread(spread: &Spread) -> Value {
    let buckets = filled(spread).map(|(from, to, count)| json!({"from_ms": from, "to_ms": to, "count": count}));
    json!({"count": spread.count, "mean_ms": spread.mean_ms, "deviation_ms": spread.deviation_ms(), "buckets": buckets.collect::<Vec<_>>()})
}

/// Returns the buckets from the first non-empty one to the last.
fn filled(spread: &Spread) -> impl Iterator<Item = (u64, u64, u64)> {
    let first = spread.buckets.iter().position(|count| *count > 0).unwrap_or(spread.buckets.len());
    spread.buckets.iter().enumerate().skip(first).map(|(number, count)| {
        let (from, to) = Spread::bucket(number);
        (from, to, *count)
    })
}

fn row((day, tally): (&Date, &Tally)) -> [String; 7] {
    let ended = |name: &str| tally.endings.get(name).copied().unwrap_or(0);
    let others = tally.endings.iter().filter(|(name, _)| !["succeeded", "retried", "failed"].contains(&name.as_str()));
    let others: Vec<_> = others.map(|(name, count)| format!("{count} {name}")).collect();
    let [succeeded, retried, failed] = ["succeeded", "retried", "failed"].map(|name| ended(name).to_string());
    [format!("  {day}"), succeeded, retried, failed, others.join(", "), mean_and_deviation(&tally.wait), mean_and_deviation(&tally.run)]
}

/// Returns the mean and the deviation.
fn mean_and_deviation(spread: &Spread) -> String {
    if spread.count == 0 {
        return String::new();
    }
    format!("{} ± {}", millis(spread.mean_ms), millis(spread.deviation_ms()))
}

/// Returns a histogram, with one bucket per line.
fn bars(title: &str, spread: &Spread) -> Vec<String> {
    let most = spread.buckets.iter().max().copied().unwrap_or(0).max(1);
    let time = |ms| fine(Duration::from_millis(ms));
    let lines = filled(spread).map(|(from, to, count)| {
        let bar = "█".repeat(usize::try_from(count.saturating_mul(BAR).div_ceil(most)).unwrap_or(0));
        format!("  {:>16}  {bar} {count}", format!("{} to {}", time(from), time(to)))
    });
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() { lines } else { [vec![format!("  {title}")], lines].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_shows_its_buckets_and_the_empty_ones_between() {
        let spread: Spread =
            serde_json::from_value(json!({"count": 12, "mean_ms": 2.0, "squares": 0.0, "buckets": [0, 0, 10, 0, 1]})).expect("a spread");
        let full = "█".repeat(40);
        assert_eq!(
            bars("ran", &spread),
            [
                "  ran".to_owned(),
                format!("        2ms to 4ms  {full} 10"),
                "        4ms to 8ms   0".into(),
                "       8ms to 16ms  ████ 1".into()
            ]
        );
        assert_eq!(bars("ran", &Spread::default()), [""; 0]);
        assert_eq!([mean_and_deviation(&spread), mean_and_deviation(&Spread::default())], ["2ms ± 0ms", ""]);
    }
}
