//! The guarantees of the envelope, one per test.

mod bind;
mod legacy;
mod native;
mod privacy;
mod schema;

use super::{Envelope, Form, Priority, Unreadable};
use serde_json::{Value, json};

fn read(body: &str) -> Envelope {
    Envelope::parse(body).unwrap_or_else(|reason| panic!("{body}: {reason}"))
}

fn reason(body: &str) -> String {
    Envelope::parse(body).expect_err(body).to_string()
}

/// Returns an envelope with a name and these fields.
fn with(fields: &Value) -> String {
    let mut body = json!({"name": "adder"});
    for (field, value) in fields.as_object().expect("fields are an object") {
        body[field] = value.clone();
    }
    body.to_string()
}
