//! Spans with the attributes of the semantic conventions for messaging, SQS and functions, version 1.45.0.

use std::{
    borrow::Cow,
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
};

use opentelemetry::{
    Context, KeyValue,
    context::{FutureExt, WithContext},
    global,
    propagation::{Extractor, TextMapPropagator},
    trace::{Link, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceId, Tracer},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use serde::Deserialize;

use super::{Outcome, Processed};
use crate::envelope::Envelope;

/// The name of the instrumentation.
pub(crate) const SCOPE: &str = "sqjobs";

/// A span of the global tracer provider, as the context of the code that it covers. It ends at the latest when its last clone is dropped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Span(Context);

impl Span {
    /// Starts the span of an enqueue. If `is_own`, the message gets the context of the span. Otherwise the producer has set a context,
    /// and the span links to it.
    pub(crate) fn send(job: &mut Envelope, is_own: bool, queue: impl FnOnce(&Envelope) -> String) -> Self {
        let earlier = remote(job.traceparent.as_deref(), job.tracestate.as_deref());
        let mut parent = Context::current();
        let (kind, link) = if is_own { (SpanKind::Producer, None) } else { (SpanKind::Client, earlier.clone()) };
        if let Some(inherited) = earlier.filter(|_| is_own && !parent.span().span_context().is_valid()) {
            parent = parent.with_remote_span_context(inherited); // a task that the job has spawned
        }
        let queue = queue(job);
        let mut attributes = messaging("send", &queue);
        attributes.push(KeyValue::new("sqjobs.job.name", job.name.clone()));
        attributes.push(KeyValue::new("sqjobs.job.id", job.id.clone().unwrap_or_default()));
        let span = Self::start(format!("send {queue}"), kind, attributes, link, &parent);
        if is_own {
            span.put_into(job);
        }
        span
    }

    /// Starts the span in which a beater creates jobs of a schedule.
    pub(crate) fn create(schedule: &str, queue: &str, jobs: usize) -> Self {
        let mut attributes = messaging("create", queue);
        attributes.push(KeyValue::new("messaging.batch.message_count", i64::try_from(jobs).unwrap_or(i64::MAX)));
        attributes.push(KeyValue::new("faas.trigger", "timer"));
        attributes.push(KeyValue::new("sqjobs.schedule.id", schedule.to_owned()));
        Self::start(format!("create {queue}"), SpanKind::Producer, attributes, None, &Context::new())
    }

    /// Puts its context into a message.
    pub(crate) fn put_into(&self, job: &mut Envelope) {
        let span = self.0.span();
        let own = span.span_context();
        if own.is_valid() {
            let flags = u8::from(own.is_sampled());
            job.traceparent = Some(format!("00-{}-{}-{flags:02x}", own.trace_id(), own.span_id()));
            job.tracestate = Some(own.trace_state().header()).filter(|state| !state.is_empty());
        }
    }

    /// Starts the span of an invocation, which handles a batch of messages of one queue.
    pub(crate) fn invocation(queue: &str, request_id: &str, messages: usize) -> Self {
        static IS_WARM: AtomicBool = AtomicBool::new(false);
        let mut attributes = messaging("process", queue);
        attributes.push(KeyValue::new("messaging.batch.message_count", i64::try_from(messages).unwrap_or(i64::MAX)));
        attributes.push(KeyValue::new("faas.trigger", "pubsub"));
        attributes.push(KeyValue::new("faas.invocation_id", request_id.to_owned()));
        attributes.push(KeyValue::new("faas.coldstart", !IS_WARM.swap(true, Ordering::Relaxed)));
        Self::start(format!("process {queue}"), SpanKind::Consumer, attributes, None, &Context::new())
    }

    /// Starts the span of an attempt, inside that of its invocation. It links to the span that sent the message.
    pub(crate) fn process<'a>(parent: &Self, processed: impl FnOnce() -> Processed<'a>) -> Self {
        let Processed { queue, message_id, name, id, attempt, generation, traceparent, tracestate } = processed();
        let mut attributes = messaging("process", queue);
        attributes.push(KeyValue::new("messaging.message.id", message_id.to_owned()));
        attributes.push(KeyValue::new("faas.trigger", "pubsub"));
        attributes.push(KeyValue::new("sqjobs.job.name", name.to_owned()));
        attributes.push(KeyValue::new("sqjobs.job.id", id.to_owned()));
        attributes.push(KeyValue::new("sqjobs.job.attempt", i64::from(attempt)));
        attributes.push(KeyValue::new("sqjobs.job.generation", i64::try_from(generation).unwrap_or(i64::MAX)));
        Self::start(format!("process {queue}"), SpanKind::Consumer, attributes, remote(traceparent, tracestate), &parent.0)
    }

    fn start(name: String, kind: SpanKind, attributes: Vec<KeyValue>, link: Option<SpanContext>, parent: &Context) -> Self {
        let links = link.map(|sent| vec![Link::with_context(sent)]).unwrap_or_default();
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes).with_links(links);
        Self(parent.with_span(global::tracer(SCOPE).build_with_context(builder, parent)))
    }

    /// Runs code inside the span.
    pub(crate) fn within<F: Future>(&self, code: F) -> WithContext<F> {
        code.with_context(self.0.clone())
    }

    /// Runs code inside the span.
    pub(crate) fn enter<T>(&self, code: impl FnOnce() -> T) -> T {
        let _inside = self.0.clone().attach();
        code()
    }

    /// Returns the id of its trace, if the collector gets the span.
    pub(crate) fn trace_id(&self) -> Option<String> {
        let span = self.0.span();
        let own = span.span_context();
        (own.is_valid() && own.is_sampled()).then(|| own.trace_id().to_string())
    }

    /// Sets the outcome.
    pub(crate) fn set(&self, outcome: impl FnOnce() -> Outcome) {
        let span = self.0.span();
        if !span.is_recording() {
            return;
        }
        let Outcome { attribute, error } = outcome();
        if let Some((name, value)) = attribute.filter(|(_, value)| !value.is_empty()) {
            span.set_attribute(KeyValue::new(name, value));
        }
        if let Some((kind, message)) = error {
            span.set_attribute(KeyValue::new("error.type", kind));
            span.set_status(Status::error(message));
        }
    }

    pub(crate) fn end(&self) {
        self.0.span().end();
    }

    /// Sets the outcome and ends the span.
    pub(crate) fn ended(&self, outcome: impl FnOnce() -> Outcome) {
        self.set(outcome);
        self.end();
    }
}

