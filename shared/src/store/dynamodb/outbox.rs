//! Records and listings as parts of a transaction of the application.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};

use super::{
    DynamoDb,
    error::invalid,
    item::{Item, text},
    list::{listing_id, listing_item},
};
use crate::{
    record::{Record, State},
    store::{Listing, StoreError, limit},
};

/// Attributes that the record of an ended job has, and that of a waiting job must not have.
const OF_THE_ENDED: [&str; 4] = ["finished_at", "listed", "listed_at", "purge_at"];

impl DynamoDb {
    /// Returns the parts of a transaction that create a record, if no job has its id, and its listings. If other jobs wait for the id, the
    /// table already has a record with their ids, which it keeps.
    pub(super) fn transaction_parts(&self, record: &Record, listings: &[Listing]) -> Result<Vec<TransactWriteItem>, StoreError> {
        // A record that could be written, but not be claimed, would be sent again and again.
        limit::check(&Record { state: State::Running, ..record.clone() })?;
        let mut item: Item = serde_dynamo::to_item(record).map_err(invalid)?;
        let id = item.remove("id").unwrap_or_else(|| text(&record.id));
        item.remove("dependents");
        let (mut names, mut values) = (HashMap::from([("#id".to_owned(), "id".to_owned())]), Item::new());
        let mut sets = Vec::with_capacity(item.len());
        for (name, value) in item {
            sets.push(format!("#{name} = :{name}"));
            names.insert(format!("#{name}"), name.clone());
            values.insert(format!(":{name}"), value);
        }
        values.insert(":awaited".to_owned(), text(State::Queued.as_str()));
        values.insert(":nobody".to_owned(), text(""));
        names.extend(OF_THE_ENDED.map(|name| (format!("#{name}"), name.to_owned())));
        let removes = OF_THE_ENDED.map(|name| format!("#{name}")).join(", ");
        let update = Update::builder()
            .table_name(&self.table)
            .key("id", id)
            .update_expression(format!("SET {} REMOVE {removes}", sets.join(", ")))
            .condition_expression("attribute_not_exists(#id) OR (#name = :nobody AND #state = :awaited)")
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()
            .map_err(invalid)?;
        let mut parts = vec![TransactWriteItem::builder().update(update).build()];
        // DynamoDB refuses a transaction with two operations on one item.
        let listings: BTreeMap<_, _> = listings.iter().map(|listing| (listing_id(listing), listing)).collect();
        for (id, listing) in &listings {
            let put = Put::builder().table_name(&self.table).set_item(Some(listing_item(id, listing)));
            parts.push(TransactWriteItem::builder().put(put.build().map_err(invalid)?).build());
        }
        Ok(parts)
    }
}
