//! The guarantees of sqjobs, with one test each, on the real local stack. Functions are deployed as in production, fed by a
//! queue through an event source mapping, and observed from outside.
//!
//! Every test has its own [`world::World`] on one shared [`stack::Stack`], so tests run in parallel. They mostly wait:
//! `cargo test -p sqjobs-tests -- --test-threads 8` is several times as fast as the default on a small machine.

// The harness
mod account;
mod browser;
mod effects;
mod function;
mod http;
mod message;
mod proxy;
mod record;
mod referee;
mod stack;
mod wait;
mod world;

// The guarantees
mod adapter;
mod chaos;
mod cli;
mod client;
mod configuration;
mod dead_letter;
mod delivery;
mod dependencies;
mod deployed;
mod docs;
mod due;
mod eager;
mod events;
mod fifo;
mod hostile;
mod import;
mod infra;
mod keys;
mod lost_answer;
mod metrics;
mod outbox;
mod outside;
mod partial;
mod permissions;
mod poll;
mod polled;
mod producer;
mod repair;
mod reports;
mod request_count;
mod roles;
mod scale;
mod schedule;
mod stopped;
mod traces;
mod trouble;
mod waiting;
mod workflows;
