//! The only module that reads the environment. The crates of OpenTelemetry read their own variables.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig, stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig};

use crate::{Error, http, metrics::Requests, names};

#[cfg(feature = "lambda")]
pub(crate) use function::{Config, function_name, in_lambda, metrics, sdk as function_sdk};
#[cfg(all(feature = "lambda", feature = "otel"))]
pub(crate) use function::{credentials, function_resource, traces_are_on};
#[cfg(feature = "events")]
pub(crate) use function::{event_bus, event_results};
#[cfg(feature = "poll")]
pub(crate) use function::{host, queue_urls, stats};

/// Maximum time of one attempt of an AWS request; below, the maximum of all its attempts.
const ATTEMPT: Duration = Duration::from_secs(1);
const OPERATION: Duration = Duration::from_secs(3);

/// Returns the name of the table of records; by default it has the prefix of the environment.
pub(crate) fn table() -> String {
    variable("SQJOBS_TABLE").unwrap_or_else(|| names::jobs_table(&prefix()))
}

/// Returns the clock of a function.
#[cfg(feature = "lambda")]
#[cfg_attr(not(feature = "test-clock"), expect(clippy::unnecessary_wraps, reason = "with the feature it can fail"))]
pub(crate) fn clock() -> Result<crate::Clock, Error> {
    let clock = crate::Clock::system();
    #[cfg(feature = "test-clock")]
    if let Some(text) = variable("SQJOBS_CLOCK_AHEAD_S") {
        let seconds = text.parse().map_err(|error| Error::Config(format!("SQJOBS_CLOCK_AHEAD_S is not a number of seconds: {error}")))?;
        clock.advance(Duration::from_secs(seconds));
    }
    Ok(clock)
}

/// Returns the name of the table of schedules; by default it has the prefix of the environment.
pub(crate) fn schedules_table() -> String {
    variable("SQJOBS_SCHEDULES_TABLE").unwrap_or_else(|| names::schedules_table(&prefix()))
}

/// Returns the names of the dead-letter queues that a beater examines, taken from their URLs.
#[cfg(feature = "lambda")]
pub(crate) fn dlqs() -> Vec<String> {
    let urls = variable("SQJOBS_DLQ_URL").unwrap_or_default();
    urls.split_whitespace().map(|url| crate::queue::name_of(url).to_owned()).collect()
}

/// Returns the log filter from `RUST_LOG`.
pub(crate) fn log() -> Option<String> {
    variable("RUST_LOG")
}

/// Returns the prefix of this environment. Names of queues, and by default of tables, start with it.
pub(crate) fn prefix() -> String {
    variable("SQJOBS_PREFIX").unwrap_or_default()
}

/// Returns the maximum number of concurrent jobs of one name in a batch; it limits every policy.
pub(crate) fn max_concurrency() -> Result<usize, Error> {
    let Some(text) = variable("SQJOBS_MAX_CONCURRENCY") else { return Ok(usize::MAX) };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Error::config(format!("SQJOBS_MAX_CONCURRENCY is {text:?}; set it to a number from 1, or not at all")))
}

/// Loads the SDK configuration: region, credentials and endpoint from the usual sources, and timeouts, which the SDK does
/// not set by default.
pub(crate) async fn sdk() -> SdkConfig {
    sdk_that_counts(None).await
}

/// Does the same as [`sdk`]. The SDK counts its requests.
pub(crate) async fn sdk_that_counts(requests: Option<Arc<Requests>>) -> SdkConfig {
    let defaults = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http::client(authorities(), requests));
    defaults.timeout_config(timeouts()).stalled_stream_protection(unwatched()).load().await
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(OPERATION).build()
}

/// Returns the file with the certificates of all authorities, if there is one. If a folder is configured, the platform's library
/// reads it instead.
pub(crate) fn authorities() -> Option<PathBuf> {
    if !cfg!(target_os = "linux") || variable("SSL_CERT_DIR").is_some() {
        return None;
    }
    variable("SSL_CERT_FILE").map(PathBuf::from).or_else(|| openssl_probe::probe().cert_file)
}

/// Disables the detection of stalled streams, since each attempt is limited to one second.
fn unwatched() -> StalledStreamProtectionConfig {
    StalledStreamProtectionConfig::disabled()
}

/// Returns the value of a variable. An empty variable counts as missing.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Settings that only a Lambda function reads.
#[cfg(feature = "lambda")]
mod function {
    use std::sync::Arc;

    use aws_config::{BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider, retry::RetryConfig};
    use aws_sdk_sqs::config::SharedCredentialsProvider;

    use super::{authorities, max_concurrency, table, timeouts, unwatched, variable};
    use crate::{
        Error, http,
        metrics::{Metrics, Requests},
    };

