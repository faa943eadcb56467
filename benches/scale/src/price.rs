//! The price list of us-east-1 in dollars. Each entry has its unit, its source and the date of the source. Free tiers are
//! left out.

/// The price of one item, by the quantity used in a month.
#[derive(Debug)]
pub(crate) struct Price {
    /// The billed item.
    pub(crate) item: &'static str,
    /// The unit that the dollars of a tier pay for.
    pub(crate) unit: &'static str,
    /// Number of counted items in one unit.
    pub(crate) per: f64,
    /// Dollars per unit, each up to a monthly quantity. The last tier has no upper limit.
    pub(crate) tiers: &'static [(f64, f64)],
    /// The page that states the price.
    pub(crate) source: &'static str,
    /// The date of the source.
    pub(crate) date: &'static str,
}

const NO_END: f64 = f64::INFINITY;
/// Bytes in a GB, as storage and logs are billed.
pub(crate) const GB: f64 = 1_073_741_824.0;

/// A write of up to 1 KB, on demand; 1.25 before November 2024.
pub(crate) const WRITE: Price = Price {
    item: "DynamoDB write request, on demand",
    unit: "million units",
    per: 1e6,
    tiers: &[(NO_END, 0.625)],
    source: "Price List `AmazonDynamoDB`",
    date: "2026-08-15",
};
/// A consistent read of up to 4 KB, on demand.
pub(crate) const READ: Price = Price { item: "DynamoDB read request, on demand", tiers: &[(NO_END, 0.125)], ..WRITE };
/// Storage of a table.
pub(crate) const STORAGE: Price = Price { item: "DynamoDB storage", unit: "GB-month", per: GB, tiers: &[(NO_END, 0.25)], ..WRITE };

/// A request to a standard queue. Above 100 billion a month it is cheaper, but no load here reaches that.
pub(crate) const STANDARD: Price = Price {
    item: "SQS standard, request of up to 64 KB",
    unit: "million",
    per: 1e6,
    tiers: &[(NO_END, 0.40)],
    source: "Price List `AWSQueueService`",
    date: "2025-08-28",
};
/// A request to a FIFO queue.
pub(crate) const FIFO: Price = Price { item: "SQS FIFO, request of up to 64 KB", tiers: &[(NO_END, 0.50)], ..STANDARD };

/// An invocation.
pub(crate) const INVOCATION: Price = Price {
    item: "Lambda request",
    unit: "million",
    per: 1e6,
    tiers: &[(NO_END, 0.20)],
    source: "Price List `AWSLambda`",
    date: "2026-09-19",
};
/// A GB-second of a function for arm64.
pub(crate) const ARM: Price = Price {
    item: "Lambda duration, arm64",
    unit: "GB-second",
    per: 1.0,
    tiers: &[(7.5e9, 0.000_013_333_4), (18.75e9, 0.000_012_000_1), (NO_END, 0.000_010_666_7)],
    ..INVOCATION
};
/// A GB-second of a function for x86.
pub(crate) const X86: Price =
    Price { item: "Lambda duration, x86", tiers: &[(6e9, 0.000_016_666_7), (15e9, 0.000_015), (NO_END, 0.000_013_333_4)], ..ARM };
/// An hour of one event poller of an SQS event source in provisioned mode.
pub(crate) const POLLER: Price =
    Price { item: "SQS event poller, provisioned mode", unit: "hour", per: 1.0, tiers: &[(NO_END, 0.009_25)], ..INVOCATION };

/// Logs of a function, ingested into the standard class.
pub(crate) const LOGS: Price = Price {
    item: "CloudWatch Logs from Lambda, ingestion",
    unit: "GB",
    per: GB,
    tiers: &[(1e4 * GB, 0.50), (3e4 * GB, 0.25), (5e4 * GB, 0.10), (NO_END, 0.05)],
    source: "Price List `AmazonCloudWatch`; tiers: Duckbill on AWS's announcement of 2025-05-01",
    date: "2026-08-06",
};

/// All prices, in the order of the document.
pub(crate) const LIST: [Price; 10] = [WRITE, READ, STORAGE, STANDARD, FIFO, INVOCATION, ARM, X86, POLLER, LOGS];

impl Price {
    /// Returns the cost of `quantity` in a month, tier by tier.
    pub(crate) fn of(&self, quantity: f64) -> f64 {
        let mut from = 0.0;
        let mut dollars = 0.0;
        for &(to, price) in self.tiers {
            dollars += (quantity.min(to) - from).max(0.0) / self.per * price;
            from = to;
        }
        dollars
    }
}

#[cfg(test)]
mod tests {
    use super::{ARM, GB, LOGS, WRITE};

    fn assert_close(dollars: f64, expected: f64) {
        assert!((dollars - expected).abs() < 1e-6 * expected, "{dollars} is not {expected}");
    }

    #[test]
    fn a_million_writes_cost_what_the_list_says() {
        assert_close(WRITE.of(1e6), 0.625);
    }

    #[test]
    fn only_the_quantity_beyond_a_tier_has_the_next_price() {
        assert_close(ARM.of(8e9), 7.5e9 * 0.000_013_333_4 + 0.5e9 * 0.000_012_000_1);
        assert_close(LOGS.of(6e4 * GB), 5_000.0 + 5_000.0 + 2_000.0 + 500.0);
    }
}
