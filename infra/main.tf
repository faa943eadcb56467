# The whole system, driven by one map of functions. A new job needs a folder and an entry.

module "table" {
  source = "./modules/job-table"

  prefix                 = var.prefix
  deletion_protection    = var.deletion_protection
  point_in_time_recovery = var.point_in_time_recovery
  warm_write_units       = var.warm_write_units
  stream                 = var.events != null
  kms_key_arn            = var.kms_key_arn
  tags                   = var.tags
}

module "function" {
  source   = "./modules/job-function"
  for_each = var.functions

  name                  = each.key
  prefix                = var.prefix
  package               = "${var.packages}/${coalesce(each.value.package, each.key)}/bootstrap.zip"
  table_name            = module.table.jobs_name
  table_arn             = module.table.jobs_arn
  schedules_name        = module.table.schedules_name
  architecture          = var.architecture
  fifo                  = each.value.fifo
  timeout_s             = each.value.timeout_s
  memory_mb             = each.value.memory_mb
  batch_size            = each.value.batch_size
  batch_window_s        = each.value.batch_window_s
  max_concurrency       = each.value.max_concurrency
  priorities            = each.value.priorities
  pollers               = each.value.pollers
  reserved_concurrency  = each.value.reserved_concurrency
  retention_s           = each.value.retention_s
  enabled               = each.value.enabled
  environment           = each.value.environment
  enqueues_to           = each.value.enqueues_to
  live_version          = each.value.live_version
  policy_json           = each.value.policy_json
  tracing               = each.value.tracing
  alarm_age_s           = each.value.alarm_age_s
  alarm_failure_percent = each.value.alarm_failure_percent
  metrics               = var.metrics
  log_retention_days    = var.log_retention_days
  kms_key_arn           = var.kms_key_arn
  alarm_actions         = var.alarm_actions
  tags                  = var.tags
}

module "beater" {
  source = "./modules/beater"

  prefix             = var.prefix
  package            = "${var.packages}/beater/bootstrap.zip"
  table_name         = module.table.jobs_name
  table_arn          = module.table.jobs_arn
  schedules_name     = module.table.schedules_name
  schedules_arn      = module.table.schedules_arn
  queue_arns         = flatten([for function in module.function : function.queue_arns])
  dlq_arns           = [for function in module.function : function.dlq_arn]
  architecture       = var.architecture
  metrics            = var.metrics
  alarm_late_s       = var.alarm_late_s
  log_retention_days = var.log_retention_days
  kms_key_arn        = var.kms_key_arn
  alarm_actions      = var.alarm_actions
  tags               = var.tags
}

module "events" {
  source = "./modules/events"
  count  = var.events == null ? 0 : 1

  prefix             = var.prefix
  package            = "${var.packages}/beater/bootstrap.zip"
  table_arn          = module.table.jobs_arn
  stream_arn         = module.table.stream_arn
  bus_arn            = var.events.bus_arn
  states             = var.events.states
  job_names          = var.events.job_names
  results            = var.events.results
  architecture       = var.architecture
  log_retention_days = var.log_retention_days
  kms_key_arn        = var.kms_key_arn
  alarm_actions      = var.alarm_actions
  tags               = var.tags
}

locals {
  # A dashboard has a limited number of metrics.
  queues     = flatten([for name, function in module.function : [for queue in function.queue_names : { name = queue, dlq_name = function.dlq_name }]])
  dashboards = var.metrics && var.dashboard ? chunklist(local.queues, 100) : []
}

module "dashboard" {
  source = "./modules/dashboard"
  count  = length(local.dashboards)

  name        = "${var.prefix}sqjobs${count.index == 0 ? "" : "-${count.index + 1}"}"
  queues      = [for queue in local.dashboards[count.index] : queue.name]
  dlqs        = distinct([for queue in local.dashboards[count.index] : queue.dlq_name])
  beater_name = module.beater.function_name
}
