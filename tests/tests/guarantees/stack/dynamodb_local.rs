//! AWS's own `DynamoDB` Local instead of the stack's table: a second implementation that confirms the results.
//!
//! It is an AWS program under its own licence; `npm` downloads it, and this repository does not distribute it. It refuses
//! input that the stack accepts, such as a duplicate key in a batch. [`answer`] adds features that its version lacks.

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

/// With the value `local`, every world without enforced roles keeps its tables there.
const CHOICE: &str = "SQJOBS_TESTS_DYNAMODB";
/// The npm package; this version contains 1.25.1.
const PACKAGE: (&str, &str) = ("amplify-dynamodb-simulator", "2.9.30");
const START: &str = "#!/bin/sh
cd \"$(dirname \"$0\")\" && exec java -Djava.library.path=DynamoDBLocal_lib -jar DynamoDBLocal.jar -inMemory -disableTelemetry -port \"$GATEWAY_PORT\"
";

/// The instance of this test process. Each access key has its own tables.
pub(crate) struct DynamoDbLocal {
    port: u16,
    /// Keeps its standard input open, like that of the stack.
    _keeper: Child,
}

impl DynamoDbLocal {
    /// Returns the instance if it is selected; started at the first call.
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

    /// Returns its address.
    pub(crate) fn endpoint(&self) -> String {
        endpoint(self.port)
    }
}

/// Downloads the program once for each version; other test processes wait.
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

/// Forwards a request and adds the stored item beside a refused statement of a batch, which this version lacks. AWS returns
/// the item if the statement asks for it
/// (`Item` in <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html>).
///
/// # Errors
///
/// When there is no response.
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

/// Builds the request that reads the item of a write statement, with the credentials of the original request.
fn get(headers: &HeaderMap, statement: &Value) -> Result<Request<Bytes>, Hangup> {
    let (table, id) = written(statement).ok_or("a statement without a key")?;
    let body = json!({"TableName": table, "Key": {"id": id}, "ConsistentRead": true}).to_string();
    let mut request = Request::post("/").body(Bytes::from(body))?;
    request.headers_mut().clone_from(headers);
    request.headers_mut().remove(CONTENT_LENGTH);
    request.headers_mut().insert("x-amz-target", HeaderValue::from_static("DynamoDB_20120810.GetItem"));
    Ok(request)
}
