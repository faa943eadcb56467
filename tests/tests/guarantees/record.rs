//! A job's record as other languages read it: by attribute names and types, without the library's own type.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The attributes that the guarantees cover.
#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    pub(crate) state: String,
    pub(crate) attempts: u32,
    /// Number of its last claim; absent if it was never claimed.
    #[serde(default)]
    pub(crate) generation: u64,
    pub(crate) result: Option<Value>,
    pub(crate) error: Option<Failure>,
    #[serde(default)]
    pub(crate) history: Vec<Failure>,
    pub(crate) dlq: Option<String>,
    pub(crate) run_at: Option<Timestamp>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) purge_at: Option<i64>,
}

/// The reason of a failed attempt.
#[derive(Debug, Deserialize)]
pub(crate) struct Failure {
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) at: Timestamp,
}

impl Record {
    pub(crate) fn from_item(item: HashMap<String, AttributeValue>) -> Self {
        let shown = format!("{item:?}");
        serde_dynamo::from_item(item).unwrap_or_else(|e| panic!("a record is readable ({e}): {shown}"))
    }

    /// Returns the kind of the last error.
    pub(crate) fn kind(&self) -> Option<&str> {
        self.error.as_ref().map(|error| error.kind.as_str())
    }

    /// Returns the kinds of the attempts that did not succeed, oldest first.
    pub(crate) fn past(&self) -> Vec<&str> {
        self.history.iter().map(|failure| failure.kind.as_str()).collect()
    }
}
