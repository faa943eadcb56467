#!/usr/bin/env python3
"""Reads a plan as `terraform show -json` prints it, and writes the policies of the modules' roles, by the module's address."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from provider import policy_document

UNSET = dict.fromkeys(["version", "policy_id", "source_policy_documents", "override_policy_documents"])


def policies(module: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The policies of a module and of those in it. They are read when the plan is applied; what they are made of is known."""
    for resource in module.get("resources", []):
        if resource["type"] == "aws_iam_policy_document" and resource["name"] == "this":
            yield module["address"], policy_document(UNSET | resource["values"])
    for child in module.get("child_modules", []):
        yield from policies(child)


if __name__ == "__main__":
    json.dump(dict(policies(json.load(sys.stdin)["planned_values"]["root_module"])), sys.stdout, indent=2)
