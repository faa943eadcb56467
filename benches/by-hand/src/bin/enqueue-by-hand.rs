//! A hand-written loop that enqueues many jobs: ten a request, with several requests at a time.

use aws_config::BehaviorVersion;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

const AT_A_TIME: usize = 8;

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "it has no module for its configuration")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("SQJOBS_QUEUE_URL")?;
    let jobs: usize = std::env::args().nth(1).ok_or("how many jobs?")?.parse()?;
    let https = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(https).load().await;
    let sqs = aws_sdk_sqs::Client::new(&config);
    let requests = (0..jobs).step_by(10).map(|first| {
        let request = sqs.send_message_batch().queue_url(&url).set_entries(Some((first..jobs.min(first + 10)).map(entry).collect()));
        async move {
            let answer = request.send().await.map_err(Box::new)?;
            if answer.failed.is_empty() { Ok(()) } else { Err("an entry failed".into()) }
        }
    });
    stream::iter(requests).buffer_unordered(AT_A_TIME).try_collect::<()>().await
}

fn entry(number: usize) -> SendMessageBatchRequestEntry {
    let id = Uuid::now_v7().simple();
    let body = serde_json::json!({"name": "adder", "id": format!("adder-{id}"), "args": [number, 2, 3]}).to_string();
    let entry = SendMessageBatchRequestEntry::builder().id((number % 10).to_string()).message_body(body);
    entry.build().expect("the entry is complete")
}
