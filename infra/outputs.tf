output "queue_urls" {
  description = "The URLs of the queues by job. Any language can enqueue to them."
  value       = { for name, function in module.function : name => function.queue_url }
}

output "dlq_urls" {
  description = "The URLs of the dead-letter queues by job."
  value       = { for name, function in module.function : name => function.dlq_url }
}

output "queue_arns" {
  description = "The ARNs of the queues by job, for example for the policy of a producer."
  value       = { for name, function in module.function : name => function.queue_arn }
}

output "dlq_arns" {
  description = "The ARNs of the dead-letter queues by job."
  value       = { for name, function in module.function : name => function.dlq_arn }
}

output "live_versions" {
  description = "The live versions by job. Note them to be able to roll back."
  value       = { for name, function in module.function : name => function.live_version }
}

output "function_names" {
  description = "The names of the functions by job, for `cargo lambda deploy --alias live`."
  value       = { for name, function in module.function : name => function.function_name }
}

output "role_arns" {
  description = "The ARNs of the functions' roles by job. Attach additional permissions of a job to its role."
  value       = { for name, function in module.function : name => function.role_arn }
}

output "environment" {
  description = "The environment variables for the command `sqjobs` and other programs."

  value = {
    SQJOBS_TABLE           = module.table.jobs_name
    SQJOBS_SCHEDULES_TABLE = module.table.schedules_name
    SQJOBS_PREFIX          = var.prefix
  }
}
