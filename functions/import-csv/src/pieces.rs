//! The pieces of a CSV file. A piece depends only on the file and on its position, so it is the same in each attempt.

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value};
use sqjobs::JobError;

use crate::{
    Checkpoint,
    folders::{Folders, Part},
};

/// Number of rows of each piece but the last one.
const ROWS: usize = 1_000;
/// Maximum bytes of a piece.
const MAX_BYTES: usize = 32 << 20;

/// The rows of a piece.
pub(crate) type Rows = Vec<Map<String, Value>>;

/// Reads pieces from a file.
pub(crate) struct Pieces<'a> {
    file: &'a str,
    folders: &'a Folders,
    /// A part of the file, from `start` on.
    bytes: Vec<u8>,
    start: u64,
    /// `true` if the part reaches the end of the file.
    is_last: bool,
    etag: Option<String>,
}

impl<'a> Pieces<'a> {
    pub(crate) fn of(file: &'a str, folders: &'a Folders, done: &Checkpoint) -> Self {
        Self { file, folders, bytes: Vec::new(), start: done.offset, is_last: false, etag: done.etag.clone() }
    }

    /// Reads the header. Returns the point behind it.
    pub(crate) async fn header(&mut self, done: Checkpoint) -> Result<Checkpoint, JobError> {
        let (records, offset) = self.records(done.offset, 1).await?;
        let Some(header) = records.first() else { return Err(invalid(self.file, "it is empty; it needs a header")) };
        let columns = texts(header).ok_or_else(|| invalid(self.file, "its header is not UTF-8"))?.map(str::to_owned).collect();
        Ok(Checkpoint { offset, columns, etag: self.etag.clone(), ..done })
    }

    /// Reads the next piece. Returns its rows and the point behind it, or `None` at the end of the file.
    pub(crate) async fn next(&mut self, done: &Checkpoint) -> Result<Option<(Rows, Checkpoint)>, JobError> {
        let (records, offset) = self.records(done.offset, ROWS).await?;
        let mut rows = Rows::with_capacity(records.len());
        for (number, record) in (done.rows + 1..).zip(&records) {
            let flawed = |flaw: String| invalid(self.file, &format!("row {number} {flaw}"));
            if record.len() != done.columns.len() {
                return Err(flawed(format!("has {} fields, but the header has {}", record.len(), done.columns.len())));
            }
            let fields = texts(record).ok_or_else(|| flawed("is not UTF-8".into()))?;
            rows.push(done.columns.iter().cloned().zip(fields.map(Value::from)).collect());
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let next = Checkpoint { offset, rows: done.rows + rows.len() as u64, pieces: done.pieces + 1, ..done.clone() };
        Ok(Some((rows, next)))
    }

    /// Reads at most `count` records from `offset` on. Returns the offset behind them.
    async fn records(&mut self, offset: u64, count: usize) -> Result<(Vec<ByteRecord>, u64), JobError> {
        self.bytes.drain(..usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.bytes.len()));
        self.start = offset;
        loop {
            let (records, end) = self.complete(count)?;
            if records.len() == count || self.is_last {
                return Ok((records, offset + end));
            }
            if self.bytes.len() > MAX_BYTES {
                return Err(invalid(self.file, &format!("{count} rows have more than {MAX_BYTES} bytes; is a quote not closed?")));
            }
            let Part { bytes, is_last, etag } =
                self.folders.part(self.file, self.start + self.bytes.len() as u64, self.etag.as_deref()).await?;
            self.bytes.extend(bytes);
            (self.is_last, self.etag) = (is_last, etag);
        }
    }

    /// Returns the first complete records in the bytes, at most `count`, and the position behind them. The last record is complete only if
    /// something follows it, or at the end of the file.
    fn complete(&self, count: usize) -> Result<(Vec<ByteRecord>, u64), JobError> {
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&*self.bytes);
        let (mut records, mut end) = (Vec::new(), 0);
        let mut record = ByteRecord::new();
        while records.len() < count && reader.read_byte_record(&mut record).map_err(|error| invalid(self.file, &error.to_string()))? {
            let behind = reader.position().byte();
            if behind == self.bytes.len() as u64 && !self.is_last {
                break;
            }
            end = behind;
            records.push(record.clone());
        }
        Ok((records, end))
    }
}

fn texts(record: &ByteRecord) -> Option<impl Iterator<Item = &str>> {
    record.iter().map(|field| std::str::from_utf8(field).ok()).collect::<Option<Vec<_>>>().map(Vec::into_iter)
}

fn invalid(file: &str, flaw: &str) -> JobError {
    JobError::fatal(format!("cannot import {file:?}: {flaw}")).kind("invalid_file")
}
