//! Errors outside of a job.

use std::{error::Error as StdError, fmt, sync::Arc};

use crate::{chain::Chain, queue::QueueError, store::StoreError};

/// Why something could not be set up, enqueued, read or changed.
///
/// Both its `Display` and its `Debug` form are one sentence with the cause, so that `main` may return it and a person can read it.
///
/// ```
/// use sqjobs::{Error, store::StoreError};
///
/// fn is_worth_another_try(error: &Error) -> bool {
///     match error {
///         Error::Queue { cause, .. } => matches!(cause, sqjobs::queue::QueueError::Unknown(_)),
///         Error::Store { cause, .. } => matches!(cause, StoreError::Busy(_) | StoreError::Unknown(_)),
///         _ => false,
///     }
/// }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum Error {
    /// A setting is missing or wrong. The sentence names it and says what would be right.
    Config(String),
    /// A job, a schedule, an id or an option is refused as it is. Nothing was sent or written.
    Invalid(String),
    /// There is no such job or schedule.
    NotFound(String),
    /// Another job or another change is in the way.
    Conflict(String),
    /// SQS did not take a message.
    #[non_exhaustive]
    Queue {
        /// What could not be done.
        attempted: String,
        /// Why.
        cause: QueueError,
    },
    /// DynamoDB did not answer a read or a write.
    #[non_exhaustive]
    Store {
        /// What could not be done.
        attempted: String,
        /// Why.
        cause: StoreError,
    },
    /// AWS refused to make or to list tables and queues.
    #[non_exhaustive]
    Setup {
        /// What could not be done.
        attempted: String,
        /// The error of the AWS SDK.
        cause: Arc<dyn StdError + Send + Sync>,
    },
    /// The process itself cannot go on, such as when the runtime of Lambda ends or standard output is closed.
    Process(String),
}

impl Error {
    /// A setting is missing or wrong; the sentence names it and says what would be right.
    pub fn config(sentence: impl Into<String>) -> Self {
        Self::Config(sentence.into())
    }

    pub(crate) fn queue(attempted: impl Into<String>, cause: QueueError) -> Self {
        Self::Queue { attempted: attempted.into(), cause }
    }

    pub(crate) fn store(attempted: impl Into<String>, cause: StoreError) -> Self {
        Self::Store { attempted: attempted.into(), cause }
    }

    #[cfg(feature = "operator")]
    pub(crate) fn setup(attempted: impl Into<String>, cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::Setup { attempted: attempted.into(), cause: Arc::new(cause) }
    }

    pub(crate) fn process(attempted: &str, cause: impl fmt::Display) -> Self {
        Self::Process(format!("{attempted}: {cause}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(sentence)
            | Self::Invalid(sentence)
            | Self::NotFound(sentence)
            | Self::Conflict(sentence)
            | Self::Process(sentence) => f.write_str(sentence),
            Self::Queue { attempted, cause } => write!(f, "{attempted}: {cause}"),
            Self::Store { attempted, cause } => write!(f, "{attempted}: {cause}"),
            Self::Setup { attempted, cause } => write!(f, "{attempted}: {}", Chain(&**cause)),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Queue { cause, .. } => Some(cause),
            Self::Store { cause, .. } => Some(cause),
            Self::Setup { cause, .. } => Some(&**cause),
            Self::Config(_) | Self::Invalid(_) | Self::NotFound(_) | Self::Conflict(_) | Self::Process(_) => None,
        }
    }
}
