//! Measures the overhead of the framework: one batch of jobs on the in-memory adapters, on one thread.
//!
//! With the second argument `metrics`, the worker writes metrics. It prints the number of allocations. Under callgrind, it counts the instructions of the batch alone.

use std::{alloc::System, hint::black_box};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqjobs::{Arguments, Context, Job, JobError, State, Worker, testing::Eager};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Debug, Serialize, Deserialize)]
struct Adder(Vec<i64>);

impl Arguments for Adder {
    const NAME: &'static str = "adder";
}

impl Job for Adder {
    type Output = i64;

    async fn run(&self, _ctx: &Context) -> Result<i64, JobError> {
        Ok(self.0.iter().sum())
    }
}

fn main() {
    let records: usize = std::env::args().nth(1).and_then(|records| records.parse().ok()).expect("how many records?");
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let eager = Eager::new().batch_size(records.max(1));
    let has_metrics = std::env::args().nth(2).is_some_and(|option| option == "metrics");
    let eager = if has_metrics { eager.with_metrics(|line| _ = black_box(line.len())) } else { eager };
    let worker = Worker::new(()).job::<Adder>();
    for number in 0..records {
        let body = json!({"name": "adder", "id": format!("adder-{number:08}"), "args": [number, 2, 3]});
        runtime.block_on(eager.send("adder", body.to_string()));
    }
    let region = Region::new(ALLOCATOR);
    one_batch(&runtime, &eager, &worker);
    let allocated = region.change();
    assert!(eager.records().iter().all(|record| record.state == State::Succeeded));
    println!("{}", json!({"records": eager.records().len(), "allocations": allocated.allocations, "bytes": allocated.bytes_allocated}));
}

/// The function whose instructions callgrind counts.
#[inline(never)]
fn one_batch(runtime: &runtime::Runtime, eager: &Eager, worker: &Worker) {
    runtime.block_on(eager.run_due(worker));
}
