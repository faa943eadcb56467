#!/usr/bin/env python3
"""Reads a plan from `terraform show -json`, and writes the policies of the modules' roles by the address of the module."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from provider import policy_document

UNSET = dict.fromkeys(["version", "policy_id", "source_policy_documents", "override_policy_documents"])


def policies(module: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields the policies of a module and its child modules. They are read at apply, but their inputs are known in the plan."""
    for resource in module.get("resources", []):
        if resource["type"] == "aws_iam_policy_document" and resource["name"] == "this":
            yield module["address"], policy_document(UNSET | resource["values"])
    for child in module.get("child_modules", []):
        yield from policies(child)


if __name__ == "__main__":
    json.dump(dict(policies(json.load(sys.stdin)["planned_values"]["root_module"])), sys.stdout, indent=2)
