//! The page of `sqjobs ui`, in a real browser and by plain requests.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Stdio},
};

use fantoccini::key::Key;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sqjobs::Clock;

use super::{command, sqjobs};
use crate::{
    browser::{Browser, Colours},
    function::Function,
    wait,
    world::{PATIENCE, World},
};

/// A running page.
struct Ui {
    child: Child,
    address: String,
}

impl Ui {
    fn start(world: &World, options: &[&str]) -> Self {
        let mut command = command(world);
        let mut child =
            command.args(["ui", "--port", "0"]).args(options).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut address).expect("it prints its address");
        Self { child, address: address.trim().to_owned() }
    }

    /// The address of a view.
    fn view(&self, path: &str) -> String {
        let (origin, _) = self.address.split_once("/?").expect("an address with a token");
        format!("{origin}{path}")
    }

    /// Sends a request, and returns the status and the whole answer.
    fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let host = self.view("").replace("http://", "");
        let mut stream = TcpStream::connect(&*host).expect("the page listens");
        let has_host = headers.iter().any(|(name, _)| *name == "Host");
        let own = if has_host { String::new() } else { format!("Host: {host}\r\n") };
        let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        write!(stream, "{method} {path} HTTP/1.1\r\n{own}{headers}Content-Length: 0\r\nConnection: close\r\n\r\n").expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        (answer.get(9..12).and_then(|status| status.parse().ok()).expect("a status"), answer)
    }

    /// Exchanges the token for the cookie.
    fn cookie(&self) -> String {
        let (_, query) = self.address.split_once("/?").expect("a token");
        let (status, answer) = self.raw("GET", &format!("/?{query}"), &[]);
        assert_eq!(status, 303, "{answer}");
        let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
        assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap_or_default().to_owned()
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Opens the page in a window of a desktop.
async fn open(world: &World, options: &[&str]) -> Option<(Ui, Browser)> {
    let browser = Browser::open(1280, Colours::Light).await?;
    let ui = Ui::start(world, options);
    browser.go(&ui.address).await;
    browser.shows("Queues").await;
    Some((ui, browser))
}

/// Sends jobs that fail for good, and waits for their dead letters.
async fn fail(world: &World, ids: &[&str]) {
    let before = world.dead_letters().await.len();
    for id in ids {
        world.send(world.probe(id, &json!({"act": {"complain": "the disk is full"}}))).await;
    }
    world.dead_letters_when(before + ids.len()).await;
    world.drained().await;
}

#[test]
fn the_page_answers_only_itself_and_changes_nothing_unasked() {
    World::setup().test(async |world| {
        let reading = Ui::start(world, &[]);
        assert_eq!(reading.raw("GET", "/", &[]).0, 403, "without the token");
        assert_eq!(reading.raw("GET", "/?token=guess", &[]).0, 403);
        let cookie = reading.cookie();
        let (status, answer) = reading.raw("GET", "/", &[("Cookie", &cookie)]);
        assert_eq!(status, 200, "{answer}");
        for header in ["content-security-policy: default-src 'none'; ", "x-content-type-options: nosniff", "cache-control: no-store"] {
            assert!(answer.contains(header), "{header}: {answer}");
        }
        let rebound = [("Cookie", &*cookie), ("Host", "evil.example")];
        assert_eq!(reading.raw("GET", "/", &rebound).0, 403, "a name that was bound to this machine");
        assert_eq!(reading.raw("GET", "/", &[("Cookie", &cookie), ("Sec-Fetch-Site", "cross-site")]).0, 403);
        let own = reading.view("");
        let same = [("Cookie", &*cookie), ("Origin", &*own), ("Content-Type", "application/x-www-form-urlencoded")];
        let (status, answer) = reading.raw("POST", "/act", &same);
        assert!(status == 403 && answer.contains("read-only"), "{answer}");

        let writing = Ui::start(world, &["--write"]);
        let cookie = writing.cookie();
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        for origin in ["null", "http://evil.example", &*reading.view("")] {
            let (status, answer) = writing.raw("POST", "/act", &[("Cookie", &cookie), ("Origin", origin), form]);
            assert!(status == 403 && answer.contains("another page"), "{origin}: {answer}");
        }
        assert_eq!(writing.raw("POST", "/act", &[("Cookie", &cookie), form]).0, 403, "no browser leaves the origin out");
        let (status, answer) = writing.raw("POST", "/act", &[("Cookie", &cookie), ("Origin", &writing.view("")), form]);
        assert!(status == 400 && answer.contains("there is no action"), "{answer}");
        assert_eq!(writing.raw("GET", "/nowhere", &[("Cookie", &cookie)]).0, 404);
    });
}

#[test]
fn each_action_on_a_job_in_the_page_changes_the_job() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        fail(world, &["a", "b"]).await;
        let hour = (Clock::system().now() + SignedDuration::from_hours(1)).to_string();
        for id in ["c", "d", "e"] {
            let mut later = world.probe(id, &json!({}));
            later["run_at"] = json!(hour);
            world.send(later).await;
            world.record_in(id, "scheduled").await;
        }
        let Some((ui, browser)) = open(world, &["--write"]).await else { return };
        // A failed job, found on the overview.
        browser.shows("the disk is full").await;
        browser.click("All failed jobs").await;
        browser.click("a").await;
        browser.shows("What happened, and what happens next").await;
        let shown = browser.shows("the disk is full: the disk is full").await;
        assert!(shown.contains("Attempts: 1 of 3"), "{shown}");
        browser.click("Run again, with other arguments").await;
        browser.shows("sqjobs retry -- a ARGS").await;
        browser.fill("args", &world.probe("a", &json!({}))["args"].to_string()).await;
        browser.click("Run again").await;
        browser.shows("Done.").await;
        world.record_in("a", "succeeded").await;
        browser.click("Back").await;
        browser.shows("succeeded").await;

        // The dead letter of a failed job, with its own arguments.
        browser.go(&ui.view("/job?id=b")).await;
        browser.click("Run again, with the arguments of its dead letter").await;
        browser.shows("sqjobs dlq redrive --id=b -- probes").await;
        browser.click("Run dead letters again").await;
        browser.shows("Done.").await;
        world.record_when("b", "has run again", |record| record.history.len() > 1 || record.attempts > 1 || record.generation > 1).await;
        for (id, button, state) in [("c", "Run now", "succeeded"), ("d", "Cancel", "cancelled")] {
            browser.go(&ui.view(&format!("/job?id={id}"))).await;
            browser.click(button).await;
            browser.click(button).await;
            browser.shows("Done.").await;
            if id == "d" {
                world.record_in(id, state).await;
            }
        }
        let run_at = |id| async move { world.record(id).await.and_then(|record| record.run_at) };
        let before = run_at("e").await;
        browser.go(&ui.view("/job?id=e")).await;
        browser.click("Move").await;
        browser.fill("delay", "3h").await;
        browser.click("Move").await;
        browser.shows("Done.").await;
        assert!(run_at("e").await > before, "it runs later");

        browser.go(&ui.view("/job?id=e")).await;
        browser.click("Change tags").await;
        browser.fill("add", "urgent").await;
        browser.click("Change tags").await;
        browser.shows("e has the tags urgent").await;

        browser.go(&ui.view("/job?id=e")).await;
        browser.click("Enqueue a copy").await;
        browser.fill("args", &world.probe("copy", &json!({}))["args"].to_string()).await;
        let jobs = world.records().await.len();
        browser.click("Enqueue a copy").await;
        browser.shows("Done.").await;
        wait::until("the copy has a record", PATIENCE, async || {
            let now = world.records().await.len();
            if now > jobs { Ok(()) } else { Err(now) }
        })
        .await;
        browser.close().await;
    });
}

