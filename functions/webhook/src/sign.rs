//! The signature of Standard Webhooks, version 1: HMAC-SHA256 over id, timestamp and payload.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
const MIN_BYTES: usize = 24;
const MAX_BYTES: usize = 64;

/// A signing key. It has no text form, so it cannot appear in a log.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha256>);

/// The reason why a text is not a valid secret. It never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretError {
    /// The text contains no secret.
    Missing,
    /// The secret does not start with `whsec_`.
    Prefix,
    /// The part after the prefix is not base64.
    Base64,
    /// The key is shorter or longer than the specification allows.
    Length,
}

/// Parses one or more secrets, separated by white space: the current one and, during a rotation, the previous one.
///
/// # Errors
///
/// When any secret is invalid. Signing with fewer keys than configured would break receivers silently.
pub(crate) fn parse_secrets(text: &str) -> Result<Vec<Key>, SecretError> {
    let keys: Vec<Key> = text.split_whitespace().map(parse_secret).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(SecretError::Missing) } else { Ok(keys) }
}

fn parse_secret(text: &str) -> Result<Key, SecretError> {
    let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?;
    if !(MIN_BYTES..=MAX_BYTES).contains(&bytes.len()) {
        return Err(SecretError::Length);
    }
    Hmac::new_from_slice(&bytes).map(Key).map_err(|_| SecretError::Length)
}

/// Returns the value of the header `webhook-signature`: one signature for each key, separated by spaces.
pub(crate) fn sign(keys: &[Key], id: &str, timestamp: i64, payload: &[u8]) -> String {
    let signatures: Vec<String> = keys.iter().map(|key| sign_with(key, id, timestamp, payload)).collect();
    signatures.join(" ")
}

fn sign_with(Key(key): &Key, id: &str, timestamp: i64, payload: &[u8]) -> String {
    let mac = key.clone().chain_update(format!("{id}.{timestamp}.")).chain_update(payload);
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

/// Returns the value of the header `webhook-id` for a job's id. Bytes that are not visible ASCII are percent-encoded, and so
/// is the full stop, which separates the signed parts. Different ids stay different.
pub(crate) fn message_id(job_id: &str) -> String {
    job_id.bytes().map(encode).collect()
}

fn encode(byte: u8) -> String {
    match byte {
        b'.' | b'%' => format!("%{byte:02X}"),
        b'!'..=b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("holds no secret"),
            Self::Prefix => write!(f, "holds a secret that does not start with {PREFIX}"),
            Self::Base64 => write!(f, "holds a secret that is not base64 after {PREFIX}"),
            Self::Length => write!(f, "holds a secret that does not have {MIN_BYTES} to {MAX_BYTES} bytes"),
        }
    }
}

impl std::error::Error for SecretError {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn error_of(text: &str) -> SecretError {
        parse_secrets(text).err().unwrap()
    }

    #[test]
    fn the_example_of_the_reference_libraries_gets_their_signature() {
        let keys = parse_secrets(SECRET).unwrap();
        let signature = sign(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_is_rotated_both_keys_sign() {
        let other = format!("whsec_{}", BASE64_STANDARD.encode([7; 64]));
        let both = sign(&parse_secrets(&format!("{SECRET} {other}\n")).unwrap(), "id", 1, b"{}");
        let each = [SECRET, &other].map(|secret| sign(&parse_secrets(secret).unwrap(), "id", 1, b"{}"));
        assert_eq!(both, each.join(" "));
    }

    #[test]
    fn a_malformed_secret_is_refused_with_its_reason() {
        assert_eq!(error_of(" "), SecretError::Missing);
        assert_eq!(error_of("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), SecretError::Prefix);
        assert_eq!(error_of("whsec_not base64"), SecretError::Base64);
        assert_eq!(error_of("whsec_c2hvcnQ="), SecretError::Length);
        assert_eq!(error_of(&format!("whsec_{}", BASE64_STANDARD.encode([7; 65]))), SecretError::Length);
        assert_eq!(error_of(&format!("{SECRET} oops")), SecretError::Prefix);
    }

    #[test]
    fn an_ordinary_job_id_is_the_message_id() {
        assert_eq!(message_id("webhook-0198c0de:order/42#1"), "webhook-0198c0de:order/42#1");
    }

    #[test]
    fn an_id_cannot_forge_the_parts_that_are_signed_nor_the_header() {
        assert_eq!(message_id("a.1.{}"), "a%2E1%2E{}");
        assert_eq!(message_id("a%2E1"), "a%252E1");
        assert_eq!(message_id("a b\r\né"), "a%20b%0D%0A%C3%A9");
    }
}
