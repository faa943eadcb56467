//! Prints `SCALE.md`: what 10 million and 1 billion jobs a day cost on AWS, and what saturates first, on paper and by
//! simulation. The one argument is the fixed time of a batch in milliseconds, 12 if it is left out.

mod cost;
mod price;
mod quota;
mod report;
mod simulation;

use std::process::ExitCode;

/// What a batch takes beyond its jobs: the two requests to the table, decoding and the answer.
const OVERHEAD_MS: u32 = 12;

fn main() -> ExitCode {
    let overhead_ms = match std::env::args().nth(1).map(|argument| argument.parse()) {
        None => OVERHEAD_MS,
        Some(Ok(given)) => given,
        Some(Err(error)) => {
            eprintln!("cannot read the milliseconds of a batch: {error}; give a whole number, such as 12");
            return ExitCode::FAILURE;
        }
    };
    print!("{}", report::document(overhead_ms));
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_is_what_the_program_prints() {
        assert_eq!(crate::report::document(super::OVERHEAD_MS), include_str!("../SCALE.md"));
    }
}
