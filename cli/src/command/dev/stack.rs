//! The local stack: SQS, DynamoDB, Lambda and EventBridge in one process, which ends with the command.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{aws::Aws, failure::Failure};

const REQUIREMENTS: &str = include_str!("requirements.txt");
const KEEPER: &str = include_str!("keeper.py");
const BEATER_LOG: &str = include_str!("beater_log.py");
/// Maximum time until the stack answers.
const START: Duration = Duration::from_mins(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// A running stack.
pub(super) struct Stack {
    url: String,
    pub(super) python: PathBuf,
    pub(super) log: PathBuf,
    /// Process that ends the stack when its standard input closes, also after a crash of the command.
    keeper: Child,
}

impl Stack {
    /// Starts the stack, and installs it if necessary. With `keep`, it continues with the kept state.
    pub(super) fn start(target: &Path, port: u16, keep: bool) -> Result<Self, Failure> {
        // Another stack may use the port.
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .map_err(|error| Failure::new(format!("cannot use port {port}: {error}; give another port with --port")))?;
        let home = target.join("local-stack");
        fs::create_dir_all(&home)?;
        let venv = install(&home)?;
        note!("starting the local stack");
        let [scratch, state, log] = ["scratch", "state", "log"].map(|name| home.join(format!("{name}-{port}")));
        fs::create_dir_all(&scratch)?;
        File::create(&log)?;
        let to_log = File::options().append(true).open(&log)?;
        let mut keeper = Command::new(venv.join("bin/python"));
        keeper.args(["-c", KEEPER]).arg(venv.join("bin/ministack")).arg(port.to_string()).arg(&scratch);
        if keep {
            keeper.arg("PERSIST_STATE=1").arg(format!("STATE_DIR={}", state.display()));
        }
        // Its own process group, which Ctrl-C in the terminal does not reach.
        let keeper = keeper.stdin(Stdio::piped()).stdout(to_log.try_clone()?).stderr(to_log).process_group(0).spawn()?;
        Ok(Self { url: format!("http://127.0.0.1:{port}"), python: venv.join("bin/python"), log, keeper })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Adds the output of the beaters to the log.
    pub(super) fn log_beaters(&self, names: &[String]) -> Result<(), Failure> {
        let log = File::options().append(true).open(&self.log)?;
        let mut printer = Command::new(&self.python);
        printer.args(["-c", BEATER_LOG, &self.url]).args(names).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // The process group that the keeper ends.
        printer.process_group(self.keeper.id().cast_signed()).spawn()?;
        Ok(())
    }

    /// Waits until the stack answers.
    pub(super) async fn ready(&mut self, aws: &Aws) -> Result<(), Failure> {
        let started = Instant::now();
        while aws.sqs().list_queues().send().await.is_err() {
            self.lives()?;
            if started.elapsed() > START {
                return Err(Failure::new(format!("the local stack does not answer; read its log {}", self.log.display())));
            }
            sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }

    /// Returns an error if the stack has stopped.
    pub(super) fn lives(&mut self) -> Result<(), Failure> {
        match self.keeper.try_wait()? {
            None => Ok(()),
            Some(_) => Err(Failure::new(format!("the local stack has stopped; read its log {}", self.log.display()))),
        }
    }
}

/// The faults of functions, in the log of a stack.
pub(super) struct Faults {
    log: BufReader<File>,
}

/// An invocation that ended without an answer, for example because the function fails at its start.
pub(super) struct Fault {
    pub(super) function: String,
    pub(super) reason: String,
}

impl Faults {
    pub(super) fn new(stack: &Stack) -> Result<Self, Failure> {
        Ok(Self { log: BufReader::new(File::open(&stack.log)?) })
    }

    /// Returns the faults since the last call.
    pub(super) fn read(&mut self) -> Result<Vec<Fault>, Failure> {
        let (mut faults, mut line) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            let read = self.log.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                // The rest of this line is not written yet.
                self.log.seek_relative(-i64::try_from(read).unwrap_or_default())?;
                return Ok(faults);
            }
            faults.extend(Fault::of(String::from_utf8_lossy(&line).trim_end()));
        }
    }
}

impl Fault {
    /// Reads a line that the stack logs if a function fails at its start, or if its process ends or is stopped during an invocation.
    fn of(line: &str) -> Option<Self> {
        let at_start = line.split_once(" ERROR [lambda] Warm provided-runtime execution error for ");
        let (_, fault) = at_start.or_else(|| line.split_once(" WARNING [lambda_runtime] Lambda "))?;
        let (function, reason) = fault.split_once(": ")?;
        Some(Self { function: function.to_owned(), reason: reason.to_owned() })
    }
}

impl Drop for Stack {
    /// Waits until the stack has ended, because it may save its state.
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().ok();
    }
}

/// Installs the stack in a Python environment, once for each change of the requirements. Other processes wait.
fn install(home: &Path) -> Result<PathBuf, Failure> {
    let lock = File::create(home.join("install.lock"))?;
    lock.lock()?;
    let (venv, wanted) = (home.join("venv"), home.join("requirements.txt"));
    let installed = venv.join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|those| those == REQUIREMENTS) {
        return Ok(venv);
    }
    note!("installing the local stack into {}; this is done once, and takes a minute or two", venv.display());
    fs::write(&wanted, REQUIREMENTS)?;
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv), "install Python 3 with the module venv")?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    succeed(Command::new(venv.join("bin/python")).args(pip).arg(&wanted), "check the network, and the settings of pip")?;
    fs::rename(&wanted, &installed)?;
    Ok(venv)
}

/// Runs a command, and returns an error if it fails.
fn succeed(command: &mut Command, remedy: &str) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(format!("{name} failed ({status}); {remedy}"))),
        Err(error) => Err(Failure::new(format!("cannot start {name}: {error}; {remedy}"))),
    }
}
