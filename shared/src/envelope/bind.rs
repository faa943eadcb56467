//! Converts the arguments of an envelope to the type of the job.

use super::unreadable::read;
use super::{Envelope, Form, Unreadable};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::borrow::Cow;

impl Envelope {
    /// Deserializes the arguments into the job's type.
    ///
    /// The arguments are `args`, or `kwargs` if only they are not empty. If both are not empty, the arguments are an object with both:
    /// `{"args": [..], "kwargs": {..}}`.
    ///
    /// JSON can express "no arguments" in several ways. If the arguments do not match the type, the other ways are tried:
    ///
    /// - `null` or nothing as `{}`, so that a struct takes its defaults
    /// - `[]` and `{}` as each other and as `null`, so that a unit struct accepts either
    ///
    /// `null` never becomes an empty list, since a missing list is more often a mistake. Legacy formats are an exception. In legacy
    /// formats, an array with one element is also tried as that element.
    ///
    /// ```
    /// use sqjobs::Envelope;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Resize { width: u32, #[serde(default)] crop: bool }
    ///
    /// let envelope = Envelope::parse(r#"{"name": "resize", "kwargs": {"width": 640}}"#)?;
    /// let resize: Resize = envelope.bind()?;
    /// assert_eq!((resize.width, resize.crop), (640, false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the type refuses the arguments. The reason names the path and never quotes a string. If several variants were
    /// refused, the reason is about the first one, unless another one was parsed further.
    pub fn bind<T: DeserializeOwned>(&self) -> Result<T, Unreadable> {
        let (root, value) = self.arguments();
        let mut refusal = match read(root, &value) {
            Ok(bound) => return Ok(bound),
            Err(refusal) => refusal,
        };
        for (suffix, other) in spellings(&value, self.form) {
            match read(&format!("{root}{suffix}"), &other) {
                Ok(bound) => return Ok(bound),
                Err(other) if other.progress() > refusal.progress() => refusal = other,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// Returns the arguments to deserialize, and their name in error messages.
    fn arguments(&self) -> (&'static str, Cow<'_, Value>) {
        match (is_empty(&self.args), self.kwargs.is_empty()) {
            (_, true) => ("args", Cow::Borrowed(&self.args)),
            (true, false) => ("kwargs", Cow::Owned(Value::Object(self.kwargs.clone()))),
            (false, false) => ("", Cow::Owned(json!({"args": self.args, "kwargs": self.kwargs}))),
        }
    }
}

/// Returns equivalent forms of the arguments, each with the step that it adds to the path.
fn spellings(value: &Value, form: Form) -> Vec<(&'static str, Cow<'_, Value>)> {
    match (value, form) {
        (Value::Null, Form::Native) => vec![owned(json!({}))],
        (Value::Null, Form::Legacy) => vec![owned(json!({})), owned(json!([]))],
        (Value::Array(items), _) if items.is_empty() => vec![owned(Value::Null), owned(json!({}))],
        (Value::Object(fields), _) if fields.is_empty() => {
            vec![owned(Value::Null), owned(json!([]))]
        }
        (Value::Array(items), Form::Legacy) if items.len() == 1 => {
            vec![("[0]", Cow::Borrowed(&items[0]))]
        }
        _ => Vec::new(),
    }
}

fn owned(value: Value) -> (&'static str, Cow<'static, Value>) {
    ("", Cow::Owned(value))
}

fn is_empty(args: &Value) -> bool {
    match args {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
