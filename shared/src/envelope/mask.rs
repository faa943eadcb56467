//! Removes argument values from serde's error messages. A reason is logged and recorded, and arguments must appear in neither.

use serde_json::Value;
use std::borrow::Cow;

const MASK: &str = "…";

/// Prefixes of serde's own messages that quote a string of the input; the quotation follows the prefix.
const QUOTING: &[&str] =
    &["invalid type: string ", "invalid value: string ", "invalid type: character ", "invalid value: character ", "unknown variant "];

/// Prefixes of serde's own messages that quote at most a number, a boolean, or the name of the job's type.
const HARMLESS: &[&str] = &[
    "missing field `",
    "duplicate field `",
    "invalid length ",
    "invalid type: null",
    "invalid type: boolean `",
    "invalid type: integer `",
    "invalid type: floating point `",
    "invalid type: sequence",
    "invalid type: map",
    "invalid value: boolean `",
    "invalid value: integer `",
    "invalid value: floating point `",
    "invalid value: map",
    "data did not match any variant of untagged enum ",
];

/// Returns the reason without the strings of the refused value.
pub(super) fn masked(reason: &str, refused: &Value) -> String {
    told(reason).unwrap_or_else(|| scrubbed(reason, refused))
}

/// Returns serde's own message without its quotation, or `None` if the message comes from a type's own code.
pub(crate) fn told(reason: &str) -> Option<String> {
    if let Some(kind) = QUOTING.iter().find(|kind| reason.starts_with(**kind)) {
        return Some(unquoted(kind.trim_end(), reason));
    }
    if let Some(rest) = reason.strip_prefix("unknown field `") {
        let field = rest.split_once('`').map_or(MASK, |(field, _)| key(field));
        return Some(unquoted(&format!("unknown field `{field}`"), reason));
    }
    HARMLESS.iter().any(|kind| reason.starts_with(kind)).then(|| reason.to_owned())
}

/// Keeps the last part of a message, which names the expected type. The quotation before it may contain anything.
fn unquoted(kind: &str, reason: &str) -> String {
    match reason.rsplit_once(", expected ") {
        Some((_, expected)) => format!("{kind}, expected {expected}"),
        None => kind.to_owned(),
    }
}

/// Hides strings of the value in a message from a type's own code. Such a message may quote a string anywhere, whole or (in
/// quotation marks) in part. Single characters may remain.
fn scrubbed(reason: &str, refused: &Value) -> String {
    let mut secrets = Vec::new();
    collect(refused, &mut secrets);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let whole = secrets.iter().fold(reason.to_owned(), |text, secret| text.replace(&**secret, MASK));
    let is_secret = |piece: &str| secrets.iter().any(|secret| secret.contains(piece));
    whole.split_inclusive(['"', '\'', '`']).map(|piece| hidden(piece, is_secret)).collect()
}

/// Returns the text up to a quotation mark, or only the mark if the text is secret.
fn hidden(piece: &str, is_secret: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let bare = piece.trim_end_matches(['"', '\'', '`']);
    if bare.trim().is_empty() || !is_secret(bare) {
        return Cow::Borrowed(piece);
    }
    Cow::Owned(format!("{MASK}{}", &piece[bare.len()..]))
}

/// Collects all strings and keys of a value, plain and escaped as in `Debug`. Very short ones are left out, since hiding them
/// would make the message unreadable.
fn collect<'a>(value: &'a Value, secrets: &mut Vec<Cow<'a, str>>) {
    match value {
        Value::String(text) => secrets.extend(spellings(text)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, secrets)),
        Value::Object(object) => object.iter().for_each(|(key, value)| {
            secrets.extend(spellings(key));
            collect(value, secrets);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn spellings(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let both = [Cow::Borrowed(text), Cow::Owned(text.escape_debug().to_string())];
    both.into_iter().filter(|spelling| spelling.len() > 2)
}

/// Returns a key as a step of a path. A field name is shown; a key that looks like data (an address, a number) is hidden.
pub(super) fn key(key: &str) -> &str {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_inner = |c: char| is_letter(c) || c.is_ascii_digit() || c == '-';
    let is_name = key.len() <= 64 && key.starts_with(is_letter) && key.chars().all(is_inner);
    if is_name { key } else { MASK }
}
