//! The function `import-csv`: a long job that goes on after each interruption.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

use hyper::{Method, Request, Response, body::Bytes};
use serde_json::{Value, json};

use crate::{
    function::Function,
    http::Server,
    polled::Polled,
    wait,
    world::{PATIENCE, World},
};

/// A server with one file. It keeps the uploads of each name.
#[derive(Clone, Default)]
struct Files {
    file: Bytes,
    uploads: Arc<Mutex<BTreeMap<String, Vec<Bytes>>>>,
}

impl Files {
    fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let response = Response::builder();
        if *request.method() == Method::PUT {
            let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
            uploads.entry(request.uri().path().to_owned()).or_default().push(request.body().clone());
            return response.status(204).body(Bytes::new()).expect("a response");
        }
        let range = request.headers()["range"].to_str().expect("text").strip_prefix("bytes=").expect("bytes").split_once('-');
        let [start, end] = range.map(|(start, end)| [start, end].map(|text| text.parse::<usize>().expect("a number"))).expect("a range");
        let length = self.file.len();
        if start >= length {
            return response.status(416).body(Bytes::new()).expect("a response");
        }
        let end = (end + 1).min(length);
        let response = response.status(206).header("etag", "\"1\"").header("content-range", format!("bytes {start}-{}/{length}", end - 1));
        response.body(self.file.slice(start..end)).expect("a response")
    }

    fn uploads(&self) -> BTreeMap<String, Vec<Bytes>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The time after which the message of a killed worker is visible again. It is longer than the lease of the job with its margin. Otherwise
/// the next worker often finds the lease, and waits longer each time.
const VISIBILITY: [&str; 2] = ["--visibility", "20s"];

/// Imports so many rows while the worker is killed this often. Each row must be imported once.
async fn import(world: &World, rows: usize, kills: usize) {
    let mut text = "number,note\r\n".to_owned();
    for number in 0..rows {
        write!(text, "{number},\"a note, with \"\"quotes\"\" and\na line {number}\"\r\n").expect("text");
    }
    let files = Files { file: text.into(), ..Files::default() };
    let answering = files.clone();
    let server = Server::start(move |request| {
        let response = answering.answer(&request);
        async { Ok(response) }
    })
    .await;
    let url = |folder: &str| format!("{}/{folder}", server.url());
    let function = Function::import_csv().env("IMPORT_SOURCE_URL", url("files")).env("IMPORT_TARGET_URL", url("rows"));
    world.send(json!({"name": "import-csv", "id": "contacts", "args": {"file": "contacts.csv"}, "max_attempts": kills + 1})).await;
    for kill in 1..=kills {
        let mut worker = Polled::start(world, &function, &VISIBILITY);
        let enough = kill * (rows / 1_000) / (kills + 1);
        wait::until("some pieces are uploaded", PATIENCE, async || {
            let count = files.uploads().len();
            if count >= enough { Ok(()) } else { Err(count) }
        })
        .await;
        worker.kill();
    }
    let _worker = Polled::start(world, &function, &VISIBILITY);
    let record = world.record_in("contacts", "succeeded").await;
    let pieces = rows.div_ceil(1_000);
    assert_eq!(record.result, Some(json!({"rows": rows, "pieces": pieces})));

    let uploads = files.uploads();
    let mut numbers = Vec::new();
    for versions in uploads.values() {
        assert!(versions.iter().all(|version| version == &versions[0]), "a piece is the same each time");
        for row in serde_json::from_slice::<Vec<Value>>(&versions[0]).expect("rows") {
            let number = row["number"].as_str().expect("text").to_owned();
            assert_eq!(row["note"], json!(format!("a note, with \"quotes\" and\na line {number}")));
            numbers.push(number.parse::<usize>().expect("a number"));
        }
    }
    assert!(numbers.into_iter().eq(0..rows), "each row is imported once, in order");
    let repeated: usize = uploads.values().map(|versions| versions.len() - 1).sum();
    assert!(repeated <= kills, "a kill repeats at most one piece: {repeated}");
}

#[test]
fn an_import_whose_worker_is_killed_imports_each_row_once() {
    World::setup().test(async |world| import(world, 40_500, 2).await);
}

#[test]
#[ignore = "takes minutes: tests/deep.sh runs it"]
fn two_hundred_thousand_rows_are_imported_once_despite_twenty_kills() {
    World::setup().test(async |world| import(world, 200_000, 20).await);
}

#[test]
fn a_flawed_row_is_named_and_a_file_that_is_no_csv_fails_at_once() {
    World::setup().test(async |world| {
        let files = Files { file: "a,b\n1,2\n3\n".into(), ..Files::default() };
        let server = Server::start(move |request| {
            let response = files.answer(&request);
            async { Ok(response) }
        })
        .await;
        let function = Function::import_csv().env("IMPORT_SOURCE_URL", server.url()).env("IMPORT_TARGET_URL", server.url());
        world.deploy(&function).await;
        world.send(json!({"name": "import-csv", "id": "flawed", "args": {"file": "flawed.csv"}})).await;
        let error = world.record_in("flawed", "failed").await.error.expect("an error");
        assert_eq!(error.kind, "invalid_file");
        assert!(error.message.contains("row 2 has 1 fields, but the header has 2"), "{}", error.message);
    });
}
