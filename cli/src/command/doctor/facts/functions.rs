//! Reads the functions and the rights of their roles.

use aws_sdk_lambda::types::RecursiveLoop;

use super::{System, beater::is_invoked};
use crate::{
    aws::Aws,
    command::function::{self, Function},
    failure::{Failure, describe},
};

impl System {
    pub(super) async fn function(&mut self, aws: &Aws, name: String, qualifier: Option<&str>) {
        let function = Function::get_version(aws, &name, qualifier).await.map_err(Failure::into_message);
        let Some(function) = self.note_error(&format!("function {name}"), function) else { return };
        if let Some(runs) = function.as_ref().filter(|_| qualifier.is_some()) {
            let latest = Function::get(aws, &name).await.map_err(Failure::into_message);
            let latest = self.note_error(&format!("the newest deployment of function {name}"), latest).flatten();
            if latest.is_some_and(|latest| !latest.is_like(runs)) {
                self.unreleased.insert(name.clone(), runs.version.clone());
            }
        }
        if function.is_some() {
            let recursion = aws.lambda().get_function_recursion_config().function_name(&name).send().await;
            let recursion =
                self.note_error(&format!("the recursion setting of function {name}"), recursion.map_err(|error| describe(&error)));
            if recursion.is_some_and(|own| own.recursive_loop == Some(RecursiveLoop::Terminate)) {
                self.loop_detection.insert(name.clone());
            }
        }
        if let Some(function) = function.as_ref().filter(|_| name == self.beater.name) {
            let find_beater = is_invoked(aws, function).await;
            self.beater.is_invoked = self.note_error("the EventBridge rules of the beater", find_beater).unwrap_or(true);
        }
        self.functions.insert(name, function);
    }

    /// Reads the rights that the roles lack.
    pub(super) async fn rights(&mut self, aws: &Aws) {
        let Some(jobs) = &self.jobs.arn else { return };
        let (queues, dlqs) = self.fed_queues().map(|(queue, dlq)| (queue.arn.clone(), dlq.arn.clone())).unzip();
        for queue in &mut self.queues {
            let (Some(mapping), Some(dlq)) = (&queue.mapping, &queue.dlq) else { continue };
            let Some(Some(function)) = self.functions.get(&mapping.function) else { continue };
            match function.missing_rights(aws, &function::worker_rights(jobs, &queue.arn, &dlq.arn)).await {
                Ok(missing_rights) => queue.missing_rights = missing_rights,
                Err(error) => self.unread.push(format!("the role of function {}: {error}", function.name)),
            }
        }
        if let (Some(Some(function)), Some(schedules)) = (self.functions.get(&self.beater.name), &self.schedules.arn) {
            let missing_rights = match function::beater_rights(&aws.place.prefix, jobs, schedules, queues, dlqs) {
                Ok(rights) => function.missing_rights(aws, &rights).await,
                Err(failure) => Err(failure.into_message()),
            };
            match missing_rights {
                Ok(missing_rights) => self.beater.missing_rights = missing_rights,
                Err(error) => self.unread.push(format!("the role of function {}: {error}", function.name)),
            }
        }
    }
}
