//! From a message body to the envelope: which form it has, and what is wrong with it.

use super::unreadable::read;
use super::{CURRENT, Envelope, Form, Unreadable, instant, integer::may_be_rounded, legacy, limit};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::error::Category;
use serde_json::{Map, Value};
use std::num::NonZeroU32;

/// The fields that every version of the contract has in common.
const TIMELESS: &[&str] = &["v", "name", "id"];

impl Envelope {
    /// Reads a message body in any of the forms, told apart by shape: `name` makes it native, else
    /// `class` makes it Chore, Resque or Sidekiq, else it is tried as base64 of the Python sqjobs
    /// form. A field that is `null` counts as absent; of a key that occurs twice the last one
    /// counts, as in most languages.
    ///
    /// ```
    /// use sqjobs::Envelope;
    ///
    /// let native = Envelope::parse(r#"{"name": "adder", "args": [1, 2]}"#)?;
    /// let sidekiq = Envelope::parse(r#"{"class": "Adder", "args": [1, 2], "jid": "b4a577ed"}"#)?;
    /// assert_eq!(sidekiq.args, native.args);
    /// assert_eq!(sidekiq.id.as_deref(), Some("b4a577ed"));
    ///
    /// let reason = Envelope::parse(r#"{"name": "adder", "max_attempts": "5"}"#).unwrap_err();
    /// assert_eq!(
    ///     reason.to_string(),
    ///     "max_attempts: invalid type: string; it must be a whole number from 1 to 1000",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the body has none of the forms, when a field has the wrong type, or when it is outside
    /// its limits.
    pub fn parse(body: &str) -> Result<Self, Unreadable> {
        let body = body.trim();
        match json(body) {
            Ok(Value::Object(object)) => {
                let is_suspect = object.values().any(may_be_rounded);
                let envelope = Self::object(object)?;
                if is_suspect { Self::check_integers(body).map(|()| envelope) } else { Ok(envelope) }
            }
            Ok(other) => Err(Unreadable::body(format!("it is {}", kind(&other)))),
            Err(_) if body.is_empty() => Err(Unreadable::body("it is empty")),
            Err(flaw) if body.starts_with(['{', '[', '"']) => Err(Unreadable::body(flaw)),
            Err(_) => legacy::python(body),
        }
    }

    fn object(object: Map<String, Value>) -> Result<Self, Unreadable> {
        if has(&object, "name") {
            Self::native(object)
        } else if has(&object, "class") {
            legacy::chore(object)
        } else {
            Err(Unreadable::body(foreign(&object)))
        }
    }

    /// Takes the fields out of the object, one by one: what is left are those that nobody knows.
    pub(super) fn native(mut object: Map<String, Value>) -> Result<Self, Unreadable> {
        if is_newer(&object) {
            object.retain(|field, _| TIMELESS.contains(&field.as_str()));
        }
        let fields = &mut object;
        let envelope = Self {
            v: take::<Option<NonZeroU32>>(fields, "v")?.map_or(CURRENT, NonZeroU32::get),
            name: take(fields, "name")?,
            id: take(fields, "id")?,
            args: fields.remove("args").unwrap_or_default(),
            kwargs: take(fields, "kwargs")?,
            run_at: take::<At>(fields, "run_at")?.0,
            expires_at: take::<At>(fields, "expires_at")?.0,
            unique_key: take(fields, "unique_key")?,
            max_attempts: take(fields, "max_attempts")?,
            timeout_s: take(fields, "timeout_s")?,
            priority: take(fields, "priority")?,
            tags: take(fields, "tags")?,
            meta: take(fields, "meta")?,
            parent_id: take(fields, "parent_id")?,
            root_id: take(fields, "root_id")?,
            depth: take(fields, "depth")?,
            traceparent: take(fields, "traceparent")?,
            depends_on: take(fields, "depends_on")?,
            needs: take(fields, "needs")?,
            unknown: object,
            form: Form::Native,
        };
        envelope.check()?;
        Ok(envelope)
    }
}

/// An instant, or none.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct At(#[serde(with = "instant")] Option<Timestamp>);

/// Takes a field out; what is absent has its default.
fn take<T: DeserializeOwned + Default>(fields: &mut Map<String, Value>, field: &str) -> Result<T, Unreadable> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => read(field, &value).map_err(|flaw| flaw.with_remedy(limit::remedy)),
    }
}

/// What an object without a name is, where it is a well-known one. Sources: "Amazon SNS message formats" in the SNS guide, "Event message
/// structure" in the S3 guide, "EventBridge event structure" in the EventBridge guide.
fn foreign(object: &Map<String, Value>) -> &'static str {
    let has_all = |fields: &[&str]| fields.iter().all(|field| object.contains_key(*field));
    if has_all(&["Type", "MessageId", "TopicArn"]) {
        "it is a notification of SNS with the message inside; turn on raw message delivery for the subscription, by `RawMessageDelivery`"
    } else if has_all(&["Service", "Event", "Bucket"]) && object.get("Event").is_some_and(|event| event == "s3:TestEvent") {
        "it is the test event that S3 sends once when notifications are turned on; delete it"
    } else if object.get("Records").and_then(|records| records.get(0)).is_some_and(|record| record.get("s3").is_some()) {
        "it is a notification of S3, which has no job; let an EventBridge rule with an input transformer make the message"
    } else if has_all(&["detail-type", "source", "detail"]) {
        "it is an event of EventBridge; give the rule's target an input transformer that makes the message"
    } else {
        "it has neither `name` nor `class`"
    }
}

/// A null field is as good as none.
pub(super) fn has(object: &Map<String, Value>, field: &str) -> bool {
    object.get(field).is_some_and(|value| !value.is_null())
}

fn is_newer(object: &Map<String, Value>) -> bool {
    object.get("v").and_then(Value::as_u64).is_some_and(|v| v > CURRENT.into())
}

/// Reads JSON; the flaw says in words what is wrong with the text, and quotes nothing of it.
pub(super) fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Eof => format!("it is JSON that ends too early: {error}"),
        _ if error.to_string().starts_with("recursion limit") => "it is JSON nested deeper than 127 levels".into(),
        _ => format!("it is not JSON: {error}"),
    })
}

/// What a JSON value is, in a sentence.
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
