//! Finds the faults of a live system.

mod facts;
mod rules;

use self::{facts::System, rules::findings};
use crate::{
    aws::Aws,
    failure::Failure,
    output::{Output, clean},
    value::text,
};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The name of the beater, as AWS shows it. Default: the prefix and `beater`. If there is no such function, the doctor looks for a
    /// function of this environment that EventBridge invokes each minute.
    #[arg(long, value_name = "FUNCTION", value_parser = text)]
    pub(crate) beater: Option<String>,
    /// Print each fault as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the faults of a system. Returns true if there are none.
pub(super) async fn doctor(aws: &Aws, wanted: &Doctor) -> Result<bool, Failure> {
    let system = System::read(aws, wanted.beater.as_deref()).await?;
    let (found, mut output) = (findings(&system), Output::new());
    for unread in &system.unread {
        note!("not checked: {}", clean(&system.place.with_options(unread)));
    }
    if wanted.json {
        found.iter().try_for_each(|finding| output.json(finding))?;
        return Ok(found.is_empty());
    }
    for finding in &found {
        let [at, what, remedy] = [&finding.at, &finding.what, &finding.remedy].map(|text| clean(text));
        output.line(format!("\u{1b}[31m{}\u{1b}[0m  \u{1b}[1m{at}\u{1b}[0m: {what}", finding.rule))?;
        output.line(format!("  why: {}", finding.why))?;
        output.line(format!("  do:  {remedy}"))?;
    }
    match found.len() {
        0 => output.line(match system.queues.len() {
            1 => "no faults were found in 1 queue and its function".to_owned(),
            many => format!("no faults were found in {many} queues and their functions"),
        })?,
        1 => note!("1 fault was found"),
        many => note!("{many} faults were found"),
    }
    Ok(found.is_empty())
}
