# The system whose policies the tests of the roles enforce: with everything that a role may be given.

functions = {
  probes = {
    enqueues_to = ["others"]
    tracing     = true
  }
}

kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/check"
