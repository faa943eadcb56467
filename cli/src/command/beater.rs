//! The setup of a beater: its permissions, its variables, and the rule that invokes it.

use aws_sdk_eventbridge::types::{RuleState, Target};
use aws_sdk_lambda::{error::ProvideErrorMetadata as _, types::EventSourceMappingConfiguration as Mapping};

use sqjobs::setup;

use super::{
    function::{self, Function},
    mapping,
    queue::{self, SqsQueue},
};
use crate::{
    aws::Aws,
    failure::{Cause, Failure, describe},
    output::print_notes,
    place::Place,
};

const EACH_MINUTE: &str = "rate(1 minute)";
/// Said if this environment has no beater.
pub(super) const MISSING: &str = "EventBridge invokes no beater for these tables each minute, so no schedule fires, and no due job is sent. \
                                  Jobs that wait too long for other jobs do not end. Deploy a beater, then run `sqjobs schedule beater FUNCTION`.";
/// The id of the statement that allows the rule to invoke the function.
const STATEMENT: &str = "sqjobs-beater";

/// Says if no beater fires schedules and sends due jobs. Without the permission to read rules, nothing is known of beaters.
pub(super) async fn report_missing(aws: &Aws) {
    if let Ok(None) = find(aws).await {
        note!("{}", aws.place.with_options(MISSING));
    }
}

/// Returns the command that deploys a beater under a name.
pub(super) fn deploy(name: &str) -> String {
    format!("`cargo lambda deploy --timeout 60 --binary-name beater {name}` (give --binary-name the name of your program)")
}

/// Returns true if an EventBridge rule with this expression fires each minute.
pub(super) fn is_each_minute(expression: Option<&str>) -> bool {
    expression.is_some_and(|when| ["rate(1 minute)", "cron(* * * * ? *)"].contains(&when))
}

/// Returns the function that an EventBridge rule invokes each minute and whose variables name the tables of this environment.
pub(super) async fn find(aws: &Aws) -> Result<Option<String>, String> {
    let is_ours = |function: &Function| {
        let schedules = Place::of(&function.environment).schedules_table();
        function.table() == Some(aws.place.table()) && schedules == aws.place.schedules_table()
    };
    find_where(aws, is_ours).await
}

/// Returns the first function that EventBridge invokes each minute and that is wanted.
pub(super) async fn find_where(aws: &Aws, mut is_wanted: impl FnMut(&Function) -> bool) -> Result<Option<String>, String> {
    let (events, mut from) = (aws.eventbridge(), None);
    loop {
        let page = events.list_rules().set_next_token(from).send().await.map_err(|error| describe(&error))?;
        let rules = page.rules.unwrap_or_default();
        for rule in rules.into_iter().filter(|rule| is_each_minute(rule.schedule_expression.as_deref())) {
            let targets = events.list_targets_by_rule().set_rule(rule.name).send().await.map_err(|error| describe(&error))?;
            for target in targets.targets.unwrap_or_default() {
                let Some(name) = target.arn.strip_prefix("arn:aws").and_then(|arn| arn.split(":function:").nth(1)) else { continue };
                let name = name.split(':').next().unwrap_or(name);
                let function = Function::get(aws, name).await.map_err(Failure::into_message)?;
                if let Some(function) = function.filter(&mut is_wanted) {
                    return Ok(Some(function.name));
                }
            }
        }
        from = page.next_token;
        if from.is_none() {
            return Ok(None);
        }
    }
}

