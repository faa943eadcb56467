//! Errors of requests to the table.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::{chain::Chain, store::StoreError};

/// Returns the error of a request to a table: it was not made, or it may have been.
pub(crate) fn failed<E, R>(table: &str, error: SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default();
    let message = error.message().unwrap_or_default().to_owned();
    match code {
        "ProvisionedThroughputExceededException" | "RequestLimitExceeded" | "ThrottlingException" => busy(&message),
        "ValidationException" => StoreError::Invalid(message),
        "ResourceNotFoundException" | "AccessDeniedException" | "UnrecognizedClientException" => {
            StoreError::Unavailable(format!("{table}: {code}: {message}"))
        }
        _ => match error {
            SdkError::ConstructionFailure(_) => StoreError::Unavailable(Chain(&error).to_string()),
            error => StoreError::Unknown(error.into()),
        },
    }
}

pub(super) fn incomplete() -> StoreError {
    StoreError::Unknown("the answer has fewer parts than the request".into())
}

pub(super) fn busy(reason: &str) -> StoreError {
    StoreError::Busy(reason.into())
}

/// Returns the same error for each part of a request.
pub(super) fn repeated<T>(parts: usize, error: &StoreError) -> Vec<Result<T, StoreError>> {
    (0..parts).map(|_| Err(copy(error))).collect()
}

pub(super) fn copy(error: &StoreError) -> StoreError {
    match error {
        StoreError::Busy(reason) => StoreError::Busy(reason.clone()),
        StoreError::Unknown(error) => StoreError::Unknown(Chain(&**error).to_string().into()),
        StoreError::Unavailable(reason) => StoreError::Unavailable(reason.clone()),
        StoreError::Invalid(reason) => StoreError::Invalid(reason.clone()),
        StoreError::Unreadable { id, flaw } => StoreError::Unreadable { id: id.clone(), flaw: flaw.clone() },
    }
}
