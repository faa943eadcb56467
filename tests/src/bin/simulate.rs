//! Simulates many jobs with all kinds of faults: `simulate 1000000`, or with another seed `simulate 1000000 7`. Of four runs, one
//! has jobs that wait for each other, one a workflow, and one jobs that share keys.
//!
//! The first run that violates a guarantee is shrunk and printed. The same seed repeats it exactly.

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use sqjobs::{Enqueue, testing::simulation::Simulation};
use sqjobs_tests::simulated::{JOBS, graph, jobs, sharing, whole, worker};

/// Time between two lines about the progress.
const BETWEEN_LINES: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    // Jobs panic as planned; suppress their messages.
    std::panic::set_hook(Box::new(|_| {}));
    let mut numbers = env::args().skip(1).map(|text| text.parse::<u64>().expect("a number of jobs, and a first seed"));
    let (wanted, first) = (numbers.next().unwrap_or(12_000), numbers.next().unwrap_or(0));
    let mut told = Instant::now();
    let (mut count, mut connected, mut shared, mut faults, mut took) = (0, 0, 0, 0, Duration::ZERO);
    for seed in first.. {
        if count >= wanted {
            break;
        }
        if told.elapsed() > BETWEEN_LINES {
            eprintln!("{count} jobs so far; the next seed is {seed}");
            told = Instant::now();
        }
        let (simulation, jobs) = run(seed);
        let ended = simulation.run(worker, jobs.clone());
        let flaws = ended.flaws();
        if !flaws.is_empty() {
            eprintln!("{simulation}:\n{flaws:#?}");
            let small = simulation.shrink(|smaller| !smaller.run(worker, jobs.clone()).flaws().is_empty());
            eprintln!("{small}:\n{:#?}", small.run(worker, jobs).flaws());
            return ExitCode::FAILURE;
        }
        for envelope in jobs.iter().map(Enqueue::envelope) {
            let waits = envelope.jobs.iter().filter(|step| !step.job.depends_on.is_empty()).count();
            let is_last = !envelope.depends_on.is_empty() || !envelope.jobs.is_empty();
            count += 1 + envelope.jobs.len() as u64;
            connected += waits + usize::from(is_last);
            shared += usize::from(envelope.keys.is_some());
        }
        faults += ended.faults;
        took += ended.took;
    }
    let hours = took.as_secs() / 3600;
    println!("{count} jobs, {connected} of them wait for others, {shared} share keys, {faults} faults, {hours} hours of their own time:");
    println!("lost 0, doubled 0, stuck 0, early 0, beyond a limit 0");
    ExitCode::SUCCESS
}

/// Returns the run of a seed.
fn run(seed: u64) -> (Simulation, Vec<Enqueue>) {
    // Consecutive numbers of graphs, so that each of their choices occurs.
    match seed % 4 {
        3 => graph(seed / 4),
        1 => whole(seed / 4),
        2 => sharing(seed / 4),
        _ => (Simulation::new(seed), jobs(seed, JOBS)),
    }
}
