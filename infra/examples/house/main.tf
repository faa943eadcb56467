# The functions of this repository.

provider "aws" {
  region = var.region
}

module "sqjobs" {
  source = "../.."

  prefix   = var.prefix
  packages = "${path.module}/../../../target/lambda"

  alarm_actions = var.alarm_actions

  functions = {
    adder = {}

    webhook = {
      timeout_s       = 60
      max_concurrency = 20
      environment     = { WEBHOOK_SECRET = var.webhook_secret }
    }
  }
}