#[test]
fn dead_letters_queues_and_schedules_change_in_the_page() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        fail(world, &["a", "b", "c"]).await;
        world.schedule(json!({"id": "nightly", "cron": "0 2 * * *", "timezone": "Europe/Madrid", "job": "probe", "queue": "probes", "args": {"effects": world.effects.file()}})).await;
        let Some((ui, browser)) = open(world, &["--write"]).await else { return };
        browser.click("Dead letters").await;
        browser.click("probes").await;
        browser.shows("the disk is full").await;
        browser.click("purge this kind").await;
        browser.shows("What it would change").await;
        assert_eq!(world.dead_letters().await.len(), 3, "it has only counted");
        browser.click("Delete dead letters").await;
        browser.shows("Done.").await;
        world.dead_letters_when(0).await;

        browser.go(&ui.view("/")).await;
        browser.click("pause").await;
        browser.click("Pause the queue").await;
        browser.shows("Done.").await;
        browser.click("Back").await;
        browser.shows("paused").await;
        browser.click("resume").await;
        browser.click("Resume the queue").await;
        browser.shows("Done.").await;

        browser.click("Schedules").await;
        browser.click("nightly").await;
        let shown = browser.shows("Next fires").await;
        assert!(shown.contains("02:00:00") && shown.contains("UTC"), "{shown}");
        browser.click("Pause").await;
        browser.click("Pause the schedule").await;
        browser.shows("Done.").await;
        assert_eq!(world.scheduled("nightly").await.expect("a row")["paused"], true);
        browser.go(&ui.view("/schedule?id=nightly")).await;
        browser.fill("cron", "30 4 * * *").await;
        browser.click("Show the fires").await;
        browser.shows("04:30:00").await;
        assert_eq!(world.scheduled("nightly").await.expect("a row")["cron"], "0 2 * * *", "it is not saved yet");
        browser.click("Save…").await;
        browser.click("Change the times of a schedule").await;
        browser.shows("Replace schedule nightly?").await;
        assert_eq!(world.scheduled("nightly").await.expect("a row")["cron"], "0 2 * * *", "it has only asked");
        browser.click("Yes, do it").await;
        browser.shows("Done.").await;
        let saved = world.scheduled("nightly").await.expect("a row");
        assert_eq!(saved["cron"], "30 4 * * *");
        assert_eq!(saved["args"]["effects"], json!(world.effects.file()));
        browser.go(&ui.view("/schedules")).await;
        browser.click("run now").await;
        let jobs = world.records().await.len();
        browser.click("Run the schedule now").await;
        browser.shows("Done.").await;
        wait::until("its job has run", PATIENCE, async || {
            let now = world.records().await.len();
            if now > jobs { Ok(()) } else { Err(now) }
        })
        .await;
        browser.close().await;
    });
}

