//! The real local stack: one `ministack` for the whole test process, which serves SQS, `DynamoDB` and Lambda on one port.

pub(crate) mod dynamodb_local;

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use serde_json::Value;
use tokio::{runtime::Runtime, sync::Semaphore};

use crate::{http, wait};

const REQUIREMENTS: &str = include_str!("../../../../cli/src/command/dev/requirements.txt");
const KEEPER: &str = include_str!("../../../../cli/src/command/dev/keeper.py");
const START: Duration = Duration::from_mins(1);

const LOGS_KEPT: Duration = Duration::from_hours(1);

/// Number of tests that have deployed functions at a time. Each mostly waits, but a cold start takes a whole core.
const WORLDS_AT_A_TIME: usize = 8;

/// The stack of this test process. It starts with the first test and ends with the process.
pub(crate) struct Stack {
    /// Runs every test, so that all share the connections to the stack.
    pub(crate) runtime: Runtime,
    pub(crate) places: Semaphore,
    pub(crate) python: PathBuf,
    port: u16,
    log: PathBuf,
    /// Keeps its standard input open: the stack ends when it closes.
    _keeper: Child,
}

impl Stack {
    /// Returns the shared stack, started at the first call.
    pub(crate) fn shared() -> &'static Self {
        static STACK: OnceLock<Stack> = OnceLock::new();
        STACK.get_or_init(|| Self::start(&[]))
    }

    /// Returns a second stack that enforces the roles of functions.
    pub(crate) fn enforcing() -> &'static Self {
        static STACK: OnceLock<Stack> = OnceLock::new();
        STACK.get_or_init(|| Self::start(&["AUTH=true"]))
    }

    fn start(settings: &[&str]) -> Self {
        let venv = install();
        let port = free_port();
        let log = log("ministack", port);
        let python = venv.join("bin/python");
        let mut keeper = keep(&python, &venv.join("bin/ministack"), port, &log, settings);
        let runtime = Runtime::new().expect("the runtime of the tests starts");
        runtime.block_on(healthy(&format!("{}/_ministack/health", endpoint(port)), &mut keeper, &log));
        Self { runtime, places: Semaphore::new(WORLDS_AT_A_TIME), python, port, log, _keeper: keeper }
    }

    /// Returns the address of all its services.
    pub(crate) fn endpoint(&self) -> String {
        endpoint(self.port)
    }

    /// Returns the stack's own log lines that contain `word`.
    pub(crate) fn log_lines(&self, word: &str) -> Vec<String> {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
    }

    /// Returns the log lines of a function of `account` so far, oldest first.
    pub(crate) async fn printed(&self, account: &str, function: &str) -> Vec<String> {
        let asked = serde_json::json!({"logGroupName": format!("/aws/lambda/{function}")});
        let answer = http::call(&self.endpoint(), account, "logs", "Logs_20140328.FilterLogEvents", &asked).await;
        let events = answer["events"].as_array().cloned().unwrap_or_default();
        events.iter().filter_map(|event| event["message"].as_str().map(str::to_owned)).collect()
    }

    /// Returns all messages of an account's queue, including invisible ones, from the stack's inspection page.
    pub(crate) async fn messages(&self, account: &str, queue_url: &str) -> Vec<Value> {
        let page = format!("{}/_ministack/sqs/messages?account={account}&QueueUrl={queue_url}", self.endpoint());
        let shown = http::get_json(&page).await.expect("the stack shows its messages");
        let regions = shown["messages"][account].as_object().cloned().unwrap_or_default();
        regions.values().filter_map(|queues| queues[queue_url].as_array()).flatten().cloned().collect()
    }
}

/// Returns a folder of the local stack in the build folder, which `cargo clean` empties.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = target().join("local-stack").join(name);
    fs::create_dir_all(&folder).expect("the build folder can be written");
    folder
}

/// Returns the build folder: two levels above the probe that cargo built for this test.
pub(crate) fn target() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_probe")).ancestors().nth(2).expect("binaries lie in <target>/<profile>")
}

/// Opens the log of a program. Logs of the last hour are kept beside it, to examine failures afterwards.
fn log(program: &str, port: u16) -> PathBuf {
    let logs = folder("logs");
    for log in fs::read_dir(&logs).expect("the build folder can be read").flatten() {
        let written = log.metadata().and_then(|metadata| metadata.modified());
        if written.is_ok_and(|then| then.elapsed().is_ok_and(|age| age > LOGS_KEPT)) {
            fs::remove_file(log.path()).ok();
        }
    }
    logs.join(format!("{program}-{port}.log"))
}

/// Creates the Python environment of the stack, once for each version of the requirements; other test processes wait.
pub(crate) fn install() -> PathBuf {
    let root = folder("");
    let lock = File::create(root.join("install.lock")).expect("the build folder can be written");
    lock.lock().expect("the build folder's file system has locks");
    let venv = root.join("venv");
    let installed = venv.join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|those| those == REQUIREMENTS) {
        return venv;
    }
    let wanted = root.join("requirements.txt");
    fs::write(&wanted, REQUIREMENTS).expect("the build folder can be written");
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
    succeed(Command::new(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&wanted));
    fs::rename(&wanted, &installed).expect("the build folder can be written");
    venv
}

/// Runs a command until it exits; it must succeed.
pub(crate) fn succeed(command: &mut Command) {
    let status = command.status().unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
    assert!(status.success(), "{command:?} failed: {status}");
}

/// Starts the stack or a companion program under a keeper.
fn keep(python: &Path, program: &Path, port: u16, log: &Path, settings: &[&str]) -> Child {
    let log = File::create(log).expect("the build folder can be written");
    Command::new(python)
        .args(["-c", KEEPER])
        .arg(program)
        .arg(port.to_string())
        .arg(folder(&format!("scratch-{port}")))
        .args(settings)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("a file handle can be cloned"))
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("the keeper of the stack starts")
}

async fn healthy(page: &str, keeper: &mut Child, log: &Path) {
    wait::until(&format!("{page} answers"), START, async || {
        let ended = keeper.try_wait().expect("a child can be asked for its status");
        assert!(ended.is_none(), "the program ended at once; its log is {}", log.display());
        http::get_json(page).await
    })
    .await;
}

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Returns a free port of loopback.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
