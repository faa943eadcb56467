//! The workflow.

use serde_json::json;
use sqjobs::{Arguments, Enqueue, Error, Otherwise, When, Workflow, output};

use crate::{fetch::Fetch, notify::Notify, publish::Publish, summarize::Summarize};

/// Builds the workflow that makes the report of a period out of these files. Its id is `report-<period>`, so each period has one report.
///
/// # Errors
///
/// When there are no files.
pub fn report(period: &str, files: &[&str]) -> Result<Enqueue, Error> {
    if files.is_empty() {
        return Err(Error::Invalid(format!("cannot build the report of {period:?}: it has no files")));
    }
    let fetch = |(number, file): (usize, &&str)| {
        let fetch = Enqueue::new(&Fetch { file: (*file).into() })?;
        Ok(fetch.id(format!("fetch-{}", number + 1)))
    };
    let fetches = files.iter().enumerate().map(fetch).collect::<Result<Vec<_>, Error>>()?;
    let summarize = Enqueue::new(&Summarize { period: period.into(), files: files.len() })?.otherwise(Otherwise::Cancel);
    let publish = json!({"file": format!("{period}.json"), "report": output("summarize")});
    let publish = Enqueue::named(Publish::NAME, publish).otherwise(Otherwise::Cancel);
    let alert = Enqueue::new(&Notify { text: format!("The report of {period} failed.") })?;
    let done = Enqueue::new(&Notify { text: format!("The report of {period} is published.") })?;

    let ids = fetches.iter().filter_map(|fetch| fetch.envelope().id.clone()).chain(["summarize".into(), "publish".into()]);
    let alert = alert.id("alert").after(ids.collect::<Vec<_>>()).when(When::Failed);
    Workflow::new(done.id(format!("report-{period}")).otherwise(Otherwise::Cancel))
        .group(fetches)
        .then(summarize.id("summarize"))
        .then(publish.id("publish"))
        .job(alert)
        .build()
}
