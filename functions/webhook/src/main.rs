//! The job `webhook`: delivers a payload to a URL over HTTPS, signed according to [Standard Webhooks].
//!
//! ```json
//! {"name": "webhook", "id": "order-42-paid", "args": {"url": "https://example.com/hook", "payload": {"order": 42}}}
//! ```
//!
//! The job's id is the message id. It is the same in every attempt, so the receiver can detect duplicates. A 2xx response
//! confirms the delivery. A redirect to another host fails the job, and so does a 4xx other than 408, 425 and 429. All other
//! responses are retried over about three days, or after `Retry-After`.
//!
//! | Variable | Meaning |
//! |---|---|
//! | `WEBHOOK_SECRET` | the signing secrets, each `whsec_` followed by base64, separated by spaces; required |
//! | `WEBHOOK_ALLOW_PRIVATE` | `1` allows receivers at private addresses and plain HTTP |
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