/// Returns the ids of the span that this code runs in, if any.
pub(crate) fn ids() -> Option<(TraceId, SpanId)> {
    Context::map_current(|context| {
        let span = context.span();
        let own = span.span_context();
        own.is_valid().then(|| (own.trace_id(), own.span_id()))
    })
}

/// Returns the attributes of an operation on a queue.
fn messaging(operation: &'static str, queue: &str) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(10);
    attributes.push(KeyValue::new("messaging.system", "aws_sqs"));
    attributes.push(KeyValue::new("messaging.operation.name", operation));
    attributes.push(KeyValue::new("messaging.operation.type", operation));
    attributes.push(KeyValue::new("messaging.destination.name", queue.to_owned()));
    attributes
}

/// Returns the span that sent a message. `None`: the message names none, or not in the format of W3C Trace Context.
fn remote(traceparent: Option<&str>, tracestate: Option<&str>) -> Option<SpanContext> {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Fields { traceparent: traceparent?, tracestate });
    let span = context.span();
    Some(span.span_context().clone()).filter(SpanContext::is_valid)
}

/// The fields of a message about its trace.
struct Fields<'a> {
    traceparent: &'a str,
    tracestate: Option<&'a str>,
}

impl Extractor for Fields<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.traceparent),
            "tracestate" => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// Returns the trace header of X-Ray with the context of a message: the system attribute `AWSTraceHeader`, which other programs that read
