//! An account on the stack: its clients and its deployed functions.

use std::collections::HashMap;

use aws_config::{BehaviorVersion, Region, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, FunctionResponseType, Runtime};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::Builder;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{function::Function, world::PATIENCE};

const REGION: &str = "us-east-1";

/// An account that belongs to a single test.
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) endpoint: String,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) lambda: aws_sdk_lambda::Client,
    pub(crate) iam: aws_sdk_iam::Client,
    pub(crate) eventbridge: aws_sdk_eventbridge::Client,
}

impl Account {
    /// Creates an account on the stack at `endpoint`, which accepts any twelve digits as an account id.
    pub(crate) fn new(endpoint: &str) -> Self {
        let id = format!("{:012}", 100_000_000_000 + Uuid::new_v4().as_u128() % 900_000_000_000);
        let config = sdk_config(endpoint, &id);
        Self {
            id,
            endpoint: endpoint.to_owned(),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            eventbridge: aws_sdk_eventbridge::Client::new(&config),
        }
    }

    /// Deploys a function with these variables and connects a queue to it.
    pub(crate) async fn deploy(&self, function: &Function, variables: HashMap<String, String>, queue: &str) {
        self.create(function, variables).await;
        let map = self.lambda.create_event_source_mapping().function_name(self.name(function)).batch_size(function.batch_size);
        map.event_source_arn(format!("arn:aws:sqs:{REGION}:{}:{queue}", self.id))
            .function_response_types(FunctionResponseType::ReportBatchItemFailures)
            .send()
            .await
            .expect("the mapping is created");
    }

    /// Returns the name of a function, with the account to distinguish functions of the same name in the stack's log.
    pub(crate) fn name(&self, function: &Function) -> String {
        format!("{}-{}", function.bootstrap, self.id)
    }

    /// Deploys a function with these variables.
    pub(crate) async fn create(&self, function: &Function, variables: HashMap<String, String>) {
        let timeout = i32::try_from(function.timeout.as_secs()).expect("a function's timeout is minutes");
        let create = self.lambda.create_function().function_name(self.name(function)).runtime(Runtime::Providedal2023).handler("bootstrap");
        create
            .role(format!("arn:aws:iam::{}:role/{}", self.id, function.bootstrap))
            .timeout(timeout)
            .environment(Environment::builder().set_variables(Some(variables)).build())
            .code(FunctionCode::builder().zip_file(function.package()).build())
            .send()
            .await
            .expect("the function is created");
    }

    /// Creates the role of a function, which allows nothing yet.
    pub(crate) async fn create_role(&self, function: &Function) {
        let trust = json!({
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
                {"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{}:root", self.id)}, "Action": "sts:AssumeRole"},
            ],
        });
        let role = self.iam.create_role().role_name(function.bootstrap).assume_role_policy_document(trust.to_string());
        role.send().await.expect("the role is created");
    }

    /// Invokes a function with an event and returns its response.
    pub(crate) async fn invoke(&self, function: &Function, event: &Value) -> Result<Value, String> {
        let invoke = self.lambda.invoke().function_name(self.name(function)).payload(Blob::new(event.to_string()));
        let answer = invoke.send().await.map_err(|error| format!("{error:?}"))?;
        Ok(serde_json::from_slice(answer.payload.expect("it has answered").as_ref()).expect("JSON"))
    }

    /// Returns the names of its functions.
    pub(crate) async fn functions(&self) -> Vec<String> {
        let listed = self.lambda.list_functions().send().await.expect("functions can be listed");
        listed.functions().iter().filter_map(|function| function.function_name.clone()).collect()
    }

    /// Deletes all functions with their mappings and processes.
    pub(crate) async fn retire(&self) {
        let mappings = self.lambda.list_event_source_mappings().send().await.expect("mappings can be listed");
        for mapping in mappings.event_source_mappings().iter().filter_map(|mapping| mapping.uuid()) {
            self.lambda.delete_event_source_mapping().uuid(mapping).send().await.expect("a mapping can be deleted");
        }
        for function in self.functions().await {
            self.lambda.delete_function().function_name(function).send().await.expect("a function can be deleted");
        }
    }

    /// Returns the variables that let another program use this account.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_ACCESS_KEY_ID", &self.id),
            ("AWS_SECRET_ACCESS_KEY", "none"),
            ("AWS_DEFAULT_REGION", REGION),
        ]
    }
}

fn sdk_config(endpoint: &str, account: &str) -> SdkConfig {
    let credentials = Credentials::new(account, "none", None, None, "tests");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(Builder::new().build_http())
        .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
        .build()
}
