//! Clients for the services of AWS.

use std::{sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_sqs::config::Credentials;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use sqjobs::{Client, Clock, Schedules, queue::Sqs, store::DynamoDb};

use crate::{meter::Meter, place::Place};

/// Timeouts of one try of a request, and of all its tries. They suit a person who waits, over any network.
const ATTEMPT: Duration = Duration::from_secs(10);
const OPERATION: Duration = Duration::from_secs(30);
/// Timeout of a connection, shorter so that a missing network is reported soon.
const CONNECT: Duration = Duration::from_secs(3);

/// The access key and the region of the local stack.
pub(crate) const LOCAL_KEY: &str = "test";
pub(crate) const LOCAL_REGION: &str = "us-east-1";

/// The configuration of AWS, and the environment that holds the jobs.
#[derive(Clone)]
pub(crate) struct Aws {
    pub(crate) sdk: SdkConfig,
    pub(crate) place: Place,
    pub(crate) clock: Clock,
    /// Counts the requests of all clients.
    pub(crate) meter: Meter,
}

impl Aws {
    pub(crate) async fn connect(place: &Place) -> Self {
        Self::with(place, |loader| loader).await
    }

    /// Connects to the local stack at that address, with its fixed credentials.
    pub(crate) async fn local(place: &Place, url: &str) -> Self {
        let credentials = Credentials::new(LOCAL_KEY, LOCAL_KEY, None, None, "local");
        let place = Place { region: Some(LOCAL_REGION.into()), profile: None, endpoint_url: Some(url.into()), ..place.clone() };
        Self::with(&place, |loader| loader.credentials_provider(credentials)).await
    }

    async fn with(place: &Place, change: impl FnOnce(ConfigLoader) -> ConfigLoader) -> Self {
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).operation_timeout(OPERATION);
        let https = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(https).timeout_config(timeouts.build());
        if let Some(region) = place.region.clone() {
            loader = loader.region(Region::new(region));
        }
        if let Some(profile) = &place.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &place.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        Self { sdk: change(loader).load().await, place: place.clone(), clock: Clock::system(), meter: Meter::default() }
    }

    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::from_conf(aws_sdk_dynamodb::Config::from(&self.sdk).to_builder().interceptor(self.meter.clone()).build())
    }

    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::from_conf(aws_sdk_sqs::Config::from(&self.sdk).to_builder().interceptor(self.meter.clone()).build())
    }

    pub(crate) fn logs(&self) -> aws_sdk_cloudwatchlogs::Client {
        aws_sdk_cloudwatchlogs::Client::from_conf(
            aws_sdk_cloudwatchlogs::Config::from(&self.sdk).to_builder().interceptor(self.meter.clone()).build(),
        )
    }

    pub(crate) fn iam(&self) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::from_conf(aws_sdk_iam::Config::from(&self.sdk).to_builder().interceptor(self.meter.clone()).build())
    }

    pub(crate) fn lambda(&self) -> aws_sdk_lambda::Client {
        aws_sdk_lambda::Client::from_conf(aws_sdk_lambda::Config::from(&self.sdk).to_builder().interceptor(self.meter.clone()).build())
    }

    pub(crate) fn eventbridge(&self) -> aws_sdk_eventbridge::Client {
        aws_sdk_eventbridge::Client::from_conf(
            aws_sdk_eventbridge::Config::from(&self.sdk).to_builder().interceptor(self.meter.clone()).build(),
        )
    }

    /// Returns the full name of a queue, with the prefix.
    pub(crate) fn queue(&self, name: &str) -> String {
        self.place.prefix.clone() + name
    }

    /// Returns the name of a queue without the prefix.
    pub(crate) fn short<'a>(&self, queue: &'a str) -> &'a str {
        queue.strip_prefix(&*self.place.prefix).unwrap_or(queue)
    }

    pub(crate) fn client(&self) -> Client {
        let queue = Arc::new(Sqs::new(self.sqs()));
        let store = Arc::new(DynamoDb::new(self.dynamodb(), self.place.table()));
        Client::new(queue, store, self.clock.clone(), &self.place.prefix)
    }

    pub(crate) fn schedules(&self) -> Schedules {
        Schedules::in_tables(self.dynamodb(), self.place.schedules_table(), self.place.table(), self.client())
    }
}
