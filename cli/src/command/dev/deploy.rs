//! Deploys tables, queues and functions to the local stack.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    time::SystemTime,
};

use aws_sdk_lambda::{
    error::ProvideErrorMetadata as _,
    primitives::Blob,
    types::{Environment, FunctionCode, InvocationType, Runtime},
};
use sqjobs::setup::{self, Queues};

use super::workspace::{Function, Programs, Workspace, packed};
use crate::{
    aws::Aws,
    command::{
        beater,
        feeding::{Code, Feeding},
        function, queue, table,
    },
    failure::{Cause, Failure},
};

/// The account of the local stack.
pub(super) const ACCOUNT: &str = "000000000000";

/// Trust policy that allows Lambda to assume a role.
const TRUST: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}"#;

/// A deployment to the local stack.
pub(super) struct Deployment<'a> {
    aws: &'a Aws,
    workspace: &'a Workspace,
    queues: BTreeMap<String, Queues>,
    /// The build time of each deployed program.
    built: HashMap<String, SystemTime>,
}

impl<'a> Deployment<'a> {
    pub(super) fn new(aws: &'a Aws, workspace: &'a Workspace) -> Self {
        Self { aws, workspace, queues: BTreeMap::new(), built: HashMap::new() }
    }

    /// Deploys the changed functions; returns their number.
    pub(super) async fn deploy(&mut self, programs: &Programs) -> Result<usize, Failure> {
        if self.queues.is_empty() {
            self.make().await?;
        }
        let mut deployed = 0;
        let is_first = self.built.is_empty();
        // The beater comes last, because it needs the queues that feed functions.
        let (jobs, beaters): (Vec<_>, Vec<_>) = self.workspace.functions.iter().partition(|function| function.queue.is_some());
        for function in jobs.into_iter().chain(beaters) {
            let Some(program) = programs.get(&function.program) else { continue };
            let built = fs::metadata(program)?.modified()?;
            if self.built.get(&function.name) == Some(&built) {
                continue;
            }
            if is_first {
                note!("deploying {}", function.name);
            }
            let zip = packed(program, &self.workspace.target.join("local-stack/packages").join(&function.name))?;
            if !self.built.contains_key(&function.name) {
                self.allow(&self.name(function)).await?;
            }
            self.put(function, zip).await?;
            if self.built.insert(function.name.clone(), built).is_none() {
                self.wire(function).await?;
            }
            deployed += 1;
        }
        Ok(deployed)
    }

    /// Creates the missing tables and queues.
    async fn make(&mut self) -> Result<(), Failure> {
        table::create(self.aws).await?;
        for function in &self.workspace.functions {
            if let Some(queue) = &function.queue {
                let queue = self.aws.queue(queue);
                let queues = setup::create_queues(&self.aws.sqs(), &queue, function.timeout_s * 6).await?;
                if !function.priorities.is_empty() {
                    let (_, dlq) = queue::pair(self.aws, &queue).await?;
                    for priority in &function.priorities {
                        setup::create_priority_queue(&self.aws.sqs(), &queue, *priority, &dlq.arn, function.timeout_s * 6).await?;
                    }
                }
                self.queues.insert(queue, queues);
            }
        }
        Ok(())
    }

    fn name(&self, function: &Function) -> String {
        self.aws.queue(&function.name)
    }

    fn settings(&self, function: &Function) -> HashMap<String, String> {
        let place = &self.aws.place;
        let own = function.queue.as_ref().and_then(|queue| self.queues.get(&self.aws.queue(queue)));
        // The beater reads all dead-letter queues.
        let dlqs: Vec<_> =
            self.queues.values().filter(|queues| own.is_none_or(|own| own == *queues)).map(|queues| &*queues.dlq_url).collect();
        let mut variables = function::variables(place, own.map(|queues| &*queues.url), &dlqs);
        // A function must use the local stack, whatever its settings say.
        variables.push(("AWS_ENDPOINT_URL", place.endpoint_url.clone().unwrap_or_default()));
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value));
        function.environment.clone().into_iter().chain(variables).collect()
    }

    /// Creates a function, or updates its code.
    async fn put(&self, function: &Function, zip: Vec<u8>) -> Result<(), Failure> {
        let (lambda, name) = (self.aws.lambda(), self.name(function));
        let cannot = |error: Cause| Failure::because(&format!("cannot deploy {name}"), error);
        let zip = Blob::new(zip);
        let create = lambda.create_function().function_name(&name).runtime(Runtime::Providedal2023).handler("bootstrap");
        let timeout = i32::try_from(function.timeout_s).map_err(|error| cannot(error.into()))?;
        let created = create
            .role(format!("arn:aws:iam::{ACCOUNT}:role/{name}"))
            .timeout(timeout)
            .environment(Environment::builder().set_variables(Some(self.settings(function))).build())
            .code(FunctionCode::builder().zip_file(zip.clone()).build())
            .send()
            .await;
        match created {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ResourceConflictException") => {
                let settings = Environment::builder().set_variables(Some(self.settings(function))).build();
                let update = lambda.update_function_configuration().function_name(&name).timeout(timeout).environment(settings);
                update.send().await.map_err(|error| cannot(error.into()))?;
                let update = lambda.update_function_code().function_name(&name).zip_file(zip);
                update.send().await.map(drop).map_err(|error| cannot(error.into()))
            }
            Err(error) => Err(cannot(error.into())),
        }
    }

    /// Creates the role of a function, as `cargo lambda deploy` does.
    async fn allow(&self, name: &str) -> Result<(), Failure> {
        let role = self.aws.iam().create_role().role_name(name).assume_role_policy_document(TRUST).send().await;
        match role {
            Err(error) if error.code() != Some("EntityAlreadyExists") => {
                Err(Failure::because(&format!("cannot create role {name}"), error))
            }
            _ => Ok(()),
        }
    }

    /// Connects a function to its queue, or the beater to EventBridge.
    async fn wire(&self, function: &Function) -> Result<(), Failure> {
        let name = self.name(function);
        let cannot = |error: Cause| Failure::because(&format!("cannot connect {name}"), error);
        let deployed = function::Function::find(self.aws, &name).await?;
        let Some(queue) = &function.queue else {
            beater::connect(self.aws, &deployed).await?;
            // The first tick runs now, so that schedules fire without a wait.
            let wake = self.aws.lambda().invoke().function_name(&name).invocation_type(InvocationType::Event).payload(Blob::new("{}"));
            return wake.send().await.map(drop).map_err(|error| cannot(error.into()));
        };
        let full_name = self.aws.queue(queue);
        let pair = queue::pair(self.aws, &full_name).await?;
        let mut priorities = Vec::new();
        for priority in &function.priorities {
            priorities.push(queue::find(self.aws, &priority.queue(&full_name)).await?);
        }
        // The local stack lets each function send to each queue, so the roles allow it.
        let others: Vec<_> = self.queues.keys().map(|queue| self.aws.short(queue).to_owned()).collect();
        let feeding = Feeding::check(self.aws, &full_name, Some(&pair), &priorities, &deployed, &others, Code::Latest).await?;
        feeding.begin(self.aws, &pair.0, &priorities, &pair.1).await
    }
}
