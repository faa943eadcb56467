//! Keeps a command inside its environment: refuses tables and records of other environments.

use futures_util::stream::{self, StreamExt as _};
use sqjobs::{Record, setup};

use super::{
    beater,
    function::{Function, PREFIX},
    mapping::{function_of, mappings, qualifier_of},
    tables::{environment_of, names, prefixes},
};
use crate::{
    aws::Aws,
    failure::Failure,
    output::clean,
    place::{Place, Setting},
    shell::shell,
};

/// The number of functions that are read at the same time.
const AT_A_TIME: usize = 8;

/// A table other than the default one of this environment.
struct Given {
    setting: Setting,
    /// Returns the default name of such a table in an environment.
    default: fn(&str) -> String,
    /// Returns the default name of the other table of an environment.
    partner: fn(&str) -> String,
    /// Returns the table of this kind that a function uses.
    used: fn(&Function) -> Option<String>,
}

impl Given {
    fn all(place: &Place) -> Vec<Self> {
        let [records, schedules, _] = place.settings();
        let both = [
            Self { setting: records, default: setup::jobs_table, partner: setup::schedules_table, used: Function::table },
            Self { setting: schedules, default: setup::schedules_table, partner: setup::jobs_table, used: Function::schedules_table },
        ];
        both.into_iter().filter(|given| given.setting.value != given.setting.usual).collect()
    }

    /// Returns the prefix of the environment whose default table this is.
    fn owner(&self, names: &[String]) -> Option<&str> {
        let owner = self.setting.value.strip_suffix(&*(self.default)(""))?;
        names.contains(&(self.partner)(owner)).then_some(owner)
    }

    fn is_used_by(&self, function: &Function) -> bool {
        (self.used)(function).is_some_and(|table| table == self.setting.value)
    }

    /// Returns an error: the table belongs to another environment.
    fn refusal(&self, ours: &Place, owner: &str) -> Failure {
        let Setting { option, variable, value, .. } = &self.setting;
        let (owner, remedy) = match owner {
            "" => ("the environment without a prefix".to_owned(), "omit --prefix and the variable SQJOBS_PREFIX".to_owned()),
            prefix => (format!("the environment {prefix}"), format!("give --prefix {}", shell(prefix))),
        };
        Failure::new(format!(
            "table {value} belongs to {owner}, but this command uses the prefix \"{}\": {remedy}, or omit --{option} and the variable \
             {variable}",
            ours.prefix
        ))
    }
}

/// Refuses a given table of another environment. Without a table other than the default one, nothing is requested.
///
/// A table is accepted if a function of this environment uses it. Otherwise it is refused if it is the default table of another
/// environment, or if a function of another environment uses it. Without the permission to read functions, the default tables of the
/// environment without a prefix are accepted too, because an environment may have kept them.
pub(super) async fn refuse_other_tables(aws: &Aws) -> Result<(), Failure> {
    let given = Given::all(&aws.place);
    if given.is_empty() {
        return Ok(());
    }
    let mut names = names(aws).await.unwrap_or_default();
    // Tables that are given together may be the default ones of an environment that does not exist yet.
    names.extend(given.iter().map(|given| given.setting.value.clone()));
    let environments: Vec<_> = prefixes(&names).chain([&*aws.place.prefix]).map(str::to_owned).collect();
    let users = users(aws, &environments).await;
    for given in given {
        let using: Vec<_> = users.iter().flatten().filter(|user| given.is_used_by(&user.function)).collect();
        if using.iter().any(|user| user.prefix == aws.place.prefix) {
            continue;
        }
        let owner = given.owner(&names).filter(|owner| users.is_some() || !owner.is_empty());
        if let Some(owner) = owner.or_else(|| Some(&*using.first()?.prefix)) {
            return Err(given.refusal(&aws.place, owner));
        }
    }
    Ok(())
}

/// A function, and the prefix of its environment.
struct User {
    prefix: String,
    function: Function,
}

/// Returns the functions that read queues, and those that EventBridge invokes each minute. `None`: the user may not list them.
async fn users(aws: &Aws, environments: &[String]) -> Option<Vec<User>> {
    let mappings = mappings(aws, None).await.ok()?;
    let reads = stream::iter(&mappings).map(async |mapping| {
        let queue = mapping.event_source_arn.as_deref()?.rsplit(':').next()?;
        let function = Function::get_version(aws, function_of(mapping)?, qualifier_of(mapping)).await.ok().flatten()?;
        // The variables of an older function may not name the prefix.
        let prefix = function.environment.get(PREFIX).or_else(|| environment_of(environments, queue)).cloned().unwrap_or_default();
        Some(User { prefix, function })
    });
    let mut users: Vec<_> = reads.buffered(AT_A_TIME).filter_map(async |user| user).collect().await;
    let beaters = beater::find_where(aws, |function| {
        let prefix = function.environment.get(PREFIX).cloned().unwrap_or_default();
        users.push(User { prefix, function: function.clone() });
        false
    });
    // Without the permission to read rules, the functions of the queues decide.
    drop(beaters.await);
    Some(users)
}

/// Refuses to change a job whose queue belongs to another environment.
pub(super) fn refuse_other_record(aws: &Aws, record: &Record) -> Result<(), Failure> {
    let (queue, prefix) = (&record.queue, &aws.place.prefix);
    if queue.is_empty() || queue.starts_with(prefix) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "cannot change {}: its queue {} does not start with the prefix {prefix} of this environment; give the --prefix of that queue",
        clean(&record.id),
        clean(queue)
    )))
}
