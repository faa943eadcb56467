//! Reads the JSON of message bodies.

use serde_json::{Map, Value, error::Category};

/// Returns `true` if the field is present and not null.
pub(super) fn has(object: &Map<String, Value>, field: &str) -> bool {
    object.get(field).is_some_and(|value| !value.is_null())
}

/// Parses JSON. The error describes the flaw and quotes nothing of the text.
pub(super) fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Eof => format!("it is JSON that ends too early: {error}"),
        _ if error.to_string().starts_with("recursion limit") => "it is JSON nested deeper than 127 levels".into(),
        _ => format!("it is not JSON: {error}"),
    })
}

/// Names the type of a JSON value for error messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
