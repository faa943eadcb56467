//! Prints `SCALE.md`: the cost of 10 million and of 1 billion jobs a day on AWS, and the limits that saturate first,
//! computed and simulated. The only argument is the fixed time of a batch in milliseconds; the default is 12.

mod cost;
mod price;
mod quota;
mod report;
mod simulation;

use std::process::ExitCode;

/// Time of a batch beyond its jobs: the two requests to the table, decoding and the response.
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
    fn the_committed_document_equals_the_output() {
        assert_eq!(crate::report::document(super::OVERHEAD_MS), include_str!("../SCALE.md"));
    }
}
