//! The same client under the exporter of traces, so that a function has no second HTTP stack.

use std::{
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use aws_smithy_runtime_api::client::{http::HttpConnectorSettings, orchestrator::HttpRequest};
use aws_smithy_types::{body::SdkBody, error::display::DisplayErrorContext};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

use super::{Connector, Pool};

/// A client with its own pool, for the requests to a collector. Clones share the pool. The caller limits the time of a request.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    connector: Connector,
    /// The error of the last request. The exporter reports only that there was one.
    error: Arc<Mutex<Option<String>>>,
}

impl Collector {
    /// Creates a client that trusts the authorities in `bundle`, or those of this machine.
    pub(crate) fn new(bundle: Option<PathBuf>) -> Self {
        let pool = Arc::new(Pool { bundle, ..Pool::default() });
        let connector = Connector { pool, settings: HttpConnectorSettings::default(), requests: None };
        Self { connector, error: Arc::default() }
    }

    /// Takes the error of the last request.
    pub(crate) fn take_error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = HttpRequest::try_from(request.map(SdkBody::from))?;
        let response = self.connector.send(request).await?.try_into_http1x()?;
        Ok(response.map(|body| body.bytes().map(Bytes::copy_from_slice).unwrap_or_default()))
    }
}

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let answer = self.send(request).await;
            let error = answer.as_ref().err().map(|error| DisplayErrorContext(&**error).to_string());
            *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
            answer
        })
    }
}
