//! The local stack: SQS, DynamoDB, Lambda and EventBridge in one process, which ends with this one.

use std::{
    fs::{self, File},
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
/// How long the stack takes to start, at most.
const START: Duration = Duration::from_mins(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// A running stack.
pub(super) struct Stack {
    url: String,
    pub(super) python: PathBuf,
    pub(super) log: PathBuf,
    /// Ends the stack when its standard input closes, however that comes about.
    keeper: Child,
}

impl Stack {
    /// Starts the stack, which is installed first where it is not. With `keep`, it goes on with what was kept last.
    pub(super) fn start(target: &Path, port: u16, keep: bool) -> Result<Self, Failure> {
        // As other programs use loopback, so might another stack.
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .map_err(|error| Failure::new(format!("cannot use port {port}: {error}; give another port with --port")))?;
        let home = target.join("local-stack");
        fs::create_dir_all(&home)?;
        let venv = install(&home)?;
        anstream::eprintln!("starting the local stack");
        let [scratch, state, log] = ["scratch", "state", "log"].map(|name| home.join(format!("{name}-{port}")));
        fs::create_dir_all(&scratch)?;
        File::create(&log)?;
        let to_log = File::options().append(true).open(&log)?;
        let mut keeper = Command::new(venv.join("bin/python"));
        keeper.args(["-c", KEEPER]).arg(venv.join("bin/ministack")).arg(port.to_string()).arg(&scratch);
        if keep {
            keeper.arg("PERSIST_STATE=1").arg(format!("STATE_DIR={}", state.display()));
        }
        // A group of its own, which a terminal's Ctrl-C does not reach.
        let keeper = keeper.stdin(Stdio::piped()).stdout(to_log.try_clone()?).stderr(to_log).process_group(0).spawn()?;
        Ok(Self { url: format!("http://127.0.0.1:{port}"), python: venv.join("bin/python"), log, keeper })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Adds to the log what these functions print, which EventBridge wakes.
    pub(super) fn log_beaters(&self, names: &[String]) -> Result<(), Failure> {
        let log = File::options().append(true).open(&self.log)?;
        let mut printer = Command::new(&self.python);
        printer.args(["-c", BEATER_LOG, &self.url]).args(names).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Of the group that its keeper ends.
        printer.process_group(self.keeper.id().cast_signed()).spawn()?;
        Ok(())
    }

    /// Waits until it answers.
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

    /// Whether it still runs.
    pub(super) fn lives(&mut self) -> Result<(), Failure> {
        match self.keeper.try_wait()? {
            None => Ok(()),
            Some(_) => Err(Failure::new(format!("the local stack has stopped; read its log {}", self.log.display()))),
        }
    }
}

impl Drop for Stack {
    /// Waits until it has ended, for it may have something to keep.
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().ok();
    }
}

/// Makes the Python environment that holds the stack, once for each change of the requirements; other processes wait.
fn install(home: &Path) -> Result<PathBuf, Failure> {
    let lock = File::create(home.join("install.lock"))?;
    lock.lock()?;
    let (venv, wanted) = (home.join("venv"), home.join("requirements.txt"));
    let installed = venv.join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|those| those == REQUIREMENTS) {
        return Ok(venv);
    }
    anstream::eprintln!("installing the local stack into {}; this is done once, and takes a minute or two", venv.display());
    fs::write(&wanted, REQUIREMENTS)?;
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv), "install Python 3 with the module venv")?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    succeed(Command::new(venv.join("bin/python")).args(pip).arg(&wanted), "check the network, and the settings of pip")?;
    fs::rename(&wanted, &installed)?;
    Ok(venv)
}

/// Runs a command to its end, which must be a good one.
fn succeed(command: &mut Command, remedy: &str) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(format!("{name} failed ({status}); {remedy}"))),
        Err(error) => Err(Failure::new(format!("cannot start {name}: {error}; {remedy}"))),
    }
}
