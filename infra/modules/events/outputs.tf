output "function_name" {
  description = "The name of the function."
  value       = aws_lambda_function.this.function_name
}

output "role_arn" {
  description = "The ARN of the role of the function."
  value       = aws_iam_role.this.arn
}
