output "function_name" {
  description = "The name of the function, for `cargo lambda deploy` and `sqjobs doctor --beater`."
  value       = aws_lambda_function.this.function_name
}

output "function_arn" {
  description = "The ARN of the function."
  value       = aws_lambda_function.this.arn
}

output "policy_json" {
  description = "The policy of the function's role, as JSON."
  value       = data.aws_iam_policy_document.this.json
}
