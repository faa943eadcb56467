//! Background jobs as AWS Lambda functions. SQS delivers the jobs; DynamoDB records them and fences their attempts.
//!
//! A job is a struct with its [`Arguments`] that implements [`Job`]. [`run`] turns it into a program: a Lambda handler on AWS, and a
//! runner of messages from standard input anywhere else. A [`Client`] enqueues jobs and reads their results. Any other language can do
//! the same: it sends an [`Envelope`] to SQS and reads the [`Record`] from DynamoDB.
//!
//! | you write | you configure | you call | you inspect |
//! |---|---|---|---|
//! | [`Arguments`], [`Job`], [`Context`], [`JobError`] | [`Policy`], [`Backoff`], [`Recording`], [`StoreFailure`] | [`run`], [`Worker`], [`Client`], [`Enqueue`] | [`Record`], [`State`], [`Failure`] |
//! | [`Middleware`], [`Next`], [`Attempt`], [`Reporter`], [`PublishHook`] | | [`testing::Eager`] | |
//! | [`Entry`], [`Schedule`] | [`CatchUp`] | [`Beater`], [`Schedules`] | [`Scheduled`], [`Timetable`] |
//! | | | | [`Letter`], [`Redrive`] |
//!
//! Two ports, [`store`] and [`queue`], keep the records and the messages. Each has an adapter for AWS and one in memory.

// Without the feature `operator`, the parts for the command are `pub` but unreachable. The workspace is checked with the feature.
#![cfg_attr(not(feature = "operator"), allow(unreachable_pub))]

mod attempt;
mod beater;
mod chain;
mod client;
mod clock;
mod config;
pub mod envelope;
mod error;
mod http;
mod job;
mod job_error;
mod keys;
mod letter;
#[cfg(not(feature = "operator"))]
mod lifecycle;
#[cfg(feature = "operator")]
pub mod lifecycle;
mod links;
mod metrics;
mod middleware;
mod names;
mod outbox;
mod panics;
mod policy;
pub mod queue;
mod record;
mod reporter;
mod retry;
pub mod schedule;
#[cfg(feature = "operator")]
pub mod setup;
#[cfg(not(feature = "operator"))]
mod stats;
#[cfg(feature = "operator")]
pub mod stats;
pub mod store;
mod telemetry;
pub mod testing;
mod traces;
mod worker;

#[cfg(feature = "sentry")]
pub use crate::reporter::Sentry;
#[cfg(feature = "poll")]
pub use crate::worker::{Poll, QueueOrder};
pub use crate::{
    attempt::{Attempt, Context},
    beater::{Beater, CatchUp, Entry, Scheduled, Schedules},
    client::{
        By, Cancelled, CancelledJobs, Client, Enqueue, Enqueued, Graph, GraphJob, KeyWait, Limit, OutboxJob, PublishHook, RateLimit, Waits,
        Workflow,
    },
    clock::Clock,
    envelope::{Envelope, Keys, OnConflict, Otherwise, Priority, Rate, Step, UniqueFor, Until, When, output},
    error::Error,
    job::{Arguments, Job},
    job_error::JobError,
    letter::{Letter, Redrive},
    middleware::{Middleware, Next},
    policy::{Policy, Recording, StoreFailure},
    record::{Dependencies, Dlq, Failure, KeyRate, Past, Place, Record, State, Version},
    reporter::{Report, Reporter},
    retry::Backoff,
    schedule::{Schedule, ScheduleError, Timetable},
    worker::{Registration, Worker, run},
};

// Crates with types in public signatures. A function uses these, in the same versions, without dependencies of its own.
pub use aws_sdk_dynamodb;
pub use aws_sdk_sqs;
pub use futures_util::future::BoxFuture;
pub use jiff;
pub use serde_json;

// Compiles and runs the code of the README and of the guide.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/getting-started.md")]
    struct GettingStarted;
    #[doc = include_str!("../../docs/jobs.md")]
    struct Jobs;
    #[doc = include_str!("../../docs/recording.md")]
    struct Recording;
    #[doc = include_str!("../../docs/errors.md")]
    struct Errors;
    #[doc = include_str!("../../docs/enqueueing.md")]
    struct Enqueueing;
    #[doc = include_str!("../../docs/outbox.md")]
    struct Outbox;
    #[doc = include_str!("../../docs/dependencies.md")]
    struct Dependencies;
    #[doc = include_str!("../../docs/keys.md")]
    struct Keys;
    #[doc = include_str!("../../docs/workflows.md")]
    struct Workflows;
    #[doc = include_str!("../../docs/schedules.md")]
    struct Schedules;
    // This page needs the simulation, which `./check` enables.
    #[cfg(feature = "simulation")]
    #[doc = include_str!("../../docs/testing.md")]
    struct Testing;
}
