#!/usr/bin/env python3
"""Replaces the AWS provider for Terraform's checks without a network: it serves the schema that schema.py wrote.

With the schema, Terraform itself finds attributes that are unknown, missing or of a wrong type. This provider refuses
attributes that the code sets although they are computed. It plans resources with unknown values for everything that AWS
decides. It reads data sources: `aws_iam_policy_document` exactly, the others with placeholders. It applies nothing.
One process serves all Terraform commands, since its start takes longer than any of their requests.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import msgpack
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc

Block = dict[str, Any]
AttributePath = tuple[str | int, ...]

UNKNOWN = msgpack.ExtType(0, b"\x00")
ACCOUNT = "123456789012"
REGION = "eu-west-1"
NESTINGS = {
    "single": pb.Schema.NestedBlock.SINGLE,
    "list": pb.Schema.NestedBlock.LIST,
    "set": pb.Schema.NestedBlock.SET,
}
PLACEHOLDERS: dict[str, dict[str, Any]] = {
    "aws_caller_identity": {
        "id": ACCOUNT,
        "account_id": ACCOUNT,
        "arn": f"arn:aws:iam::{ACCOUNT}:user/check",
        "user_id": "AIDACHECKCHECKCHECK00",
    },
    "aws_partition": {
        "id": "aws",
        "partition": "aws",
        "dns_suffix": "amazonaws.com",
        "reverse_dns_prefix": "com.amazonaws",
    },
    "aws_region": {
        "id": REGION,
        "name": REGION,
        "region": REGION,
        "description": "Europe (Ireland)",
        "endpoint": f"ec2.{REGION}.amazonaws.com",
    },
}
# The ARNs by name of resources in policies. With them, a plan knows the whole policy.
ARNS = {
    "aws_cloudwatch_log_group": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{name}}",
    "aws_dynamodb_table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{name}}",
    "aws_lambda_alias": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{function_name}}:{{name}}",
    "aws_sqs_queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{name}}",
}


# The wire protocol.


def decode(value: pb.DynamicValue) -> Any:
    """Decodes a value from Terraform; an unknown value remains an ExtType."""
    return msgpack.unpackb(value.msgpack)


def encode(value: Any) -> pb.DynamicValue:
    return pb.DynamicValue(msgpack=msgpack.packb(value))


def error(summary: str, path: AttributePath = ()) -> pb.Diagnostic:
    """Creates an error, at an attribute if there is a path."""
    steps = [
        pb.AttributePath.Step(element_key_int=step) if isinstance(step, int) else pb.AttributePath.Step(attribute_name=step)
        for step in path
    ]
    return pb.Diagnostic(severity=pb.Diagnostic.ERROR, summary=summary, attribute=pb.AttributePath(steps=steps))


def block_message(block: Block) -> pb.Schema.Block:
    """Converts a block of schema.py's JSON to the protocol."""
    return pb.Schema.Block(
        attributes=[
            pb.Schema.Attribute(
                name=name,
                type=json.dumps(attribute["type"]).encode(),
                required=attribute["required"],
                optional=attribute["optional"],
                computed=attribute["computed"],
            )
            for name, attribute in block["attributes"].items()
        ],
        block_types=[
            pb.Schema.NestedBlock(
                type_name=name,
                block=block_message(nested["block"]),
                nesting=NESTINGS[nested["nesting"]],
                min_items=nested["min"],
                max_items=nested["max"],
            )
            for name, nested in block["blocks"].items()
        ],
    )


def schema_message(block: Block) -> pb.Schema:
    return pb.Schema(block=block_message(block))


# Values and their schema.


def unconfigurable(block: Block, value: dict[str, Any], path: AttributePath = ()) -> Iterator[AttributePath]:
    """Yields the paths of attributes that are set although only the provider may set them."""
    for name, attribute in block["attributes"].items():
        if value[name] is not None and not attribute["optional"] and not attribute["required"]:
            yield (*path, name)
    for name, nested in block["blocks"].items():
        inner = value[name]
        if isinstance(inner, dict):
            yield from unconfigurable(nested["block"], inner, (*path, name))
        elif isinstance(inner, list):
            for index, item in enumerate(inner):
                # An element of a set has no index, so its error is reported at the block.
                place = (index,) if nested["nesting"] == "list" else ()
                yield from unconfigurable(nested["block"], item, (*path, name, *place))


