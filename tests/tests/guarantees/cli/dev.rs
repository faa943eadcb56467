//! `sqjobs dev` runs the whole system on one machine.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use super::Ran;
use crate::{
    function::{house_variables, program},
    outside,
    stack::{free_port, succeed, target},
    wait,
    world::PATIENCE,
};

/// A running `sqjobs dev`, with its output and its messages so far.
struct Dev {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Dev {
    fn start(port: u16) -> Self {
        let mut command = Command::new(program("sqjobs"));
        command.args(["dev", "--keep", "--package", "adder", "--package", "beater", "--port", &port.to_string()]);
        // The features of this test's build, so that nothing is built again.
        command.args(["--", "--workspace", "--bins", "--tests"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        house_variables(&mut command);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let printed = lines(child.stdout.take().expect("a pipe"));
        let said = lines(child.stderr.take().expect("a pipe"));
        Self { child, printed, said }
    }

    /// Returns the first line of this kind that it prints.
    async fn line(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        wait::until(what, PATIENCE * 4, async || {
            let printed = self.printed.lock().expect("nobody panics with the lock");
            printed.iter().find(|line| is_it(line)).cloned().ok_or_else(|| printed.join("\n"))
        })
        .await
    }

    /// Ends the command as Ctrl-C does.
    fn interrupt(mut self) {
        succeed(Command::new("kill").args(["-INT", &self.child.id().to_string()]));
        assert!(self.child.wait().expect("it ends").success());
    }
}

/// Collects the lines of a pipe.
pub(super) fn lines(pipe: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            kept.lock().expect("nobody panics with the lock").push(line);
        }
    });
    lines
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.child.kill().ok();
    }
}

#[test]
fn dev_shows_how_to_enqueue_and_keeps_its_records_over_a_restart() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let port = free_port();
        let dev = Dev::start(port);
        let ready = dev.line("the queue is shown", |line| line.contains("adder: 0 waiting")).await;
        assert!(!ready.contains("1 succeeded"), "{ready}");
        dev.line("it says what it counts", |line| line.contains("`sqjobs list` shows the jobs that failed")).await;
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
        assert_eq!(run(&["doctor"]).yes(), "no faults were found in 1 queue and its function\n");
        let row = r#"{"id": "broken", "cron": "never", "job": "adder", "due": "due#0", "next_fire": "0"}"#;
        let put = format!(r#"import boto3; boto3.resource("dynamodb").Table("schedules").put_item(Item={row})"#);
        let python = python.trim().split_once(" -c ").expect("a command of Python").0;
        let put = shell(&format!("{python} -c '{put}'"));
        assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
        wait::until("the log tells of the wrong schedule", PATIENCE, async || {
            let log = fs::read_to_string(target().join(format!("local-stack/log-{port}"))).expect("there is a log");
            log.lines().any(|line| line.contains(r#""level":"ERROR""#) && line.contains("broken")).then_some(()).ok_or(log)
        })
        .await;
        // Without its variables, the function fails at its start.
        let update = "import boto3; boto3.client(\"lambda\").update_function_configuration(FunctionName=\"adder\", Environment={})";
        let update = shell(&format!("{python} -c '{update}'"));
        assert!(update.status.success(), "{}", String::from_utf8_lossy(&update.stderr));
        run(&["enqueue", "adder", "'[1]'"]).yes();
        wait::until("dev tells why the function does not answer", PATIENCE, async || {
            let said = dev.said.lock().expect("nobody panics with the lock").join("\n");
            let is_told = said
                .lines()
                .any(|line| line.starts_with("function adder did not answer: ") && line.contains("SQJOBS_QUEUE_URL is not set"));
            is_told.then_some(()).ok_or(said)
        })
        .await;
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
fn dev_runs_a_package_named_like_a_dependency_on_each_of_its_queues() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let mut command = Command::new(program("sqjobs"));
        let port = free_port();
        command.args(["dev", "--port", &port.to_string(), "--", "--release", "--offline"]);
        let dev = Dev::run(outside::in_workspace(command));
        dev.line("the queue is shown", |line| line.contains("orders: 0 waiting")).await;
        for queue in ["orders", "urgent"] {
            let hint = dev.line("it says how to enqueue", |line| line.contains(&format!("--queue {queue} --wait"))).await;
            assert_eq!(hint.trim(), format!(r#"sqjobs enqueue order '{{"pieces":6}}' --queue {queue} --wait"#));
            let exports = dev.line("it says where the stack is", |line| line.trim_start().starts_with("export ")).await;
            let enqueue = hint.trim().strip_prefix("sqjobs").expect("the command");
            let ran = Command::new("sh")
                .args(["-c", &format!("{}\n{}{enqueue}", exports.trim(), program("sqjobs").display())])
                .output()
                .expect("a shell");
            let printed = String::from_utf8_lossy(&ran.stdout);
            assert!(ran.status.success() && printed.contains(r#""total":42"#), "{printed}{}", String::from_utf8_lossy(&ran.stderr));
        }
        let said = dev.said.lock().expect("nobody panics with the lock").join("\n");
        for step in ["building orders, urgent", "starting the local stack", "deploying orders", "deploying urgent"] {
            assert!(said.contains(step), "{step}: {said}");
        }
        dev.interrupt();
    });
}

#[test]
fn dev_says_what_is_missing() {
    let run = |folder: &Path, args: &[&str]| {
        let mut command = Command::new(program("sqjobs"));
        house_variables(&mut command);
        Ran::of(args, &command.current_dir(folder).args(args).output().expect("it starts"))
    };
    let nowhere = tempfile::tempdir().expect("there is room");
    assert!(run(nowhere.path(), &["dev"]).error().contains("run the command in a Rust workspace that has jobs"));
    let wrong = run(Path::new(env!("CARGO_MANIFEST_DIR")), &["dev", "--package", "addr"]).error();
    assert!(wrong.contains("there is no package addr that has a program and depends on sqjobs; these packages do: "), "{wrong}");
}
