//! The command `tail`: the endings of jobs on all queues, in the logs of their functions.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use super::{Ran, command, dev::lines, sqjobs};
use crate::{
    function::Function,
    proxy::{Fault, Proxy},
    stack::succeed,
    wait,
    world::{PATIENCE, World},
};

const LOOK: &str = "Logs_20140328.FilterLogEvents";

/// A running `sqjobs tail --json`, with the lines that it has printed and said.
struct Tail {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Tail {
    fn start(world: &World, endpoint: &str) -> Self {
        let mut command = command(world);
        command.env("AWS_ENDPOINT_URL", endpoint).args(["tail", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let printed = lines(child.stdout.take().expect("a pipe"));
        let said = lines(child.stderr.take().expect("a pipe"));
        Self { child, printed, said }
    }

    fn printed(&self) -> Vec<String> {
        self.printed.lock().expect("nobody panics with the lock").clone()
    }

    /// Waits until it says this.
    async fn says(&self, words: &str) {
        wait::until(&format!("it says {words:?}"), PATIENCE, async || {
            let said = self.said.lock().expect("nobody panics with the lock").join("\n");
            if said.contains(words) { Ok(()) } else { Err(said) }
        })
        .await;
    }

    /// Ends the command as Ctrl-C does. Returns the run.
    fn interrupt(mut self) -> Ran {
        succeed(Command::new("kill").args(["-INT", &self.child.id().to_string()]));
        let status = self.child.wait().expect("it ends");
        let said = self.said.lock().expect("nobody panics with the lock").join("\n");
        Ran { name: "tail".into(), status: status.code().unwrap_or(-1), printed: self.printed().join("\n"), said }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.child.kill().ok();
    }
}

/// Waits until the command has looked into the logs this many times more.
async fn looks(proxy: &Proxy, more: usize) {
    let before = proxy.passed(LOOK).len();
    wait::until("the command looks again", PATIENCE, async || {
        let looks = proxy.passed(LOOK).len();
        if looks >= before + more { Ok(()) } else { Err(looks) }
    })
    .await;
}

/// The id, the outcome and the attempt of endings, with the number of times that each was shown.
fn endings(shown: &[Value]) -> BTreeMap<(String, String, u64), usize> {
    let mut counts = BTreeMap::new();
    for ending in shown {
        let text = |field: &str| ending[field].as_str().unwrap_or_default().to_owned();
        *counts.entry((text("id"), text("outcome"), ending["attempt"].as_u64().unwrap_or_default())).or_default() += 1;
    }
    counts
}

fn expected(endings: &[(&str, &str, u64)]) -> BTreeMap<(String, String, u64), usize> {
    endings.iter().map(|(id, outcome, attempt)| (((*id).to_owned(), (*outcome).to_owned(), *attempt), 1)).collect()
}

/// Runs jobs on two queues that succeed, retry, fail, are discarded and are rejected.
async fn run(world: &World) {
    world.send(world.probe("ok", &json!({}))).await;
    world.send(world.probe("retries", &json!({"act": "fail", "until": 2}))).await;
    world.send(world.probe("fails", &json!({"act": {"complain": "disk_full"}}))).await;
    world.record_in("retries", "succeeded").await;
    world.record_in("fails", "failed").await;
    world.record_in("ok", "succeeded").await;
    world.send(world.probe("ok", &json!({}))).await;
    world.send(json!({"name": "probe", "id": "wrong", "args": 7})).await;
    assert_eq!(sqjobs(world, &["enqueue", "adder", "[1, 2]", "--id", "sum", "--wait"]).yes().lines().next(), Some("sum"));
    world.drained().await;
}

const ALL: [(&str, &str, u64); 7] = [
    ("ok", "succeeded", 1),
    ("retries", "retried", 1),
    ("retries", "succeeded", 2),
    ("fails", "failed", 1),
    ("ok", "duplicate", 0),
    ("wrong", "rejected", 0),
    ("sum", "succeeded", 1),
];

#[test]
fn tail_shows_each_ending_on_all_queues_once_and_ends_with_ctrl_c() {
    World::setup().test(async |world| {
        let proxy = Proxy::start(&world.account.endpoint, None).await;
        assert!(Ran::with(world, &[("AWS_ENDPOINT_URL", proxy.url())], &["tail"]).error().contains("there is no log to follow"));
        world.deploy(&Function::probe()).await;
        world.deploy_with_queues(Function::adder()).await;
        let denied = json!({"__type": "AccessDeniedException", "message": "User: arn:aws:iam::1:user/a is not authorized"}).to_string();
        for _ in 0..2 {
            proxy.arm(Fault::answer(LOOK, "", 400, denied.clone()));
        }
        let ran = Ran::with(world, &[("AWS_ENDPOINT_URL", proxy.url())], &["tail"]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert_eq!(ran.said.matches("which needs the permission logs:FilterLogEvents; its lines are left out").count(), 2, "{ran:?}");
        assert!(ran.said.contains("no log can be read"), "{ran:?}");
        let tail = Tail::start(world, &proxy.url());
        tail.says(&format!("following the logs of adder-{0}, probe-{0}; at least 2 requests every 1.0s", world.account.id)).await;
        tail.says("has not logged yet: there is no log group /aws/lambda/adder-").await;
        run(world).await;
        // All tries of some requests are refused. The next look shows what these have missed.
        for _ in 0..6 {
            proxy.arm(Fault::answer(LOOK, "", 400, json!({"__type": "ThrottlingException", "message": "Rate exceeded"}).to_string()));
        }
        wait::until("all endings are shown", PATIENCE, async || {
            let printed = tail.printed();
            if printed.len() >= ALL.len() && proxy.is_spent() { Ok(()) } else { Err(printed.join("\n")) }
        })
        .await;
        // Each look covers the last minute again.
        looks(&proxy, 4).await;
        let request: Value = serde_json::from_str(&proxy.passed(LOOK).pop().expect("a request").body).expect("JSON");
        assert_eq!(request["filterPattern"], r#"{ ($.target = "sqjobs::ending") }"#);
        let ran = tail.interrupt();
        assert!(ran.said.contains("this took ") && ran.said.ends_with(" read units"), "it says what it cost: {}", ran.said);
        let shown = ran.json();
        assert_eq!(endings(&shown), expected(&ALL));
        let of = |id: &str| shown.iter().find(|ending| ending["id"] == id).expect("it is shown");
        assert_eq!(of("sum")["function"], format!("adder-{}", world.account.id));
        let failed = of("fails");
        assert_eq!([&failed["name"], &failed["kind"], &failed["error"]], ["probe", "disk_full", "disk_full"], "{failed}");
        assert!(failed["run_ms"].is_u64() && failed["waited_ms"].is_u64() && failed["at"].is_string(), "{failed}");
        assert!(of("wrong")["reason"].as_str().is_some_and(|reason| reason.contains("invalid type")), "{}", of("wrong"));
        ran.yes();
    });
}

#[test]
fn tail_shows_only_the_selected_endings_of_the_last_minutes() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        world.deploy_with_queues(Function::adder()).await;
        run(world).await;
        let past = ["tail", "--since", "1h", "--within", "0s"];
        let cases: [(&[&str], &[usize]); 8] = [
            (&[], &[0, 1, 2, 3, 4, 5, 6]),
            (&["--queue", "adder"], &[6]),
            (&["--queue", "probes", "--queue", "adder", "--outcome", "succeeded"], &[0, 2, 6]),
            (&["--outcome", "failed", "--outcome", "retried"], &[1, 3]),
            (&["--id", "retries"], &[1, 2]),
            (&["--name", "adder"], &[6]),
            (&["--id", "ok", "--outcome", "duplicate"], &[4]),
            (&["--id", "o*"], &[]),
        ];
        for (options, wanted) in cases {
            let shown = sqjobs(world, &[&past[..], options, &["--json"]].concat()).json();
            let wanted: Vec<_> = wanted.iter().map(|index| ALL[*index]).collect();
            assert_eq!(endings(&shown), expected(&wanted), "{options:?}");
        }
        let lines = sqjobs(world, &[&past[..], &["--id", "fails"]].concat()).yes();
        assert!(lines.contains("  failed     probe  fails  attempt 1, ran ") && lines.ends_with("  disk_full: disk_full\n"), "{lines}");
        // A refused request ends no look, also not the last one.
        let proxy = Proxy::start(&world.account.endpoint, None).await;
        for _ in 0..4 {
            proxy.arm(Fault::answer(LOOK, "", 400, json!({"__type": "ThrottlingException", "message": "Rate exceeded"}).to_string()));
        }
        let ran = Ran::with(world, &[("AWS_ENDPOINT_URL", proxy.url())], &[&past[..], &["--json"]].concat());
        assert_eq!((endings(&ran.json()), ran.status), (expected(&ALL), 0), "{}", ran.said);
        assert!(ran.said.contains("CloudWatch refuses requests") && proxy.is_spent(), "{}", ran.said);
        assert_eq!(sqjobs(world, &["tail", "--within", "0s"]).yes(), "", "without --since, it begins now");
        assert!(sqjobs(world, &[&past[..], &["--queue", "nowhere"]].concat()).error().contains("there is no queue nowhere"));
        assert!(sqjobs(world, &["tail", "--outcome", "fails"]).error().contains("[possible values: succeeded, retried, failed, "));
    });
}
