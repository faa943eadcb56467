//! Completes jobs that no function runs.

use clap::Args;
use serde_json::json;

use super::enqueue;
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean},
    sentence::ended,
    value::text,
};

#[derive(Debug, Args)]
pub(crate) struct Complete {
    /// The id for which other jobs wait.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// The result as JSON. Use @FILE to read it from a file, or - to read it from standard input.
    pub(crate) result: Option<String>,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn complete(aws: &Aws, wanted: Complete) -> Result<bool, Failure> {
    let (client, id) = (aws.client(), clean(&wanted.id));
    let result = enqueue::arguments(wanted.result.as_deref())?;
    let is_done = client.complete(&wanted.id, result).await?;
    let sentence = if is_done {
        format!("{id} is completed; jobs that wait for it go on")
    } else {
        match client.get(&wanted.id).await? {
            Some(record) if record.state.is_terminal() => format!("{id} had already ended{}, so nothing was changed", ended(&record)),
            _ => format!("{id} is a job of a function, so nothing was changed; it ends when its function has run it"),
        }
    };
    let mut output = Output::new();
    if wanted.json {
        output.json(&json!({"id": wanted.id, "completed": is_done}))?;
    } else if is_done {
        output.line(sentence)?;
    } else {
        anstream::eprintln!("{sentence}");
    }
    Ok(is_done)
}
