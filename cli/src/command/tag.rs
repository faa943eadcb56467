//! Adds tags to jobs, and removes them.

use clap::{ArgGroup, Args};
use serde_json::json;

use super::environment::refuse_other_record;
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean},
    shell::shell,
    value::text,
};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").args(["add", "remove"]).multiple(true).required(true)))]
pub(crate) struct Tag {
    /// The job's id.
    #[arg(value_parser = text)]
    pub(crate) id: String,
    /// A tag to add. Repeat the option for each tag.
    #[arg(long, value_name = "TAG", value_parser = text)]
    pub(crate) add: Vec<String>,
    /// A tag to remove. Repeat the option for each tag.
    #[arg(long, value_name = "TAG", value_parser = text)]
    pub(crate) remove: Vec<String>,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn tag(aws: &Aws, wanted: Tag) -> Result<bool, Failure> {
    let client = aws.client();
    if let Some(record) = client.get(&wanted.id).await? {
        refuse_other_record(aws, &record)?;
    }
    let [add, remove] = [&wanted.add, &wanted.remove].map(|tags| tags.iter().map(String::as_str).collect::<Vec<_>>());
    let tags = client.tag(&wanted.id, &add, &remove).await?;
    let mut output = Output::new();
    if wanted.json {
        output.json(&json!({"id": wanted.id, "tags": tags}))?;
    }
    match &tags {
        Some(_) if wanted.json => {}
        Some(tags) => output.line(sentence(&wanted.id, tags))?,
        None => note!("{}", aws.place.with_options(&no_record(&wanted.id))),
    }
    Ok(tags.is_some())
}

fn sentence(id: &str, tags: &[String]) -> String {
    match tags {
        [] => format!("{} has no tags", clean(id)),
        tags => format!("{} has the tags {}", clean(id), clean(&tags.join(", "))),
    }
}

fn no_record(id: &str) -> String {
    let (shown, id) = (clean(id), shell(id));
    format!(
        "{shown} has no record, so no tag was changed. Either the id is wrong, or no function has received its message yet, or its record was \
         deleted. `sqjobs explain {id}` searches further. A job has a record at once if it is enqueued with --recorded or --listed"
    )
}
