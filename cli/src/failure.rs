//! Why a command could not be carried out, and what to do about it.

use std::{error::Error, fmt::Display, io};

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The reader of our output has gone, as `head` does; that is no error.
    NobodyReads,
    /// In one sentence.
    Said(String),
}

/// What a cause is told by, and the remedy.
const REMEDIES: &[(&str, &str)] = &[
    ("non-existent table", "create it by `sqjobs table create`, or name another by --table"),
    ("ResourceNotFoundException", "create it by `sqjobs table create`, or name another by --table"),
    ("QueueDoesNotExist", "create it by `sqjobs queue create NAME`, or look at --prefix and --region"),
    ("specified queue does not exist", "create it by `sqjobs queue create NAME`, or look at --prefix and --region"),
    ("AccessDenied", "ask for that permission, or use another profile by --profile"),
    ("not authorized", "ask for that permission, or use another profile by --profile"),
    ("UnrecognizedClient", "the credentials are not valid here; look at --profile and --region"),
    ("InvalidClientTokenId", "the credentials are not valid here; look at --profile and --region"),
    ("ExpiredToken", "log in again, such as by `aws login` or `aws sso login`"),
    ("credentials", "log in, such as by `aws login`, `aws sso login` or `aws configure`, or name a profile by --profile"),
    ("region", "name it by --region, or set AWS_REGION"),
    ("Region", "name it by --region, or set AWS_REGION"),
    ("dispatch failure", "look at the network, --region and --endpoint-url"),
    ("timed out", "look at the network, --region and --endpoint-url"),
];

impl Failure {
    pub(crate) fn said(sentence: impl Into<String>) -> Self {
        Self::Said(sentence.into())
    }

    /// What is told of it.
    pub(crate) fn told(self) -> String {
        match self {
            Self::NobodyReads => "nobody reads".into(),
            Self::Said(sentence) => sentence,
        }
    }

    /// The same error, where a remedy for a queue that does not exist names that queue.
    pub(crate) fn of_queue(error: sqjobs::Error, short: &str) -> Self {
        Self::Said(Self::from(error).told().replace("`sqjobs queue create NAME`", &format!("`sqjobs queue create {short}`")))
    }

    /// What could not be done, why, and what to do about it.
    pub(crate) fn because(what: &str, cause: impl Display) -> Self {
        Self::Said(with_remedy(&format!("{what}: {cause}")))
    }
}

/// An error and its causes in one line.
pub(crate) fn told(error: &dyn Error) -> String {
    let (mut told, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        told.push_str(": ");
        told.push_str(&error.to_string());
        cause = error.source();
    }
    told
}

/// In one sentence: the SDK lists all that it has tried, line by line.
fn with_remedy(text: &str) -> String {
    let sentence = text.lines().next().unwrap_or_default().trim_end_matches(". Attempted:");
    match REMEDIES.iter().find(|(sign, _)| sentence.contains(sign)) {
        Some((_, remedy)) => format!("{sentence}; {remedy}"),
        None => sentence.to_owned(),
    }
}

impl From<sqjobs::Error> for Failure {
    fn from(error: sqjobs::Error) -> Self {
        Self::Said(with_remedy(&error.to_string()))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Said(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(io::ErrorKind::BrokenPipe) => Self::NobodyReads,
            _ => Self::Said(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_in_one_sentence_with_its_remedy() {
        let told = |cause: &str| match Failure::because("cannot read the record", cause) {
            Failure::Said(sentence) => sentence,
            Failure::NobodyReads => String::new(),
        };
        let causes = [
            ("AccessDeniedException: User: arn:aws:iam::1:user/a is not authorized to perform: dynamodb:BatchGetItem", "--profile"),
            ("ResourceNotFoundException: Requested resource not found", "`sqjobs table create`"),
            (
                "AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist for this wsdl version.",
                "`sqjobs queue create NAME`",
            ),
            ("UnrecognizedClientException: The security token included in the request is invalid.", "--region"),
            ("ExpiredTokenException: The security token included in the request is expired", "`aws sso login`"),
            ("dispatch failure: io error: connection refused", "--endpoint-url"),
        ];
        for (cause, remedy) in causes {
            let sentence = told(cause);
            assert!(sentence.contains(cause) && sentence.contains(remedy) && sentence.lines().count() == 1, "{sentence}");
        }
        assert_eq!(told("a failure\nAttempted: this"), "cannot read the record: a failure");
    }
}
