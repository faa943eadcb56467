//! Shows limit keys and rate keys, and sets their limits and rates.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sqjobs::{Limit, Rate, RateLimit};

use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean, print_notes},
    value::{Bound, bound, rate_text, text},
};

/// Maximum number of jobs that `limit show` names.
const NAMED: usize = 10;

#[derive(Debug, Subcommand)]
pub(crate) enum LimitCommand {
    /// Show the limit keys and rate keys for which jobs wait, or whose limits or rates were set.
    List(ListLimits),
    /// Show the limit key and the rate key with this name: the jobs that hold the limit key, and the jobs that wait.
    Show(Key),
    /// Set the limit of a limit key, or the rate of a rate key, without a deployment.
    ///
    /// The value overrides the one that the jobs declare. Running jobs continue. With a limit of 0, no job with this key starts. A limit
    /// takes effect at once. A rate takes effect at once for new jobs, and within two minutes for waiting jobs. The value is deleted if no
    /// job uses the key for 400 days.
    Set(SetLimit),
    /// Remove the limit and the rate that were set for this key, so that the declared ones apply again.
    Clear(Key),
}

#[derive(Debug, Args)]
pub(crate) struct ListLimits {
    /// Print each key as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Key {
    /// The key: the value of `limit_key` or `rate_key` in a message.
    #[arg(value_parser = text)]
    pub(crate) key: String,
    /// Print the limit key and the rate key as lines of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SetLimit {
    #[command(flatten)]
    pub(crate) of: Key,
    /// For a limit key, the maximum number of jobs that run at a time, from 0 to 100. For a rate key, a rate such as 5/1s or 100/1m.
    #[arg(value_parser = bound, value_name = "NUMBER|COUNT/DURATION")]
    pub(crate) value: Bound,
    /// For a rate: the maximum number of attempts that start at once after a pause, from 1 to 1000. Default: 1.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) burst: Option<u32>,
}

/// A key of one of the two kinds.
enum Found {
    Limit(Limit),
    Rate(RateLimit),
}

pub(super) async fn limit(aws: &Aws, wanted: LimitCommand) -> Result<bool, Failure> {
    match wanted {
        LimitCommand::List(wanted) => list(aws, wanted.json).await,
        LimitCommand::Show(wanted) => show(aws, &wanted).await,
        LimitCommand::Set(wanted) => set(aws, &wanted).await,
        LimitCommand::Clear(wanted) => clear(aws, &wanted).await,
    }
}

async fn list(aws: &Aws, json: bool) -> Result<bool, Failure> {
    let (client, mut output) = (aws.client(), Output::new());
    let mut keys: Vec<_> = client.limits().await?.into_iter().map(Found::Limit).collect();
    keys.extend(client.rates().await?.into_iter().map(Found::Rate));
    if json {
        keys.iter().try_for_each(|key| output.json(&key.json()))?;
        return Ok(true);
    }
    if keys.is_empty() {
        note!("no job waits for a limit key or a rate key, and no limit or rate was set");
        return Ok(true);
    }
    output.table(["kind", "key", "value", "declared", "set", "holders", "waiting"], keys.iter().map(Found::row))?;
    Ok(true)
}

async fn show(aws: &Aws, wanted: &Key) -> Result<bool, Failure> {
    let (keys, mut output) = (find(aws, &wanted.key).await?, Output::new());
    if keys.is_empty() {
        note!("no job has used the limit key or the rate key {}, and no limit or rate was set; check the key", clean(&wanted.key));
        return Ok(false);
    }
    for key in &keys {
        if wanted.json {
            output.json(&key.json())?;
            continue;
        }
        output.line(key.described())?;
        for (what, ids) in [("holds the key", key.holders()), ("waits", key.waiting())] {
            for id in ids.iter().take(NAMED) {
                output.line(format!("{what}  {}", clean(id)))?;
            }
            if ids.len() > NAMED {
                output.line(format!("{what}  and {} more; --json prints all", ids.len() - NAMED))?;
            }
        }
    }
    Ok(true)
}

async fn set(aws: &Aws, wanted: &SetLimit) -> Result<bool, Failure> {
    let (client, key) = (aws.client(), &*wanted.of.key);
    match (wanted.value, wanted.burst) {
        (Bound::Jobs(limit), None) => client.set_limit(key, Some(limit)).await?,
        (Bound::Jobs(_), Some(_)) => {
            return Err(Failure::new("--burst is for a rate such as 5/1s, and not for a number of jobs; leave it out".to_owned()));
        }
        (Bound::Rate(rate), burst) => client.set_rate(key, Some(burst.map_or(rate, |burst| rate.burst(burst)))).await?,
    }
    let (meant, others): (Vec<_>, Vec<_>) = find(aws, key).await?.into_iter().partition(|found| found.is_of(wanted.value));
    let Some(found) = meant.first() else {
        return Err(Failure::new(format!("the key {} was deleted in the meantime; try again", clean(key))));
    };
    found.print(wanted.of.json)?;
    if let Some(other) = others.first().filter(|other| !found.is_declared() && other.is_declared()) {
        let example = if matches!(other, Found::Rate(_)) { "a rate such as 5/1s" } else { "a number of jobs such as 5" };
        print_notes(&[format!(
            "no job has used the {} key {key} yet. To set the {} key with this name, write {example}",
            found.kind(),
            other.kind()
        )]);
    }
    Ok(true)
}

