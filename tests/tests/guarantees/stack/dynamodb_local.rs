//! AWS's own `DynamoDB` for one machine, in the place of the stack's: a second witness for the table.
//!
//! It is a program of AWS under a licence of its own, which `npm` brings and nobody here hands on. It refuses what the stack
//! takes, such as a key twice in a batch. What its version lacks, [`answer`] fills in.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command},
    sync::OnceLock,
};

use hyper::{
    Request, Response, Uri,
    body::Bytes,
    header::{CONTENT_LENGTH, HeaderMap, HeaderValue},
};
use serde_json::{Value, json};

use super::{Stack, endpoint, folder, free_port, healthy, keep, log, succeed};
use crate::{
    http::{self, Hangup},
    referee::written,
};

/// `local` has every world without enforced roles keep its tables there.
const CHOICE: &str = "SQJOBS_TESTS_DYNAMODB";
/// Holds version 1.25.1.
const PACKAGE: (&str, &str) = ("amplify-dynamodb-simulator", "2.9.30");
const START: &str = "#!/bin/sh
cd \"$(dirname \"$0\")\" && exec java -Djava.library.path=DynamoDBLocal_lib -jar DynamoDBLocal.jar -inMemory -disableTelemetry -port \"$GATEWAY_PORT\"
";

/// The one that this test process has started. Each access key has tables of its own.
pub(crate) struct DynamoDbLocal {
    port: u16,
    /// Held for its standard input, like that of the stack.
    _keeper: Child,
}

impl DynamoDbLocal {
    /// The one, where it is chosen; started at the first call.
    pub(crate) fn chosen(stack: &Stack) -> Option<&'static Self> {
        static LOCAL: OnceLock<DynamoDbLocal> = OnceLock::new();
        let is_chosen = std::env::var_os(CHOICE).is_some_and(|choice| choice == "local");
        is_chosen.then(|| LOCAL.get_or_init(|| Self::start(stack)))
    }

    fn start(stack: &Stack) -> Self {
        let program = install();
        let port = free_port();
        let log = log("dynamodb-local", port);
        let mut keeper = keep(&stack.python, &program, port, &log, &[]);
        stack.runtime.block_on(healthy(&endpoint(port), &mut keeper, &log));
        Self { port, _keeper: keeper }
    }

    /// Its address.
    pub(crate) fn endpoint(&self) -> String {
        endpoint(self.port)
    }
}

/// Downloads the program once for each change of the version; other test processes wait.
fn install() -> PathBuf {
    let root = folder("dynamodb-local");
    let lock = File::create(root.join("install.lock")).expect("the build folder can be written");
    lock.lock().expect("the build folder's file system has locks");
    let (package, version) = PACKAGE;
    let start = root.join(format!("start-{version}"));
    if start.exists() {
        return start;
    }
    let packed = root.join(format!("{package}-{version}.tgz"));
    succeed(
        Command::new("npm")
            .args(["pack", "--silent", &format!("{package}@{version}")])
            .current_dir(&root)
            .stdout(std::process::Stdio::null()),
    );
    succeed(Command::new("tar").arg("-xzf").arg(&packed).args(["--strip-components=2", "package/emulator"]).current_dir(&root));
    fs::remove_file(packed).expect("the build folder can be written");
    let unfinished = root.join("start");
    fs::write(&unfinished, START).expect("the build folder can be written");
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755)).expect("the build folder can be written");
    fs::rename(&unfinished, &start).expect("the build folder can be written");
    start
}

/// Has a request answered, with what this version lacks: the stored item beside a statement of a batch that was
/// refused. AWS answers it where the statement asks
/// (`Item` in <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html>).
///
/// # Errors
///
/// There is no answer.
pub(crate) async fn answer(request: Request<Bytes>, to: &Uri) -> Result<Response<Bytes>, Hangup> {
    let (headers, body) = (request.headers().clone(), request.body().clone());
    let answer = http::forward(request, to).await?;
    if headers["x-amz-target"] != "DynamoDB_20120810.BatchExecuteStatement" || !answer.status().is_success() {
        return Ok(answer);
    }
    let asked: Value = serde_json::from_slice(&body)?;
    let mut answered: Value = serde_json::from_slice(answer.body())?;
    let count = answered["Responses"].as_array().map_or(0, Vec::len);
    for number in 0..count {
        let (response, statement) = (&mut answered["Responses"][number], &asked["Statements"][number]);
        let code = response["Error"]["Code"].as_str().unwrap_or_default();
        let is_refused = ["ConditionalCheckFailed", "DuplicateItem"].contains(&code);
        if is_refused && statement["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD" {
            let found = http::forward(get(&headers, statement)?, to).await?;
            let mut found: Value = serde_json::from_slice(found.body())?;
            if found["Item"].is_object() {
                response["Error"]["Item"] = found["Item"].take();
            }
        }
    }
    Ok(http::json(200, &answered))
}

/// The request that reads the item which a statement writes, in the name of who asked for the statement.
fn get(headers: &HeaderMap, statement: &Value) -> Result<Request<Bytes>, Hangup> {
    let (table, id) = written(statement).ok_or("a statement without a key")?;
    let body = json!({"TableName": table, "Key": {"id": id}, "ConsistentRead": true}).to_string();
    let mut request = Request::post("/").body(Bytes::from(body))?;
    request.headers_mut().clone_from(headers);
    request.headers_mut().remove(CONTENT_LENGTH);
    request.headers_mut().insert("x-amz-target", HeaderValue::from_static("DynamoDB_20120810.GetItem"));
    Ok(request)
}
