use super::*;
use proptest::prelude::*;
use serde::{Deserialize, Deserializer, de};

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only ever refused")]
enum Colour {
    Red,
    Mixed { parts: Vec<u8> },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only ever refused")]
struct Paint {
    colour: Colour,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind")]
#[allow(dead_code, reason = "only ever refused")]
enum Tagged {
    Paint(Paint),
    Size { width: u8 },
}

/// A type whose own error message quotes its input.
#[derive(Debug)]
struct Loose;

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let half: String = text.chars().skip(text.chars().count() / 2).collect();
        Err(de::Error::custom(format!("cannot read {text}, that is {text:?}, because of '{half}'")))
    }
}

/// A type whose error message quotes all of its input.
#[derive(Debug)]
struct Pair;

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (one, other) = <(String, String)>::deserialize(deserializer)?;
        Err(de::Error::custom(format!("cannot mix {one} and {other}")))
    }
}

fn refusals(args: &Value) -> Vec<String> {
    fn refusal<T: de::DeserializeOwned + std::fmt::Debug>(envelope: &Envelope) -> Option<String> {
        envelope.bind::<T>().err().map(|reason: Unreadable| format!("{reason} {reason:?}"))
    }
    let mut envelope = Envelope::new("job", args.clone());
    envelope.form = Form::Legacy;
    let reasons = [
        refusal::<u8>(&envelope),
        refusal::<char>(&envelope),
        refusal::<Vec<u8>>(&envelope),
        refusal::<Colour>(&envelope),
        refusal::<Vec<Colour>>(&envelope),
        refusal::<Paint>(&envelope),
        refusal::<Tagged>(&envelope),
        refusal::<Loose>(&envelope),
        refusal::<Vec<Loose>>(&envelope),
        refusal::<std::collections::BTreeMap<u64, u8>>(&envelope),
        refusal::<std::net::IpAddr>(&envelope),
        refusal::<jiff::Timestamp>(&envelope),
    ];
    reasons.into_iter().flatten().collect()
}

/// Returns `true` if two adjacent letters of a secret appear. The secrets are Greek, and nothing else here is.
fn tells(reason: &str) -> bool {
    let is_secret = |c: &char| ('α'..='ω').contains(c);
    reason.chars().zip(reason.chars().skip(1)).any(|(a, b)| is_secret(&a) && is_secret(&b))
}

proptest! {
    #[test]
    fn no_string_of_the_arguments_reaches_a_reason(
        secret in r#"[α-ω]{2,9}[ ,'"`\\\n]{0,2}[α-ω]{2,9}(, expected [α-ω]{2,3}, u8)?"#,
    ) {
        for args in [
            json!(secret),
            json!([secret]),
            json!({"colour": secret}),
            json!({"colour": {"Mixed": {"parts": [secret]}}}),
            json!({"colour": {secret.clone(): 1}}),
            json!({"kind": secret}),
            json!({"kind": "Size", "width": secret}),
            json!({secret.clone(): 1}),
        ] {
            for reason in refusals(&args) {
                prop_assert!(!tells(&reason), "{reason}");
            }
        }
    }

    #[test]
    fn no_string_of_the_envelope_reaches_a_reason_either(secret in "[a-z]{8,12}") {
        for field in ["v", "kwargs", "run_at", "max_attempts", "tags", "meta", "needs"] {
            let reason = reason(&with(&json!({field: format!("s3cret-{secret}")})));
            prop_assert!(!reason.contains("s3cret"), "{reason}");
        }
    }
}

#[test]
fn the_expected_type_stays_readable() {
    let reason = |args: Value| Envelope::new("job", args).bind::<Paint>().expect_err("refused").to_string();
    assert_eq!(reason(json!({"colour": "green"})), "args.colour: unknown variant, expected `Red` or `Mixed`");
    assert_eq!(reason(json!({"color": "Red"})), "args.color: unknown field `color`, expected `colour`");
    assert_eq!(reason(json!({"ann@example.org": 1})), "args.…: unknown field `…`, expected `colour`");
    let parts = json!({"colour": {"Mixed": {"parts": [1, "2"]}}});
    assert_eq!(reason(parts), "args.colour.Mixed.parts[1]: invalid type: string, expected u8");
    let unknown = |key: &str| reason(json!({ key: 1 }));
    for key in ["a1", "a-b", "_a", &"k".repeat(64)] {
        assert_eq!(unknown(key), format!("args.{key}: unknown field `{key}`, expected `colour`"));
    }
    for key in ["1a", "a.b", &"k".repeat(65)] {
        assert!(unknown(key).starts_with("args.…: "), "{key}");
    }
}

#[test]
fn a_custom_error_message_survives_without_the_string() {
    let refusal = Envelope::new("job", json!("10.0.0.999")).bind::<std::net::IpAddr>().expect_err("refused");
    assert_eq!(refusal.to_string(), "args: invalid IP address syntax");
    let refusal = Envelope::new("job", json!("IP")).bind::<std::net::IpAddr>().expect_err("refused");
    assert_eq!(refusal.to_string(), "args: invalid IP address syntax", "two letters are no secret");
    let refusal = Envelope::new("job", json!("blueberry")).bind::<Loose>().expect_err("refused");
    assert_eq!(refusal.to_string(), "args: cannot read …, that is \"…\", because of '…'");
}

#[test]
fn strings_with_a_common_prefix_do_not_leak_into_a_reason() {
    let refusal = Envelope::new("job", json!(["blue", "blueberry"])).bind::<Pair>().expect_err("refused");
    assert_eq!(refusal.to_string(), "args: cannot mix … and …");
}
