//! Errors of requests to the table.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::store::StoreError;

/// Converts the error of a request to a table. It distinguishes requests that were not made from those that may have been.
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
        "ResourceNotFoundException"
        | "AccessDeniedException"
        | "UnrecognizedClientException"
        | "ExpiredTokenException"
        | "InvalidSignatureException" => StoreError::unavailable(format!("{code}: {message} (table {table})")),
        _ => match error {
            SdkError::ConstructionFailure(_) => StoreError::unavailable(error),
            error => StoreError::unknown(error),
        },
    }
}

/// Converts the error of a value that is no item, or of a request that is incomplete.
#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` calls")]
pub(crate) fn invalid(error: impl ToString) -> StoreError {
    StoreError::Invalid(error.to_string())
}

pub(super) fn incomplete() -> StoreError {
    StoreError::unknown("the answer has fewer parts than the request")
}

pub(super) fn busy(reason: &str) -> StoreError {
    StoreError::Busy(reason.into())
}

/// Returns the same error for each part of a request.
pub(super) fn repeated<T>(parts: usize, error: &StoreError) -> Vec<Result<T, StoreError>> {
    (0..parts).map(|_| Err(error.clone())).collect()
}
