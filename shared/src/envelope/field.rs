//! Takes fields out of a message.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Unreadable, limit, unreadable::read};

/// Takes a field out of the object. A missing field gets its default.
pub(super) fn take<T: DeserializeOwned + Default>(fields: &mut Map<String, Value>, field: &str) -> Result<T, Unreadable> {
    convert(field, fields.remove(field))
}

/// Takes a text out of the object, without a copy.
pub(super) fn take_text(fields: &mut Map<String, Value>, field: &str) -> Result<Option<String>, Unreadable> {
    match fields.remove(field) {
        Some(Value::String(text)) => Ok(Some(text)),
        value => convert(field, value),
    }
}

/// Takes a text of at most `most` bytes out of the object. Any other value remains there, as an unknown field: a trace never makes a
/// message unreadable.
pub(super) fn take_trace(fields: &mut Map<String, Value>, field: &str, most: usize) -> Option<String> {
    let is_taken = match fields.get(field)? {
        Value::String(text) => text.len() <= most,
        value => value.is_null(),
    };
    match is_taken.then(|| fields.remove(field))? {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn convert<T: DeserializeOwned + Default>(field: &str, value: Option<Value>) -> Result<T, Unreadable> {
    match value {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => read(field, &value).map_err(|flaw| flaw.with_remedy(limit::remedy)),
    }
}