    /// Returns the SDK configuration of a function. Lambda sets region and credentials as variables, so the program does not need the
    /// chain of profiles, web identities and token services: "Defined runtime environment variables" in the Lambda guide.
    /// The SDK counts its requests in `requests`.
    pub(crate) fn sdk(requests: Option<Arc<Requests>>) -> SdkConfig {
        let is_set = |name| variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let mut sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
            .region(variable("AWS_REGION").map(Region::new))
            .use_fips(is_set("AWS_USE_FIPS_ENDPOINT"))
            .use_dual_stack(is_set("AWS_USE_DUALSTACK_ENDPOINT"))
            .retry_config(RetryConfig::standard())
            .http_client(http::client(authorities(), requests))
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

    /// Returns `true` if statistics are written.
    pub(crate) fn stats() -> Result<bool, Error> {
        is_on("SQJOBS_STATS", true)
    }

    /// Returns the queue and the dead-letter queue that are set for this process, by URL.
    #[cfg(feature = "poll")]
    pub(crate) fn queue_urls() -> [Option<String>; 2] {
        ["SQJOBS_QUEUE_URL", "SQJOBS_DLQ_URL"].map(variable)
    }

    /// Returns the name of this host, which in a container is the container's id.
    #[cfg(feature = "poll")]
    pub(crate) fn host() -> String {
        variable("HOSTNAME").unwrap_or_else(|| "host".to_owned())
    }

    /// Returns `true` if this process is a Lambda function.
    pub(crate) fn in_lambda() -> bool {
        variable("AWS_LAMBDA_RUNTIME_API").is_some()
    }

    /// Refuses Lambda Managed Instances with several invocations in one process. A job that blocks its thread ends the process,
    /// and would end the other invocations too. Source: "Lambda Managed Instances runtimes" in the Lambda guide.
    fn one_invocation_at_a_time() -> Result<(), Error> {
        match variable("AWS_LAMBDA_MAX_CONCURRENCY").filter(|invocations| invocations != "1") {
            None => Ok(()),
            Some(invocations) => Err(Error::config(format!(
                "AWS_LAMBDA_MAX_CONCURRENCY is {invocations}: on Lambda Managed Instances a process has several invocations at a time, and a \
                 job that blocks would end all of them; set PerExecutionEnvironmentMaxConcurrency to 1, or use Lambda's own instances"
            ))),
        }
    }

    /// Returns the metrics of this process, if they are on.
    pub(crate) fn metrics() -> Result<Option<Arc<Metrics>>, Error> {
        Ok(is_on("SQJOBS_METRICS", false)?.then(|| Arc::new(Metrics::to_stdout())))
    }

    /// Returns the name or the ARN of the bus on which events are published.
    #[cfg(feature = "events")]
    pub(crate) fn event_bus() -> String {
        variable("SQJOBS_EVENT_BUS").unwrap_or_else(|| "default".to_owned())
    }

    /// Returns `true` if events contain the results of jobs.
    #[cfg(feature = "events")]
    pub(crate) fn event_results() -> Result<bool, Error> {
        is_on("SQJOBS_EVENT_RESULTS", false)
    }

    /// Returns `true` unless a variable of OpenTelemetry turns the traces off.
    #[cfg(feature = "otel")]
    pub(crate) fn traces_are_on() -> bool {
        let is_disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        !is_disabled && variable("OTEL_TRACES_EXPORTER").is_none_or(|exporter| exporter != "none")
    }

    /// Returns the credentials that Lambda sets.
    #[cfg(feature = "otel")]
    pub(crate) fn credentials() -> Option<aws_credential_types::Credentials> {
        let [key, secret] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(variable);
        Some(aws_credential_types::Credentials::new(key?, secret?, variable("AWS_SESSION_TOKEN"), None, "environment"))
    }

    /// Returns the attributes of this function, or of this program outside Lambda, for its spans: "Resource" in the semantic conventions for
    /// functions.
    #[cfg(feature = "otel")]
    pub(crate) fn function_resource() -> Vec<(&'static str, String)> {
        let set = [
            ("service.name", "AWS_LAMBDA_FUNCTION_NAME"),
            ("faas.name", "AWS_LAMBDA_FUNCTION_NAME"),
            ("faas.version", "AWS_LAMBDA_FUNCTION_VERSION"),
            ("faas.instance", "AWS_LAMBDA_LOG_STREAM_NAME"),
            ("cloud.region", "AWS_REGION"),
        ];
        if !in_lambda() {
            let program = std::env::current_exe().ok().and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
            return program.map(|program| ("service.name", program)).into_iter().collect();
        }
        let fixed = [("cloud.provider", "aws"), ("cloud.platform", "aws_lambda")].map(|(key, value)| (key, value.to_owned()));
        set.into_iter().filter_map(|(key, name)| Some((key, variable(name)?))).chain(fixed).collect()
    }

    /// Returns the name of this function.
    pub(crate) fn function_name() -> String {
        variable("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "beater".to_owned())
    }

    /// Returns the value of a switch.
    fn is_on(name: &str, default: bool) -> Result<bool, Error> {
        match variable(name).as_deref() {
            None => Ok(default),
            Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(other) => Err(Error::config(format!("{name} is {other:?}; set it to on or off, or not at all"))),
        }
    }

    fn required(name: &str, meaning: &str) -> Result<String, Error> {
        variable(name).ok_or_else(|| Error::config(format!("{name} is not set; set it to {meaning}")))
    }
}
