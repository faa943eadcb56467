//! Finds integers that `serde_json` would round because they have more than 64 bits.

use serde_json::Value;

use super::{Envelope, Unreadable};

/// The smallest number that an integer of more than 64 bits can be rounded to.
const LARGE: f64 = 9.223_372_036_854_775e18;
const REMEDY: &str = "send it as a string, or with a fraction or an exponent where it may be rounded";

impl Envelope {
    /// Checks that no integer in a JSON object has more than 64 bits; such an integer would lose digits.
    ///
    /// ```
    /// use sqjobs::Envelope;
    ///
    /// let reason = Envelope::check_integers(r#"{"args": [18446744073709551616]}"#).unwrap_err();
    /// assert!(reason.to_string().starts_with("args: it has an integer of more than 64 bits"));
    /// assert!(Envelope::check_integers(r#"{"args": [18446744073709551615, 1e30, "18446744073709551616"]}"#).is_ok());
    /// ```
    ///
    /// # Errors
    ///
    /// Names the field of the object that holds the integer.
    pub fn check_integers(json: &str) -> Result<(), Unreadable> {
        match field_of_rounded(json) {
            Some(field) => Err(Unreadable::new(field, "it has an integer of more than 64 bits", REMEDY)),
            None => Ok(()),
        }
    }
}

/// Returns `true` if a parsed value may have been such an integer.
pub(super) fn may_be_rounded(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64() && number.as_f64().is_some_and(|number| number.abs() >= LARGE),
        Value::Array(items) => items.iter().any(may_be_rounded),
        Value::Object(object) => object.values().any(may_be_rounded),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Returns the top-level field of the first integer that does not fit. The text must be JSON.
fn field_of_rounded(json: &str) -> Option<&str> {
    let (mut depth, mut string, mut field, mut at) = (0_u32, "", "", 0);
    while let Some(byte) = json.as_bytes().get(at) {
        let length = match byte {
            b'"' => string_length(&json[at..]),
            b'-' | b'0'..=b'9' => number_length(&json[at..]),
            _ => json[at..].chars().next().map_or(1, char::len_utf8),
        };
        let token = &json[at..at + length];
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => string = token.trim_matches('"'),
            b':' if depth == 1 => field = string,
            b'-' | b'0'..=b'9' if is_rounded(token) => return Some(field),
            _ => {}
        }
        at += length;
    }
    None
}

fn is_rounded(number: &str) -> bool {
    !number.contains(['.', 'e', 'E']) && number.parse::<i64>().is_err() && number.parse::<u64>().is_err()
}

fn number_length(text: &str) -> usize {
    text.find(|char: char| !matches!(char, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(text.len())
}

/// Returns the length of the JSON string at the start of the text, including both quotation marks.
pub(super) fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_that_would_be_rounded_is_found_by_its_field() {
        let field = |json: &str| Envelope::check_integers(json).err().map(|flaw| flaw.to_string().split(':').next().map(str::to_owned));
        let name = |field: &str| Some(Some(field.to_owned()));
        assert_eq!(field(r#"{"name":"n","meta":{"args":1,"a":{"b":[-9223372036854775809]}}}"#), name("meta"));
        assert_eq!(field(r#"{"a":"\"\\","é":"}{","args":[0.1,18446744073709551616]}"#), name("args"));
        assert_eq!(field(r#"{"meta":{"a":[1]},"args":18446744073709551616}"#), name("args"));
        assert_eq!(field("é: 1"), None, "it is no JSON");
        for json in [
            r#"{"args":[18446744073709551615,-9223372036854775808]}"#,
            r#"{"args":[123456789012345678901234567890.5,123456789012345678901e3,1234567890123456789012E-2]}"#,
            r#"{"args":"a \"123456789012345678901234 b"}"#,
            r#"{"123456789012345678901234":1}"#,
        ] {
            assert_eq!(field(json), None, "{json}");
        }
    }
}
