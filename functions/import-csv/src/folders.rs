//! The folders of an import, on HTTP servers.

use std::{error::Error, iter::successors, time::Duration};

use reqwest::{
    Client, RequestBuilder, Response, StatusCode,
    header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, RANGE},
    redirect,
};
use serde::Serialize;
use sqjobs::JobError;
use url::Url;

/// Maximum time for a request, with its response.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Number of bytes to read in one request.
const WINDOW: u64 = 1 << 20;

/// The folder from which files are imported, and the one to which their rows are written. The operator of the function has chosen both.
#[derive(Debug)]
pub struct Folders {
    client: Client,
    source: Url,
    target: Url,
}

/// A part of a file.
pub(crate) struct Part {
    pub(crate) bytes: Vec<u8>,
    /// `true` if it reaches the end of the file.
    pub(crate) is_last: bool,
    /// The version of the file.
    pub(crate) etag: Option<String>,
}

impl Folders {
    /// Reads the URLs of the folders from `IMPORT_SOURCE_URL` and `IMPORT_TARGET_URL`.
    ///
    /// # Errors
    ///
    /// When a variable is missing, or is no HTTP URL.
    #[expect(clippy::disallowed_methods, reason = "this module reads the settings of this function")]
    pub fn from_env() -> Result<Self, sqjobs::Error> {
        let folder = |variable: &str| {
            let url = std::env::var(variable).ok().and_then(|url| Url::parse(&url).ok());
            url.filter(|url| ["http", "https"].contains(&url.scheme())).ok_or_else(|| {
                sqjobs::Error::config(format!("{variable} is not set, or is no URL; set it to the URL of a folder, with https or http"))
            })
        };
        // An error means that a provider is already installed.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = Client::builder().timeout(ANSWER_WITHIN).redirect(redirect::Policy::none()).build();
        let client = client.map_err(|error| sqjobs::Error::config(format!("no HTTP client can be created: {}", chain(&error))))?;
        Ok(Self { client, source: folder("IMPORT_SOURCE_URL")?, target: folder("IMPORT_TARGET_URL")? })
    }

    /// Reads a part of a file from a position on. If the file has another version than `etag`, the job fails.
    pub(crate) async fn part(&self, file: &str, start: u64, etag: Option<&str>) -> Result<Part, JobError> {
        let request = self.client.get(url(&self.source, file)).header(RANGE, format!("bytes={start}-{}", start + WINDOW - 1));
        let request = if let Some(etag) = etag { request.header(IF_MATCH, etag) } else { request };
        let response = send(request, &self.source, file).await?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (status, etag, range) = (response.status(), header(ETAG), header(CONTENT_RANGE));
        match status {
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok(Part { bytes: Vec::new(), is_last: true, etag }),
            StatusCode::PRECONDITION_FAILED => {
                return Err(
                    JobError::fatal(format!("{file:?} was changed during its import; import it again as another job")).kind("changed")
                );
            }
            StatusCode::OK if start > 0 => {
                return Err(JobError::fatal(format!("{} does not support ranges, so the import cannot go on", host(&self.source))));
            }
            _ => {}
        }
        let response = checked(response, &self.source, file)?;
        let bytes = response.bytes().await.map_err(|error| unanswered(&self.source, file, error))?;
        let length = range.and_then(|range| range.rsplit_once('/')?.1.parse::<u64>().ok());
        let is_last = status == StatusCode::OK || length.is_some_and(|length| start + bytes.len() as u64 >= length);
        Ok(Part { bytes: bytes.into(), is_last, etag })
    }

    /// Uploads a file. It replaces one with the same name.
    pub(crate) async fn put(&self, file: &str, content: &impl Serialize) -> Result<(), JobError> {
        let request = self.client.put(url(&self.target, file)).header(CONTENT_TYPE, "application/json").body(serde_json::to_vec(content)?);
        let response = send(request, &self.target, file).await?;
        checked(response, &self.target, file).map(drop)
    }
}

async fn send(request: RequestBuilder, folder: &Url, file: &str) -> Result<Response, JobError> {
    request.send().await.map_err(|error| unanswered(folder, file, error))
}

/// Returns the URL of a file. No name leads out of the folder: `..` is left out.
fn url(folder: &Url, file: &str) -> Url {
    let mut url = folder.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(file.split('/'));
    }
    url
}

/// Checks the status of a response. A temporary error fails the attempt. Any other error fails the job.
fn checked(response: Response, folder: &Url, file: &str) -> Result<Response, JobError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let message = format!("{} answered {status} for {file:?}", host(folder));
    let is_temporary = status.is_server_error() || [408, 425, 429].contains(&status.as_u16());
    let error = if is_temporary { JobError::from(message) } else { JobError::fatal(message) };
    Err(error.kind(format!("http_{}", status.as_u16())))
}

fn unanswered(folder: &Url, file: &str, error: reqwest::Error) -> JobError {
    JobError::from(format!("no answer from {} for {file:?}: {}", host(folder), chain(&error.without_url()))).kind("unreachable")
}

fn host(folder: &Url) -> &str {
    folder.host_str().unwrap_or_default()
}

/// Formats an error and its causes, outermost first.
fn chain(error: &(dyn Error + 'static)) -> String {
    successors(Some(error), |&error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
