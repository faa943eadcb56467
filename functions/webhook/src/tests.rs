//! Deliveries to a receiver on the loopback interface.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqjobs::{State, Worker, testing::Eager};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    destination::Reach,
    failure::{Failure, Next},
    sender::{Attempt, Delivered, Sender},
    sign::parse_secrets,
    webhook::Webhook,
};

type Answer = Response<Full<Bytes>>;

/// A server that answers each request with a given function and stores the requests.
struct Receiver {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
}

impl Receiver {
    async fn start(answer: impl Fn(&Request<Bytes>) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let (answer, requests) = (Arc::new(answer), Arc::clone(&receiver.requests));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&answer), Arc::clone(&requests)));
            }
        });
        receiver
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(&self) -> Vec<Request<Bytes>> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

async fn serve(connection: TcpStream, answer: Arc<impl Fn(&Request<Bytes>) -> Answer>, requests: Arc<Mutex<Vec<Request<Bytes>>>>) {
    let service = service_fn(async |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, body.collect().await.unwrap().to_bytes());
        let response = answer(&request);
        requests.lock().unwrap().push(request);
        Ok::<_, Infallible>(response)
    });
    http1::Builder::new().serve_connection(TokioIo::new(connection), service).await.ok();
}

fn answer(status: u16) -> Answer {
    Response::builder().status(status).body(Full::default()).unwrap()
}

fn overloaded(retry_after: &str) -> Answer {
    Response::builder().status(503).header(RETRY_AFTER, retry_after).body(Full::default()).unwrap()
}

fn redirect(status: u16, location: &str) -> Answer {
    Response::builder().status(status).header(LOCATION, location).body(Full::default()).unwrap()
}

const SECRETS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="];
const NOW: &str = "2026-03-29T01:00:00Z";
const NOW_SECONDS: &str = "1774746000";

fn sender(reach: Reach) -> Sender {
    Sender::new(parse_secrets(&SECRETS.join(" ")).unwrap(), reach).unwrap()
}

fn webhook(url: String) -> Webhook {
    Webhook { url, payload: json!({"order": 42, "paid": true}), headers: [("x-team".to_owned(), "blue".to_owned())].into() }
}

async fn deliver(reach: Reach, url: String) -> Result<Delivered, Failure> {
    let attempt = Attempt { job_id: "order-42-paid", now: NOW.parse().unwrap(), limit: Duration::from_secs(15) };
    sender(reach).deliver(&webhook(url), &attempt).await
}

/// Computes HMAC-SHA256 by its definition, for keys of at most one block.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| -> Vec<u8> { (0..64).map(|i| key.get(i).unwrap_or(&0) ^ byte).collect() };
    let inner = Sha256::digest([&pad(0x36), message].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

/// Verifies a request, as a receiver with this secret does.
fn authentic(request: &Request<Bytes>, secret: &str) -> bool {
    let header = |name: &str| request.headers()[name].to_str().unwrap();
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let signed = [format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes(), request.body()].concat();
    let expected = format!("v1,{}", BASE64_STANDARD.encode(hmac_sha256(&key, &signed)));
    header("webhook-signature").split(' ').any(|signature| signature == expected)
}

#[tokio::test]
async fn a_receiver_gets_the_payload_signed_and_its_2xx_succeeds() {
    let receiver = Receiver::start(|_| answer(204)).await;
    assert_eq!(deliver(Reach::Anywhere, receiver.url("/hook?key=1")).await.unwrap().status, 204);
    let requests = receiver.requests();
    let [request] = &requests[..] else { panic!("{} requests", requests.len()) };
    assert_eq!(request.method().as_str(), "POST");
    assert_eq!(request.uri().to_string().as_str(), "/hook?key=1");
    assert_eq!(request.body(), r#"{"order":42,"paid":true}"#);
    assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(request.headers()["x-team"], "blue");
    assert_eq!(request.headers()["webhook-id"], "order-42-paid");
    assert_eq!(request.headers()["webhook-timestamp"], NOW_SECONDS);
    assert!(SECRETS.iter().all(|secret| authentic(request, secret)));
}

#[tokio::test]
async fn a_delivery_that_the_receiver_rejects_is_not_retried() {
    let receiver = Receiver::start(|_| answer(404)).await;
    let failure = deliver(Reach::Anywhere, receiver.url("/token-123")).await.unwrap_err();
    assert_eq!(failure, Failure::for_good("http_404", "127.0.0.1 answered 404 Not Found"));
}

#[tokio::test]
async fn an_overloaded_receiver_sets_the_wait_before_the_retry() {
    let receiver = Receiver::start(|_| overloaded("Sun, 29 Mar 2026 01:05:00 GMT")).await;
    let failure = deliver(Reach::Anywhere, receiver.url("/")).await.unwrap_err();
    assert_eq!(failure.kind.as_str(), "http_503");
    assert_eq!(failure.next, Next::Retry(Some(Duration::from_mins(5))));
}

#[tokio::test]
async fn a_delivery_without_an_answer_is_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token-123", listener.local_addr().unwrap());
    let attempt = Attempt { job_id: "1", now: NOW.parse().unwrap(), limit: Duration::from_millis(20) };
    let silent = sender(Reach::Anywhere).deliver(&webhook(url.clone()), &attempt).await.unwrap_err();
    assert_eq!(silent.kind.as_str(), "response_timeout");
    assert_eq!(silent.next, Next::Retry(None));
    drop(listener);
    let gone = deliver(Reach::Anywhere, url).await.unwrap_err();
    assert_eq!(gone.kind.as_str(), "unreachable");
    assert_eq!(gone.next, Next::Retry(None));
    assert!(!format!("{silent:?}{gone:?}").contains("token-123"));
}

#[tokio::test]
async fn a_receiver_with_an_untrusted_certificate_gets_nothing() {
    let receiver = Receiver::start(|_| answer(200)).await;
    let failure = deliver(Reach::Anywhere, receiver.url("/").replace("http:", "https:")).await.unwrap_err();
    assert_eq!(failure.kind.as_str(), "unreachable");
    assert_eq!(failure.next, Next::Retry(None));
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn a_redirect_at_the_same_receiver_is_followed_with_everything() {
    let receiver = Receiver::start(|request| if request.uri() == "/hook/" { answer(200) } else { redirect(308, "/hook/") }).await;
    assert_eq!(deliver(Reach::Anywhere, receiver.url("/hook")).await.unwrap().status, 200);
    let requests = receiver.requests();
    let [_, followed] = &requests[..] else { panic!("{} requests", requests.len()) };
    assert_eq!(followed.method(), "POST");
    assert!(authentic(followed, SECRETS[0]));
}

#[tokio::test]
async fn a_redirect_to_another_host_is_refused_without_a_request() {
    let inside = Receiver::start(|_| answer(200)).await;
    for status in [301, 302, 303, 307, 308] {
        let location = inside.url("/token-123");
        let receiver = Receiver::start(move |_| redirect(status, &location)).await;
        let failure = deliver(Reach::Anywhere, receiver.url("/")).await.unwrap_err();
        assert_eq!(failure.kind, format!("http_{status}"));
        assert_eq!(failure.next, Next::GiveUp);
        assert!(failure.message.contains(&format!(", to http://{}: only 307 and 308", inside.address)), "{}", failure.message);
    }
    assert!(inside.requests().is_empty());
}

#[tokio::test]
async fn a_redirect_loop_fails_the_delivery() {
    let receiver = Receiver::start(|_| redirect(307, "/")).await;
    assert_eq!(deliver(Reach::Anywhere, receiver.url("/")).await.unwrap_err().next, Next::GiveUp);
    assert_eq!(receiver.requests().len(), 4);
}

#[tokio::test]
async fn a_name_with_an_internal_address_is_refused_before_connecting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]"] {
        let failure = deliver(Reach::Public, format!("https://{host}:{port}/")).await.unwrap_err();
        assert_eq!(failure.kind.as_str(), "address_refused", "{host}: {}", failure.message);
        assert_eq!(failure.next, Next::GiveUp, "{host}: {}", failure.message);
    }
    listener.into_std().unwrap().accept().unwrap_err(); // no connection arrived
}

