//! A real browser, driven by the `WebDriver` protocol.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element, key::Key, wd::Capabilities};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::{wait, world::PATIENCE};

/// Said where there is none.
const MISSING: &str = "CHROMIUM AND CHROMEDRIVER ARE NOT INSTALLED: THE PAGE IS NOT TESTED IN A BROWSER";

/// The scheme of colours that the reader prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    Light,
    Dark,
}

/// A window of the browser.
pub(crate) struct Browser {
    pub(crate) client: Client,
}

/// Starts the driver once for all tests. It ends with this process, whose end closes the standard input of the shell.
fn driver() -> Option<&'static str> {
    static ADDRESS: OnceLock<Option<(String, Child)>> = OnceLock::new();
    let started = ADDRESS.get_or_init(|| {
        if Command::new("chromedriver").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("{MISSING}");
            return None;
        }
        let mut command = Command::new("sh");
        command.args(["-c", "chromedriver --port=0 --log-level=SEVERE & driver=$!; read _; kill $driver"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a shell");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let port = lines.find_map(|line| Some(line.split_once("started successfully on port ")?.1.trim_end_matches('.').to_owned()));
        let port = port.expect("the driver says its port");
        thread::spawn(move || lines.for_each(drop));
        Some((format!("http://127.0.0.1:{port}"), child))
    });
    started.as_ref().map(|(address, _)| &**address)
}

impl Browser {
    /// Opens a window of this width that can reach nothing but the loopback address. Returns `None`, and says so, if there is no browser.
    pub(crate) async fn open(width: u32, colours: Colours) -> Option<Self> {
        let driver = driver()?;
        let scheme = i32::from(colours == Colours::Light);
        let mut options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en",
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
                format!("--window-size={width},1000"), format!("--blink-settings=preferredColorScheme={scheme}"),
            ],
        });
        // A window is not narrower than 500 pixels, but a phone is.
        if width < 500 {
            options["mobileEmulation"] = json!({"deviceMetrics": {"width": width, "height": 900, "pixelRatio": 1.0, "touch": true}});
        }
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".into(), options);
        let client = ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(driver).await;
        Some(Self { client: client.expect("a window opens") })
    }

    pub(crate) async fn close(self) {
        self.client.close().await.expect("the window closes");
    }

    pub(crate) async fn go(&self, address: &str) {
        self.client.goto(address).await.expect("the page answers");
    }

    /// Returns the text of the page; it is empty while another page is loaded.
    pub(crate) async fn text(&self) -> String {
        match self.client.find(Locator::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until the page has this text.
    pub(crate) async fn shows(&self, text: &str) -> String {
        wait::until(&format!("the page shows {text}"), PATIENCE, async || {
            let shown = self.text().await;
            if shown.contains(text) { Ok(shown) } else { Err(shown) }
        })
        .await
    }

    /// Clicks the first link, button or summary with exactly this text.
    pub(crate) async fn click(&self, text: &str) {
        let path = format!("//*[self::a or self::button or self::summary][normalize-space()='{text}']");
        self.element(Locator::XPath(&path)).await.click().await.expect("it can be clicked");
    }

    pub(crate) async fn fill(&self, field: &str, text: &str) {
        let element = self.element(Locator::Css(&format!("main [name={field}]"))).await;
        element.clear().await.expect("a field");
        element.send_keys(text).await.expect("a field");
    }

    /// The view refreshes itself, so an element may vanish between two looks.
    async fn element(&self, locator: Locator<'_>) -> Element {
        self.client
            .wait()
            .at_most(Duration::from_secs(20))
            .for_element(locator)
            .await
            .unwrap_or_else(|error| panic!("{locator:?}: {error}"))
    }

    /// Presses keys, wherever the focus is.
    pub(crate) async fn press(&self, keys: &[Key]) {
        for key in keys {
            let focused = self.client.active_element().await.expect("something has the focus");
            focused.send_keys(&char::from(*key).to_string()).await.expect("a key");
        }
    }

    /// Evaluates an expression in the page.
    pub(crate) async fn evaluate(&self, expression: &str) -> Value {
        self.client.execute(&format!("return {expression}"), Vec::new()).await.expect("it is evaluated")
    }

    pub(crate) async fn screenshot(&self) -> Vec<u8> {
        self.client.screenshot().await.expect("a picture")
    }
}
