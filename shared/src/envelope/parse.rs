//! Parses a message body: detects its format and describes its flaws.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Envelope, Unreadable,
    integer::may_be_rounded,
    json::{has, json, kind},
    legacy,
};

impl Envelope {
    /// Parses a message body in any format. `name` marks the native format; otherwise `class` marks that of Chore, Resque or
    /// Sidekiq; otherwise the body is decoded as base64 of the Python sqjobs. A field that is `null` counts as absent. If a
    /// key occurs twice, its last value counts, as in most languages.
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
    /// When the body has none of these formats, or a field has the wrong type or exceeds its limits.
    pub fn parse(body: &str) -> Result<Self, Unreadable> {
        let body = body.trim();
        if let Some(envelope) = plain(body) {
            return envelope.check().map(|()| envelope);
        }
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
}

/// The native format without options.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    name: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    args: Value,
}

/// Reads a body that has only a name, an id and arguments, as most have. Without a map of its fields, this costs less than half.
fn plain(body: &str) -> Option<Envelope> {
    if !body.starts_with('{') {
        return None; // serde would also read an array
    }
    let Plain { name, id, args } = serde_json::from_str(body).ok()?;
    (!may_be_rounded(&args)).then(|| Envelope { id, ..Envelope::new(name, args) })
}

/// Names the source of an object without a name, if it is a well-known event. Sources: "Amazon SNS message formats" in the SNS guide,
/// "Event message structure" in the S3 guide, "EventBridge event structure" in the EventBridge guide.
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
