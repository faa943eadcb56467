//! The headers that a message may set.

use std::collections::BTreeMap;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use crate::failure::Failure;

const AGENT: &str = concat!("sqjobs-webhook/", env!("CARGO_PKG_VERSION"));

/// Headers that belong to the delivery itself, besides all `webhook-*` and `proxy-*` headers: they set the host, the length
/// and the use of the connection.
const RESERVED: [&str; 9] =
    ["connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// Returns the headers of a request before it is signed: the defaults, replaced by those of the message.
///
/// # Errors
///
/// When a header is malformed or reserved. The error does not repeat its value, since it may be a credential.
pub(crate) fn request_headers(extra: &BTreeMap<String, String>) -> Result<HeaderMap, Failure> {
    let mut headers =
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json")), (USER_AGENT, HeaderValue::from_static(AGENT))]);
    for (name, value) in extra {
        headers.insert(parse_name(name)?, parse_value(name, value)?);
    }
    Ok(headers)
}

fn parse_name(text: &str) -> Result<HeaderName, Failure> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| invalid(text, "is not a valid name"))?;
    if reserved(&name) { Err(invalid(text, "is reserved for the delivery")) } else { Ok(name) }
}

fn parse_value(name: &str, text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| invalid(name, "has an invalid value"))
}

fn reserved(name: &HeaderName) -> bool {
    let name = name.as_str(); // already lower case
    name.starts_with("webhook-") || name.starts_with("proxy-") || RESERVED.contains(&name)
}

fn invalid(name: &str, why: &str) -> Failure {
    Failure::for_good("invalid_header", format!("cannot send the header {name:?}: it {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Result<HeaderMap, Failure> {
        request_headers(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn a_message_may_add_headers_and_replace_defaults() {
        assert_eq!(with("X-Team", "blue").unwrap()["x-team"], "blue");
        assert_eq!(with("Content-Type", "application/cloudevents+json").unwrap()[CONTENT_TYPE], "application/cloudevents+json");
    }

    #[test]
    fn a_message_cannot_replace_headers_of_the_delivery() {
        for name in ["webhook-id", "Webhook-Signature", "Host", "Content-Length", "Transfer-Encoding", "Proxy-Authorization"] {
            assert_eq!(with(name, "1").unwrap_err().kind, "invalid_header", "{name}");
        }
    }

    #[test]
    fn a_malformed_header_is_refused_without_repeating_its_value() {
        let error = with("authorization", "Bearer secret\r\nx-smuggled: 1").unwrap_err();
        assert_eq!(error.message, "cannot send the header \"authorization\": it has an invalid value");
        assert!(with("two words", "1").is_err());
    }
}
