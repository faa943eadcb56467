//! Releases and rolls back versions of functions through an alias.

use std::{collections::HashMap, time::Duration};

use aws_sdk_lambda::{
    client::Waiters as _,
    error::ProvideErrorMetadata as _,
    types::{AliasRoutingConfiguration, FunctionConfiguration},
};
use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;
use sqjobs::Priority;

use super::{
    function::Function,
    mapping::{function_of, mappings, qualifier_of},
};
use crate::{
    aws::Aws,
    failure::{Cause, Failure},
    output::{Output, clean},
    time::{exact, from_now},
    value::text,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the versions of a function, the newest first, and mark the version that runs.
    Versions {
        /// The name of the function, as AWS shows it.
        #[arg(value_parser = text)]
        name: String,
        /// Print each one as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run the newest deployment. The command publishes it as a version, and points the alias `live` to that version.
    Release {
        /// The name of the function, as AWS shows it.
        #[arg(value_parser = text)]
        name: String,
    },
    /// Run an earlier version. The command points the alias `live` to that version.
    Rollback {
        /// The name of the function, as AWS shows it.
        #[arg(value_parser = text)]
        name: String,
        /// The version to run. Default: the newest version that is older than the running version and differs from it in code or
        /// variables.
        #[arg(long, value_name = "VERSION")]
        to: Option<u64>,
    },
}

/// The alias that queues feed.
pub(super) const LIVE: &str = "live";
/// The deployment that is not published as a version.
const LATEST: &str = "$LATEST";
/// Maximum time until a version can be invoked.
const ACTIVE: Duration = Duration::from_mins(1);
/// The variable that names the queue of a version.
const QUEUE: &str = "SQJOBS_QUEUE_URL";

pub(super) async fn function(aws: &Aws, wanted: Command) -> Result<bool, Failure> {
    match wanted {
        Command::Versions { name, json } => show(aws, &name, json).await,
        Command::Release { name } => {
            let queue = fed_by(aws, &name).await?;
            let latest = versions(aws, &name).await?.into_iter().find(|version| version.name == LATEST);
            latest.ok_or_else(|| Failure::new(format!("there is no function {name}")))?.check(&name, &queue, aws.short(&queue))?;
            let moved = release(aws, &name).await?;
            moved.report(&name)
        }
        Command::Rollback { name, to } => {
            let queue = fed_by(aws, &name).await?;
            let before = live(aws, &name).await?.ok_or_else(|| Failure::new(format!("function {name} has no alias {LIVE}")))?.version;
            let versions = versions(aws, &name).await?;
            let target = earlier(&versions, &name, &before, [&queue, aws.short(&queue)], to)?;
            let moved = point(aws, &name, &target.name).await?;
            moved.report(&name)
        }
    }
}

/// A version of a function, or its newest deployment.
#[derive(Debug, Default)]
struct Version {
    name: String,
    /// The hash of its code.
    code: String,
    environment: HashMap<String, String>,
    /// The time of its publication or deployment.
    at: Option<Timestamp>,
    description: String,
}

impl Version {
    fn of(configuration: FunctionConfiguration) -> Self {
        Self {
            name: configuration.version.unwrap_or_default(),
            code: configuration.code_sha256.unwrap_or_default(),
            environment: configuration.environment.and_then(|own| own.variables).unwrap_or_default(),
            at: configuration.last_modified.and_then(|at| at.parse().ok()),
            description: configuration.description.unwrap_or_default(),
        }
    }

    fn number(&self) -> Option<u64> {
        self.name.parse().ok()
    }

    fn takes_from(&self, queue: &str) -> bool {
        self.environment
            .get(QUEUE)
            .and_then(|url| url.rsplit('/').next())
            .is_some_and(|named| named == queue || named == Priority::Default.queue(queue))
    }

    /// Refuses a version without the variable of its queue, because it would fail at its start.
    fn check(&self, function: &str, queue: &str, short: &str) -> Result<(), Failure> {
        if self.takes_from(queue) {
            return Ok(());
        }
        let own = self.environment.get(QUEUE).map_or("not set".to_owned(), |url| format!("{url:?}"));
        Err(Failure::new(format!(
            "version {} of function {function} is not set up for queue {queue}: its variable {QUEUE} is {own}; deploy with --merge-env, \
             then set the missing variables with `sqjobs queue create {short} --function {function}`",
            self.name
        )))
    }
}

/// Returns the version for a rollback.
fn earlier<'a>(
    versions: &'a [Version],
    function: &str,
    live: &str,
    [queue, short]: [&str; 2],
    to: Option<u64>,
) -> Result<&'a Version, Failure> {
    if let Some(to) = to {
        let found = versions.iter().find(|version| version.number() == Some(to));
        let found = found.ok_or_else(|| {
            Failure::new(format!("function {function} has no version {to}; `sqjobs function versions {function}` lists the versions"))
        })?;
        found.check(function, queue, short)?;
        return Ok(found);
    }
    let current = versions.iter().find(|version| version.name == live);
    let current = current
        .ok_or_else(|| Failure::new(format!("function {function} has no version {live}, but its alias {LIVE} points to that version")))?;
    let is_unlike = |version: &Version| (&version.code, &version.environment) != (&current.code, &current.environment);
    let is_earlier = |version: &&Version| version.number() < current.number() && version.number().is_some();
    let candidates = versions.iter().filter(is_earlier).filter(|version| is_unlike(version) && version.takes_from(queue));
    candidates.max_by_key(|version| version.number()).ok_or_else(|| {
        Failure::new(format!(
            "function {function} has no version before {live} that differs from version {live} and is set up for queue {queue}"
        ))
    })
}

