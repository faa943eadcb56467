//! JSON of message bodies.

use serde_json::{Map, Value, error::Category};

/// A null field is as good as none.
pub(super) fn has(object: &Map<String, Value>, field: &str) -> bool {
    object.get(field).is_some_and(|value| !value.is_null())
}

/// Reads JSON; the flaw says in words what is wrong with the text, and quotes nothing of it.
pub(super) fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Eof => format!("it is JSON that ends too early: {error}"),
        _ if error.to_string().starts_with("recursion limit") => "it is JSON nested deeper than 127 levels".into(),
        _ => format!("it is not JSON: {error}"),
    })
}

/// Names the type of a JSON value, for a sentence.
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
