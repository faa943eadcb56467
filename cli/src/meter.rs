//! Counts requests to AWS, and the read units of DynamoDB.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{AfterDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextMut},
    },
    error::BoxError,
    operation::{
        batch_get_item::{BatchGetItemInput, BatchGetItemOutput},
        get_item::{GetItemInput, GetItemOutput},
        query::{QueryInput, QueryOutput},
        scan::{ScanInput, ScanOutput},
    },
    types::{ConsumedCapacity, ReturnConsumedCapacity},
};

/// The cost of the requests so far. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    /// In thousandths, because an eventually consistent read of 4 KB costs half a unit.
    read_units: AtomicU64,
}

impl Meter {
    fn add_units(&self, capacity: &ConsumedCapacity) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a request reads at most a few thousand units")]
        let thousandths = (capacity.capacity_units().unwrap_or_default() * 1000.0).round() as u64;
        self.0.read_units.fetch_add(thousandths, Ordering::Relaxed);
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, thousandths) = (self.0.requests.load(Ordering::Relaxed), self.0.read_units.load(Ordering::Relaxed));
        let requests_word = if requests == 1 { "request" } else { "requests" };
        let (units, tenths) = (thousandths / 1000, thousandths % 1000 / 100);
        write!(formatter, "{requests} {requests_word}, {units}.{tenths} read units")
    }
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let input = context.input_mut();
        let total = Some(ReturnConsumedCapacity::Total);
        if let Some(input) = input.downcast_mut::<GetItemInput>() {
            input.return_consumed_capacity = total;
        } else if let Some(input) = input.downcast_mut::<BatchGetItemInput>() {
            input.return_consumed_capacity = total;
        } else if let Some(input) = input.downcast_mut::<QueryInput>() {
            input.return_consumed_capacity = total;
        } else if let Some(input) = input.downcast_mut::<ScanInput>() {
            input.return_consumed_capacity = total;
        }
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Ok(output) = context.output_or_error() else { return Ok(()) };
        let one = output
            .downcast_ref::<GetItemOutput>()
            .and_then(GetItemOutput::consumed_capacity)
            .or_else(|| output.downcast_ref::<QueryOutput>()?.consumed_capacity())
            .or_else(|| output.downcast_ref::<ScanOutput>()?.consumed_capacity());
        let many = output.downcast_ref::<BatchGetItemOutput>().map(BatchGetItemOutput::consumed_capacity).unwrap_or_default();
        one.into_iter().chain(many).for_each(|capacity| self.add_units(capacity));
        Ok(())
    }
}
