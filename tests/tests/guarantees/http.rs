//! The minimal HTTP of the harness: a shared client, and servers on loopback.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, Uri,
    body::{Bytes, Incoming},
    header::AUTHORIZATION,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};

use crate::world::PATIENCE;

/// The error of a server that closes its connection without an answer.
pub(crate) type Hangup = Box<dyn std::error::Error + Send + Sync>;

/// Sends a request and reads the whole response.
pub(crate) async fn send(request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Hangup> {
    static CLIENT: OnceLock<Client<HttpConnector, Full<Bytes>>> = OnceLock::new();
    let client = CLIENT.get_or_init(|| Client::builder(TokioExecutor::new()).build_http());
    let answer = async {
        let (head, body) = client.request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    timeout(PATIENCE, answer).await?
}

/// Forwards a request. The header `host` stays as it was signed.
pub(crate) async fn forward(request: Request<Bytes>, to: &Uri) -> Result<Response<Bytes>, Hangup> {
    let (mut head, body) = request.into_parts();
    let mut uri = to.clone().into_parts();
    uri.path_and_query = head.uri.into_parts().path_and_query;
    head.uri = Uri::from_parts(uri)?;
    send(Request::from_parts(head, Full::new(body))).await
}

/// Fetches a page as JSON.
pub(crate) async fn get_json(page: &str) -> Result<Value, Hangup> {
    let request = Request::get(page).body(Full::default())?;
    Ok(serde_json::from_slice(send(request).await?.body())?)
}

/// Calls a service of the stack without an SDK. The stack takes the account from the access key and checks no signature.
pub(crate) async fn call(endpoint: &str, account: &str, service: &str, target: &str, body: &Value) -> Value {
    let credential = format!("{account}/20260101/us-east-1/{service}/aws4_request");
    let request = Request::post(format!("{endpoint}/"))
        .header("x-amz-target", target)
        .header("content-type", "application/x-amz-json-1.1")
        .header(AUTHORIZATION, format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=none"))
        .body(Full::from(body.to_string()))
        .expect("the request is well formed");
    let answer = send(request).await.expect("the stack answers");
    serde_json::from_slice(answer.body()).unwrap_or_default()
}

/// A server on a free port of loopback. It ends on drop.
pub(crate) struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Starts a server that answers every request, with its body read, by `answer`.
    pub(crate) async fn start<A, F>(answer: A) -> Self
    where
        A: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response<Bytes>, Hangup>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        Self { address, accepting: tokio::spawn(accept(listener, Arc::new(answer))) }
    }

    /// Returns the address for other programs on this machine.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept<A, F>(listener: TcpListener, answer: Arc<A>)
where
    A: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<Bytes>, Hangup>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        let answer = Arc::clone(&answer);
        let service = service_fn(move |request| respond(Arc::clone(&answer), request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn respond<A, F>(answer: Arc<A>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Hangup>
where
    A: Fn(Request<Bytes>) -> F,
    F: Future<Output = Result<Response<Bytes>, Hangup>>,
{
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, body.collect().await?.to_bytes());
    Ok(answer(request).await?.map(Full::new))
}

/// Builds a response with a status and a JSON body.
pub(crate) fn json(status: u16, body: &Value) -> Response<Bytes> {
    let answer = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
    answer.body(Bytes::from(body.to_string())).expect("the answer is well formed")
}
