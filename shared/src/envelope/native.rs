//! Reads the native format: an object with a `name`.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    CURRENT, Envelope, Form, Unreadable,
    field::{take, take_text, take_trace},
    instant, keys, limit, workflow,
};

/// The fields that exist in every version of the contract.
const TIMELESS: &[&str] = &["v", "name", "id"];

impl Envelope {
    /// Reads the fields, and checks their limits.
    pub(super) fn native(object: Map<String, Value>) -> Result<Self, Unreadable> {
        let envelope = Self::fields(object)?;
        envelope.check()?;
        Ok(envelope)
    }

    /// Takes the known fields out of the object one by one, without a check of their limits. The remaining fields are unknown.
    pub(super) fn fields(mut object: Map<String, Value>) -> Result<Self, Unreadable> {
        if is_newer(&object) {
            object.retain(|field, _| TIMELESS.contains(&field.as_str()));
        }
        let fields = &mut object;
        Ok(Self {
            v: take::<Option<NonZeroU32>>(fields, "v")?.map_or(CURRENT, NonZeroU32::get),
            name: take_text(fields, "name")?.unwrap_or_default(),
            id: take_text(fields, "id")?,
            args: fields.remove("args").unwrap_or_default(),
            kwargs: take(fields, "kwargs")?,
            run_at: take::<At>(fields, "run_at")?.0,
            expires_at: take::<At>(fields, "expires_at")?.0,
            max_attempts: take(fields, "max_attempts")?,
            timeout_s: take(fields, "timeout_s")?,
            priority: take(fields, "priority")?,
            tags: take(fields, "tags")?,
            meta: take(fields, "meta")?,
            parent_id: take_text(fields, "parent_id")?,
            root_id: take_text(fields, "root_id")?,
            depth: take(fields, "depth")?,
            traceparent: take_trace(fields, "traceparent", limit::TRACEPARENT_BYTES),
            tracestate: take_trace(fields, "tracestate", limit::TRACESTATE_BYTES),
            depends_on: take(fields, "depends_on")?,
            when: take(fields, "when")?,
            otherwise: take(fields, "otherwise")?,
            max_blocked_s: take(fields, "max_blocked_s")?,
            jobs: workflow::read(fields.remove("jobs"))?,
            dependents: take(fields, "dependents")?,
            needs: take(fields, "needs")?,
            keys: keys::fields(fields)?,
            unknown: object,
            form: Form::Native,
        })
    }
}

/// An optional instant.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct At(#[serde(with = "instant")] Option<Timestamp>);

fn is_newer(object: &Map<String, Value>) -> bool {
    object.get("v").and_then(Value::as_u64).is_some_and(|v| v > CURRENT.into())
}
