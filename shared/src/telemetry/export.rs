//! Exports the spans of an invocation before its response, since Lambda freezes the process afterwards.

use std::{
    fmt,
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opentelemetry::{Context, KeyValue, global, trace::TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    config,
    http::Collector,
    traces::{SCOPE, ids},
};

/// Maximum time by which an export delays the response of an invocation.
const LIMIT: Duration = Duration::from_millis(500);
/// Time before the end of an invocation in which nothing is exported, so that the response is sent in time.
const RESERVE: Duration = Duration::from_millis(100);
/// Maximum number of spans that are kept for an export.
const MOST: usize = 10_000;
/// Maximum number of spans in a request.
const CHUNK: usize = 512;

/// The traces of a function. `None`: they are off.
#[derive(Debug, Clone)]
pub(crate) struct Traces(Option<Arc<Export>>);

#[derive(Debug)]
struct Export {
    ended: Ended,
    exporter: SpanExporter,
    collector: Collector,
    tracer: SdkTracer,
}

impl Traces {
    /// Sets up the export, and the global tracer provider, from the variables of OpenTelemetry. Returns the flaw of a variable, if any.
    pub(crate) fn from_env() -> (Self, Option<ExporterBuildError>) {
        if !config::traces_are_on() {
            return (Self(None), None);
        }
        let collector = Collector::new(config::authorities(), config::credentials());
        let http = SpanExporter::builder().with_http().with_http_client(collector.clone());
        // A retry would hold up the response.
        let mut exporter = match http.with_retry_policy(RetryPolicy::disabled()).build() {
            Ok(exporter) => exporter,
            Err(flaw) => return (Self(None), Some(flaw)),
        };
        let (resource, ended) = (resource(), Ended::default());
        exporter.set_resource(&resource);
        let provider = SdkTracerProvider::builder().with_resource(resource).with_span_processor(ended.clone()).build();
        let tracer = provider.tracer(SCOPE);
        global::set_tracer_provider(provider);
        (Self(Some(Arc::new(Export { ended, exporter, collector, tracer }))), None)
    }

    /// Returns the tracer for spans of `tracing`.
    pub(super) fn tracer(&self) -> Option<SdkTracer> {
        self.0.as_ref().map(|export| export.tracer.clone())
    }

    /// Exports the spans that have ended. Waits at most [`LIMIT`], and not until the end of the invocation. Spans that the collector does
    /// not take in this time are lost, and the log has their number.
    pub(crate) async fn flush(&self, ends_at: Instant) {
        let Some(export) = &self.0 else { return };
        let end_by = (Instant::now() + LIMIT).min(ends_at.checked_sub(RESERVE).unwrap_or(ends_at));
        let Spans { mut spans, mut lost } = export.ended.take();
        let mut reason = (lost > 0).then(|| format!("an invocation exports at most {MOST} spans"));
        while !spans.is_empty() {
            let chunk = spans.split_off(spans.len().saturating_sub(CHUNK));
            let count = chunk.len();
            if Instant::now() >= end_by {
                lost += count;
                reason.get_or_insert_with(|| "no time was left".to_owned());
                continue;
            }
            let flaw = match timeout_at(end_by, export.exporter.export(chunk)).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => export.collector.take_error().unwrap_or_else(|| error.to_string()),
                Err(_) => "it did not answer in time".to_owned(),
            };
            lost += count;
            reason.get_or_insert(flaw);
        }
        if let Some(reason) = reason {
            tracing::warn!(lost, reason, "spans are lost: the collector has not taken them; check the variables OTEL_EXPORTER_OTLP_*");
        }
    }
}

/// Returns the resource of this function: the variables of OpenTelemetry, and those that Lambda sets.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let is_named = found.iter().any(|(key, value)| key.as_str() == "service.name" && !value.as_str().starts_with("unknown_service"));
    let own = config::function_resource().into_iter().filter(|(key, _)| !is_named || *key != "service.name");
    // Later attributes win, and those of the operator must win.
    let own = Resource::builder_empty().with_attributes(own.map(|(key, value)| KeyValue::new(key, value))).build();
    let attributes = found.iter().filter(|(key, _)| is_named || key.as_str() != "service.name");
    Resource::builder_empty()
        .with_attributes(own.iter().chain(attributes).map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
        .build()
}

/// The spans that have ended since the last export.
#[derive(Clone, Default)]
struct Ended(Arc<Mutex<Spans>>);

#[derive(Default)]
struct Spans {
    spans: Vec<SpanData>,
    /// Number of spans that are not kept, because there are too many.
    lost: usize,
}

impl Ended {
    fn take(&self) -> Spans {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended").finish_non_exhaustive()
    }
}

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.spans.len() < MOST {
            ended.spans.push(span);
        } else {
            ended.lost += 1;
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(()) // `Traces::flush` does
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Adds the ids of the current span to each line of JSON. Each write must contain a whole line.
pub(super) struct WithIds<W>(pub(super) W);

impl<W: Write> Write for WithIds<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Some(((trace_id, span_id), object)) = ids().zip(line.strip_suffix(b"}\n")) else { return self.0.write(line) };
        let mut whole = Vec::with_capacity(line.len() + 84);
        whole.extend_from_slice(object);
        writeln!(whole, r#","trace_id":"{trace_id}","span_id":"{span_id}"}}"#)?;
        self.0.write_all(&whole)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
