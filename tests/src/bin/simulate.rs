//! Simulates many jobs with all kinds of faults: `simulate 1000000`, or with another seed `simulate 1000000 7`.
//!
//! The first run that violates a guarantee is shrunk and printed. The same seed repeats it exactly.

use std::{env, process::ExitCode, time::Duration};

use sqjobs::testing::simulation::Simulation;
use sqjobs_tests::simulated::{JOBS, jobs, worker};

fn main() -> ExitCode {
    // Jobs panic as planned; suppress their messages.
    std::panic::set_hook(Box::new(|_| {}));
    let mut numbers = env::args().skip(1).map(|text| text.parse::<u64>().expect("a number of jobs, and a first seed"));
    let (wanted, first) = (numbers.next().unwrap_or(12_000), numbers.next().unwrap_or(0));
    let (mut count, mut faults, mut took) = (0, 0, Duration::ZERO);
    for seed in first.. {
        if count >= wanted {
            break;
        }
        let ended = Simulation::new(seed).run(worker, jobs(seed, JOBS));
        let flaws = ended.flaws();
        if !flaws.is_empty() {
            let small = Simulation::new(seed).shrink(|smaller| !smaller.run(worker, jobs(seed, JOBS)).flaws().is_empty());
            eprintln!("{small}:\n{:#?}", small.run(worker, jobs(seed, JOBS)).flaws());
            return ExitCode::FAILURE;
        }
        count += JOBS;
        faults += ended.faults;
        took += ended.took;
    }
    println!("{count} jobs, {faults} faults, {} hours of their own time: lost 0, doubled 0, stuck 0", took.as_secs() / 3600);
    ExitCode::SUCCESS
}
