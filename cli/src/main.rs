//! The operator's command: enqueue, watch, explain and repair jobs.

mod args;
mod aws;
mod command;
mod failure;
mod output;
#[cfg(test)]
mod reference;
mod sentence;
mod time;

use std::process::ExitCode;

use clap::Parser as _;
use tokio::runtime::Builder;

use self::{args::Args, failure::Failure};

/// The answer is no: there is no such job, it has failed, nothing was changed, or not everything was done.
const NO: u8 = 1;
/// It could not be asked: a wrong argument, or AWS refuses.
const ERROR: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let place = args.place.clone();
    match run(args) {
        Ok(true) | Err(Failure::NobodyReads) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NO),
        Err(Failure::Said(sentence)) => {
            anstream::eprintln!("\u{1b}[1;31merror:\u{1b}[0m {}", place.with_options(&sentence));
            ExitCode::from(ERROR)
        }
    }
}

/// Carries a command out; says whether the answer is yes.
fn run(args: Args) -> Result<bool, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command::run(args))
}
