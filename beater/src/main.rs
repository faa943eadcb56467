//! The clock of the system: EventBridge wakes it each minute.

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    sqjobs::Beater::new().run().await
}