#[test]
fn what_others_have_written_is_text_and_the_page_asks_nobody_else() {
    World::setup().test(async |world| {
        let names = ["<script>document.title='owned'</script>", "\"><img src=x onerror=alert(1)>", "\u{202e}gnp.exe", &*"long".repeat(500), "a&b=c#d/../e"];
        for (number, name) in names.iter().enumerate() {
            let at = Clock::system().now().to_string();
            let id = if name.len() > 900 { format!("id-{number}") } else { format!("{name} {number}") };
            world.plant(json!({
                "id": id, "name": name, "queue": "probes", "state": "failed", "attempts": 1, "max_attempts": 1, "enqueued_at": at, "finished_at": at,
                "listed": "failed#1", "listed_at": at, "purge_at": 4_000_000_000_u64, "tags": [name],
                "result": {"exact": 9_007_199_254_740_993_u64, "text": name},
                "error": {"kind": name.chars().take(50).collect::<String>(), "message": format!("{name}\n{name}")},
            }))
            .await;
        }
        let Some((ui, browser)) = open(world, &[]).await else { return };
        for view in ["/", "/jobs", "/dead", "/schedules", "/stats", "/job?id=%3Cscript%3Edocument.title%3D%27owned%27%3C%2Fscript%3E%200"] {
            browser.go(&ui.view(view)).await;
            browser.shows("Cost of this view").await;
            let width = browser.evaluate("document.documentElement.scrollWidth - innerWidth").await;
            assert!(width.as_i64().is_some_and(|excess| excess <= 0), "{view} is wider than its window by {width}");
            assert_eq!(browser.evaluate("document.querySelectorAll('main script, main img').length").await, 0, "{view}");
            let asked = browser.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)").await;
            let asked: Vec<String> = serde_json::from_value(asked).expect("addresses");
            assert!(asked.iter().all(|address| address.starts_with(&ui.view("/"))), "{view}: {asked:?}");
        }
        let title = browser.client.title().await.expect("a title");
        assert!(title.starts_with("<script>") && title.ends_with("sqjobs"), "{title}");
        browser.click("Result").await;
        browser.shows("\"exact\": 9007199254740993,").await;
        browser.close().await;
    });
}

