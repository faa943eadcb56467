//! The function `summarize`.

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    sqjobs::run::<report::Summarize>().await
}
