//! Counts the requests to the table and to the queues.

use std::sync::atomic::{AtomicU64, Ordering};

/// The requests of a process since its last line, and their errors. The retries of the SDK count too.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    store: Service,
    queue: Service,
}

#[derive(Debug, Default)]
struct Service {
    sent: AtomicU64,
    errors: AtomicU64,
}

/// A reading of [`Requests`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) store: u64,
    pub(crate) store_errors: u64,
    pub(crate) queue: u64,
    pub(crate) queue_errors: u64,
}

impl Requests {
    /// Counts a request by its header `x-amz-target`, which names the service. `is_error`: it has no answer, or an error.
    pub(crate) fn count(&self, target: Option<&str>, is_error: bool) {
        let service = match target {
            Some(target) if target.starts_with("DynamoDB") => &self.store,
            Some(target) if target.starts_with("AmazonSQS") => &self.queue,
            _ => return,
        };
        service.sent.fetch_add(1, Ordering::Relaxed);
        service.errors.fetch_add(u64::from(is_error), Ordering::Relaxed);
    }

    /// Counts the parts of a successful answer that failed.
    pub(crate) fn store_failed(&self, parts: usize) {
        self.store.errors.fetch_add(parts as u64, Ordering::Relaxed);
    }

    /// Counts the parts of a successful answer that failed.
    pub(crate) fn queue_failed(&self, parts: usize) {
        self.queue.errors.fetch_add(parts as u64, Ordering::Relaxed);
    }

    /// Returns the counts, and resets them.
    pub(crate) fn take(&self) -> Counts {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Counts {
            store: take(&self.store.sent),
            store_errors: take(&self.store.errors),
            queue: take(&self.queue.sent),
            queue_errors: take(&self.queue.errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_service_until_they_are_taken() {
        let requests = Requests::default();
        requests.count(Some("DynamoDB_20120810.BatchExecuteStatement"), false);
        requests.count(Some("DynamoDB_20120810.Query"), true);
        requests.count(Some("AmazonSQS.SendMessageBatch"), true);
        requests.count(Some("Logs.PutLogEvents"), true);
        requests.count(None, true);
        requests.store_failed(2);
        requests.queue_failed(3);
        assert_eq!(requests.take(), Counts { store: 2, store_errors: 3, queue: 1, queue_errors: 4 });
        assert_eq!(requests.take(), Counts::default());
    }
}
