//! The scan of the table, one part at a time.

use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;

use super::{
    DynamoDb,
    error::failed,
    item::{Item, record, text},
};
use crate::{
    record::{Dlq, Record},
    store::StoreError,
};

/// Minimum number of parts of a table scan. One part is read per minute.
pub(crate) const SEGMENTS: i32 = 60;
/// Maximum number of parts that DynamoDB accepts.
const MOST_SEGMENTS: i32 = 1_000_000;
/// Size of one part of a large table, in bytes.
const PART_BYTES: i64 = 16 << 20;
/// Maximum number of pages, of one megabyte each, that are read from one part.
const MOST_PAGES: usize = 32;

impl DynamoDb {
    /// Reads the records in one part of the table that are unfinished or whose dead letter is still to be sent.
    pub(super) async fn scan_unfinished(&self, turn: u64) -> Result<Vec<Result<Record, StoreError>>, StoreError> {
        let described = self.client.describe_table().table_name(&self.table).send().await.map_err(|error| failed(&self.table, error))?;
        let bytes = described.table.and_then(|table| table.table_size_bytes).unwrap_or(0);
        let scan = self.client.scan().table_name(&self.table);
        // All items except the records of unfinished jobs have a `purge_at`.
        let scan = scan.filter_expression("attribute_not_exists(purge_at) OR dlq = :pending");
        let scan = scan.expression_attribute_values(":pending", text(Dlq::Pending.as_str()));
        Ok(segment_items(scan, turn, segments(bytes)).await?.into_iter().map(record).collect())
    }
}

/// Returns the number of parts of a scan for a table of that size. A part is 16 MB, which is 2,048 read units.
fn segments(bytes: i64) -> i32 {
    i32::try_from(bytes / PART_BYTES).unwrap_or(MOST_SEGMENTS).clamp(SEGMENTS, MOST_SEGMENTS)
}

/// Reads the items in the part of a table that `turn` selects.
pub(crate) async fn segment_items(scan: ScanFluentBuilder, turn: u64, segments: i32) -> Result<Vec<Item>, StoreError> {
    let segment = i32::try_from(turn % u64::from(segments.unsigned_abs())).unwrap_or(0);
    let table = scan.get_table_name().clone().unwrap_or_default();
    let scan = scan.segment(segment).total_segments(segments);
    let mut items = Vec::new();
    let mut from = None;
    for _ in 0..MOST_PAGES {
        let answer = scan.clone().set_exclusive_start_key(from).send().await.map_err(|error| failed(&table, error))?;
        items.extend(answer.items.unwrap_or_default());
        from = answer.last_evaluated_key;
        if from.is_none() {
            return Ok(items);
        }
    }
    tracing::warn!(
        segment,
        segments,
        "cannot scan a part of the table completely, because the part is too large; the parts of a \
         table of records become smaller within hours, when DynamoDB updates the size of the table"
    );
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_scanned_in_parts_of_16_megabytes() {
        assert_eq!([0, 60, 61].map(|parts| segments(parts * PART_BYTES)), [60, 60, 61]);
        assert_eq!(segments(62 * PART_BYTES - 1), 61);
        assert_eq!(segments(i64::MAX), 1_000_000);
    }
}
