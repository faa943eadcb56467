//! Imports a CSV file of any length: reads it from one folder on an HTTP server, and writes its rows to another in pieces of a thousand rows.
//!
//! | variable | value |
//! |---|---|
//! | `IMPORT_SOURCE_URL` | The folder of the CSV files. Its server must support ranges, as S3 does. |
//! | `IMPORT_TARGET_URL` | The folder to which the pieces are uploaded by `PUT`. |
//!
//! The rows of `contacts.csv` become `contacts.csv/000000.json`, `contacts.csv/000001.json` and so on: JSON arrays of objects, whose keys
//! are the columns of the header.
//!
//! After each piece, the job saves a checkpoint. If its process dies, or if the function reaches its time limit, the next attempt goes on
//! behind that piece. A piece that is uploaded again has the same rows and the same name, so each row is imported once.

mod folders;
mod pieces;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Context, Job, JobError, Policy};

pub use crate::folders::Folders;
use crate::pieces::Pieces;

/// Imports a CSV file with a header.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportCsv {
    /// The name of the file in the source folder.
    pub file: String,
}

/// The result of an import.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Number of rows without the header.
    pub rows: u64,
    /// Number of pieces.
    pub pieces: u64,
}

/// The point behind the last piece.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Checkpoint {
    /// The position of the next row in the file, in bytes.
    offset: u64,
    rows: u64,
    pieces: u64,
    columns: Vec<String>,
    /// The version of the file, if its server names one.
    etag: Option<String>,
}

impl Arguments for ImportCsv {
    const NAME: &'static str = "import-csv";
}

impl Job<Folders> for ImportCsv {
    const POLICY: Policy = Policy::new().max_attempts(10).lease(Duration::from_secs(10));
    type Output = Imported;

    async fn run(&self, ctx: &Context<Folders>) -> Result<Imported, JobError> {
        let folders = ctx.state();
        let mut done: Checkpoint = ctx.last_checkpoint()?.unwrap_or_default();
        let mut pieces = Pieces::of(&self.file, folders, &done);
        if done.columns.is_empty() {
            done = pieces.header(done).await?;
        }
        while let Some((rows, next)) = pieces.next(&done).await? {
            folders.put(&format!("{}/{:06}.json", self.file, done.pieces), &rows).await?;
            done = next;
            ctx.progress(format!("{} rows", done.rows));
            ctx.checkpoint(&done).await?;
        }
        Ok(Imported { rows: done.rows, pieces: done.pieces })
    }
}
