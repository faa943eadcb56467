//! Shows limit keys, and sets their limits.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sqjobs::Limit;

use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean},
    value::text,
};

/// Maximum number of jobs that `limit show` names.
const NAMED: usize = 10;

#[derive(Debug, Subcommand)]
pub(crate) enum LimitCommand {
    /// Show the limit keys for which jobs wait, or whose limits were set.
    List(ListLimits),
    /// Show the jobs that hold a limit key, and those that wait for it.
    Show(ShowLimit),
    /// Set the limit of a limit key, at once and without a deployment.
    ///
    /// The value wins over the one that the jobs declare. Jobs that run go on. 0 lets no job with this key start. A value that no job has used
    /// for 400 days is deleted.
    Set(SetLimit),
    /// Remove a limit that was set: the one that the jobs declare counts again.
    Clear(ClearLimit),
}

#[derive(Debug, Args)]
pub(crate) struct ListLimits {
    /// Print each limit key as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowLimit {
    /// The key, as `limit_key` in a message has it.
    #[arg(value_parser = text)]
    pub(crate) key: String,
    /// Print the limit key as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SetLimit {
    /// The key, as `limit_key` in a message has it.
    #[arg(value_parser = text)]
    pub(crate) key: String,
    /// The maximum number of jobs that run at a time, from 0 to 100.
    pub(crate) limit: u32,
    /// Print the limit key as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClearLimit {
    /// The key, as `limit_key` in a message has it.
    #[arg(value_parser = text)]
    pub(crate) key: String,
    /// Print the limit key as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn limit(aws: &Aws, wanted: LimitCommand) -> Result<bool, Failure> {
    match wanted {
        LimitCommand::List(wanted) => list(aws, wanted.json).await,
        LimitCommand::Show(wanted) => show(aws, &wanted.key, wanted.json).await,
        LimitCommand::Set(wanted) => set(aws, &wanted.key, Some(wanted.limit), wanted.json).await,
        LimitCommand::Clear(wanted) => set(aws, &wanted.key, None, wanted.json).await,
    }
}

async fn list(aws: &Aws, json: bool) -> Result<bool, Failure> {
    let (limits, mut output) = (aws.client().limits().await?, Output::new());
    if json {
        limits.iter().try_for_each(|limit| output.json(&as_json(limit)))?;
        return Ok(true);
    }
    if limits.is_empty() {
        anstream::eprintln!("no job waits for a limit key, and no limit was set");
        return Ok(true);
    }
    let rows = limits.iter().map(|limit| {
        let [holders, waiting] = [limit.holders.len(), limit.waiting.len()].map(|count| count.to_string());
        [clean(&limit.key), number(limit.set.or(limit.declared)), number(limit.declared), number(limit.set), holders, waiting]
    });
    output.table(["key", "limit", "declared", "set", "holders", "waiting"], rows)?;
    Ok(true)
}

async fn show(aws: &Aws, key: &str, json: bool) -> Result<bool, Failure> {
    let Some(limit) = aws.client().limit(key).await? else {
        anstream::eprintln!("no job has used the limit key {}, and its limit was not set; check the key", clean(key));
        return Ok(false);
    };
    let mut output = Output::new();
    if json {
        output.json(&as_json(&limit))?;
        return Ok(true);
    }
    output.line(described(&limit))?;
    for (what, ids) in [("place", &limit.holders), ("waits", &limit.waiting)] {
        for id in ids.iter().take(NAMED) {
            output.line(format!("{what}  {}", clean(id)))?;
        }
        if ids.len() > NAMED {
            output.line(format!("{what}  and {} more; --json prints all", ids.len() - NAMED))?;
        }
    }
    Ok(true)
}

async fn set(aws: &Aws, key: &str, limit: Option<u32>, json: bool) -> Result<bool, Failure> {
    let client = aws.client();
    client.set_limit(key, limit).await?;
    let Some(limit) = client.limit(key).await? else {
        return Err(Failure::new(format!("the limit key {} was deleted in the meantime; try again", clean(key))));
    };
    let mut output = Output::new();
    if json { output.json(&as_json(&limit)) } else { output.line(described(&limit)) }?;
    Ok(true)
}

/// Describes a limit key in a sentence.
fn described(limit: &Limit) -> String {
    let most = match (limit.set, limit.declared) {
        (Some(0), _) => "no job with this key starts (set by an operator)".to_owned(),
        (Some(set), Some(declared)) => format!("{set} jobs run at a time (set by an operator; the jobs declare {declared})"),
        (Some(set), None) => format!("{set} jobs run at a time (set by an operator)"),
        (None, Some(declared)) => format!("{declared} jobs run at a time (as the jobs declare)"),
        (None, None) => "the jobs declare the limit".to_owned(),
    };
    format!("{}: {most}; {} have a place, {} wait", clean(&limit.key), limit.holders.len(), limit.waiting.len())
}

fn as_json(limit: &Limit) -> Value {
    json!({
        "key": limit.key,
        "limit": limit.set.or(limit.declared),
        "declared": limit.declared,
        "set": limit.set,
        "holders": limit.holders,
        "waiting": limit.waiting,
    })
}

fn number(number: Option<u32>) -> String {
    number.map_or_else(|| "-".into(), |number| number.to_string())
}
