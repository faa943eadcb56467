//! The function `import-csv`.

use import_csv::{Folders, ImportCsv};
use sqjobs::Worker;

#[tokio::main]
async fn main() -> Result<(), sqjobs::Error> {
    Worker::new(Folders::from_env()?).job::<ImportCsv>().run().await
}
