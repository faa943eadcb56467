//! The scaling rules and default quotas of AWS that the computation uses, each with its source.

/// Concurrent batches of an SQS event source: initially, added per minute while messages wait, and at most.
pub(crate) const SOURCE_START: f64 = 5.0;
pub(crate) const SOURCE_GROWTH: f64 = 300.0;
pub(crate) const SOURCE_MOST: f64 = 1_250.0;

/// Capacity of one event poller in provisioned mode: concurrent batches, and messages per second in batches of ten.
pub(crate) const POLLER_BATCHES: f64 = 10.0;
pub(crate) const POLLER_MESSAGES: f64 = 100.0;
/// Default maximum number of pollers.
pub(crate) const POLLERS: f64 = 200.0;
/// Concurrent batches that provisioned mode adds per minute.
pub(crate) const POLLER_GROWTH: f64 = 1_000.0;

/// Concurrent executions of an account in one region.
pub(crate) const CONCURRENCY: f64 = 1_000.0;
/// Requests per second for each concurrent execution.
pub(crate) const REQUESTS: f64 = 10.0;
/// Execution environments that a function may add in 10 s.
pub(crate) const ENVIRONMENTS: f64 = 1_000.0;

/// Messages of a queue that are received and not yet deleted.
pub(crate) const IN_FLIGHT: f64 = 120_000.0;

/// Write units per second: of a new on-demand table, of any table by quota, and of one partition.
pub(crate) const TABLE_NEW: f64 = 4_000.0;
pub(crate) const TABLE: f64 = 40_000.0;
pub(crate) const PARTITION: f64 = 1_000.0;
/// Seconds after a peak from which on the table accepts twice that peak.
pub(crate) const DOUBLING: usize = 30 * 60;

/// One rule as the document prints it.
pub(crate) struct Rule {
    /// The service that has the rule.
    pub(crate) of: &'static str,
    /// The text of the rule.
    pub(crate) says: &'static str,
    /// The page that states the rule, and the newest date found on it.
    pub(crate) source: &'static str,
}

/// All rules, in the order in which a message meets them.
pub(crate) const RULES: [Rule; 8] = [
    Rule {
        of: "SQS standard queue",
        says: "requests nearly unlimited; about 120,000 messages in flight, more on request",
        source: "SQS guide, Message quotas; API reference, ChangeMessageVisibility",
    },
    Rule {
        of: "SQS FIFO queue",
        says: "300 requests of each kind a second (3,000 messages in batches); with high throughput this is per partition, and 70,000 \
               requests in us-east-1; 120,000 in flight; concurrent batches: at most the number of active message groups",
        source: "SQS guide, Message quotas, FIFO queue quotas; Lambda guide, Scaling behavior for SQS",
    },
    Rule {
        of: "event source",
        says: "5 concurrent batches, up to 300 more a minute while messages wait, at most 1,250; back to 5 or even 2 without load",
        source: "Lambda guide, Scaling behavior for SQS (later than 2025-11; older copies say 1,000)",
    },
    Rule {
        of: "settings of the event source",
        says: "maximum concurrency 2 to 1,000 (keeps 5 pollers without load; not in provisioned mode); batch size 10, up to 10,000 on a \
               standard queue, above 10 only with a window of 1 s or more; FIFO at most 10 and no window",
        source: "the same page; Lambda guide, Parameters for SQS",
    },
    Rule {
        of: "provisioned mode of the event source",
        says: "a minimum of 2 to 200 pollers, a maximum of 2 to 10,000 (200 if unset), 1,000 more concurrent batches a minute; a poller: \
               10 concurrent batches, 10 polls a second, 1 MB/s, and 100 messages a second in batches of ten or more",
        source: "What's New, 2026-08-03 (2,000 before); Lambda guide, Using Lambda with SQS, its formula through a summary of 2026-08",
    },
    Rule {
        of: "Lambda",
        says: "an account: 1,000 concurrent executions, fewer if new, tens of thousands on request, 10 requests a second for each; a \
               function: 1,000 more environments (10,000 more requests a second) every 10 s, added continuously",
        source: "Lambda guide, Quotas, Scaling behavior",
    },
    Rule {
        of: "on-demand DynamoDB table",
        says: "new: 4,000 write and 12,000 read units a second; later twice the earlier peak, with throttling beyond that within 30 minutes; more \
               at once by warm throughput; by quota 40,000 of each, more on request; no account quota",
        source: "DynamoDB guide, On-demand capacity mode, Warm throughput, Quotas",
    },
    Rule {
        of: "partitions of the table",
        says: "1,000 write, 3,000 read units a second, about 10 GB; split when hot or full, never merged",
        source: "DynamoDB guide, Warm throughput scenarios; AWS Database Blog, Scaling DynamoDB, part 3",
    },
];
