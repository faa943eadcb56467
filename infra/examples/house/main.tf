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

    import-csv = {
      timeout_s   = 900
      environment = { IMPORT_SOURCE_URL = var.import_urls.source, IMPORT_TARGET_URL = var.import_urls.target }
    }

    # The workflow `report`. A function may send to the queues of the jobs that wait for its jobs; the one of the closing job
    # starts all of them.
    fetch = {
      timeout_s   = 60
      environment = { REPORT_SOURCE_URL = var.report_urls.source }
      enqueues_to = ["summarize", "publish", "notify"]
    }

    summarize = {
      enqueues_to = ["publish", "notify"]
    }

    publish = {
      timeout_s   = 60
      environment = { REPORT_TARGET_URL = var.report_urls.target }
      enqueues_to = ["notify"]
    }

    notify = {
      timeout_s   = 60
      environment = { REPORT_NOTIFY_URL = var.report_urls.notify }
      enqueues_to = ["fetch", "summarize", "publish"]
    }

    webhook = {
      timeout_s       = 60
      max_concurrency = 20
      environment     = { WEBHOOK_SECRET = var.webhook_secret }
    }
  }
}
