//! Workers that poll, as processes.

use std::{
    env,
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    function::{Function, program},
    stack::succeed,
    world::{PATIENCE, World},
};

/// Variable that puts polling workers in the place of functions.
const WORKER: &str = "SQJOBS_TESTS_WORKER";

/// Returns `true` if polling workers take the place of functions.
pub(crate) fn is_asked_for() -> bool {
    env::var_os(WORKER).is_some_and(|worker| worker == "poll")
}

/// A worker that polls. It is killed when it is dropped.
pub(crate) struct Polled {
    pub(crate) bootstrap: &'static str,
    folder: TempDir,
    child: Arc<Mutex<Child>>,
    is_over: Arc<AtomicBool>,
}

impl Polled {
    /// Starts the program of a function with these options.
    pub(crate) fn start(world: &World, function: &Function, options: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let child = spawn(&mut command(world, function, options), folder.path());
        Self { bootstrap: function.bootstrap, folder, child: Arc::new(Mutex::new(child)), is_over: Arc::default() }
    }

    /// Starts the program of a function, and starts it again whenever it ends, as a platform does.
    pub(crate) fn supervised(world: &World, function: &Function) -> Self {
        let mut command = command(world, function, &["--visibility", "15s", "--grace", "1s"]);
        let folder = TempDir::new().expect("a folder");
        let child = Arc::new(Mutex::new(spawn(&mut command, folder.path())));
        let polled = Self { bootstrap: function.bootstrap, folder, child: Arc::clone(&child), is_over: Arc::default() };
        let (is_over, folder) = (Arc::clone(&polled.is_over), polled.folder.path().to_owned());
        thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
                if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                    *child = spawn(&mut command, &folder);
                }
                drop(child);
                thread::sleep(Duration::from_millis(50));
            }
        });
        polled
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        succeed(Command::new("kill").arg(format!("-{name}")).arg(self.child().id().to_string()));
    }

    /// Waits until the process ends by itself. Returns its exit status; `None`: a signal has ended it.
    pub(crate) fn ended(&self) -> Option<i32> {
        let since = Instant::now();
        loop {
            let ended = self.child().try_wait().expect("it is a child");
            if let Some(status) = ended {
                return status.code();
            }
            assert!(since.elapsed() < PATIENCE, "the worker does not end: {:#?}", self.printed());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the process, without any chance to clean up.
    pub(crate) fn kill(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let mut child = self.child();
        child.kill().ok();
        child.wait().ok();
    }

    /// Returns what it has printed so far.
    pub(crate) fn printed(&self) -> Vec<String> {
        let read = |name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        [read("stdout"), read("stderr")].iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command(world: &World, function: &Function, options: &[&str]) -> Command {
    let mut command = Command::new(program(function.bootstrap));
    command.arg("--poll").args(options).env_clear().envs(world.account.variables()).envs(world.settings(function));
    command
}

fn spawn(command: &mut Command, folder: &Path) -> Child {
    let file = |name: &str| File::options().create(true).append(true).open(folder.join(name)).expect("a file");
    command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).spawn().expect("the worker starts")
}
