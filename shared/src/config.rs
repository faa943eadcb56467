//! The only place that reads the environment.

use std::{env, path::PathBuf, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig, stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig};

use crate::{Error, http, names};

#[cfg(feature = "lambda")]
pub(crate) use function::{Config, in_lambda, sdk as function_sdk};

/// Longest for one try of a request to AWS, and for all its tries.
const ATTEMPT: Duration = Duration::from_secs(1);
const OPERATION: Duration = Duration::from_secs(3);

/// The table of the records: by default that of the environment's prefix.
pub(crate) fn table() -> String {
    variable("SQJOBS_TABLE").unwrap_or_else(|| names::jobs_table(&prefix()))
}

/// The time of a function.
#[cfg(feature = "lambda")]
#[cfg_attr(not(feature = "test-clock"), expect(clippy::unnecessary_wraps, reason = "with the feature it can fail"))]
pub(crate) fn clock() -> Result<crate::Clock, Error> {
    let clock = crate::Clock::system();
    #[cfg(feature = "test-clock")]
    if let Some(text) = variable("SQJOBS_CLOCK_AHEAD_S") {
        let seconds = text.parse().map_err(|error| Error::because("SQJOBS_CLOCK_AHEAD_S is no number of seconds", error))?;
        clock.advance(Duration::from_secs(seconds));
    }
    Ok(clock)
}

/// The table of the schedules: by default that of the environment's prefix.
pub(crate) fn schedules_table() -> String {
    variable("SQJOBS_SCHEDULES_TABLE").unwrap_or_else(|| names::schedules_table(&prefix()))
}

/// The names of the dead-letter queues that a beater looks through, from their URLs.
#[cfg(feature = "lambda")]
pub(crate) fn dlqs() -> Vec<String> {
    let urls = variable("SQJOBS_DLQ_URL").unwrap_or_default();
    urls.split_whitespace().map(|url| crate::queue::name_of(url).to_owned()).collect()
}

/// What is logged, as `RUST_LOG` has it.
pub(crate) fn log() -> Option<String> {
    variable("RUST_LOG")
}

/// The prefix of this environment: it precedes the names of queues and, by default, of tables.
pub(crate) fn prefix() -> String {
    variable("SQJOBS_PREFIX").unwrap_or_default()
}

/// The most jobs of one name and batch at a time, a ceiling on every policy.
pub(crate) fn max_concurrency() -> Result<usize, Error> {
    let Some(text) = variable("SQJOBS_MAX_CONCURRENCY") else { return Ok(usize::MAX) };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Error::config(format!("SQJOBS_MAX_CONCURRENCY is {text:?}; set it to a number from 1, or not at all")))
}

/// The SDK's configuration: region, credentials and endpoint from the usual places, and timeouts, which the SDK has not
/// by itself.
pub(crate) async fn sdk() -> SdkConfig {
    let defaults = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http::client(authorities()));
    defaults.timeout_config(timeouts()).stalled_stream_protection(unwatched()).load().await
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(OPERATION).build()
}

/// Returns the one file that holds the certificates of all authorities, where there is one. A folder that was named is left to the
/// library of the platform.
fn authorities() -> Option<PathBuf> {
    if !cfg!(target_os = "linux") || variable("SSL_CERT_DIR").is_some() {
        return None;
    }
    variable("SSL_CERT_FILE").map(PathBuf::from).or_else(|| openssl_probe::probe().cert_file)
}

/// No watch over how fast bytes come, for each try has its second.
fn unwatched() -> StalledStreamProtectionConfig {
    StalledStreamProtectionConfig::disabled()
}

/// An empty variable is taken as none.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// What only a Lambda function reads.
#[cfg(feature = "lambda")]
mod function {
    use aws_config::{BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider, retry::RetryConfig};
    use aws_sdk_sqs::config::SharedCredentialsProvider;

    use super::{authorities, max_concurrency, table, timeouts, unwatched, variable};
    use crate::{Error, http};

    /// The SDK's configuration of a function. Lambda sets region and credentials as variables, so that the chain of profiles, web
    /// identities and token services stays out of the program: "Defined runtime environment variables" in the Lambda guide.
    pub(crate) fn sdk() -> SdkConfig {
        let is_set = |name| variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let mut sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
            .region(variable("AWS_REGION").map(Region::new))
            .use_fips(is_set("AWS_USE_FIPS_ENDPOINT"))
            .use_dual_stack(is_set("AWS_USE_DUALSTACK_ENDPOINT"))
            .retry_config(RetryConfig::standard())
            .http_client(http::client(authorities()))
            .timeout_config(timeouts())
            .stalled_stream_protection(unwatched());
        sdk.set_endpoint_url(variable("AWS_ENDPOINT_URL"));
        sdk.build()
    }

    /// The settings of a worker.
    #[derive(Debug, Clone)]
    pub(crate) struct Config {
        pub(crate) table: String,
        pub(crate) queue_url: String,
        pub(crate) dlq_url: String,
        pub(crate) max_concurrency: usize,
        pub(crate) stats: bool,
    }

    impl Config {
        pub(crate) fn from_env() -> Result<Self, Error> {
            one_invocation_at_a_time()?;
            Ok(Self {
                table: table(),
                queue_url: required("SQJOBS_QUEUE_URL", "the URL of the queue that feeds this function")?,
                dlq_url: required("SQJOBS_DLQ_URL", "the URL of its dead-letter queue")?,
                max_concurrency: max_concurrency()?,
                stats: stats()?,
            })
        }
    }

    /// Whether this process is a Lambda function.
    pub(crate) fn in_lambda() -> bool {
        variable("AWS_LAMBDA_RUNTIME_API").is_some()
    }

    /// Refuses Lambda Managed Instances with several invocations in one process: a body that blocks its thread ends the process,
    /// and would take the others along. Source: "Lambda Managed Instances runtimes" in the Lambda guide.
    fn one_invocation_at_a_time() -> Result<(), Error> {
        match variable("AWS_LAMBDA_MAX_CONCURRENCY").filter(|invocations| invocations != "1") {
            None => Ok(()),
            Some(invocations) => Err(Error::config(format!(
                "AWS_LAMBDA_MAX_CONCURRENCY is {invocations}: on Lambda Managed Instances a process has several invocations at a time, and a \
                 job that blocks would end all of them; set PerExecutionEnvironmentMaxConcurrency to 1, or use Lambda's own instances"
            ))),
        }
    }

    /// Whether deliveries are counted.
    fn stats() -> Result<bool, Error> {
        match variable("SQJOBS_STATS").as_deref() {
            None | Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(other) => Err(Error::config(format!("SQJOBS_STATS is {other:?}; set it to on or off, or not at all"))),
        }
    }

    fn required(name: &str, meaning: &str) -> Result<String, Error> {
        variable(name).ok_or_else(|| Error::config(format!("{name} is not set; set it to {meaning}")))
    }
}