/// Makes a function the beater of all queues that feed functions. Grants its permissions, sets its variables, and creates a rule of
/// EventBridge with the function's name, which invokes it each minute. A second call changes nothing. Refuses the beater of another
/// environment.
pub(super) async fn connect(aws: &Aws, function: &Function) -> Result<(), Failure> {
    let mappings = mapping::mappings(aws, None).await?;
    if let Some(own) = mappings.iter().find(|mapped| mapping::function_of(mapped) == Some(&function.name)) {
        let source = own.event_source_arn.as_deref().unwrap_or_default();
        let name = &function.name;
        return Err(Failure::new(format!(
            "{name} cannot be a beater: it reads the queue {source}, and would lose the permissions for this queue; deploy a separate \
             function as the beater"
        )));
    }
    if let Some(other) = function.environment_other_than(&aws.place) {
        let (name, own, place) = (&function.name, aws.queue("beater"), Place::of(&function.environment));
        let other = if other.is_empty() { "the environment without a prefix".into() } else { format!("the environment {other}") };
        let such_as = format!(", for example with {}", deploy(&own));
        let such_as = Some(such_as).filter(|_| own != *name).unwrap_or_default();
        return Err(Failure::new(format!(
            "{name} cannot be a beater of this environment: its variables are set for {other}, with the tables {} and {}; deploy another beater{such_as}",
            place.table(),
            place.schedules_table()
        )));
    }
    let (queues, mut dlqs): (Vec<_>, Vec<_>) = fed_queues(aws, &mappings).await?.into_iter().unzip();
    // The queues of all priorities share one.
    dlqs.sort_by(|one: &SqsQueue, other| one.name.cmp(&other.name));
    dlqs.dedup_by(|one, other| one.name == other.name);
    let (jobs, schedules) =
        (function::table_arn(aws, &aws.place.table()).await?, function::table_arn(aws, &aws.place.schedules_table()).await?);
    let arns = |queues: &[SqsQueue]| queues.iter().map(|queue| queue.arn.clone()).collect();
    let rights = function::beater_rights(&aws.place.prefix, &jobs, &schedules, arns(&queues), arns(&dlqs))?;
    function.grant(aws, "", &rights).await?;
    let names: Vec<_> = dlqs.iter().map(|dlq| dlq.name.clone()).collect();
    setup::add_dlqs(&aws.dynamodb(), &aws.place.table(), &names).await?;
    // The beater reads the list of dead-letter queues, because a variable holds only some dozens of names.
    function.set(aws, function::variables(&aws.place, None, &[])).await?;

    let (lambda, events, name) = (aws.lambda(), aws.eventbridge(), &*function.name);
    let cannot = |error: Cause| Failure::because(&format!("cannot let EventBridge invoke {name}"), error);
    let rule = events
        .put_rule()
        .name(name)
        .schedule_expression(EACH_MINUTE)
        .state(RuleState::Enabled)
        .send()
        .await
        .map_err(|error| cannot(error.into()))?;
    let allow = lambda.add_permission().function_name(name).statement_id(STATEMENT).action("lambda:InvokeFunction");
    match allow.principal("events.amazonaws.com").set_source_arn(rule.rule_arn).send().await {
        Err(error) if error.message().is_some_and(|text| text.contains("already exists")) => {}
        Err(error) => return Err(cannot(error.into())),
        Ok(_) => {}
    }
    let target = Target::builder().id(name).arn(&function.arn).build().map_err(|error| cannot(error.into()))?;
    let put = events.put_targets().rule(name).targets(target).send().await.map_err(|error| cannot(error.into()))?;
    match put.failed_entries().first() {
        None => Ok(()),
        Some(entry) => Err(cannot(Cause::text(entry.error_message.as_deref().unwrap_or("EventBridge does not say why")))),
    }
}

/// Returns the queues of this environment that feed functions, with their dead-letter queues. The variables of such a function name
/// the queue. The beater ignores all other queues of the account.
async fn fed_queues(aws: &Aws, mappings: &[Mapping]) -> Result<Vec<(SqsQueue, SqsQueue)>, Failure> {
    let mut fed = Vec::new();
    let all = queue::all(aws).await?;
    print_notes(&all.left_out.notes());
    for (queue, dlq) in all.pairs {
        let Some(mapped) = mappings.iter().find(|mapped| mapping::feeds_from(mapped, &queue.arn)) else { continue };
        let Some(name) = mapping::function_of(mapped) else { continue };
        let function = Function::get_version(aws, name, mapping::qualifier_of(mapped)).await?;
        let is_ours =
            |function: Function| function.takes_from(&queue.name) && function.other_environment(&queue.name, &aws.place).is_none();
        if function.is_some_and(is_ours) {
            fed.push((queue, dlq));
        }
    }
    Ok(fed)
}
