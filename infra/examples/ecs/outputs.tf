output "queue_url" {
  description = "The URL of the queue."
  value       = aws_sqs_queue.this.url
}
