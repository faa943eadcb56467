//! Lists, shows, redrives and purges dead letters.

mod args;
mod change;
pub(super) mod letter;
mod list;
mod redrive;
mod show;
pub(super) mod walk;

pub(crate) use self::args::Dlq;
use crate::{aws::Aws, failure::Failure};

pub(super) async fn dlq(aws: &Aws, wanted: Dlq) -> Result<bool, Failure> {
    match wanted {
        Dlq::List(wanted) => list::list(aws, wanted).await,
        Dlq::Show(wanted) => show::show(aws, wanted).await,
        Dlq::Redrive(wanted) => change::redrive(aws, wanted).await,
        Dlq::Purge(wanted) => change::purge(aws, wanted).await,
    }
}
