//! Spans around enqueues, invocations and attempts, by the API of OpenTelemetry. Without the feature `otel`, a span is empty and costs nothing.

#[cfg(not(feature = "otel"))]
mod none;
#[cfg(feature = "otel")]
mod otel;

#[cfg(not(feature = "otel"))]
pub(crate) use self::none::{Span, adopt, header};
#[cfg(feature = "otel")]
pub(crate) use self::otel::{SCOPE, Span, adopt, header, ids};

/// The message that an attempt processes.
#[derive(Debug)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only spans read it"))]
pub(crate) struct Processed<'a> {
    pub(crate) queue: &'a str,
    pub(crate) message_id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) id: &'a str,
    pub(crate) attempt: u32,
    pub(crate) generation: u64,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) tracestate: Option<&'a str>,
}

/// The outcome of the work that a span covers.
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only spans read it"))]
pub(crate) struct Outcome {
    /// A further attribute, by its name.
    pub(crate) attribute: Option<(&'static str, String)>,
    /// The kind and the text of the error.
    pub(crate) error: Option<(String, String)>,
}
