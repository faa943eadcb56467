//! The whole workflow in memory, with services on the loopback interface.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sqjobs::{State, Worker, testing::Eager};
use tokio::net::{TcpListener, TcpStream};

use crate::{Fetch, Notify, Publish, Report, Service, Summarize, report};

/// A server with files. It stores uploads, and the texts that it receives at `/`.
#[derive(Default)]
struct Files {
    files: Mutex<BTreeMap<String, Bytes>>,
    texts: Mutex<Vec<(String, String)>>,
}

impl Files {
    fn with(files: &[(&str, &Value)]) -> Arc<Self> {
        let files = files.iter().map(|(name, content)| (format!("/{name}"), Bytes::from(content.to_string()))).collect();
        Arc::new(Self { files: Mutex::new(files), texts: Mutex::default() })
    }

    /// Returns the texts, each with its idempotency key.
    fn texts(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.texts.lock().unwrap())
    }

    fn published(&self, name: &str) -> Option<Report> {
        self.files.lock().unwrap().get(name).map(|bytes| serde_json::from_slice(bytes).unwrap())
    }

    fn answer(&self, request: &Request<Bytes>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let (status, body) = match *request.method() {
            Method::GET => self.files.lock().unwrap().get(&path).map_or((404, Bytes::new()), |bytes| (200, bytes.clone())),
            Method::PUT => {
                self.files.lock().unwrap().insert(path, request.body().clone());
                (204, Bytes::new())
            }
            _ => {
                let message: Value = serde_json::from_slice(request.body()).unwrap();
                let key = request.headers()["idempotency-key"].to_str().unwrap().to_owned();
                self.texts.lock().unwrap().push((key, message["text"].as_str().unwrap().to_owned()));
                (200, Bytes::new())
            }
        };
        Response::builder().status(status).body(Full::new(body)).unwrap()
    }

    async fn serve(self: Arc<Self>, connection: TcpStream) {
        let service = service_fn(async |request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            let request = Request::from_parts(head, body.collect().await.unwrap().to_bytes());
            Ok::<_, Infallible>(self.answer(&request))
        });
        http1::Builder::new().serve_connection(TokioIo::new(connection), service).await.ok();
    }
}

/// Returns a worker with all four jobs, whose service is this server.
async fn worker(files: &Arc<Files>) -> Worker<Service> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let files = Arc::clone(files);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&files).serve(connection));
        }
    });
    let service = Service::new(&format!("http://{address}/")).unwrap();
    Worker::new(service).job::<Fetch>().job::<Summarize>().job::<Publish>().job::<Notify>()
}

fn sold(cents: i64) -> Value {
    json!([{"product": "tea", "cents": cents}, {"product": "cup", "cents": 900}])
}

#[tokio::test]
async fn the_report_has_the_sales_of_all_files() {
    let files = Files::with(&[("madrid.json", &sold(350)), ("porto.json", &sold(150))]);
    let (eager, worker) = (Eager::new(), worker(&files).await);
    eager.client().enqueue_one(report("2026-11", &["madrid.json", "porto.json"]).unwrap()).await.unwrap();
    eager.run(&worker).await;
    let totals = [("cup".into(), 1800), ("tea".into(), 500)].into();
    assert_eq!(files.published("/2026-11.json"), Some(Report { period: "2026-11".into(), files: 2, totals }));
    assert_eq!(files.texts(), [("report-2026-11".into(), "The report of 2026-11 is published.".into())]);
    assert_eq!(eager.record("report-2026-11").unwrap().state, State::Succeeded);
    assert_eq!(eager.record("report-2026-11/alert").unwrap().error.unwrap().kind, "not_needed");
}

#[tokio::test]
async fn a_hundred_files_are_one_report() {
    let names: Vec<_> = (0..100).map(|number| format!("{number}.json")).collect();
    let content = sold(1);
    let files = Files::with(&names.iter().map(|name| (&**name, &content)).collect::<Vec<_>>());
    let (eager, worker) = (Eager::new(), worker(&files).await);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    eager.client().enqueue_one(report("2026-11", &names).unwrap()).await.unwrap();
    eager.run(&worker).await;
    assert_eq!(files.published("/2026-11.json").unwrap().totals["tea"], 100);
}

#[tokio::test]
async fn a_missing_file_is_named_and_a_retry_goes_on_from_there() {
    let files = Files::with(&[("madrid.json", &sold(350))]);
    let (eager, worker) = (Eager::new(), worker(&files).await);
    let client = eager.client();
    client.enqueue_one(report("2026-11", &["madrid.json", "porto.json"]).unwrap()).await.unwrap();
    eager.run(&worker).await;
    let text = "The report of 2026-11 failed.\nreport-2026-11/fetch-2 is failed: 127.0.0.1 answered 404 Not Found for \"porto.json\"";
    assert_eq!(files.texts(), [("report-2026-11/alert".into(), text.into())]);
    let states = ["/fetch-1", "/fetch-2", "/summarize", "/publish", "/alert", ""]
        .map(|step| eager.record(&format!("report-2026-11{step}")).unwrap().state);
    assert_eq!(states, [State::Succeeded, State::Failed, State::Cancelled, State::Cancelled, State::Succeeded, State::Cancelled]);

    files.files.lock().unwrap().insert("/porto.json".into(), Bytes::from(sold(150).to_string()));
    client.retry_workflow("report-2026-11").await.unwrap();
    eager.run(&worker).await;
    assert_eq!(files.published("/2026-11.json").unwrap().totals["tea"], 500);
    assert_eq!(files.texts(), [("report-2026-11".into(), "The report of 2026-11 is published.".into())]);
    assert_eq!(eager.record("report-2026-11/fetch-1").unwrap().attempts, 1);
}

#[tokio::test]
async fn a_producer_in_python_gets_the_same_jobs_and_the_same_report() {
    let rust = Eager::new();
    rust.client().enqueue_one(report("2026-11", &["madrid.json", "porto.json"]).unwrap()).await.unwrap();
    let python = Eager::new();
    python.send("notify", include_str!("../report.json")).await;
    let ended = async |eager: Eager| {
        let files = Files::with(&[("madrid.json", &sold(350)), ("porto.json", &sold(150))]);
        eager.run(&worker(&files).await).await;
        let records = eager.records().into_iter().map(|record| (record.id, record.state, record.result)).collect::<Vec<_>>();
        (records, files.published("/2026-11.json"), files.texts())
    };
    let (from_rust, from_python) = (ended(rust).await, ended(python).await);
    assert_eq!(from_rust.0.len(), 6);
    assert_eq!(from_rust, from_python);
}

#[test]
fn a_report_without_files_is_refused() {
    let error = report("2026-11", &[]).unwrap_err().to_string();
    assert_eq!(error, "cannot build the report of \"2026-11\": it has no files");
}
