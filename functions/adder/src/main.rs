//! The function `adder`.

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    sqjobs::run::<adder::Adder>().await
}
