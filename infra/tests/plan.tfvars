# The system whose policies the role tests enforce: every optional permission is enabled.

functions = {
  probes = {
    enqueues_to = ["others"]
    tracing     = true
  }
}

kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/check"
