//! The HTTP client of the AWS SDK.
//!
//! DynamoDB and SQS use HTTP/1.1 with small bodies. The SDK's default client includes HTTP/2 and its connection pool, which makes up a
//! tenth of a function's program. This client keeps the SDK's contract: timeouts, error kinds, and reused connections.

use std::{
    error::Error,
    fmt::{self, Display},
    fs,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_sdk_sqs::config::SharedHttpClient;
use aws_smithy_runtime_api::client::{
    connection::{CaptureSmithyConnection, ConnectionMetadata},
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use base64::{Engine, prelude::BASE64_STANDARD as STANDARD};
use futures_util::{
    FutureExt,
    future::{Either, select},
};
use http_body_util::BodyExt;
use hyper::{
    Request, Response, Uri,
    body::Incoming,
    client::conn::{TrySendError, http1},
    header::{HOST, HeaderValue},
    http::uri::Scheme,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either as EitherStream;

use crate::metrics::Requests;

#[cfg(all(feature = "lambda", feature = "otel"))]
mod collector;
#[cfg(all(feature = "lambda", feature = "otel"))]
pub(crate) use self::collector::Collector;

type Stream = EitherStream<TcpStream, TlsStream<TcpStream>>;

/// A connection that was idle for longer is not reused; the SDK's default client has the same limit.
const IDLE: Duration = Duration::from_secs(90);

/// Returns a client with its own pool. It trusts the authorities in `bundle`, or those of this machine, and counts its requests in
/// `requests`.
pub(crate) fn client(bundle: Option<PathBuf>, requests: Option<Arc<Requests>>) -> SharedHttpClient {
    SharedHttpClient::new(Client { pool: Arc::new(Pool { bundle, ..Pool::default() }), requests })
}

#[derive(Debug)]
struct Client {
    pool: Arc<Pool>,
    requests: Option<Arc<Requests>>,
}

impl HttpClient for Client {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let (pool, requests) = (Arc::clone(&self.pool), self.requests.clone());
        SharedHttpConnector::new(Connector { pool, settings: settings.clone(), requests })
    }
}

/// The pool, and the timeouts of its user.
#[derive(Debug, Clone)]
struct Connector {
    pool: Arc<Pool>,
    settings: HttpConnectorSettings,
    requests: Option<Arc<Requests>>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.clone();
        HttpConnectorFuture::new(async move {
            let Some(requests) = &connector.requests else { return connector.send(request).await };
            let target = request.headers().get("x-amz-target").map(str::to_owned);
            // Counts the request even if its caller gives it up, for example after a timeout.
            let mut counted = Counted { requests, target: target.as_deref(), is_error: true };
            let answer = connector.send(request).await;
            counted.is_error = answer.as_ref().map_or(true, is_error);
            answer
        })
    }
}

impl Connector {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let capture = request.extension::<CaptureSmithyConnection>().cloned();
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let (origin, mut request) = in_origin_form(request)?;
        loop {
            let (connection, is_new) = match self.pool.take(&origin) {
                Some(connection) => (connection, false),
                None => (within(self.settings.connect_timeout(), "connect", self.pool.connect(&origin)).await?, true),
            };
            if let Some(capture) = &capture {
                connection.show_to(capture);
            }
            let exchange = connection.exchange(request).map(Ok);
            match within(self.settings.read_timeout(), "read", exchange).await? {
                Ok((response, connection)) => {
                    if let Some(connection) = connection {
                        self.pool.put(origin, connection);
                    }
                    return HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None));
                }
                // The server closed the reused connection before it received any of the request.
                Err(Failure { unsent: Some(unsent), .. }) if !is_new => request = unsent,
                Err(failure) => return Err(failure.error),
            }
        }
    }
}

/// Counts a request when it is dropped.
struct Counted<'a> {
    requests: &'a Requests,
    target: Option<&'a str>,
    is_error: bool,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.requests.count(self.target, self.is_error);
    }
}

