//! The command for operators: enqueues, watches, explains and repairs jobs.

#[macro_use]
mod output; // its macro is for all modules after it

mod args;
mod aws;
mod command;
mod failure;
mod lines;
mod meter;
mod place;
#[cfg(test)]
mod reference;
mod sentence;
mod shell;
mod time;
mod value;

use std::process::ExitCode;

use clap::Parser as _;
use tokio::runtime::Builder;

use self::{args::Args, failure::Failure};

/// Exit status if the answer is no: the job does not exist or has failed, or the command changed nothing or not everything.
const NO: u8 = 1;
/// Exit status of an error: an argument is wrong, or AWS refused a request.
const ERROR: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let place = args.place.clone();
    match run(args) {
        Ok(true) | Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NO),
        Err(Failure::Message(sentence)) => {
            note!("\u{1b}[1;31merror:\u{1b}[0m {}", place.with_options(&sentence));
            ExitCode::from(ERROR)
        }
    }
}

/// Runs a command. Returns `true` if the answer is yes.
fn run(args: Args) -> Result<bool, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command::run(args, None))
}
