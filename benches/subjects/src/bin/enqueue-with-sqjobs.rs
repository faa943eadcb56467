//! Enqueues many jobs in one call.

use sqjobs::{Client, Enqueue};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let jobs: usize = std::env::args().nth(1).ok_or("how many jobs?")?.parse()?;
    let client = Client::from_env().await;
    let sent = client.enqueue_many((0..jobs).map(|number| Enqueue::named("adder", serde_json::json!([number, 2, 3])))).await;
    sent.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}
