//! Errors of the command, with advice.

use std::{error::Error, fmt, io};

use crate::shell::creation;

/// The reason why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The reader of the output has closed it, as `head` does. This is not an error.
    BrokenPipe,
    /// An error, in one sentence.
    Message(String),
}

/// Advice, and the beginnings of the errors that it is for.
struct Remedy {
    /// Error codes of AWS, or the first words of errors of its SDK. These positions never contain names that users choose.
    signs: &'static [&'static str],
    advice: &'static str,
}

const REMEDIES: &[Remedy] = &[
    Remedy {
        signs: &["ResourceNotFoundException", "TableNotFoundException"],
        advice: "create it with `sqjobs table create`, or name another table with --table",
    },
    Remedy {
        signs: &["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "NonExistentQueue"],
        advice: "create it with `sqjobs queue create NAME`, or check --prefix and --region",
    },
    Remedy {
        signs: &["AccessDenied", "UnauthorizedOperation", "KMS.AccessDenied", "KmsAccessDenied"],
        advice: "ask for that permission, or choose another profile with --profile",
    },
    Remedy {
        signs: &["UnrecognizedClient", "InvalidClientTokenId", "InvalidSignature", "SignatureDoesNotMatch"],
        advice: "the credentials are not valid here; check --profile and --region",
    },
    Remedy { signs: &["ExpiredToken", "RequestExpired"], advice: "log in again, for example with `aws login` or `aws sso login`" },
    Remedy {
        signs: &["the credential provider", "the credentials provider", "an error occurred while loading credentials"],
        advice: "log in, for example with `aws login`, `aws sso login` or `aws configure`, or choose a profile with --profile",
    },
    Remedy { signs: &["Invalid Configuration: Missing Region", "Missing Region"], advice: "give --region, or set AWS_REGION" },
    Remedy { signs: &["dispatch failure", "request has timed out"], advice: "check the network, --region and --endpoint-url" },
];

/// An error and its causes in one line, with advice.
#[derive(Debug)]
pub(crate) struct Cause {
    text: String,
    advice: Option<&'static str>,
}

impl Cause {
    /// Creates a cause from text, if there is no error value.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), advice: None }
    }

    /// Creates a cause from an error and its causes, with advice. It leaves out a cause that the text already contains.
    fn new(error: &(dyn Error + 'static)) -> Self {
        let (mut links, mut next) = (Vec::new(), Some(error));
        while let Some(error) = next {
            links.push(error.to_string());
            next = error.source();
        }
        let mut text = String::new();
        for link in &links {
            // The SDK says this of any error that has a code; the next link has the code.
            if link != "service error" && !text.contains(&**link) {
                text.push_str(if text.is_empty() { "" } else { ": " });
                text.push_str(link);
            }
        }
        let starts = |sign: &str| links.iter().any(|link| link.strip_prefix("unhandled error (").unwrap_or(link).starts_with(sign));
        let remedy = REMEDIES.iter().find(|remedy| remedy.signs.iter().any(|sign| starts(sign)));
        Self { text, advice: remedy.map(|remedy| remedy.advice) }
    }
}

/// Prints the first line only. The SDK lists all its tries on further lines.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.lines().next().unwrap_or_default().trim_end_matches(". Attempted:"))
    }
}

/// Returns an error and its causes in one line.
pub(crate) fn describe(error: &(dyn Error + 'static)) -> String {
    Cause::new(error).to_string()
}

impl<E: Error + 'static> From<E> for Cause {
    fn from(error: E) -> Self {
        Self::new(&error)
    }
}

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self::Message(sentence.into())
    }

    /// Returns the sentence.
    pub(crate) fn into_message(self) -> String {
        match self {
            Self::BrokenPipe => "the output is closed".into(),
            Self::Message(sentence) => sentence,
        }
    }

    /// Converts an error, and puts the name of the queue into advice about a queue that does not exist.
    pub(crate) fn of_queue(error: sqjobs::Error, short: &str) -> Self {
        Self::Message(Self::from(error).into_message().replace("`sqjobs queue create NAME`", &creation(short)))
    }

    /// Creates an error from the failed operation and its cause, and adds advice.
    pub(crate) fn because(what: &str, cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        Self::advised(&format!("{what}: {cause}"), &cause)
    }

    fn advised(sentence: &str, cause: &Cause) -> Self {
        let advice = cause.advice.map(|advice| format!("; {advice}")).unwrap_or_default();
        Self::Message(format!("{sentence}{advice}"))
    }
}

impl From<sqjobs::Error> for Failure {
    fn from(error: sqjobs::Error) -> Self {
        let cause = Cause::from(error);
        Self::advised(&cause.to_string(), &cause)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Message(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(io::ErrorKind::BrokenPipe) => Self::BrokenPipe,
            _ => Self::Message(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use sqjobs::queue::QueueError;

    use super::*;

    fn message(failure: Failure) -> String {
        failure.into_message()
    }

    #[test]
    fn a_cause_is_told_in_one_sentence_with_its_remedy() {
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
            let sentence = message(Failure::because("cannot read the record", QueueError::refused(cause)));
            assert!(sentence.contains(cause), "{sentence}");
            assert!(sentence.contains(remedy), "{sentence}");
            assert_eq!(sentence.lines().count(), 1, "{sentence}");
        }
        let sentence = message(Failure::because("cannot read the record", io::Error::other("a failure\nAttempted: this")));
        assert_eq!(sentence, "cannot read the record: a failure");
    }

    #[test]
    fn a_name_of_a_user_is_no_sign_of_a_cause() {
        let sentence = message(Failure::because("cannot read queue eu-region-x", io::Error::other("no credentials-queue: timed out")));
        assert_eq!(sentence, "cannot read queue eu-region-x: no credentials-queue: timed out");
    }
}