#[test]
#[ignore = "takes minutes: tests/deep.sh runs it"]
fn ten_thousand_failed_jobs_are_shown_a_page_at_a_time() {
    World::setup().test(async |world| {
        let now = Clock::system().now();
        let record = |number: i64| {
            let at = (now - SignedDuration::from_millis(number * 7)).to_string();
            json!({
                "id": format!("job-{number:05}"), "name": "probe", "queue": "probes", "state": "failed", "attempts": 1, "max_attempts": 1,
                "enqueued_at": at, "finished_at": at, "listed": format!("failed#{}", number % 16), "listed_at": at, "purge_at": 4_000_000_000_u64,
                "error": {"kind": if number % 10 == 0 { "timeout" } else { "job" }, "message": "no answer"},
            })
        };
        world.plant_many((0..10_000).map(record)).await;
        let Some((ui, browser)) = open(world, &[]).await else { return };
        browser.click("Jobs").await;
        let shown = browser.shows("job-00099").await;
        assert!(!shown.contains("job-00100") && shown.contains("timeout"), "a page has a hundred jobs");
        browser.click("Older jobs").await;
        let shown = browser.shows("job-00198").await;
        assert!(shown.contains("job-00099") && !shown.contains("job-00098"), "the last row of a page begins the next one");
        // The jobs of one reason, over several readings of the list.
        browser.go(&ui.view("/jobs?state=failed&kind=timeout&message=no%20answer")).await;
        let shown = browser.shows("job-00490").await;
        assert!(!shown.contains("job-00011") && !shown.contains("job-00500"), "{shown}");
        browser.click("Older jobs").await;
        let shown = browser.shows("job-00990").await;
        assert!(shown.contains("job-00500") && !shown.contains("job-00480"), "{shown}");
        browser.close().await;
    });
}

#[test]
fn the_keyboard_alone_reaches_a_failed_job_and_opens_its_result() {
    World::setup().test(async |world| {
        let at = Clock::system().now().to_string();
        world.plant(json!({"id": "only", "name": "probe", "queue": "probes", "state": "failed", "attempts": 1, "max_attempts": 1, "finished_at": at, "listed": "failed#1", "listed_at": at, "purge_at": 4_000_000_000_u64, "meta": {"order": 9_007_199_254_740_993_u64}})).await;
        let Some((_ui, browser)) = open(world, &[]).await else { return };
        browser.evaluate("document.getElementById('live').click()").await;
        let reach = async |name: &str| {
            for _ in 0..60 {
                if browser.evaluate("document.activeElement.textContent.trim()").await == name {
                    return;
                }
                browser.press(&[Key::Tab]).await;
            }
            panic!("the keyboard does not reach {name}");
        };
        reach("All failed jobs").await;
        browser.press(&[Key::Enter]).await;
        browser.shows("Failed jobs").await;
        reach("only").await;
        browser.press(&[Key::Enter]).await;
        browser.shows("Timeline").await;
        assert!(!browser.text().await.contains("9007199254740993"), "data is hidden until it is asked for");
        reach("Data of the producer").await;
        browser.press(&[Key::Enter]).await;
        browser.shows("\"order\": 9007199254740993").await;
        browser.close().await;
    });
}