def completed(block: Block, value: dict[str, Any], fill: Callable[[str, Any], Any]) -> dict[str, Any]:
    """Fills in the computed attributes that are not set, by name and type."""
    result: dict[str, Any] = {}
    for name, attribute in block["attributes"].items():
        given = value[name]
        result[name] = fill(name, attribute["type"]) if given is None and attribute["computed"] else given
    for name, nested in block["blocks"].items():
        inner = value[name]
        if isinstance(inner, dict):
            result[name] = completed(nested["block"], inner, fill)
        elif isinstance(inner, list):
            result[name] = [completed(nested["block"], item, fill) for item in inner]
        else:
            result[name] = inner
    return result


def undecided(type_name: str, resource: dict[str, Any]) -> Callable[[str, Any], Any]:
    """Returns the computed attributes known before AWS creates the resource: the ARN of several types."""
    known = {"arn": ARNS[type_name].format(**resource)} if type_name in ARNS and isinstance(resource["name"], str) else {}
    return lambda name, _type: known.get(name, UNKNOWN)


def placeholder(name: str, type_: Any) -> Any:
    """Returns a plausible value of a type."""
    match type_:
        case "string" | "dynamic":
            return f"arn:aws:check:{REGION}:{ACCOUNT}:check" if name.endswith("arn") else f"check-{name}"
        case "number":
            return 1
        case "bool":
            return False
        case ["list" | "set", element]:
            return [placeholder(name, element)]
        case ["map", element]:
            return {"check": placeholder(name, element)}
        case ["object", fields]:
            return {field: placeholder(field, field_type) for field, field_type in fields.items()}
    raise ValueError(f"{name}: no placeholder for the type {type_}")


# aws_iam_policy_document.


def one_or_many(values: list[str]) -> str | list[str]:
    """Formats values like the provider: one alone, many in descending order, and &{...} as IAM variables."""
    variables = [value.replace("&{", "${") for value in values]
    return variables[0] if len(variables) == 1 else sorted(variables, reverse=True)


def principals(blocks: list[dict[str, Any]]) -> Any:
    """Returns the principals: anyone, or the identifiers by kind."""
    if any(block["type"] == "*" and block["identifiers"] == ["*"] for block in blocks):
        return "*"
    kinds: dict[str, list[str]] = {}
    for block in blocks:
        kinds.setdefault(block["type"], []).extend(block["identifiers"])
    return {kind: one_or_many(identifiers) for kind, identifiers in sorted(kinds.items())}


