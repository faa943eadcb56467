use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::advance,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::*;
use crate::metrics::Counts;

const DONE: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{}";
const FAILED: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}";

/// The responses on each connection, one connection after the other; then the connection is closed.
type Script = &'static [&'static [&'static str]];

/// The received requests of each connection.
type Seen = Arc<Mutex<Vec<Vec<String>>>>;

async fn server(script: Script) -> (String, Seen) {
    let (listener, address) = listen().await;
    let seen = Seen::default();
    let requests = Arc::clone(&seen);
    tokio::spawn(async move {
        for answers in script {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.lock().unwrap().push(Vec::new());
            serve(&mut stream, answers, &requests).await;
        }
    });
    (format!("http://{address}"), seen)
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    (listener, address)
}

/// Answers requests with `answers`, unless the client closes the connection.
async fn serve(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answers: &[&str], seen: &Seen) {
    for answer in answers {
        let mut request = vec![0; 8192];
        let read = stream.read(&mut request).await.unwrap();
        if read == 0 {
            return;
        }
        seen.lock().unwrap().last_mut().unwrap().push(String::from_utf8_lossy(&request[..read]).into_owned());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

fn connector() -> Connector {
    Connector { pool: Arc::default(), settings: HttpConnectorSettings::default(), requests: None }
}

async fn get(connector: &Connector, url: &str) -> Result<u16, ConnectorError> {
    let response = connector.call(HttpRequest::get(url).unwrap()).await?;
    assert_eq!(response.body().bytes(), Some(&b"{}"[..]));
    Ok(response.status().as_u16())
}

fn requests(seen: &Seen) -> Vec<usize> {
    seen.lock().unwrap().iter().map(Vec::len).collect()
}

fn sqs(url: &str, requests: Option<Arc<Requests>>) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder().behavior_version(BehaviorVersion::v2026_01_12()).http_client(client(None, requests));
    let config = config.region(Region::new("eu-north-1")).credentials_provider(Credentials::for_tests());
    aws_sdk_sqs::Client::from_conf(config.endpoint_url(url).retry_config(RetryConfig::standard()).build())
}

/// Waits until the runtime has processed all socket events.
async fn sockets_are_noticed() {
    let (listener, address) = listen().await;
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    server.unwrap().0.write_all(b"!").await.unwrap();
    client.unwrap().read_u8().await.unwrap();
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (url, seen) = server(&[&[DONE, DONE, DONE]]).await;
    let connector = connector();
    for path in ["/", "/second?of=3", "/third"] {
        assert_eq!(get(&connector, &format!("{url}{path}")).await.unwrap(), 200);
    }
    assert_eq!(requests(&seen), [3]);
    let second = seen.lock().unwrap()[0][1].to_lowercase();
    assert!(second.starts_with("get /second?of=3 http/1.1\r\n"), "{second}");
    assert!(second.contains(&format!("host: {}\r\n", &url["http://".len()..])), "{second}");
}

#[tokio::test]
async fn requests_at_the_same_time_have_a_connection_each() {
    let (url, seen) = server(&[&[DONE], &[DONE]]).await;
    let connector = connector();
    let (first, second) = tokio::join!(get(&connector, &url), get(&connector, &url));
    assert_eq!(first.unwrap(), 200);
    assert_eq!(second.unwrap(), 200);
    assert_eq!(requests(&seen), [1, 1]);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let (url, seen) = server(&[&[DONE], &[DONE]]).await;
    let connector = connector();
    assert_eq!(get(&connector, &url).await.unwrap(), 200);
    sockets_are_noticed().await;
    assert_eq!(get(&connector, &url).await.unwrap(), 200);
    assert_eq!(requests(&seen), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_idle_for_long_is_replaced() {
    let (url, seen) = server(&[&[DONE, DONE], &[DONE]]).await;
    let connector = connector();
    assert_eq!(get(&connector, &url).await.unwrap(), 200);
    advance(Duration::from_secs(89)).await;
    assert_eq!(get(&connector, &url).await.unwrap(), 200);
    advance(IDLE).await;
    assert_eq!(get(&connector, &url).await.unwrap(), 200);
    assert_eq!(requests(&seen), [2, 1]);
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_error_of_io() {
    let (url, _) = server(&[&[""]]).await;
    let error = get(&connector(), &url).await.unwrap_err();
    assert!(error.is_io(), "{error:?}");
    let (url, _) = server(&[&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{"]]).await;
    let error = get(&connector(), &url).await.unwrap_err();
    assert!(error.is_io(), "in the middle of an answer: {error:?}");
}

#[tokio::test]
async fn a_refused_connection_is_an_error_of_io() {
    let (listener, address) = listen().await;
    drop(listener);
    let error = get(&connector(), &format!("http://{address}")).await.unwrap_err();
    assert!(error.is_io(), "{error:?}");
}

#[tokio::test]
async fn an_invalid_address_is_a_user_error() {
    for url in ["ftp://localhost/", "/"] {
        let error = get(&connector(), url).await.unwrap_err();
        assert!(error.is_user(), "{url}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_settings_limit_how_long_an_answer_may_take() {
    let (listener, address) = listen().await;
    let limit = Duration::from_secs(7);
    let settings = HttpConnectorSettings::builder().read_timeout(limit).build();
    let error = get(&Connector { settings, ..connector() }, &format!("http://{address}")).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(error.into_source().to_string(), "HTTP read timed out after 7s");

    let settings = HttpConnectorSettings::builder().connect_timeout(limit).build();
    let error = get(&Connector { settings, ..connector() }, &format!("https://{address}")).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(error.into_source().to_string(), "HTTP connect timed out after 7s");
    drop(listener);
}

#[tokio::test(start_paused = true)]
async fn the_sdk_tries_again_when_a_connection_breaks() {
    let (url, seen) = server(&[&[""], &[DONE]]).await;
    sqs(&url, None).list_queues().send().await.unwrap();
    assert_eq!(requests(&seen), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_sdk_tries_again_on_another_connection_when_a_server_fails() {
    let (url, seen) = server(&[&[FAILED, FAILED], &[DONE]]).await;
    sqs(&url, None).list_queues().send().await.unwrap();
    assert_eq!(requests(&seen), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_with_the_retries_of_the_sdk() {
    let (url, _) = server(&[&[""], &[FAILED, DONE], &[DONE, DONE]]).await;
    let counted = Arc::new(Requests::default());
    let sqs = sqs(&url, Some(Arc::clone(&counted)));
    sqs.list_queues().send().await.unwrap();
    sqs.list_queues().send().await.unwrap();
    let Counts { store, store_errors, queue, queue_errors } = counted.take();
    assert_eq!([store, store_errors, queue, queue_errors], [0, 0, 4, 2], "one connection broke, and one answer was an error");
}

#[tokio::test(start_paused = true)]
async fn a_refused_condition_is_no_error_and_an_abandoned_request_is_one() {
    const REFUSED: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 44\r\n\r\n{\"__type\":\"ConditionalCheckFailedException\"}";
    const INVALID: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}";
    let (url, _) = server(&[&[REFUSED, INVALID]]).await;
    let counted = Arc::new(Requests::default());
    let connector = Connector { requests: Some(Arc::clone(&counted)), ..connector() };
    let put = |url: &str| {
        let mut request = HttpRequest::get(url).unwrap();
        request.headers_mut().insert("x-amz-target", "DynamoDB_20120810.PutItem");
        connector.call(request)
    };
    for errors in [0, 1] {
        assert_eq!(put(&url).await.unwrap().status().as_u16(), 400);
        assert_eq!(counted.take(), Counts { store: 1, store_errors: errors, ..Counts::default() });
    }
    let (_listener, address) = listen().await;
    timeout(Duration::from_secs(1), put(&format!("http://{address}"))).await.unwrap_err();
    assert_eq!(counted.take(), Counts { store: 1, store_errors: 1, ..Counts::default() });
}

#[tokio::test]
async fn tls_requires_a_server_with_a_trusted_authority() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], signing_key.into()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listen().await;
    let seen = Seen::default();
    let requests_of = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            requests_of.lock().unwrap().push(Vec::new());
            serve(&mut stream, &[DONE, DONE], &requests_of).await;
        }
    });
    let url = format!("https://{address}");
    let trusting = |roots| {
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
        let tls = OnceLock::from(Arc::new(config.with_root_certificates(Arc::new(roots)).with_no_client_auth()));
        Connector { pool: Arc::new(Pool { tls, ..Pool::default() }), ..connector() }
    };
    let error = get(&trusting(RootCertStore::empty()), &url).await.unwrap_err();
    assert!(error.is_io(), "{error:?}");

    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let connector = trusting(roots);
    assert_eq!(get(&connector, &url).await.unwrap(), 200);
    assert_eq!(get(&connector, &url).await.unwrap(), 200);
    assert_eq!(requests(&seen), [2]);
}

#[test]
fn the_certificates_of_a_bundle_are_found_between_its_comments() {
    let made: Vec<_> = ["one", "two"].map(|name| generate_simple_self_signed([name.to_owned()]).unwrap().cert).into();
    let with_crlf = made[1].pem().replace('\n', "\r\n");
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nAAAA";
    let bundle = format!("# Főtanúsítvány\n{}\n{with_crlf}\n{broken}", made[0].pem());
    let ders: Vec<_> = made.iter().map(|cert| cert.der().clone()).collect();
    assert_eq!(certificates(&bundle).collect::<Vec<_>>(), ders);
}

#[test]
fn the_certificates_equal_those_of_the_platform_library() {
    let Some(bundle) = openssl_probe::probe().cert_file else { return };
    let mut found = rustls_native_certs::load_certs_from_paths(Some(&bundle), None).certs;
    let mut own: Vec<_> = certificates(&String::from_utf8_lossy(&fs::read(bundle).unwrap())).collect();
    for certificates in [&mut found, &mut own] {
        certificates.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        certificates.dedup();
    }
    assert_eq!(own, found);
}
