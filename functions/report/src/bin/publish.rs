//! The function `publish`.

use report::{Publish, Service};
use sqjobs::Worker;

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    Worker::new(Service::from_env("REPORT_TARGET_URL")?).job::<Publish>().run().await
}
