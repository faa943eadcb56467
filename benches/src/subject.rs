//! The compared implementations.

use std::{fs, path::PathBuf};

use crate::{
    answerer::Answerer,
    process::{Process, Share},
    runtime_api::RuntimeApi,
    tls::Tls,
};

/// A function that adds numbers for each job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// With this library.
    Sqjobs,
    /// Hand-written in Rust, with the same requests.
    ByHand,
    /// With Powertools for Python.
    Python,
    /// With Powertools for TypeScript.
    TypeScript,
    /// With this library, and with traces.
    Traced,
}

/// The folders of the built subjects.
#[derive(Debug)]
pub(crate) struct Built {
    /// The folder with `with-sqjobs` and the other Rust programs.
    pub(crate) programs: PathBuf,
    /// The folder that `peers/install` fills.
    pub(crate) peers: PathBuf,
}

/// The conditions under which a subject starts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Conditions<'a> {
    pub(crate) share: Option<&'a Share>,
    pub(crate) tls: Option<&'a Tls>,
    /// `true` if it logs one line for each job.
    pub(crate) logs: bool,
}

impl Subject {
    /// The compared alternatives.
    pub(crate) const ALL: [Self; 4] = [Self::Sqjobs, Self::ByHand, Self::Python, Self::TypeScript];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Sqjobs => "sqjobs",
            Self::ByHand => "by hand",
            Self::Python => "Powertools for Python",
            Self::TypeScript => "Powertools for TypeScript",
            Self::Traced => "sqjobs with traces",
        }
    }

    pub(crate) fn bootstrap(self, built: &Built) -> PathBuf {
        match self {
            Self::Sqjobs => built.programs.join("with-sqjobs"),
            Self::ByHand => built.programs.join("by-hand"),
            Self::Python => built.peers.join("python/bootstrap"),
            Self::TypeScript => built.peers.join("typescript/bootstrap"),
            Self::Traced => built.programs.join("with-traces"),
        }
    }

    /// Returns `true` if the subject has been built. The peers are optional.
    pub(crate) fn is_there(self, built: &Built) -> bool {
        fs::exists(self.bootstrap(built)).unwrap_or_default()
    }

    pub(crate) fn start(self, built: &Built, api: &RuntimeApi, aws: &Answerer, conditions: Conditions<'_>) -> Process {
        let mut variables = variables(aws);
        variables.push(("AWS_LAMBDA_RUNTIME_API", api.authority()));
        variables.push(("RUST_LOG", if conditions.logs { "info" } else { "warn" }.into()));
        // Lambda sizes the heap for a function of 256 MB; by default Node.js would size it for this machine.
        variables.push(("NODE_OPTIONS", "--max-old-space-size=230 --max-semi-space-size=12".into()));
        if self == Self::Traced {
            variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", aws.url()));
        }
        variables.push(("BENCH_LOGS", if conditions.logs { "1" } else { "0" }.into()));
        if let Some(tls) = conditions.tls {
            let file = tls.file.to_string_lossy();
            let names = ["SSL_CERT_FILE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];
            variables.extend(names.map(|name| (name, file.to_string())));
        }
        Process::start(&self.bootstrap(built), &[], variables, conditions.share)
    }
}

/// Returns the environment variables that Lambda and the settings of a function provide.
pub(crate) fn variables(aws: &Answerer) -> Vec<(&'static str, String)> {
    let url = aws.url();
    let queue = |name: &str| format!("{url}/000000000000/{name}");
    vec![
        ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
        ("LANG", "en_US.UTF-8".into()),
        ("TZ", ":UTC".into()),
        ("AWS_REGION", "us-east-1".into()),
        ("AWS_DEFAULT_REGION", "us-east-1".into()),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".into()),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into()),
        ("AWS_SESSION_TOKEN", "session".into()),
        ("AWS_ENDPOINT_URL", url.clone()),
        ("AWS_LAMBDA_FUNCTION_NAME", "subject".into()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".into()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/subject".into()),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "1".into()),
        ("SQJOBS_QUEUE_URL", queue("adder")),
        ("SQJOBS_DLQ_URL", queue("adder-dlq")),
    ]
}
