//! A referee for requests, based on AWS's own models from botocore and on documented rules that emulators skip.

mod model;
mod rules;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt::{self, Display},
    sync::OnceLock,
};

use hyper::{Request, body::Bytes, header::AUTHORIZATION};
use serde_json::Value;

use model::Model;
pub(crate) use rules::written;

/// The services that the product uses, or that the tests use in place of Lambda.
const SERVICES: [&str; 8] = ["dynamodb", "events", "iam", "kms", "lambda", "logs", "sqs", "sts"];

/// Checks requests against the rules of AWS.
pub(crate) struct Referee {
    models: HashMap<String, Model>,
}

/// An input that the emulator accepts, but that AWS refuses or that does harm on AWS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// The service and the operation, such as `sqs.SendMessage`.
    operation: String,
    member: String,
    rule: String,
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.operation, self.member, self.rule)
    }
}

impl Referee {
    /// Returns the only referee; its models are loaded at the first call.
    pub(crate) fn shared() -> &'static Self {
        static REFEREE: OnceLock<Referee> = OnceLock::new();
        REFEREE.get_or_init(|| Self { models: model::load(&SERVICES) })
    }

    /// Returns all violations of a request.
    pub(crate) fn judge(&self, request: &Request<Bytes>) -> Vec<Violation> {
        let service = service(request);
        let violation = |operation: &str, (member, rule)| Violation { operation: format!("{service}.{operation}"), member, rule };
        let Some(model) = self.models.get(service) else {
            return vec![violation("?", (request.uri().path().to_owned(), format!("the referee has no model of the service {service:?}")))];
        };
        match model.read(request) {
            Err(error) => vec![violation("?", (request.uri().path().to_owned(), error))],
            Ok(call) => {
                let faults = model.validate(&call).into_iter().chain(rules::check(service, &call.operation, &call.input));
                faults.map(|fault| violation(&call.operation, fault)).collect()
            }
        }
    }

    /// Returns all violations of a function's response to an invocation with `event`.
    pub(crate) fn judge_answer(event: &Value, answer: &Value) -> Vec<Violation> {
        let faults = rules::answer(event, answer).into_iter();
        faults.map(|(member, rule)| Violation { operation: "the answer of a function".into(), member, rule }).collect()
    }
}

/// Returns the service in the signature: `Credential=<key>/<date>/<region>/<service>/aws4_request`.
fn service(request: &Request<Bytes>) -> &str {
    let signature = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let scope = signature.split_once("Credential=").map_or("", |(_, scope)| scope);
    scope.split(',').next().and_then(|scope| scope.split('/').nth(3)).unwrap_or_default()
}
