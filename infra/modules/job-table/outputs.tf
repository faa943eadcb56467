output "jobs_name" {
  description = "The name of the table of records, for SQJOBS_TABLE."
  value       = aws_dynamodb_table.jobs.name
}

output "jobs_arn" {
  description = "The ARN of the table of records."
  value       = aws_dynamodb_table.jobs.arn
}

output "stream_arn" {
  description = "The ARN of the stream of the table of records, if it has one."
  value       = aws_dynamodb_table.jobs.stream_arn
}

output "schedules_name" {
  description = "The name of the table of schedules, for SQJOBS_SCHEDULES_TABLE."
  value       = aws_dynamodb_table.schedules.name
}

output "schedules_arn" {
  description = "The ARN of the table of schedules."
  value       = aws_dynamodb_table.schedules.arn
}
