//! The figures that must not grow: requests of each scenario, and instructions and allocations of a record. All are exact
//! and do not depend on the speed of the machine.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    event::Scenario,
    framework::{self, Metrics, framework},
    measure::{Invocations, listed, warm},
    subject::{Built, Conditions, Subject},
    tick::{Load, ticks},
};

/// Factor by which an exact figure may grow before it counts as a regression.
const SLACK: f64 = 1.05;
/// Maximum factor by which metrics may increase the instructions of a batch.
const METRICS: f64 = 1.03;
/// Number of records in the batch whose instructions are counted.
const RECORDS: u64 = 100;

/// The figures of a dev-profile build.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// Requests of a batch of ten by scenario, such as `2 BatchExecuteStatement`.
    requests: BTreeMap<String, String>,
    /// Bytes of the request bodies by scenario.
    request_bytes: BTreeMap<String, usize>,
    allocations_per_record: f64,
    bytes_per_record: f64,
    /// Instructions by compiler version, since each compiler generates different code.
    instructions_per_record: BTreeMap<String, f64>,
    /// Instructions of a batch that writes metrics, in relation to one that does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    share_of_metrics: Option<f64>,
}

impl Recorded {
    /// Counts all figures.
    ///
    /// # Errors
    ///
    /// When a subject gives an unexpected response.
    pub(crate) async fn count(built: &Built) -> Result<Self, String> {
        let (mut requests, mut request_bytes) = (BTreeMap::new(), BTreeMap::new());
        for scenario in Scenario::ALL {
            let invocations = Invocations { before: 0, counted: 5 };
            let warm = warm(Subject::Sqjobs, scenario, Duration::ZERO, invocations, built, Conditions::default()).await?;
            request_bytes.insert(scenario.title().to_owned(), warm.requests.iter().map(|exchange| exchange.bytes).sum());
            requests.insert(scenario.title().to_owned(), warm.operations());
        }
        for load in Load::ALL {
            let ticks = ticks(load, 1, built).await?;
            requests.insert(load.title().to_owned(), listed(&ticks.requests));
        }
        let counted = framework(&framework::program(), RECORDS, Metrics::Off)?;
        let metered = framework(&framework::program(), RECORDS, Metrics::On)?;
        let instructions = counted.instructions.map(|total| (compiler(), counted.per_record(total)));
        Ok(Self {
            requests,
            request_bytes,
            allocations_per_record: counted.per_record(counted.allocations),
            bytes_per_record: counted.per_record(counted.bytes),
            instructions_per_record: instructions.into_iter().collect(),
            share_of_metrics: counted
                .instructions
                .zip(metered.instructions)
                .map(|(off, on)| counted.per_record(on) / counted.per_record(off)),
        })
    }

    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    pub(crate) fn write(&self, file: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        fs::write(file, text + "\n").map_err(|error| format!("{}: {error}", file.display()))
    }

    /// Returns the figures that have grown compared with the recorded ones.
    pub(crate) fn regressions(&self, now: &Self) -> Vec<String> {
        let mut regressions = Vec::new();
        for (scenario, was) in &self.requests {
            let is = now.requests.get(scenario).map_or("none", String::as_str);
            if is != was {
                regressions.push(format!("requests of {scenario}: recorded {was}, now {is}"));
            }
        }
        let bytes = self.request_bytes.iter().filter_map(|(scenario, was)| {
            Some((format!("request bytes of {scenario}"), figure(*was), figure(*now.request_bytes.get(scenario)?)))
        });
        let instructions = self.instructions_per_record.iter().filter_map(|(compiler, was)| {
            Some((format!("instructions a record, {compiler}"), *was, *now.instructions_per_record.get(compiler)?))
        });
        let others = [
            ("allocations a record".to_owned(), self.allocations_per_record, now.allocations_per_record),
            ("bytes allocated a record".to_owned(), self.bytes_per_record, now.bytes_per_record),
        ];
        for (what, was, is) in bytes.chain(instructions).chain(others) {
            if is > was * SLACK {
                regressions.push(format!("{what}: recorded {was:.0}, now {is:.0}"));
            }
        }
        if let Some(share) = now.share_of_metrics.filter(|share| *share > METRICS) {
            regressions.push(format!("instructions with metrics: at most {METRICS} of those without, now {share:.3}"));
        }
        regressions
    }
}

/// Converts a count to a figure.
fn figure(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn compiler() -> String {
    let output = std::process::Command::new("rustc").arg("--version").output().ok();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> Recorded {
        Recorded {
            requests: BTreeMap::from([("first".into(), "2 BatchExecuteStatement".into())]),
            request_bytes: BTreeMap::from([("first".into(), 1000)]),
            allocations_per_record: 100.0,
            bytes_per_record: 1000.0,
            instructions_per_record: BTreeMap::from([("rustc 1".into(), 1000.0)]),
            share_of_metrics: Some(1.02),
        }
    }

    #[test]
    fn more_than_a_twentieth_or_one_request_is_a_regression() {
        assert_eq!(recorded().regressions(&recorded()), [""; 0]);
        let slightly = Recorded { allocations_per_record: 105.0, bytes_per_record: 10.0, ..recorded() };
        assert_eq!(recorded().regressions(&slightly), [""; 0]);
        let worse = Recorded {
            requests: BTreeMap::from([("first".into(), "3 BatchExecuteStatement".into())]),
            request_bytes: BTreeMap::from([("first".into(), 1051)]),
            allocations_per_record: 105.1,
            bytes_per_record: 1051.0,
            instructions_per_record: BTreeMap::from([("rustc 1".into(), 1051.0)]),
            share_of_metrics: Some(1.04),
        };
        assert_eq!(recorded().regressions(&worse).len(), 6);
        let elsewhere = Recorded { instructions_per_record: BTreeMap::from([("rustc 2".into(), 5000.0)]), ..recorded() };
        assert_eq!(recorded().regressions(&elsewhere), [""; 0], "another compiler makes other instructions");
    }
}
