//! What can go wrong outside of a job.

use std::fmt;

use crate::{envelope::Unreadable, queue::QueueError, store::StoreError};

/// Why something could not be set up, enqueued or read.
///
/// Its `Debug` form is the same sentence as its `Display` form, so that `main` may return it and a person can read it.
#[derive(Clone)]
pub struct Error(String);

impl Error {
    /// A setting is missing or wrong; the sentence names it and says what would be right.
    pub fn config(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    pub(crate) fn because(what: &str, cause: impl fmt::Display) -> Self {
        Self(format!("{what}: {cause}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

impl From<QueueError> for Error {
    fn from(error: QueueError) -> Self {
        Self::because("cannot enqueue", error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::because("cannot read the record", error)
    }
}

impl From<Unreadable> for Error {
    fn from(error: Unreadable) -> Self {
        Self::because("cannot enqueue", error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::because("cannot write the arguments as JSON", error)
    }
}
