//! Reads the functions and the rights of their roles.

use std::collections::BTreeMap;

use aws_sdk_lambda::types::RecursiveLoop;

use super::{Blocked, System, beater::is_invoked};
use crate::{
    aws::Aws,
    command::function::{self, Function, Right},
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
            match function.missing_rights(aws, &function::worker_rights(jobs, vec![queue.arn.clone()], &dlq.arn)).await {
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

    /// Reads which functions lack the right to send to the queues of jobs that wait for their jobs.
    pub(super) async fn rights_to_send(&mut self, aws: &Aws) {
        let arns: BTreeMap<_, _> = self.queues.iter().map(|queue| (queue.name.clone(), queue.arn.clone())).collect();
        for queue in &mut self.queues {
            let function = queue.mapping.as_ref().and_then(|mapping| self.functions.get(&mapping.function)?.as_ref());
            let Some(function) = function else { continue };
            let releases =
                |blocked: &&Blocked| blocked.unmet.iter().any(|(_, job)| job.as_ref().is_some_and(|job| job.queue == queue.name));
            let jobs = self.blocked.iter().filter(|blocked| blocked.job.queue != queue.name).filter(releases).map(|blocked| &blocked.job);
            let jobs: BTreeMap<_, _> = jobs.rev().map(|job| (&job.queue, &job.id)).collect();
            for (name, id) in jobs {
                let Some(arn) = arns.get(name) else { continue };
                let right = Right::new("Children", &["sqs:GetQueueUrl", "sqs:SendMessage"], vec![arn.clone()]);
                match function.missing_rights(aws, &[right]).await {
                    Ok(missing_rights) if missing_rights.is_empty() => {}
                    Ok(_) => drop(queue.denied.insert(name.clone(), id.clone())),
                    // The same error was noted for the other rights of the role.
                    Err(_) => break,
                }
            }
        }
    }
}
