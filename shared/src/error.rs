//! Errors of the library outside of jobs.

use std::{error::Error as StdError, fmt, sync::Arc};

use crate::{chain::Chain, queue::QueueError, store::StoreError};

/// An error of setting up, enqueueing, reading or changing jobs and schedules.
///
/// Its `Display` and its `Debug` form are the same sentence with the cause, so that a `main` which returns it prints readable text.
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
    /// A setting is missing or wrong. The sentence names the setting and its valid values.
    Config(String),
    /// A job, a schedule, an id or an option is invalid. Nothing was sent or written.
    Invalid(String),
    /// The job or the schedule does not exist.
    NotFound(String),
    /// Another job or another change prevents this one.
    Conflict(String),
    /// SQS did not accept a message.
    #[non_exhaustive]
    Queue {
        /// The failed operation, such as `cannot enqueue job "a"`.
        attempted: String,
        /// The error that the queue returned.
        cause: QueueError,
    },
    /// DynamoDB did not answer a read or a write.
    #[non_exhaustive]
    Store {
        /// The failed operation, such as `cannot list jobs`.
        attempted: String,
        /// The error that the store returned.
        cause: StoreError,
    },
    /// AWS did not create, list or change a table or a queue.
    #[non_exhaustive]
    Setup {
        /// The failed operation, such as `cannot create table jobs`.
        attempted: String,
        /// The error of the AWS SDK.
        cause: Arc<dyn StdError + Send + Sync>,
    },
    /// The process itself cannot continue, for example because the runtime of Lambda ended or standard output is closed.
    Process(String),
}

impl Error {
    /// Creates an error for a setting that is missing or wrong. The sentence should name the setting and its valid values.
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