def conditions(blocks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the values by test and variable, in order."""
    result: dict[str, dict[str, list[str]]] = {}
    for block in blocks:
        result.setdefault(block["test"], {}).setdefault(block["variable"], []).extend(block["values"])
    return {
        test: {variable: values[0] if len(values) == 1 else values for variable, values in sorted(variables.items())}
        for test, variables in sorted(result.items())
    }


def statement(block: dict[str, Any]) -> dict[str, Any]:
    """Returns a statement of a policy without unset fields."""
    parts = {
        "Sid": block["sid"],
        "Effect": block["effect"] or "Allow",
        "Action": block["actions"] and one_or_many(block["actions"]),
        "NotAction": block["not_actions"] and one_or_many(block["not_actions"]),
        "Resource": block["resources"] and one_or_many(block["resources"]),
        "NotResource": block["not_resources"] and one_or_many(block["not_resources"]),
        "Principal": block["principals"] and principals(block["principals"]),
        "NotPrincipal": block["not_principals"] and principals(block["not_principals"]),
        "Condition": block["condition"] and conditions(block["condition"]),
    }
    return {name: value for name, value in parts.items() if value}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def with_overrides(statements: list[dict[str, Any]], overrides: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merges statements: a later one replaces an earlier one with the same Sid; all others are appended."""
    result = list(statements)
    for override in overrides:
        places = [place for place, old in enumerate(result) if override.get("Sid") and old.get("Sid") == override["Sid"]]
        if places:
            result[places[0]] = override
        else:
            result.append(override)
    return result


def policy_document(config: dict[str, Any]) -> dict[str, Any]:
    """Builds the policy from the blocks of aws_iam_policy_document."""
    statements: list[dict[str, Any]] = []
    for document in config["source_policy_documents"] or []:
        statements += as_list(json.loads(document).get("Statement", []))
    statements = with_overrides(statements, [statement(block) for block in config["statement"]])
    for document in config["override_policy_documents"] or []:
        statements = with_overrides(statements, as_list(json.loads(document).get("Statement", [])))
    head = {"Version": config["version"] or "2012-10-17", "Id": config["policy_id"], "Statement": statements}
    return {name: value for name, value in head.items() if value}


def known_values(type_name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Returns the known attributes of a data source beyond its configuration."""
    if type_name != "aws_iam_policy_document":
        return PLACEHOLDERS.get(type_name, {"region": REGION})
    document = policy_document(config)
    return {"json": json.dumps(document, indent=2), "minified_json": json.dumps(document, separators=(",", ":"))}


def read_data_source(type_name: str, block: Block, config: dict[str, Any]) -> dict[str, Any]:
    """Returns the state of a data source: its configuration, its known attributes, and placeholders for the rest.

    Terraform reads it only when all of the configuration is known.
    """
    known = known_values(type_name, config)
    return completed(block, config, lambda name, type_: known.get(name) or placeholder(name, type_))


# The service that Terraform calls.


class AwsProvider(rpc.ProviderServicer):
    """The provider. Terraform reports unimplemented methods by name."""

    def __init__(self, schema: dict[str, Any]):
        self.schema = schema

    def GetProviderSchema(self, request, context):
        return pb.GetProviderSchema.Response(
            provider=schema_message(self.schema["provider"]),
            resource_schemas={name: schema_message(block) for name, block in self.schema["resources"].items()},
            data_source_schemas={name: schema_message(block) for name, block in self.schema["data_sources"].items()},
        )

    def ValidateProviderConfig(self, request, context):
        return pb.ValidateProviderConfig.Response()

    def ConfigureProvider(self, request, context):
        return pb.ConfigureProvider.Response()

    def ValidateResourceConfig(self, request, context):
        return pb.ValidateResourceConfig.Response(diagnostics=self.problems("resources", request))

    def ValidateDataResourceConfig(self, request, context):
        return pb.ValidateDataResourceConfig.Response(diagnostics=self.problems("data_sources", request))

    def problems(self, kind: str, request) -> list[pb.Diagnostic]:
        """Returns an error for each set attribute that only the provider may set."""
        paths = unconfigurable(self.schema[kind][request.type_name], decode(request.config))
        return [error(f"Only AWS decides the value of {request.type_name}.{path[-1]}", path) for path in paths]

    def PlanResourceChange(self, request, context):
        proposed = decode(request.proposed_new_state)
        planned = completed(self.schema["resources"][request.type_name], proposed, undecided(request.type_name, proposed))
        return pb.PlanResourceChange.Response(planned_state=encode(planned))

    def ApplyResourceChange(self, request, context):
        problem = error("This provider only plans: a test needs `command = plan`")
        return pb.ApplyResourceChange.Response(diagnostics=[problem])

    def ReadDataSource(self, request, context):
        block = self.schema["data_sources"][request.type_name]
        state = read_data_source(request.type_name, block, decode(request.config))
        return pb.ReadDataSource.Response(state=encode(state))

    def GetFunctions(self, request, context):
        return pb.GetFunctions.Response()

    def StopProvider(self, request, context):
        return pb.StopProvider.Response()


def reattachment(provider: str, port: int) -> str:
    """Returns the value of TF_REATTACH_PROVIDERS with which Terraform uses a provider that it has not started."""
    address = {"Network": "tcp", "String": f"127.0.0.1:{port}"}
    return json.dumps({provider: {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": address}})


def serve(schema: dict[str, Any], provider: str) -> None:
    """Prints its address, and serves until the process that started it ends."""
    parent = os.getppid()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    rpc.add_ProviderServicer_to_server(AwsProvider(schema), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(reattachment(provider, port), flush=True)
    while os.getppid() == parent:
        server.wait_for_termination(timeout=1)


if __name__ == "__main__":
    serve(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
