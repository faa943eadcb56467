//! Reads the message formats of older systems. A payload never loads code: a class name is an ordinary string that is looked up
//! in the aliases of the jobs.

use super::json::{has, json, kind};
use super::unreadable::read;
use super::{Envelope, Form, Unreadable, integer::string_length, limit};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

/// Standard base64, as lenient as the decoders of the older systems.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// Reads `{"class", "args", "jid"}`, the format of Chore, Resque and Sidekiq. All other keys have their own meanings in those
/// systems, so they are kept as unknown even if a native field has the same name.
pub(super) fn chore(mut object: Map<String, Value>) -> Result<Envelope, Unreadable> {
    let class = object.remove("class").unwrap_or_default();
    let name: String = read("class", &class).map_err(|flaw| flaw.with_remedy(limit::remedy))?;
    limit::name("class", &name)?;
    let mut envelope = Envelope::new(name, object.remove("args").unwrap_or_default());
    envelope.id = jid(&mut object)?;
    envelope.unknown = object;
    envelope.form = Form::Legacy;
    Ok(envelope)
}

fn jid(object: &mut Map<String, Value>) -> Result<Option<String>, Unreadable> {
    let Some(jid) = object.get("jid").and_then(Value::as_str).filter(|jid| !jid.is_empty()).map(str::to_owned) else {
        return Ok(None);
    };
    limit::id("jid", &jid)?;
    object.remove("jid");
    Ok(Some(jid))
}

/// Reads base64 of `{id?, name, args?, kwargs?}`, the format of the Python sqjobs and its PHP producers. Native fields inside
/// are honoured as in a native body.
pub(super) fn python(body: &str) -> Result<Envelope, Unreadable> {
    let mut object = decode(body)?;
    identity(&mut object);
    if object.get("kwargs").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        object.remove("kwargs"); // PHP writes an empty associative array like this
    }
    let envelope = Envelope::native(object)?;
    Ok(Envelope { form: Form::Legacy, ..envelope })
}

fn decode(body: &str) -> Result<Map<String, Value>, Unreadable> {
    let compact: String = body.split_ascii_whitespace().collect();
    let bytes = LENIENT.decode(compact).map_err(|_| Unreadable::body("it is neither JSON nor base64"))?;
    let text = String::from_utf8(bytes).map_err(|_| decoded("it is not UTF-8"))?;
    let text = with_nulls(&text);
    match json(&text).map_err(decoded)? {
        Value::Object(object) if has(&object, "name") => Envelope::check_integers(&text).map(|()| object),
        Value::Object(_) => Err(decoded("it has no `name`")),
        other => Err(decoded(format!("it is {}", kind(&other)))),
    }
}

fn decoded(flaw: impl std::fmt::Display) -> Unreadable {
    Unreadable::body(format!("it is not JSON, and decoded from base64 {flaw}"))
}

/// Sets the id to the dedupe key: the part before the first `#`. Without a `#`, the message has no id of its own.
fn identity(object: &mut Map<String, Value>) {
    if let Some(Value::String(id)) = object.get_mut("id") {
        id.truncate(id.find('#').unwrap_or(id.len()));
        if id.is_empty() {
            object.remove("id");
        }
    }
}

/// Converts the JSON of Python to valid JSON: the bare tokens `NaN`, `Infinity` and `-Infinity` become `null`, as in most JSON
/// writers. A job that expects a number then refuses its arguments, and one with an `Option` gets `None`. Any number would be
/// invented.
fn with_nulls(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(quote) = rest.find('"') {
        let (bare, quoted) = rest.split_at(quote);
        let (string, after) = quoted.split_at(string_length(quoted));
        json += &nulled(bare);
        json += string;
        rest = after;
    }
    json + &nulled(rest)
}

fn nulled(bare: &str) -> String {
    bare.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null")
}