/// Writes pictures of the views to the folder `SQJOBS_PICTURES`, if it is set. The guide shows some of them.
#[test]
#[ignore = "takes minutes: tests/deep.sh runs it"]
fn the_views_fit_a_desktop_and_a_phone_in_light_and_dark() {
    World::setup().test(async |world| {
        world.deploy(&Function::probe()).await;
        fail(world, &["invoice-17", "invoice-18"]).await;
        for id in ["invoice-19", "invoice-20", "invoice-21"] {
            world.send(world.probe(id, &json!({}))).await;
            world.record_in(id, "succeeded").await;
        }
        let steps = [("fetch", &[][..]), ("small", &["fetch"]), ("large", &["fetch"]), ("publish", &["small", "large"])];
        let args = world.probe("", &json!({}))["args"].clone();
        let step = |(id, after): &(&str, &[&str])| json!({"id": id, "name": "probe", "queue": "probes", "args": args, "depends_on": after});
        let jobs: Vec<Value> = steps.iter().map(step).collect();
        world.send(json!({"id": "album-7", "name": "probe", "args": args, "jobs": jobs, "needs": ["workflow"]})).await;
        world.record_in("album-7", "succeeded").await;
        world
            .schedule(
                json!({"id": "nightly", "cron": "0 2 * * *", "timezone": "Europe/Madrid", "job": "probe", "queue": "probes", "args": args}),
            )
            .await;
        let views = [
            ("overview", "/"),
            ("jobs", "/jobs"),
            ("job", "/job?id=invoice-17"),
            ("workflow", "/job?id=album-7"),
            ("dead-letters", "/dead?queue=probes"),
            ("schedule", "/schedule?id=nightly"),
            ("statistics", "/stats"),
        ];
        let ui = Ui::start(world, &["--write"]);
        for (width, colours) in [(1280, Colours::Light), (1280, Colours::Dark), (390, Colours::Light), (390, Colours::Dark)] {
            let Some(browser) = Browser::open(width, colours).await else { return };
            browser.go(&ui.address).await;
            let paper = browser.evaluate("getComputedStyle(document.body).backgroundColor").await;
            assert_eq!(paper == "rgb(22, 24, 28)", colours == Colours::Dark, "{paper}");
            for (name, view) in views {
                browser.go(&ui.view(view)).await;
                browser.shows("Cost of this view").await;
                wait::until("all parts of the view are loaded", PATIENCE, async || {
                    let left = browser.evaluate("document.querySelectorAll('[data-load] > p > a').length").await;
                    if left == 0 { Ok(()) } else { Err(left) }
                })
                .await;
                let excess = browser.evaluate("document.documentElement.scrollWidth - innerWidth").await;
                assert!(excess.as_i64().is_some_and(|excess| excess <= 0), "{name} is wider than {width} by {excess}");
                if let Some(folder) = std::env::var_os("SQJOBS_PICTURES").map(PathBuf::from) {
                    let colours = format!("{colours:?}").to_lowercase();
                    fs::write(folder.join(format!("{name}-{colours}-{width}.png")), browser.screenshot().await).expect("a file");
                }
            }
            browser.close().await;
        }
    });
}

#[test]
fn a_view_names_its_command_and_what_the_look_costs() {
    World::setup().test(async |world| {
        let ui = Ui::start(world, &[]);
        let cookie = ui.cookie();
        let (_, answer) = ui.raw("GET", "/jobs?state=failed", &[("Cookie", &cookie), ("X-Part", "1")]);
        assert!(!answer.contains("<html"), "only the content was asked for");
        let cost = answer.split("sqjobs list --limit 500").nth(1).expect("the command");
        let (requests, units) = cost.split_once(" requests, ").expect("the requests");
        let requests: u64 = requests.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a count");
        assert!(requests > 16 && units.starts_with("8.0 read units"), "16 shards, half a unit each: {cost}");
        assert!(sqjobs(world, &["list", "--failed"]).yes().is_empty());
    });
}