async fn clear(aws: &Aws, wanted: &Key) -> Result<bool, Failure> {
    let (client, key) = (aws.client(), &*wanted.key);
    let mut were_set: Vec<_> = find(aws, key).await?.into_iter().filter(Found::is_set).collect();
    if were_set.is_empty() {
        note!("no limit and no rate was set for the key {}; `sqjobs limit list` shows the keys with a set value", clean(key));
        return Ok(false);
    }
    for found in &mut were_set {
        match found {
            Found::Limit(limit) => {
                client.set_limit(key, None).await?;
                limit.set = None;
            }
            Found::Rate(rate) => {
                client.set_rate(key, None).await?;
                rate.set = None;
            }
        }
        found.print(wanted.json)?;
    }
    Ok(true)
}

/// Returns the limit key and the rate key with this name, if they exist.
async fn find(aws: &Aws, key: &str) -> Result<Vec<Found>, Failure> {
    let client = aws.client();
    let limit = client.limit(key).await?.map(Found::Limit);
    Ok(limit.into_iter().chain(client.rate(key).await?.map(Found::Rate)).collect())
}

impl Found {
    fn kind(&self) -> &'static str {
        match self {
            Self::Limit(_) => "limit",
            Self::Rate(_) => "rate",
        }
    }

    fn key(&self) -> &str {
        match self {
            Self::Limit(Limit { key, .. }) | Self::Rate(RateLimit { key, .. }) => key,
        }
    }

    fn holders(&self) -> &[String] {
        match self {
            Self::Limit(limit) => &limit.holders,
            Self::Rate(_) => &[],
        }
    }

    fn waiting(&self) -> &[String] {
        match self {
            Self::Limit(Limit { waiting, .. }) | Self::Rate(RateLimit { waiting, .. }) => waiting,
        }
    }

    /// Returns `true` if the value is of the kind of this key.
    fn is_of(&self, value: Bound) -> bool {
        matches!((self, value), (Self::Limit(_), Bound::Jobs(_)) | (Self::Rate(_), Bound::Rate(_)))
    }

    fn is_declared(&self) -> bool {
        match self {
            Self::Limit(limit) => limit.declared.is_some(),
            Self::Rate(rate) => rate.declared.is_some(),
        }
    }

    fn is_set(&self) -> bool {
        match self {
            Self::Limit(limit) => limit.set.is_some(),
            Self::Rate(rate) => rate.set.is_some(),
        }
    }

    fn print(&self, json: bool) -> Result<(), Failure> {
        let mut output = Output::new();
        if json { output.json(&self.json()) } else { output.line(self.described()) }
    }

    fn row(&self) -> [String; 7] {
        let cell = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let [declared, set] = match self {
            Self::Limit(Limit { declared, set, .. }) => [*declared, *set].map(|limit| limit.map(|limit| limit.to_string())),
            Self::Rate(RateLimit { declared, set, .. }) => [declared, set].map(|rate| rate.as_ref().map(rate_text)),
        };
        let holders = matches!(self, Self::Limit(_)).then(|| self.holders().len().to_string());
        let value = set.clone().or_else(|| declared.clone());
        let waiting = self.waiting().len().to_string();
        [self.kind().into(), self.key().into(), cell(value), cell(declared), cell(set), cell(holders), waiting]
    }

    /// Describes the key in a sentence.
    fn described(&self) -> String {
        let (kind, key, waiting) = (self.kind(), clean(self.key()), self.waiting().len());
        match self {
            Self::Limit(Limit { declared, set, holders, .. }) => {
                let value = set.or(*declared).map(|limit| match limit {
                    0 => "no job with this key starts".to_owned(),
                    1 => "1 job runs at a time".to_owned(),
                    limit => format!("{limit} jobs run at a time"),
                });
                let value = value.unwrap_or_else(|| "the jobs declare the limit".to_owned());
                let origin = origin(set.is_some(), declared.map(|limit| limit.to_string()));
                format!("{kind} key {key}: {value}{origin}; {} hold it, {waiting} wait", holders.len())
            }
            Self::Rate(RateLimit { declared, set, .. }) => {
                let value = set.or(*declared).map_or_else(|| "the jobs declare the rate".to_owned(), |rate| rate_text(&rate));
                let origin = origin(set.is_some(), declared.as_ref().map(rate_text));
                format!("{kind} key {key}: {value}{origin}; {waiting} wait")
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Limit(limit) => json!({
                "kind": "limit",
                "key": limit.key,
                "limit": limit.set.or(limit.declared),
                "declared": limit.declared,
                "set": limit.set,
                "holders": limit.holders,
                "waiting": limit.waiting,
            }),
            Self::Rate(rate) => json!({
                "kind": "rate",
                "key": rate.key,
                "rate": rate.set.or(rate.declared).map(rate_json),
                "declared": rate.declared.map(rate_json),
                "set": rate.set.map(rate_json),
                "waiting": rate.waiting,
            }),
        }
    }
}

/// Describes the origin of a value.
fn origin(is_set: bool, declared: Option<String>) -> String {
    match (is_set, declared) {
        (true, Some(declared)) => format!(" (set by an operator; the jobs declare {declared})"),
        (true, None) => " (set by an operator)".to_owned(),
        (false, Some(_)) => " (as the jobs declare)".to_owned(),
        (false, None) => String::new(),
    }
}

fn rate_json(rate: Rate) -> Value {
    json!({"limit": rate.limit, "period_s": rate.period_s, "burst": rate.burst})
}
