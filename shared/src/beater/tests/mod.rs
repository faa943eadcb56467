//! The beater's ticks on the in-memory adapters, with a worker behind them. The tests check which jobs ran, and when.

mod catch_up;
mod change;
mod code;
mod explored;
mod linked;
mod metered;
mod overlooked;
mod refused;
mod repair;
mod transition;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{runtime::Handle, time::Instant};

use super::{
    Beater, CatchUp, Due, Entry, Schedules,
    dlqs::Dlqs,
    part::Ports,
    rows::{self, Changed, Rows as _},
    tick::{Report, tick},
};
use crate::{
    Arguments, Clock, Context, Job, JobError, Record, Schedule, State, Worker,
    clock::until,
    worker::{DLQ, Local},
};

/// The runs: the id of the job with its argument, and the instant.
type Runs = Arc<Mutex<Vec<(String, Timestamp)>>>;

#[derive(Serialize, Deserialize)]
struct Note(String);

impl Arguments for Note {
    const NAME: &'static str = "note";
}

impl Job<Runs> for Note {
    type Output = ();

    async fn run(&self, ctx: &Context<Runs>) -> Result<(), JobError> {
        let started = ctx.due_at().zip(ctx.late_by()).map(|(due, late)| crate::clock::after(due, late));
        let run = (format!("{} {}", ctx.id(), self.0), started.unwrap_or_default());
        ctx.state().lock().expect("nobody panics with the lock").push(run);
        Ok(())
    }
}

struct TestBeater {
    local: Local,
    rows: rows::Memory,
    runs: Runs,
}

impl TestBeater {
    fn at(start: &str) -> Self {
        let local = Local::new(Clock::frozen(instant(start)));
        let rows = rows::Memory::new(local.store.clone());
        Self { local, rows, runs: Runs::default() }
    }

    fn schedules(&self) -> Schedules {
        Schedules::new(Arc::new(self.rows.clone()), self.local.client(), self.local.clock.clone())
    }

    async fn put(&self, entry: Entry) {
        self.schedules().put(&entry).await.expect("a good entry");
    }

    fn now(&self) -> Timestamp {
        self.local.clock.now()
    }

    fn pass(&self, seconds: u64) {
        self.local.clock.advance(Duration::from_secs(seconds));
    }

    /// Makes a tick for an instant, independent of the clock.
    async fn tick(&self, at: Timestamp) -> Report {
        let ports = Ports {
            due: self.local.due(),
            rows: Arc::new(self.rows.clone()),
            prefix: String::new(),
            dlqs: Arc::new(Dlqs::new(vec![DLQ.into()])),
        };
        tick(&ports, at, Instant::now() + Duration::from_mins(1)).await.expect("a table in memory")
    }

    async fn tick_now(&self) -> Report {
        self.tick(self.now()).await
    }

    /// Runs the arrived jobs.
    async fn work(&self) {
        let worker = Worker::new(Arc::clone(&self.runs)).job::<Note>();
        let engine = self.local.engine(worker.jobs().clone(), Handle::current(), usize::MAX);
        self.local.run_due(&engine).await.expect("queues in memory");
    }

    /// Ticks each minute for this number of minutes, and runs the arrived jobs in between.
    async fn go_on(&self, minutes: usize) {
        for _ in 0..minutes {
            self.tick_now().await;
            for _ in 0..2 {
                self.work().await;
                self.pass(30);
            }
        }
    }

    /// Returns the fires whose jobs ran, in order.
    fn fires(&self, schedule: &str) -> Vec<String> {
        let prefix = format!("schedule:{schedule}:");
        let runs = self.runs.lock().expect("nobody panics with the lock");
        let mut fires: Vec<_> = runs.iter().filter_map(|(id, _)| Some(id.strip_prefix(&prefix)?.split(' ').next()?.to_owned())).collect();
        fires.sort_unstable();
        fires
    }

    /// Returns the runs with their arguments.
    fn ran(&self) -> Vec<String> {
        self.runs.lock().expect("nobody panics with the lock").iter().map(|(run, _)| run.clone()).collect()
    }

    /// Returns the row of the schedule that these tests change.
    async fn row(&self) -> Option<rows::Row> {
        self.rows.get("minutely").await.expect("rows in memory").map(|found| found.expect("readable"))
    }

    fn records(&self) -> BTreeMap<String, Record> {
        self.local.store.records().into_iter().map(|record| (record.id.clone(), record)).collect()
    }
}

fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn cron(expression: &str, zone: &str) -> Schedule {
    Schedule::cron(expression).timezone(zone)
}

fn note(id: &str, schedule: Schedule) -> Entry {
    Entry::named(id, schedule, "note", json!("as first told"))
}
