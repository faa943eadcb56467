//! The job: one delivery per attempt.

use std::time::Duration;

use sqjobs::{Arguments, Backoff, Context, Job, JobError, Policy};

use crate::{
    sender::{Attempt, Delivered, Sender},
    webhook::Webhook,
};

/// Maximum time for the receiver's response.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Time reserved at the end of an attempt to record its outcome.
const MARGIN: Duration = Duration::from_secs(1);

impl Arguments for Webhook {
    const NAME: &'static str = "webhook";
}

impl Job<Sender> for Webhook {
    // Attempts over about three days, as the specification recommends.
    const POLICY: Policy = Policy::new()
        .max_attempts(20)
        .timeout(Duration::from_secs(20))
        .backoff(Backoff::exponential(Duration::from_secs(5), Duration::from_hours(12)));
    type Output = Delivered;

    async fn run(&self, ctx: &Context<Sender>) -> Result<Delivered, JobError> {
        let attempt = Attempt { job_id: ctx.id(), now: ctx.now(), limit: limit(ctx.remaining()) };
        Ok(ctx.state().deliver(self, &attempt).await?)
    }
}

/// Returns the maximum time of a request, given the remaining time of the attempt.
fn limit(remaining: Duration) -> Duration {
    remaining.saturating_sub(MARGIN).min(ANSWER_WITHIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_before_its_attempt_does() {
        assert_eq!(limit(Duration::from_secs(20)), ANSWER_WITHIN);
        assert_eq!(limit(Duration::from_secs(4)), Duration::from_secs(3));
        assert_eq!(limit(Duration::ZERO), Duration::ZERO);
    }
}