#[tokio::test]
async fn a_payload_of_any_json_is_sent_compact() {
    let receiver = Receiver::start(|_| answer(200)).await;
    let attempt = Attempt { job_id: "1", now: NOW.parse().unwrap(), limit: Duration::from_secs(15) };
    for payload in [Value::Null, json!("text"), json!([1, {"a": "é"}])] {
        let webhook = Webhook { payload: payload.clone(), ..webhook(receiver.url("/")) };
        sender(Reach::Anywhere).deliver(&webhook, &attempt).await.unwrap();
        assert_eq!(receiver.requests()[0].body(), &payload.to_string());
    }
}

#[tokio::test]
async fn a_later_attempt_waits_as_asked_and_has_the_same_id_and_a_new_signature() {
    let busy = AtomicBool::new(true);
    let receiver = Receiver::start(move |_| if busy.swap(false, Ordering::SeqCst) { overloaded("300") } else { answer(200) }).await;
    let (eager, worker) = (Eager::at(NOW.parse().unwrap()), Worker::new(sender(Reach::Anywhere)).job::<Webhook>());
    let job = eager.client().enqueue(&webhook(receiver.url("/"))).await.unwrap();

    eager.run_due(&worker).await;
    let record = eager.record(&job.id).unwrap();
    assert_eq!(record.state, State::Retrying);
    assert_eq!(record.error.unwrap().kind, "http_503".to_owned());

    eager.advance(Duration::from_mins(5));
    eager.run_due(&worker).await;
    let record = eager.record(&job.id).unwrap();
    assert_eq!(record.state, State::Succeeded);
    assert_eq!(record.result.unwrap()["status"], json!(200));

    let requests = receiver.requests();
    let timestamps: Vec<_> = requests.iter().map(|request| request.headers()["webhook-timestamp"].to_str().unwrap()).collect();
    assert_eq!(timestamps, ["1774746000", "1774746300"]);
    assert!(requests.iter().all(|request| request.headers()["webhook-id"] == job.id && authentic(request, SECRETS[0])));
}

#[tokio::test]
async fn a_refused_webhook_fails_at_its_first_attempt() {
    let (eager, worker) = (Eager::new(), Worker::new(sender(Reach::Public)).job::<Webhook>());
    let job = eager.client().enqueue(&webhook("https://localhost/".to_owned())).await.unwrap();
    eager.run(&worker).await;
    let record = eager.record(&job.id).unwrap();
    assert_eq!(record.state, State::Failed);
    assert_eq!(record.attempts, 1);
    assert_eq!(record.error.unwrap().kind, "address_refused".to_owned());
}
