//! Measures the overhead of the framework without I/O: instructions and allocations of one batch in memory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

/// Measurements of one batch in memory.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Framework {
    pub(crate) records: u64,
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
    /// `None` if valgrind is not installed.
    #[serde(skip)]
    pub(crate) instructions: Option<u64>,
}

/// The switch for the metrics of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metrics {
    Off,
    On,
}

impl Metrics {
    fn argument(self) -> Option<&'static str> {
        (self == Self::On).then_some("metrics")
    }
}

/// Runs the binary `framework` at `program` with `records` records.
///
/// # Errors
///
/// When the program cannot be run.
pub(crate) fn framework(program: &Path, records: u64, metrics: Metrics) -> Result<Framework, String> {
    let output = run(Command::new(program).arg(records.to_string()).args(metrics.argument()))?;
    let counted: Framework = serde_json::from_str(output.trim()).map_err(|error| error.to_string())?;
    Ok(Framework { instructions: instructions(program, records, metrics)?, ..counted })
}

/// Returns `true` if callgrind is installed.
pub(crate) fn has_callgrind() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn instructions(program: &Path, records: u64, metrics: Metrics) -> Result<Option<u64>, String> {
    if !has_callgrind() {
        return Ok(None);
    }
    let file = std::env::temp_dir().join(format!("sqjobs-callgrind-{}", std::process::id()));
    let mut command = Command::new("valgrind");
    command.args(["-q", "--tool=callgrind", "--toggle-collect=*one_batch*"]);
    run(command.arg(format!("--callgrind-out-file={}", file.display())).arg(program).arg(records.to_string()).args(metrics.argument()))?;
    let counted = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    fs::remove_file(&file).ok();
    let total = counted.lines().find_map(|line| line.strip_prefix("totals: ")).and_then(|total| total.trim().parse().ok());
    total.map(Some).ok_or_else(|| "callgrind wrote no total".into())
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?} does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Framework {
    pub(crate) fn per_record(&self, figure: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let (figure, records) = (figure as f64, self.records as f64);
        figure / records
    }
}

/// Returns the binary `framework` in the folder of the running one.
pub(crate) fn program() -> PathBuf {
    std::env::current_exe().map(|this| this.with_file_name("framework")).expect("this program has a place")
}
