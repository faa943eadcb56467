//! The job `webhook`: delivers a payload to a URL over HTTPS, signed as [Standard Webhooks] say.
//!
//! ```json
//! {"name": "webhook", "id": "order-42-paid", "args": {"url": "https://example.com/hook", "payload": {"order": 42}}}
//! ```
//!
//! The job's id is the message id, the same in every attempt, so that the receiver can tell a repetition. A 2xx answer
//! is a delivery; a redirect to elsewhere and a 4xx, except 408, 425 and 429, end the job as failed; all else is tried
//! again over about three days, or when `Retry-After` says so.
//!
//! | Variable | Meaning |
//! |---|---|
//! | `WEBHOOK_SECRET` | the signing secrets, `whsec_` and base64 each, separated by spaces; required |
//! | `WEBHOOK_ALLOW_PRIVATE` | `1`: receivers may be at private addresses and speak plain HTTP |
//!
//! [Standard Webhooks]: https://www.standardwebhooks.com

mod address;
mod answer;
mod config;
mod destination;
mod failure;
mod header;
mod job;
mod sender;
mod sign;
#[cfg(test)]
mod tests;
mod webhook;

use sqjobs::Worker;

use crate::{config::Config, sender::Sender, webhook::Webhook};

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    let Config { keys, reach } = Config::from_env()?;
    let sender = Sender::new(keys, reach)?;
    Worker::new(sender).job::<Webhook>().run().await
}
