//! The function `fetch`.

use report::{Fetch, Service};
use sqjobs::Worker;

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    Worker::new(Service::from_env("REPORT_SOURCE_URL")?).job::<Fetch>().run().await
}