/// The alias `live`.
struct Alias {
    version: String,
    revision: Option<String>,
}

/// Reads the alias. None: the function has no such alias.
async fn live(aws: &Aws, function: &str) -> Result<Option<Alias>, Failure> {
    match aws.lambda().get_alias().function_name(function).name(LIVE).send().await {
        Ok(alias) => Ok(Some(Alias { version: alias.function_version.unwrap_or_default(), revision: alias.revision_id })),
        Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
        Err(error) => Err(Failure::because(&format!("cannot read the alias {LIVE} of function {function}"), error)),
    }
}

/// The versions before and after a change of the alias.
pub(super) struct Moved {
    version: String,
    before: Option<String>,
}

impl Moved {
    fn report(&self, function: &str) -> Result<bool, Failure> {
        let line = match &self.before {
            Some(before) if *before == self.version => format!("{function} already runs version {before}"),
            Some(before) => format!("{function} runs version {}; before, it ran version {before}", self.version),
            None => format!("{function} runs version {}", self.version),
        };
        Output::new().line(line)?;
        Ok(true)
    }
}

/// Publishes the newest deployment, unless it is published, and points the alias at it.
pub(super) async fn release(aws: &Aws, function: &str) -> Result<Moved, Failure> {
    let lambda = aws.lambda();
    let cannot = |error: Cause| Failure::because(&format!("cannot publish a version of function {function}"), error);
    // AWS may still process a deployment of the last seconds.
    let ready = lambda.wait_until_function_updated().function_name(function).wait(ACTIVE).await;
    ready.map_err(|error| cannot(error.into()))?;
    let published = lambda.publish_version().function_name(function).send().await.map_err(|error| cannot(error.into()))?;
    let version = published.version.unwrap_or_default();
    let active = lambda.wait_until_published_version_active().function_name(function).qualifier(&version).wait(ACTIVE).await;
    active.map_err(|error| cannot(error.into()))?;
    point(aws, function, &version).await
}

