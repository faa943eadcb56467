//! Spans with the attributes of the semantic conventions for messaging, SQS and functions, version 1.45.0.

use std::{
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
        let own = span.0.span().span_context().clone();
        if is_own && own.is_valid() {
            let flags = u8::from(own.is_sampled());
            job.traceparent = Some(format!("00-{}-{}-{flags:02x}", own.trace_id(), own.span_id()));
            job.tracestate = Some(own.trace_state().header()).filter(|state| !state.is_empty());
        }
        span
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
