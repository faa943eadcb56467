//! Sends one delivery: signs the request and classifies its response.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::{
    Client, Response, Url,
    header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER},
    redirect,
};
use serde::Serialize;

use crate::{
    address::PublicResolver,
    answer::classify,
    destination::{Reach, parse_url},
    failure::{Failure, chain},
    header::request_headers,
    sign::{Key, message_id, sign},
    webhook::Webhook,
};

const MAX_REDIRECTS: usize = 3;

/// State shared by all deliveries of a process: connections, keys and allowed destinations.
pub(crate) struct Sender {
    client: Client,
    keys: Vec<Key>,
    reach: Reach,
}

/// The properties of an attempt that a delivery needs.
pub(crate) struct Attempt<'a> {
    pub(crate) job_id: &'a str,
    pub(crate) now: Timestamp,
    /// Maximum time for the receiver's response.
    pub(crate) limit: Duration,
}

/// A delivery that the receiver confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Delivered {
    /// The status of the response.
    pub(crate) status: u16,
    /// Response time in milliseconds.
    pub(crate) milliseconds: u64,
}

impl Sender {
    /// Creates the client, once for all deliveries.
    ///
    /// # Errors
    ///
    /// When the system has no certificate authorities.
    pub(crate) fn new(keys: Vec<Key>, reach: Reach) -> Result<Self, sqjobs::Error> {
        let client = client(reach).map_err(|error| sqjobs::Error::config(format!("cannot set up HTTPS: {}", chain(&error))))?;
        Ok(Self { client, keys, reach })
    }

    /// Sends the request once. Reads only the status and the headers of the response.
    pub(crate) async fn deliver(&self, webhook: &Webhook, attempt: &Attempt<'_>) -> Result<Delivered, Failure> {
        let url = parse_url(&webhook.url, self.reach)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let payload = webhook.payload.to_string();
        let mut headers = request_headers(&webhook.headers)?;
        self.sign(&mut headers, attempt, &payload);

        let started = Instant::now();
        let request = self.client.post(url).headers(headers).body(payload).timeout(attempt.limit);
        let response = request.send().await.map_err(|error| Failure::unanswered(&host, error))?;
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        judge(&host, &response, attempt.now)?;
        Ok(Delivered { status: response.status().as_u16(), milliseconds })
    }

    /// Adds the headers that let the receiver identify and authenticate the message.
    fn sign(&self, headers: &mut HeaderMap, attempt: &Attempt<'_>, payload: &str) {
        let id = message_id(attempt.job_id);
        let timestamp = attempt.now.as_second();
        let signature = sign(&self.keys, &id, timestamp, payload.as_bytes());
        headers.insert("webhook-id", ascii(id));
        headers.insert("webhook-timestamp", timestamp.into());
        headers.insert("webhook-signature", ascii(signature));
    }
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("message ids and signatures are visible ASCII and spaces")
}

fn client(reach: Reach) -> reqwest::Result<Client> {
    // An error means that a provider is already installed.
    rustls::crypto::ring::default_provider().install_default().ok();
    let builder = Client::builder()
        .no_proxy() // a proxy would resolve names itself, without our check
        .referer(false)
        .redirect(redirect::Policy::custom(follow_or_stop));
    match reach {
        Reach::Public => builder.dns_resolver(PublicResolver),
        Reach::Anywhere => builder,
    }
    .build()
}

/// Follows an allowed redirect; otherwise the redirect itself becomes the response.
fn follow_or_stop(attempt: redirect::Attempt<'_>) -> redirect::Action {
    if followed(attempt.status().as_u16(), attempt.previous(), attempt.url()) { attempt.follow() } else { attempt.stop() }
}

/// Returns `true` for a redirect that keeps the request unchanged and stays at the receiver. Other statuses would turn the
/// POST into a GET. Another host would receive a payload not meant for it, at an unchecked address.
fn followed(status: u16, visited: &[Url], next: &Url) -> bool {
    let keeps_the_request = matches!(status, 307 | 308);
    let same_receiver = visited.last().is_some_and(|from| from.origin() == next.origin());
    keeps_the_request && same_receiver && visited.len() <= MAX_REDIRECTS
}

fn judge(host: &str, response: &Response, now: Timestamp) -> Result<(), Failure> {
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let status = response.status();
    classify(status.as_u16(), retry_after, now).map_err(|next| {
        let message = match redirect_target(response) {
            Some(target) => format!(
                "{host} answered {status}, to {target}: only 307 and 308 to the same scheme, host and port are followed, \
                 {MAX_REDIRECTS} times at most; give the final url"
            ),
            None => format!("{host} answered {status}"),
        };
        Failure { kind: format!("http_{}", status.as_u16()), message, next }
    })
}

/// Returns the scheme, host and port of a redirect.
fn redirect_target(response: &Response) -> Option<String> {
    let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection())?;
    let target = response.url().join(location.to_str().ok()?).ok()?;
    Some(target.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed_to(status: u16, visited: &[&str], next: &str) -> bool {
        let visited: Vec<Url> = visited.iter().map(|url| url.parse().unwrap()).collect();
        followed(status, &visited, &next.parse().unwrap())
    }

    #[test]
    fn a_redirect_is_followed_only_when_the_request_stays_what_it_was() {
        let follows = |status| followed_to(status, &["https://a.example/x"], "https://a.example/x/");
        assert!([307, 308].into_iter().all(follows));
        assert!(![301, 302, 303].into_iter().any(follows));
    }

    #[test]
    fn a_redirect_is_followed_only_at_the_same_receiver() {
        let follows = |next| followed_to(308, &["https://a.example/"], next);
        assert!(follows("https://a.example:443/x"));
        assert!(!["https://b.example/", "https://sub.a.example/", "http://a.example/", "https://a.example:8443/"].into_iter().any(follows));
    }

    #[test]
    fn redirects_are_followed_three_times_at_most() {
        let hops = ["https://a.example/1", "https://a.example/2", "https://a.example/3", "https://a.example/4"];
        assert!(followed_to(307, &hops[..3], hops[3]));
        assert!(!followed_to(307, &hops, "https://a.example/5"));
    }
}
