//! Takes the arguments out of serde's sentences: a reason ends up in logs and in the record, and
//! arguments must not.

use serde_json::Value;
use std::borrow::Cow;

const MASK: &str = "…";

/// The beginnings of serde's own sentences that quote a string of the input, without the quotation.
const QUOTING: &[&str] =
    &["invalid type: string ", "invalid value: string ", "invalid type: character ", "invalid value: character ", "unknown variant "];

/// The beginnings of serde's own sentences that quote no more than a number, a boolean, or what the
/// job's type is called.
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

/// The reason without the strings of the value that was refused.
pub(super) fn masked(reason: &str, refused: &Value) -> String {
    told(reason).unwrap_or_else(|| scrubbed(reason, refused))
}

/// One of serde's own sentences without its quotation. None: a type has made the sentence up itself.
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

/// Keeps of a sentence what was expected, which stands last; the quotation before it may hold
/// anything.
fn unquoted(kind: &str, reason: &str) -> String {
    match reason.rsplit_once(", expected ") {
        Some((_, expected)) => format!("{kind}, expected {expected}"),
        None => kind.to_owned(),
    }
}

/// A sentence that a type made up itself may hold a string of the value anywhere, whole or (in
/// quotation marks) in part. A single character that it complains about may stay.
fn scrubbed(reason: &str, refused: &Value) -> String {
    let mut secrets = Vec::new();
    collect(refused, &mut secrets);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let whole = secrets.iter().fold(reason.to_owned(), |text, secret| text.replace(&**secret, MASK));
    let is_secret = |piece: &str| secrets.iter().any(|secret| secret.contains(piece));
    whole.split_inclusive(['"', '\'', '`']).map(|piece| hidden(piece, is_secret)).collect()
}

/// The piece up to a quotation mark, or only the mark where the piece is secret.
fn hidden(piece: &str, is_secret: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let bare = piece.trim_end_matches(['"', '\'', '`']);
    if bare.trim().is_empty() || !is_secret(bare) {
        return Cow::Borrowed(piece);
    }
    Cow::Owned(format!("{MASK}{}", &piece[bare.len()..]))
}

/// All strings and keys within a value, as they are and as `Debug` escapes them; too short ones
/// would only riddle the sentence.
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

/// A key as a step of a path: the name of a field is shown, a key that looks like data (an address,
/// a number) is not.
pub(super) fn key(key: &str) -> &str {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_inner = |c: char| is_letter(c) || c.is_ascii_digit() || c == '-';
    let is_name = key.len() <= 64 && key.starts_with(is_letter) && key.chars().all(is_inner);
    if is_name { key } else { MASK }
}
