output "queue_urls" {
  description = "Where to enqueue."
  value       = module.sqjobs.queue_urls
}

output "queue_arns" {
  description = "What the policy of a producer names."
  value       = module.sqjobs.queue_arns
}

output "environment" {
  description = "What the command `sqjobs` needs."
  value       = module.sqjobs.environment
}
