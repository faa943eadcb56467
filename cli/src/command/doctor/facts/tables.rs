//! Reads the tables, and the clock of AWS.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef as Answer},
    error::{BoxError, ProvideErrorMetadata as _},
    types::{TableDescription, TimeToLiveDescription, TimeToLiveStatus},
};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};

use super::{System, Table};
use crate::{
    aws::Aws,
    failure::{Failure, describe},
};

impl System {
    pub(super) async fn table(&mut self, aws: &Aws, name: &str) -> Result<(Table, Option<SignedDuration>), Failure> {
        let date = Date::default();
        let config = aws_sdk_dynamodb::config::Builder::from(&aws.sdk).interceptor(date.clone()).build();
        let (dynamodb, mut table) = (aws_sdk_dynamodb::Client::from_conf(config), Table { name: name.to_owned(), ..Table::default() });
        let described = dynamodb.describe_table().table_name(name).send().await;
        let here = aws.clock.now();
        let skew = date.0.lock().unwrap_or_else(PoisonError::into_inner).map(|there| here.duration_since(there));
        match described {
            Ok(answer) => {
                let described = answer.table.unwrap_or_else(|| TableDescription::builder().build());
                table.arn = Some(described.table_arn.unwrap_or_default());
                let indexes = described.global_secondary_indexes.unwrap_or_default();
                table.indexes = indexes.into_iter().filter_map(|index| index.index_name).collect();
            }
            Err(error) if error.code() == Some("ResourceNotFoundException") => return Ok((table, skew)),
            Err(error) => return Err(Failure::because(&format!("cannot read table {name}"), error)),
        }
        let ttl = dynamodb.describe_time_to_live().table_name(name).send().await.map_err(|error| describe(&error));
        let ttl = self.note_error(&format!("the time to live of table {name}"), ttl).map(|ttl| ttl.time_to_live_description);
        let is_on = |ttl: TimeToLiveDescription| {
            let enabled = matches!(ttl.time_to_live_status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
            enabled && ttl.attribute_name.as_deref() == Some("purge_at")
        };
        table.deletes_expired = ttl.map(|ttl| ttl.is_some_and(is_on));
        Ok((table, skew))
    }
}

/// The time of the last answer, by the clock of AWS.
#[derive(Debug, Clone, Default)]
struct Date(Arc<Mutex<Option<Timestamp>>>);

impl Intercept for Date {
    fn name(&self) -> &'static str {
        "the date of an answer"
    }

    fn read_before_deserialization(&self, answer: &Answer<'_>, _: &RuntimeComponents, _: &mut ConfigBag) -> Result<(), BoxError> {
        let date = answer.response().headers().get("date").and_then(|date| rfc2822::parse(date).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date.map(|date| date.timestamp());
        Ok(())
    }
}
