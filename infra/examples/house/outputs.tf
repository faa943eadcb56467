output "queue_urls" {
  description = "The URLs of the queues."
  value       = module.sqjobs.queue_urls
}

output "queue_arns" {
  description = "The ARNs of the queues, for the policy of a producer."
  value       = module.sqjobs.queue_arns
}

output "environment" {
  description = "The environment variables for the command `sqjobs`."
  value       = module.sqjobs.environment
}
