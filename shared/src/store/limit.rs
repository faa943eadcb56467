//! Limits of a record, checked before it is sent, because a request that DynamoDB refuses fails for all its jobs.

use serde_json::{Map, Value};

use super::StoreError;
use crate::{
    envelope::storable,
    record::{Record, State},
};

/// Maximum size of an item in bytes: 400 KB, less a margin for the way DynamoDB counts.
const ITEM_BYTES: usize = 390_000;
/// Bytes that an ending may add: an error in the record and in its history.
const ENDING_BYTES: usize = 10_000;
/// Bytes of all attribute names, and of the values that are always short.
const FIXED_BYTES: usize = 600;
/// Bytes of a failure without its kind and its message: names, two instants and a number.
const FAILURE_BYTES: usize = 120;
/// Maximum number of levels of lists and maps in an attribute.
const DEPTH: usize = 31;

/// Returns the size of a record in bytes, as DynamoDB counts it or slightly more. Fails if the table cannot hold the record.
pub(super) fn check(record: &Record) -> Result<usize, StoreError> {
    let invalid = |name: &str, flaw: &str| StoreError::Invalid(format!("in {name}, {flaw}"));
    for (name, value) in [("result", &record.result), ("progress", &record.progress), ("checkpoint", &record.checkpoint)] {
        value.iter().try_for_each(|value| storable(value, DEPTH).map_err(|flaw| invalid(name, flaw)))?;
    }
    record.meta.values().try_for_each(|value| storable(value, DEPTH - 1).map_err(|flaw| invalid("meta", flaw)))?;
    let bytes = bytes(record);
    // A claimed record must leave room for its ending.
    let most = if record.state == State::Running { ITEM_BYTES - ENDING_BYTES } else { ITEM_BYTES };
    if bytes > most {
        return Err(StoreError::Invalid(format!("it has {bytes} bytes; a record has at most {most}")));
    }
    Ok(bytes)
}

/// Returns the size of a record in bytes, as DynamoDB counts it or slightly more.
pub(crate) fn bytes(record: &Record) -> usize {
    let optional = [&record.owner, &record.parent_id, &record.root_id, &record.envelope, &record.message_group, &record.due];
    let texts = [&record.id, &record.name, &record.queue].into_iter().chain(optional.into_iter().flatten()).chain(&record.tags);
    let values = [&record.result, &record.progress, &record.checkpoint].into_iter().flatten();
    let past = record.history.iter().map(|past| (&past.kind, &past.message));
    let failures = record.error.iter().map(|error| (&error.kind, &error.message)).chain(past);
    FIXED_BYTES
        + texts.map(|text| text.len() + 2).sum::<usize>()
        + values.map(json).sum::<usize>()
        + failures.map(|(kind, message)| kind.len() + message.len() + FAILURE_BYTES).sum::<usize>()
        + map(&record.meta)
        + record.dependencies.iter().flat_map(|dependencies| &dependencies.ids).map(|id| 2 * id.len() + 2).sum::<usize>()
        + record.message_attributes.iter().map(|(name, value)| 2 + name.len() + value.len()).sum::<usize>()
}

fn json(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(_) => 22,
        Value::String(text) => text.len() + 1,
        Value::Array(items) => 3 + items.iter().map(|item| 1 + json(item)).sum::<usize>(),
        Value::Object(object) => map(object),
    }
}

fn map(object: &Map<String, Value>) -> usize {
    3 + object.iter().map(|(name, value)| 1 + name.len() + json(value)).sum::<usize>()
}
