"""Prints what functions log that EventBridge wakes, for the stack keeps that to itself. Ends when the stack does not answer."""

import json
import sys
import time
import urllib.error
import urllib.request

url, *functions = sys.argv[1:]
HEADERS = {
    "x-amz-target": "Logs_20140328.FilterLogEvents",
    "content-type": "application/x-amz-json-1.1",
    "authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/logs/aws4_request, SignedHeaders=host, Signature=none",
}
# Lambda's own lines.
FRAME = ("START RequestId", "END RequestId", "REPORT RequestId")
since = dict.fromkeys(functions, 0)
while True:
    for function in functions:
        wanted = json.dumps({"logGroupName": "/aws/lambda/" + function, "startTime": since[function]}).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, wanted, HEADERS)) as answer:
                events = json.load(answer)["events"]
        except urllib.error.HTTPError:
            continue  # it has not run yet
        except OSError:
            sys.exit()
        for event in events:
            since[function] = event["timestamp"] + 1
            if not event["message"].startswith(FRAME):
                print(function + ": " + event["message"], flush=True)
    time.sleep(1)
