//! The job `fetch`: downloads a file of sales and adds it up.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use sqjobs::{Arguments, Context, Job, JobError, Policy};

use crate::service::Service;

/// A file of sales: a JSON array of objects such as `{"product": "tea", "cents": 350}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// The name of the file.
    pub file: String,
}

/// Cents by product.
pub type Totals = BTreeMap<String, i64>;

#[derive(Deserialize)]
struct Sale {
    product: String,
    cents: i64,
}

impl Arguments for Fetch {
    const NAME: &'static str = "fetch";
}

impl Job<Service> for Fetch {
    const POLICY: Policy = Policy::new().timeout(Duration::from_secs(30));
    // Small, since it goes into the record. The file itself may have megabytes.
    type Output = Totals;

    async fn run(&self, ctx: &Context<Service>) -> Result<Totals, JobError> {
        let content = ctx.state().get(&self.file).await?;
        totals(&content).map_err(|flaw| JobError::fatal(format!("cannot add up {:?}: {flaw}", self.file)).kind("invalid_file"))
    }
}

fn totals(content: &[u8]) -> Result<Totals, String> {
    let sales: Vec<Sale> = serde_json::from_slice(content).map_err(|error| error.to_string())?;
    let mut totals = Totals::new();
    for Sale { product, cents } in sales {
        add(&mut totals, product, cents)?;
    }
    Ok(totals)
}

/// Adds cents to the total of a product.
pub(crate) fn add(totals: &mut Totals, product: String, cents: i64) -> Result<(), String> {
    let total = totals.get(&product).copied().unwrap_or_default().checked_add(cents);
    let total = total.ok_or_else(|| format!("the total of {product:?} does not fit into 64 bits"))?;
    totals.insert(product, total);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sales_of_a_product_are_added() {
        let content = br#"[{"product": "tea", "cents": 350}, {"product": "cup", "cents": 900}, {"product": "tea", "cents": -50}]"#;
        assert_eq!(totals(content), Ok([("cup".into(), 900), ("tea".into(), 300)].into()));
    }

    #[test]
    fn a_flaw_of_a_file_is_named() {
        let flaw = totals(br#"[{"product": "tea", "cents": 3.5}]"#).unwrap_err();
        assert!(flaw.starts_with("invalid type: floating point `3.5`, expected i64 at line 1"), "{flaw}");
        let huge = format!(r#"[{{"product": "tea", "cents": {}}}, {{"product": "tea", "cents": 1}}]"#, i64::MAX);
        assert_eq!(totals(huge.as_bytes()), Err("the total of \"tea\" does not fit into 64 bits".into()));
    }
}