/// Returns `true` for an error, except for the refusal of a conditional write, which is a normal answer.
fn is_error(response: &HttpResponse) -> bool {
    const REFUSAL: &[u8] = b"ConditionalCheckFailed";
    let body = || response.body().bytes().unwrap_or_default();
    response.status().as_u16() >= 400 && !body().windows(REFUSAL.len()).any(|part| part == REFUSAL)
}

/// The destination of a connection.
#[derive(Debug, Clone, PartialEq)]
struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

/// Removes the address from the URI; a request on a connection has it in the header `host`.
fn in_origin_form(mut request: Request<SdkBody>) -> Result<(Origin, Request<SdkBody>), ConnectorError> {
    let not_an_endpoint = |uri: &Uri| ConnectorError::user(format!("`{uri}` is no address over http or https").into());
    let uri = request.uri().clone();
    let (Some(scheme), Some(host)) = (uri.scheme(), uri.host()) else { return Err(not_an_endpoint(&uri)) };
    let usual_port = match scheme.as_str() {
        "https" => 443,
        "http" => 80,
        _ => return Err(not_an_endpoint(&uri)),
    };
    let port = uri.port_u16().unwrap_or(usual_port);
    let value = if port == usual_port { host.to_owned() } else { format!("{host}:{port}") };
    let value = HeaderValue::try_from(value).map_err(|_| not_an_endpoint(&uri))?;
    request.headers_mut().entry(HOST).or_insert(value);
    *request.uri_mut() = uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((Origin { scheme: scheme.clone(), host, port }, request))
}

/// Idle connections.
#[derive(Default)]
struct Pool {
    idle: Mutex<Vec<(Origin, Connection)>>,
    /// The file with the authorities' certificates.
    bundle: Option<PathBuf>,
    tls: OnceLock<Arc<ClientConfig>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    /// Takes the connection that was used last, and drops all that cannot be reused.
    fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.idle();
        while let Some(at) = idle.iter().rposition(|(to, _)| to == origin) {
            let (_, mut connection) = idle.swap_remove(at);
            if connection.is_usable() {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, origin: Origin, mut connection: Connection) {
        connection.since = Instant::now();
        self.idle().push((origin, connection));
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Origin, Connection)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, origin: &Origin) -> Result<Connection, ConnectorError> {
        let io = |error: std::io::Error| ConnectorError::io(error.into());
        let tcp = TcpStream::connect((origin.host.as_str(), origin.port)).await.map_err(io)?;
        tcp.set_nodelay(true).map_err(io)?;
        let stream = if origin.scheme == Scheme::HTTPS {
            let name = ServerName::try_from(origin.host.clone()).map_err(|error| ConnectorError::user(error.into()))?;
            EitherStream::Right(TlsConnector::from(self.tls()?).connect(name, tcp).await.map_err(io)?)
        } else {
            EitherStream::Left(tcp)
        };
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(classified)?;
        Ok(Connection { sender, driver: Box::pin(driver), is_poisoned: Arc::default(), since: Instant::now() })
    }

    /// Returns the TLS configuration; the trusted certificates are read at the first call.
    fn tls(&self) -> Result<Arc<ClientConfig>, ConnectorError> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| ConnectorError::other(error.into(), None))?;
        let config = Arc::new(builder.with_root_certificates(roots(self.bundle.as_deref())).with_no_client_auth());
        Ok(Arc::clone(self.tls.get_or_init(|| config)))
    }
}

/// Returns the authorities in `bundle`, or all that this machine trusts.
fn roots(bundle: Option<&Path>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    if let Some(bundle) = bundle.and_then(|file| fs::read(file).ok()) {
        roots.add_parsable_certificates(certificates(&String::from_utf8_lossy(&bundle)));
    }
    if roots.is_empty() {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            tracing::warn!(error = ?found.errors, "cannot find certificates of certificate authorities; set SSL_CERT_FILE to a file that has them");
        }
    }
    roots
}