/// the queue, and X-Ray, understand. It does not count against the size of a message.
///
/// Source: "Tracing header" in the X-Ray guide, and `MessageSystemAttributeValue` in the SQS API reference.
pub(crate) fn header(body: &str) -> Option<String> {
    /// The only field that is read.
    #[derive(Deserialize)]
    struct Traced<'a> {
        #[serde(borrow)]
        traceparent: Option<Cow<'a, str>>,
    }
    let Traced { traceparent } = serde_json::from_str(body).ok()?;
    let sent = remote(Some(&traceparent?), None)?;
    let (trace, flag) = (sent.trace_id().to_string(), u8::from(sent.is_sampled()));
    let (time, rest) = trace.split_at(8);
    Some(format!("Root=1-{time}-{rest};Parent={};Sampled={flag}", sent.span_id()))
}

/// Puts the context of a trace header of X-Ray into a message that has none. Returns `true` if the message has changed.
pub(crate) fn adopt(job: &mut Envelope, header: Option<&str>) -> bool {
    if job.traceparent.is_some() {
        return false;
    }
    let traceparent = header.and_then(traceparent).filter(|found| remote(Some(found), None).is_some());
    job.traceparent = traceparent;
    job.traceparent.is_some()
}

/// Returns the context of a trace header of X-Ray as `traceparent`. `None`: it names no span.
fn traceparent(header: &str) -> Option<String> {
    let field = |name: &str| header.split(';').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    let root = field("Root")?.strip_prefix("1-")?.replace('-', "");
    let flag = u8::from(field("Sampled") == Some("1"));
    Some(format!("00-{root}-{}-{flag:02x}", field("Parent")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const HEADER: &str = "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1";

    #[test]
    fn a_context_is_the_same_in_the_header_of_x_ray() {
        let sent = |context: &str| header(&json!({"name": "a", "args": ["x"], "traceparent": context}).to_string());
        assert_eq!(sent(TRACEPARENT).as_deref(), Some(HEADER));
        assert_eq!(sent(&TRACEPARENT.replace("-01", "-00")), Some(HEADER.replace("Sampled=1", "Sampled=0")));
        for other in ["", "00-0-0-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] {
            assert_eq!(sent(other), None, "{other}");
        }
        for body in ["", "[1]", "{}", r#"{"traceparent": 7}"#] {
            assert_eq!(header(body), None, "{body}");
        }
    }

    #[test]
    fn a_message_without_a_context_gets_that_of_its_header() {
        let adopted = |header: &str| {
            let mut job = Envelope::new("a", json!([]));
            assert_eq!(adopt(&mut job, Some(header)), job.traceparent.is_some());
            job.traceparent
        };
        assert_eq!(adopted(HEADER).as_deref(), Some(TRACEPARENT));
        let shuffled = "Self=1-2-3; Sampled=1;Parent=b7ad6b7169203331; Root=1-0af76519-16cd43dd8448eb211c80319c;Lineage=a:0";
        assert_eq!(adopted(shuffled).as_deref(), Some(TRACEPARENT));
        assert_eq!(adopted(&HEADER.replace("Sampled=1", "Sampled=?")), Some(TRACEPARENT.replace("-01", "-00")));
        for other in
            ["", "Root", "Root=1-0af76519-16cd43dd8448eb211c80319c;Sampled=1", "Root=1-0-0;Parent=0;Sampled=1", &HEADER.replace('b', "é")]
        {
            assert_eq!(adopted(other), None, "{other}");
        }
        let mut job = Envelope { traceparent: Some("its own".into()), ..Envelope::new("a", json!([])) };
        assert!(!adopt(&mut job, Some(HEADER)));
        assert_eq!(job.traceparent.as_deref(), Some("its own"));
    }
}
