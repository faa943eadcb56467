//! The external effects of the probe: a file to which every run of its body appends a line.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

/// One run of the probe's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) pid: u32,
}

/// The effects in one world.
pub(crate) struct Effects {
    folder: TempDir,
}

impl Effects {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// Returns the path of the file with all runs.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("effects")
    }

    /// Returns the path of the file for which probes wait until [`Effects::open_the_gate`].
    pub(crate) fn gate(&self) -> PathBuf {
        self.folder.path().join("gate")
    }

    /// Lets the probes continue that wait for the gate.
    pub(crate) fn open_the_gate(&self) {
        fs::write(self.gate(), "").expect("the temporary folder can be written");
    }

    /// Creates the folder in which probes meet, and returns its path.
    pub(crate) fn meeting(&self) -> PathBuf {
        let folder = self.folder.path().join("meeting");
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        folder
    }

    /// Returns the numbers of probes that have met so far.
    pub(crate) fn met(&self) -> Vec<u32> {
        let counts = fs::read_to_string(self.meeting().with_extension("counts")).unwrap_or_default();
        counts.lines().map(|count| count.parse().expect("the probe writes numbers")).collect()
    }

    /// Returns all runs so far, oldest first.
    pub(crate) fn runs(&self) -> Vec<Run> {
        fs::read_to_string(self.file()).unwrap_or_default().lines().map(run).collect()
    }

    /// Returns the ids of all runs so far, oldest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.runs().into_iter().map(|run| run.id).collect()
    }

    /// Returns the runs of one job so far.
    pub(crate) fn runs_of(&self, id: &str) -> Vec<Run> {
        self.runs().into_iter().filter(|run| run.id == id).collect()
    }
}

fn run(line: &str) -> Run {
    // Split from the right, since an id may contain spaces.
    let mut words = line.rsplitn(3, ' ');
    let mut word = || words.next().expect("the probe writes an id and two numbers a line");
    let number = |word: &str| word.parse().expect("the probe writes numbers");
    let (pid, attempt, id) = (number(word()), number(word()), word().to_owned());
    Run { id, attempt, pid }
}