/// Returns the certificates of a bundle. The PEM crate takes 17 million instructions for those of Amazon Linux, since it decodes in
/// constant time, as secrets need it. That was 4 ms of each cold start.
fn certificates(bundle: &str) -> impl Iterator<Item = CertificateDer<'static>> {
    bundle.split("-----BEGIN CERTIFICATE-----").skip(1).filter_map(|block| {
        let (text, _) = block.split_once("-----END CERTIFICATE-----")?;
        let text: String = text.split_ascii_whitespace().collect();
        STANDARD.decode(text).ok().map(CertificateDer::from)
    })
}

/// An idle connection. Only a request polls it, so an idle connection costs nothing.
struct Connection {
    sender: http1::SendRequest<SdkBody>,
    driver: Pin<Box<http1::Connection<TokioIo<Stream>, SdkBody>>>,
    /// `true` if the SDK forbids reuse.
    is_poisoned: Arc<AtomicBool>,
    since: Instant,
}

/// A failed request, with the request itself if nothing of it was sent.
struct Failure {
    error: ConnectorError,
    unsent: Option<Request<SdkBody>>,
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self { error: classified(error), unsent: None }
    }
}

impl Connection {
    /// Returns `true` if it was used recently and the server has not closed it.
    fn is_usable(&mut self) -> bool {
        let is_fresh = self.since.elapsed() < IDLE && !self.is_poisoned.load(Ordering::Relaxed);
        is_fresh && (&mut self.driver).now_or_never().is_none() && self.sender.is_ready()
    }

    /// Lets the SDK mark this connection as not reusable after a bad response.
    fn show_to(&self, capture: &CaptureSmithyConnection) {
        let is_poisoned = Arc::clone(&self.is_poisoned);
        capture.set_connection_retriever(move || {
            let is_poisoned = Arc::clone(&is_poisoned);
            let poison = move || is_poisoned.store(true, Ordering::Relaxed);
            Some(ConnectionMetadata::builder().proxied(false).poison_fn(poison).build())
        });
    }

    /// Sends a request and reads the whole response. Returns the connection if the server keeps it open.
    async fn exchange(mut self, request: Request<SdkBody>) -> Result<(Response<SdkBody>, Option<Self>), Failure> {
        let exchange = pin!(answer(self.sender.try_send_request(request)));
        match select(&mut self.driver, exchange).await {
            Either::Left((_, exchange)) => Ok((exchange.await?, None)),
            Either::Right((answer, _)) => Ok((answer?, Some(self))),
        }
    }
}

async fn answer(
    sent: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<SdkBody>>>>,
) -> Result<Response<SdkBody>, Failure> {
    let (head, body) = match sent.await {
        Ok(response) => response.into_parts(),
        Err(mut error) => {
            let unsent = error.take_message();
            return Err(Failure { error: classified(error.into_error()), unsent });
        }
    };
    Ok(Response::from_parts(head, SdkBody::from(body.collect().await?.to_bytes())))
}

/// Waits at most `limit`, if there is one.
async fn within<T>(
    limit: Option<Duration>,
    step: &'static str,
    future: impl Future<Output = Result<T, ConnectorError>>,
) -> Result<T, ConnectorError> {
    match limit {
        None => future.await,
        Some(limit) => timeout(limit, future).await.unwrap_or_else(|_| Err(ConnectorError::timeout(TimedOut { step, limit }.into()))),
    }
}

/// Classifies a connection error like the SDK's default client; the SDK decides by the class if it retries.
fn classified(error: hyper::Error) -> ConnectorError {
    if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else if error.is_user() {
        ConnectorError::user(error.into())
    } else if error.is_closed() || error.is_canceled() || error.is_incomplete_message() || is_io(&error) {
        ConnectorError::io(error.into())
    } else {
        ConnectorError::other(error.into(), None)
    }
}

fn is_io(error: &hyper::Error) -> bool {
    error.source().is_some_and(<dyn Error>::is::<std::io::Error>)
}

#[derive(Debug)]
struct TimedOut {
    step: &'static str,
    limit: Duration,
}

impl Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {} timed out after {:?}", self.step, self.limit)
    }
}

impl Error for TimedOut {}

#[cfg(test)]
mod tests;
