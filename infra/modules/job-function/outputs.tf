output "function_name" {
  description = "The name of the function, for `cargo lambda deploy --alias live`."
  value       = aws_lambda_function.this.function_name
}

output "function_arn" {
  description = "The ARN of the function."
  value       = aws_lambda_function.this.arn
}

output "newest_version" {
  description = "The newest version of the function."
  value       = aws_lambda_function.this.version
}

output "live_version" {
  description = "The version that the queue invokes."
  value       = aws_lambda_alias.live.function_version
}

output "role_arn" {
  description = "The ARN of the function's role."
  value       = aws_iam_role.this.arn
}

output "policy_json" {
  description = "The policy of the function's role, as JSON."
  value       = data.aws_iam_policy_document.this.json
}

output "queue_url" {
  description = "The URL of the queue. Any language can enqueue to it."
  value       = aws_sqs_queue.this.url
}

output "queue_arn" {
  description = "The ARN of the queue."
  value       = aws_sqs_queue.this.arn
}

output "queue_names" {
  description = "The names of the queues of all priorities."
  value       = [for queue in local.alarmed : queue.queue]
}

output "dlq_name" {
  description = "The name of the dead-letter queue."
  value       = aws_sqs_queue.dlq.name
}

output "queue_arns" {
  description = "The ARNs of the queues of all priorities."
  value       = local.queue_arns
}

output "priority_queue_urls" {
  description = "The URLs of the queues of the further priorities."
  value       = { for priority, queue in aws_sqs_queue.priority : priority => queue.url }
}

output "dlq_url" {
  description = "The URL of the dead-letter queue."
  value       = aws_sqs_queue.dlq.url
}

output "dlq_arn" {
  description = "The ARN of the dead-letter queue."
  value       = aws_sqs_queue.dlq.arn
}
