output "queue_urls" {
  description = "Where to enqueue."
  value       = module.sqjobs.queue_urls
}

output "environment" {
  description = "What the command `sqjobs` needs."
  value       = module.sqjobs.environment
}
