//! The HTTP service that a function reads from or writes to.

use std::{error::Error, iter::successors, time::Duration};

use reqwest::{Client, Method, RequestBuilder, Response, header::CONTENT_TYPE, redirect};
use serde::Serialize;
use sqjobs::JobError;
use url::Url;

/// Maximum time for a request, with its response.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Maximum size of a response, in bytes.
const MAX_BYTES: usize = 10_000_000;

/// A folder on an HTTP server, which the operator of the function has chosen. Jobs name only files in it.
#[derive(Debug)]
pub struct Service {
    client: Client,
    folder: Url,
}

impl Service {
    /// Reads the URL of the folder from a variable of the environment.
    ///
    /// # Errors
    ///
    /// When the variable is missing, or is no HTTP URL.
    #[expect(clippy::disallowed_methods, reason = "this module reads the settings of these functions")]
    pub fn from_env(variable: &str) -> Result<Self, sqjobs::Error> {
        let refuse = |flaw: String| sqjobs::Error::config(format!("{variable} {flaw}; set it to a URL with https or http"));
        let url = std::env::var(variable).map_err(|_| refuse("is not set".into()))?;
        Self::new(&url).map_err(refuse)
    }

    /// Creates a service for the folder with this URL.
    ///
    /// # Errors
    ///
    /// Names the flaw of the URL. The text does not contain the URL, because a URL may contain a token.
    pub(crate) fn new(url: &str) -> Result<Self, String> {
        let folder = Url::parse(url).map_err(|error| format!("is no URL: {error}"))?;
        if !["http", "https"].contains(&folder.scheme()) {
            return Err(format!("is a URL with {}", folder.scheme()));
        }
        // An error means that a provider is already installed.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = Client::builder().timeout(ANSWER_WITHIN).redirect(redirect::Policy::none()).build();
        Ok(Self { client: client.map_err(|error| format!("cannot be used: {}", chain(&error)))?, folder })
    }

    /// Downloads a file.
    pub(crate) async fn get(&self, file: &str) -> Result<Vec<u8>, JobError> {
        let mut response = self.send(file, self.client.get(self.url(file))).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unanswered(file, error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_BYTES {
                return Err(JobError::fatal(format!("{file:?} has more than {MAX_BYTES} bytes")).kind("too_large"));
            }
        }
        Ok(bytes)
    }

    /// Uploads a file. It replaces one with the same name.
    pub(crate) async fn put(&self, file: &str, content: &impl Serialize) -> Result<(), JobError> {
        self.send(file, with_json(self.client.request(Method::PUT, self.url(file)), content)?).await.map(drop)
    }

    /// Sends a message to the URL of the folder itself, with a key by which the receiver can recognize a repetition.
    pub(crate) async fn post(&self, key: &str, message: &impl Serialize) -> Result<(), JobError> {
        let request = self.client.post(self.folder.clone()).header("idempotency-key", key);
        self.send("", with_json(request, message)?).await.map(drop)
    }

    /// Returns the URL of a file. No name leads out of the folder: `..` is left out.
    fn url(&self, file: &str) -> Url {
        let mut url = self.folder.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(file.split('/'));
        }
        url
    }

    /// Sends a request. A temporary error fails the attempt. Any other error fails the job.
    async fn send(&self, file: &str, request: RequestBuilder) -> Result<Response, JobError> {
        let response = request.send().await.map_err(|error| self.unanswered(file, error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let message = format!("{} answered {status}{}", self.host(), about(file));
        let is_temporary = status.is_server_error() || [408, 425, 429].contains(&status.as_u16());
        let error = if is_temporary { JobError::from(message) } else { JobError::fatal(message) };
        Err(error.kind(format!("http_{}", status.as_u16())))
    }

    fn unanswered(&self, file: &str, error: reqwest::Error) -> JobError {
        let message = format!("no answer from {}{}: {}", self.host(), about(file), chain(&error.without_url()));
        JobError::from(message).kind("unreachable")
    }

    fn host(&self) -> &str {
        self.folder.host_str().unwrap_or_default()
    }
}

fn about(file: &str) -> String {
    if file.is_empty() { String::new() } else { format!(" for {file:?}") }
}

fn with_json(request: RequestBuilder, content: &impl Serialize) -> Result<RequestBuilder, JobError> {
    Ok(request.header(CONTENT_TYPE, "application/json").body(serde_json::to_vec(content)?))
}

/// Formats an error and its causes, outermost first.
fn chain(error: &(dyn Error + 'static)) -> String {
    successors(Some(error), |&error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_inside_of_the_folder() {
        for folder in ["https://example.com/sales", "https://example.com/sales/"] {
            let service = Service::new(folder).unwrap();
            let url = |file: &str| service.url(file).to_string();
            assert_eq!(url("2026-11/madrid.json"), "https://example.com/sales/2026-11/madrid.json");
            assert_eq!(url("../secret"), "https://example.com/sales/secret");
            assert_eq!(url("?token"), "https://example.com/sales/%3Ftoken");
            assert_eq!(url("//evil.example/a"), "https://example.com/sales///evil.example/a");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_repeated() {
        assert_eq!(Service::new("ftp://example.com/token-123").unwrap_err(), "is a URL with ftp");
        assert_eq!(Service::new("example").unwrap_err(), "is no URL: relative URL without a base");
    }
}
