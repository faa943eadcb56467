//! The function `notify`.

use report::{Notify, Service};
use sqjobs::Worker;

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    Worker::new(Service::from_env("REPORT_NOTIFY_URL")?).job::<Notify>().run().await
}
