//! A report of sales, made by a workflow of four small functions:
//!
//! | Function | Work | Result | Variable |
//! |---|---|---|---|
//! | `fetch` | downloads a file of sales and adds it up | cents by product | `REPORT_SOURCE_URL` |
//! | `summarize` | adds up the results of all files | the report | |
//! | `publish` | uploads the report | the name of its file | `REPORT_TARGET_URL` |
//! | `notify` | sends a text to people, and names the jobs that failed | | `REPORT_NOTIFY_URL` |
//!
//! The first two variables are URLs of folders. The last one is the URL of a webhook that accepts `{"text": ".."}`. [`report`] connects the
//! jobs: the files are fetched at the same time, and `notify` is both the closing job and the handler of failures. A producer enqueues the
//! workflow with one call:
//!
//! ```
//! # async fn enqueue(client: &sqjobs::Client) -> Result<(), sqjobs::Error> {
//! let sent = client.enqueue_one(report::report("2026-11", &["madrid.json", "porto.json"])?).await?;
//! # Ok(()) }
//! ```
//!
//! Each job may run twice after a crash. A second download changes nothing, and a second upload replaces the file with the same report. A
//! second text has the same header `Idempotency-Key`, by which its receiver can recognize it.

mod fetch;
mod notify;
mod publish;
mod service;
mod summarize;
#[cfg(test)]
mod tests;
mod workflow;

pub use crate::{
    fetch::{Fetch, Totals},
    notify::Notify,
    publish::Publish,
    service::Service,
    summarize::{Report, Summarize},
    workflow::report,
};