/// Points the alias at a version, with the full weight.
async fn point(aws: &Aws, function: &str, version: &str) -> Result<Moved, Failure> {
    let lambda = aws.lambda();
    let cannot =
        |error: Cause| Failure::because(&format!("cannot point the alias {LIVE} of function {function} to version {version}"), error);
    let before = live(aws, function).await?;
    if let Some(alias) = &before {
        let whole = AliasRoutingConfiguration::builder().set_additional_version_weights(Some(HashMap::new())).build();
        let update = lambda.update_alias().function_name(function).name(LIVE).function_version(version).routing_config(whole);
        update.set_revision_id(alias.revision.clone()).send().await.map_err(|error| cannot(error.into()))?;
    } else {
        let create = lambda.create_alias().function_name(function).name(LIVE).function_version(version);
        create.send().await.map_err(|error| cannot(error.into()))?;
    }
    Ok(Moved { version: version.to_owned(), before: before.map(|alias| alias.version) })
}

/// Returns the queue that feeds a function through its alias. Refuses a function of another environment.
async fn fed_by(aws: &Aws, function: &str) -> Result<String, Failure> {
    Function::find(aws, function).await?.refuse_other(&aws.place)?;
    let own = mappings(aws, None).await?.into_iter().find(|mapping| function_of(mapping) == Some(function));
    let is_live = own.as_ref().and_then(qualifier_of) == Some(LIVE);
    let queue = own.and_then(|mapping| mapping.event_source_arn?.rsplit(':').next().map(str::to_owned));
    match queue {
        Some(queue) if !queue.starts_with(&aws.place.prefix) => Err(Failure::new(format!(
            "queue {queue} feeds function {function}, and the name of the queue does not start with the prefix {} of this environment: \
             give the --prefix of that queue",
            aws.place.prefix
        ))),
        Some(queue) if is_live => Ok(queue),
        Some(queue) => Err(Failure::new(format!(
            "queue {queue} feeds function {function} without an alias, so each deployment runs at once; `sqjobs queue create {} \
             --function {function}` connects the queue to the alias {LIVE}",
            aws.short(&queue)
        ))),
        None => Err(Failure::new(format!(
            "no queue feeds function {function}; connect one with `sqjobs queue create QUEUE --function {function}`"
        ))),
    }
}

/// Returns all versions, and the newest deployment.
async fn versions(aws: &Aws, function: &str) -> Result<Vec<Version>, Failure> {
    let mut pages = aws.lambda().list_versions_by_function().function_name(function).into_paginator().items().send();
    let mut versions = Vec::new();
    while let Some(version) = pages.next().await {
        let version = version.map_err(|error| Failure::because(&format!("cannot list the versions of function {function}"), error))?;
        versions.push(Version::of(version));
    }
    Ok(versions)
}

async fn show(aws: &Aws, function: &str, json: bool) -> Result<bool, Failure> {
    /// A line of JSON.
    #[derive(Serialize)]
    struct Line<'a> {
        version: &'a str,
        live: bool,
        at: Option<Timestamp>,
        code: &'a str,
        description: &'a str,
    }

    let live = live(aws, function).await?.map(|alias| alias.version);
    let mut versions = versions(aws, function).await?;
    versions.sort_by_key(|version| std::cmp::Reverse(version.number().unwrap_or(u64::MAX)));
    let (mut output, now) = (Output::new(), aws.clock.now());
    let is_live = |version: &Version| Some(&version.name) == live.as_ref();
    if json {
        versions.iter().try_for_each(|version| {
            let Version { name, code, at, description, .. } = version;
            output.json(&Line { version: name, live: is_live(version), at: *at, code, description })
        })?;
        return Ok(true);
    }
    let rows = versions.iter().map(|version| {
        let at = version.at.map_or_else(String::new, |at| format!("{}, {}", exact(at), from_now(at, now)));
        let runs = if is_live(version) { "runs".to_owned() } else { String::new() };
        [version.name.clone(), runs, at, version.code.chars().take(12).collect(), clean(&version.description)]
    });
    output.table(["version", LIVE, "at", "code", "description"], rows)?;
    Ok(true)
}
