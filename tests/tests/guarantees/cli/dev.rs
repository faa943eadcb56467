//! The whole system on one machine by one command.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use super::Ran;
use crate::{
    function::{house_variables, program},
    stack::{free_port, succeed},
    wait,
    world::PATIENCE,
};

/// `sqjobs dev`, with what it has printed so far.
struct Dev {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Dev {
    fn start(port: u16) -> Self {
        let mut command = Command::new(program("sqjobs"));
        command.args(["dev", "--keep", "--package", "adder", "--package", "beater", "--port", &port.to_string()]);
        // As this test was built, so that nothing is built again.
        command.args(["--", "--workspace", "--bins", "--tests"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        house_variables(&mut command);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (stdout, lines) = (child.stdout.take().expect("a pipe"), Arc::clone(&printed));
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lines.lock().expect("nobody panics with the lock").push(line);
            }
        });
        Self { child, printed }
    }

    /// The first line that it prints of this kind.
    async fn line(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        wait::until(what, PATIENCE * 4, async || {
            let printed = self.printed.lock().expect("nobody panics with the lock");
            printed.iter().find(|line| is_it(line)).cloned().ok_or_else(|| printed.join("\n"))
        })
        .await
    }

    /// Ends it as Ctrl-C does.
    fn interrupt(mut self) {
        succeed(Command::new("kill").args(["-INT", &self.child.id().to_string()]));
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.child.kill().ok();
    }
}

#[test]
fn a_job_that_is_enqueued_as_dev_says_is_shown_as_succeeded_and_known_after_a_restart() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let port = free_port();
        let dev = Dev::start(port);
        let ready = dev.line("the queue is shown", |line| line.contains("adder: 0 waiting")).await;
        assert!(!ready.contains("1 succeeded"), "{ready}");
        let exports = dev.line("it says where the stack is", |line| line.trim_start().starts_with("export ")).await;
        let python = dev.line("it says how to enqueue from Python", |line| line.contains("boto3")).await;
        let shell = |line: &str| {
            let mut sh = Command::new("sh");
            sh.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
            sh.args(["-c", &format!("{}\n{}", exports.trim(), line.trim())]).output().expect("a shell")
        };
        let sent = shell(&python);
        assert!(sent.status.success(), "{python}: {}", String::from_utf8_lossy(&sent.stderr));
        dev.line("the job has succeeded", |line| line.contains("adder: 0 waiting, 0 running, 0 delayed, 1 succeeded")).await;
        let path = program("sqjobs");
        let run = |args: &[&str]| Ran::of(args, &shell(&format!("{} {}", path.display(), args.join(" "))));
        assert!(run(&["enqueue", "adder", "'[1, 2, 3]'", "--id", "a", "--wait"]).yes().ends_with("succeeded, attempt 1 of 5  6\n"));
        let schedules = wait_for_schedules(&run).await;
        assert!(schedules.contains("nightly-sum"), "the beater was woken: {schedules}");
        assert_eq!(run(&["doctor"]).yes(), "nothing is wrong with 1 queue and its function\n");
        dev.interrupt();

        let dev = Dev::start(port);
        dev.line("the queue is shown", |line| line.contains("adder: 0 waiting")).await;
        assert_eq!(run(&["get", "a", "--json"]).json()[0]["result"], 6);
        assert!(run(&["enqueue", "adder", "'[4]'", "--wait"]).yes().ends_with("  4\n"), "the functions run anew");
        dev.interrupt();
    });
}

async fn wait_for_schedules(run: &impl Fn(&[&str]) -> Ran) -> String {
    wait::until("the beater has written its schedules", PATIENCE, async || match run(&["schedule", "list"]).yes() {
        none if none.is_empty() => Err(none),
        some => Ok(some),
    })
    .await
}

#[test]
fn dev_says_what_is_missing() {
    let run = |folder: &Path, args: &[&str]| {
        let mut command = Command::new(program("sqjobs"));
        house_variables(&mut command);
        Ran::of(args, &command.current_dir(folder).args(args).output().expect("it starts"))
    };
    let nowhere = tempfile::tempdir().expect("there is room");
    assert!(run(nowhere.path(), &["dev"]).error().contains("go to a folder of a Rust workspace with jobs"));
    let wrong = run(Path::new(env!("CARGO_MANIFEST_DIR")), &["dev", "--package", "addr"]).error();
    assert!(wrong.contains("there is no package addr with a program and sqjobs; there are "), "{wrong}");
}
