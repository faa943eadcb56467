//! Reports failures to Sentry.

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use sentry_core::{
    Hub, Level,
    protocol::{Context, Event, Exception, Mechanism, Value},
};
use tokio::{task::spawn_blocking, time::timeout};

use super::{Report, Reporter};
use crate::JobError;

/// Maximum time for which a report is sent before the response of the function.
const FLUSH: Duration = Duration::from_secs(2);

/// Sends failures to [Sentry](https://sentry.io), with the client that the program has set up by `sentry::init`.
///
/// An event has the kind of the failure as its type, the level `error` for a permanent failure and `warning` before a retry, and the tags
/// `job`, `queue` and `kind`. Its context `job` has the id, the attempt and the parents. Events are grouped by job and kind, and by
/// Sentry's own grouping. Lambda may freeze the function after its response, so events are sent before it, within two seconds. A client
/// without a DSN sends nothing.
///
/// `sentry` reports a panic by itself too, unless its feature `panic` is off.
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "add it to a worker"]
pub struct Sentry {
    permanent_only: bool,
    arguments: bool,
}

impl Sentry {
    /// Creates a reporter that sends each failed attempt, without the arguments of the job.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends only failures after which no attempt follows.
    pub fn permanent_only(self) -> Self {
        Self { permanent_only: true, ..self }
    }

    /// Adds the arguments of the job to the context `job`.
    pub fn with_arguments(self) -> Self {
        Self { arguments: true, ..self }
    }
}

impl Reporter for Sentry {
    fn wants_arguments(&self) -> bool {
        self.arguments
    }

    fn report<'a>(&'a self, report: &'a Report<'a>) -> BoxFuture<'a, Result<(), JobError>> {
        Box::pin(async move {
            if self.permanent_only && !report.is_permanent {
                return Ok(());
            }
            let Some(client) = Hub::main().client() else {
                return Err("no Sentry client is set up; call `sentry::init` in `main`".into());
            };
            if !client.is_enabled() {
                return Ok(()); // it has no DSN
            }
            // In a scope of its own: that of this thread has breadcrumbs of other jobs.
            Hub::new(Some(Arc::clone(&client)), Arc::default()).capture_event(event(report));
            let is_drained = timeout(FLUSH, spawn_blocking(move || client.flush(Some(FLUSH)))).await;
            if is_drained.is_ok_and(|drained| drained.unwrap_or(false)) {
                return Ok(());
            }
            Err(format!("the event may be lost: it was not sent to Sentry within {} s", FLUSH.as_secs()).into())
        })
    }
}

fn event(report: &Report<'_>) -> Event<'static> {
    let Report { id, name, failure, is_permanent, attempt, arguments } = *report;
    let mut job: sentry_core::protocol::Map<String, Value> = [("id".to_owned(), Value::from(id)), ("name".to_owned(), name.into())].into();
    let mut tags = vec![("job", name), ("kind", &failure.kind)];
    if let Some(attempt) = attempt {
        tags.push(("queue", attempt.queue()));
        job.insert("attempt".into(), attempt.attempt().into());
        job.insert("max_attempts".into(), attempt.max_attempts().into());
        job.insert("message_id".into(), attempt.message_id().into());
        job.insert("root_id".into(), attempt.root_id().into());
        job.extend(attempt.parent_id().map(|parent| ("parent_id".to_owned(), parent.into())));
    }
    job.extend(arguments.map(|arguments| ("arguments".to_owned(), arguments.clone())));
    let mechanism = Mechanism { ty: "sqjobs".into(), handled: Some(failure.kind != "panic"), ..Mechanism::default() };
    Event {
        level: if is_permanent { Level::Error } else { Level::Warning },
        fingerprint: vec!["{{ default }}".into(), name.to_owned().into(), failure.kind.clone().into()].into(),
        transaction: Some(name.to_owned()),
        exception: vec![Exception {
            ty: failure.kind.clone(),
            value: Some(failure.message.clone()),
            mechanism: Some(mechanism),
            ..Exception::default()
        }]
        .into(),
        tags: tags.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        contexts: [("job".to_owned(), Context::Other(job))].into(),
        platform: Cow::Borrowed("other"),
        ..Event::default()
    }
}
