//! Measures sqjobs side by side with the alternatives that a team could deploy; `benches/run` builds what it needs.
//!
//! Without an argument it measures everything and writes the report. `check` counts the exact figures in the dev profile and
//! fails if one has grown. `record` saves these figures as the new limits. `beater` and `traces` measure only these.

mod answerer;
mod clockwork;
mod decide;
mod enqueue;
mod event;
mod framework;
mod measure;
mod plot;
mod process;
mod recorded;
mod report;
mod rounds;
mod runtime_api;
mod serve;
mod subject;
mod suite;
mod table;
mod tick;
mod tls;

use std::path::{Path, PathBuf};

use recorded::Recorded;
use subject::Built;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("");
    let target = here.join("../target/benches");
    let recorded = here.join("recorded.json");
    let built = |programs: PathBuf| Built { programs, peers: target.join("peers") };
    match std::env::args().nth(1).as_deref() {
        None => report::write(&suite::run(&built(target.join("programs")), &target).await?, here)?,
        Some("beater") => print!("{}", report::beater_alone(&suite::beater(&built(target.join("programs"))).await?)?),
        Some("traces") => print!("{}", report::traced_alone(&suite::traced(&built(target.join("programs")), &target).await?)?),
        Some("record") => Recorded::count(&built(programs)).await?.write(&recorded)?,
        Some("check") => check(&Recorded::read(&recorded)?, &Recorded::count(&built(programs)).await?)?,
        Some(other) => return Err(format!("{other:?} is no command; give beater, check, record, traces or nothing").into()),
    }
    Ok(())
}

fn check(was: &Recorded, is: &Recorded) -> Result<(), String> {
    if !framework::has_callgrind() {
        eprintln!("NOT CHECKED: instructions, for valgrind is not installed");
    }
    match was.regressions(is).as_slice() {
        [] => {
            println!("requests, bytes, allocations and instructions are no more than recorded");
            Ok(())
        }
        regressions => Err(format!("more than recorded; `benches/run record` if that is meant:\n{}", regressions.join("\n"))),
    }
}

/// An error that `main` prints as a sentence.
struct Failure(String);

impl<E: ToString> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
