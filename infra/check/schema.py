#!/usr/bin/env python3
"""Writes the part of the AWS provider's schema that a folder of Terraform code uses, as JSON; prints the version.

The schema comes from the npm package @cdktn/provider-aws, which is generated from the schema of the real provider. It has
one folder for each resource type and data source. The index.js there states for each argument if it is required, optional
or computed (in comments before the getters), and its type (in the tables for HCL). A block in the JSON is
{"attributes": {name: {"type", "required", "optional", "computed"}}, "blocks": {name: {"nesting", "min", "max", "block"}}},
with types in the notation of Terraform's protocol. The package lacks defaults, sensitive flags and the checks of the
provider's own code, and so does this schema.
"""

import json
import re
import sys
import tarfile
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

PROVIDER = "provider"
USED = re.compile(r'^\s*(resource|data)\s+"aws_(\w+)"', re.MULTILINE)
VERSION = re.compile(r"^\s+providerVersion: '([\d.]+)',$", re.MULTILINE)
TYPE_NAME = re.compile(r'static tfResourceType = "(\w+)"')
FLAGS = re.compile(
    r"^    // (?P<name>\w+) - computed: (?P<computed>\w+), optional: (?P<optional>\w+), required: (?P<required>\w+)\n"
    r"(?P<body>.*?)^    }$",
    re.MULTILINE | re.DOTALL,
)
ARGUMENT = re.compile(
    r"^\s+(?P<name>\w+): \{\n"
    r"\s+value: (?P<value>.*),\n"
    r"\s+isBlock: (?P<is_block>true|false),\n"
    r'\s+type: "(?P<kind>\w+)",\n'
    r'\s+storageClassType: "(?P<storage>\w+)",\n',
    re.MULTILINE,
)
STRUCT = re.compile(r"(?<![.\w])(\w+)ToHclTerraform")
OBJECT = re.compile(r'= new (\w+?)(OutputReference|List)\(this, "\w+"(?:, (true|false))?\);')
STORAGE = re.compile(r"(string|number|boolean|any)((?:List|Map)*)")
SCALARS = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
COLLECTIONS = {"List": "list", "Map": "map"}
GETTERS = {
    "getStringAttribute": "string",
    "getNumberAttribute": "number",
    "getBooleanAttribute": "bool",
    "getListAttribute": ["list", "string"],
    "getNumberListAttribute": ["list", "number"],
    "getStringMapAttribute": ["map", "string"],
    "getNumberMapAttribute": ["map", "number"],
    "getBooleanMapAttribute": ["map", "bool"],
    "cdktn.StringMap": ["map", "string"],
    "cdktn.NumberMap": ["map", "number"],
    "cdktn.BooleanMap": ["map", "bool"],
    "interpolationForAttribute": "dynamic",
}


class Argument(NamedTuple):
    """An argument or a nested block in HCL."""

    value: str
    is_block: bool
    kind: str
    storage: str


class Member(NamedTuple):
    """A readable member of a resource or nested block, with flags that show if it can or must be written."""

    computed: bool
    optional: bool
    required: bool
    body: str


def fail(message: str) -> NoReturn:
    """Exits: a schema that cannot be parsed must not be served."""
    raise SystemExit(f"schema.py: {message}")


def upper_first(text: str) -> str:
    return text[0].upper() + text[1:]


def between(source: str, start: str, end: str) -> str:
    """Returns the lines from the first that starts with `start` to the next that equals `end`, or an empty text."""
    found = re.search(rf"^{re.escape(start)}.*?^{re.escape(end)}$", source, re.MULTILINE | re.DOTALL)
    return found.group() if found else ""


def arguments_in(text: str) -> dict[str, Argument]:
    """Returns the arguments in a table for HCL."""
    return {
        found["name"]: Argument(found["value"], found["is_block"] == "true", found["kind"], found["storage"])
        for found in ARGUMENT.finditer(text)
    }


def members_in(text: str) -> dict[str, Member]:
    """Returns the members of a class, from the comments before their getters."""
    return {
        found["name"]: Member(
            found["computed"] == "true", found["optional"] == "true", found["required"] == "true", found["body"]
        )
        for found in FLAGS.finditer(text)
    }


class Source:
    """The index.js of a resource type, a data source or the provider itself."""

    def __init__(self, text: str):
        self.text = text.split("//# sourceMappingURL")[0]

    def version(self) -> str:
        return self.find(VERSION)

    def type_name(self) -> str:
        return self.find(TYPE_NAME)

    def find(self, pattern: re.Pattern[str]) -> str:
        found = pattern.search(self.text)
        return found.group(1) if found else fail(f"nothing like {pattern.pattern}")

    def root(self) -> dict[str, Any]:
        """Returns the block of the resource, data source or provider."""
        table = between(self.text, "    synthesizeHclAttributes()", "    }")
        found = re.search(r"^class \w+ extends cdktn\.Terraform\w+ ", self.text, re.MULTILINE)
        if not found or not table:
            fail("a file without a resource, a data source or a provider")
        return self.block(arguments_in(table), members_in(between(self.text, found.group(), "}")))

    def struct_arguments(self, struct: str) -> dict[str, Argument]:
        return arguments_in(between(self.text, f"function {struct}ToHclTerraform(", "}"))

    def struct_members(self, struct: str) -> dict[str, Member]:
        return members_in(between(self.text, f"class {upper_first(struct)}OutputReference ", "}"))

    def block(self, arguments: dict[str, Argument], members: dict[str, Member]) -> dict[str, Any]:
        """Returns one block. The provider's nested blocks have no members here, so all of their content is optional."""
        attributes: dict[str, Any] = {}
        blocks: dict[str, Any] = {}
        for name in sorted(arguments.keys() | members.keys()):
            argument = arguments.get(name)
            member = members.get(name, Member(False, True, False, ""))
            if argument and argument.is_block and not member.computed:
                blocks[name] = self.nested(argument, member)
            else:
                attributes[name] = {
                    "type": self.type_of(name, argument, member),
                    "required": member.required,
                    "optional": member.optional,
                    "computed": member.computed,
                }
        return {"attributes": attributes, "blocks": blocks}

    def nested(self, argument: Argument, member: Member) -> dict[str, Any]:
        """Returns a nested block. A list or set that is written from a single struct has at most one element."""
        found = STRUCT.search(argument.value)
        if not found or argument.kind not in ("list", "set", "struct"):
            fail(f"a block that is not understood: {argument}")
        struct = found.group(1)
        single = argument.kind == "struct"
        many = "listMapperHcl" in argument.value
        return {
            "nesting": "single" if single else argument.kind,
            "min": int(member.required and not single),
            "max": int(not many and not single),
            "block": self.block(self.struct_arguments(struct), self.struct_members(struct)),
        }

    def type_of(self, name: str, argument: Argument | None, member: Member) -> Any:
        """Returns the type of an attribute: that of its argument if it can be written, otherwise that of its getter."""
        if argument and not argument.is_block:
            return storage_type(argument)
        found = OBJECT.search(member.body)
        if found:
            return self.object_type(*found.groups())
        for getter, getter_type in GETTERS.items():
            if getter + "(" in member.body:
                return ["set", getter_type[1]] if "Fn.tolist(" in member.body and len(getter_type) == 2 else getter_type
        return fail(f"an attribute whose type is not understood: {name}")

    def object_type(self, cls: str, shape: str, is_set: str | None) -> Any:
        """Returns the type of an attribute with one or more objects, written in Terraform as `x = [{ ... }]`."""
        members = self.struct_members(cls)
        arguments = self.struct_arguments(cls[0].lower() + cls[1:])
        fields = {name: self.type_of(name, arguments.get(name), member) for name, member in members.items()}
        single = ["object", fields]
        return single if shape == "OutputReference" else ["set" if is_set == "true" else "list", single]


def storage_type(argument: Argument) -> Any:
    """Returns the type of an argument that is not a struct, such as a `set` of a `stringList`."""
    found = STORAGE.fullmatch(argument.storage)
    if not found:
        fail(f"a type that is not understood: {argument}")
    result: Any = SCALARS[found.group(1)]
    for collection in re.findall("List|Map", found.group(2)):
        result = [COLLECTIONS[collection], result]
    return result if argument.kind == "simple" else [argument.kind, result[1]]


def used(folder: Path) -> set[str]:
    """Returns the folders of the package for the types that the Terraform code uses."""
    prefixes = {"resource": "", "data": "data-aws-"}
    return {
        prefixes[kind] + name.replace("_", "-") for path in folder.rglob("*.tf") for kind, name in USED.findall(path.read_text())
    }


def extract(package: Path, folders: set[str], cache: Path) -> None:
    """Copies the index.js of each folder into the cache, if the package has it and the cache does not."""
    missing = {f"package/lib/{name}/index.js": cache / f"{name}.js" for name in folders if not (cache / f"{name}.js").exists()}
    if not missing:
        return
    with tarfile.open(package) as archive:
        for entry in archive:
            content = archive.extractfile(entry) if entry.name in missing else None
            if content:
                missing.pop(entry.name).write_bytes(content.read())
            if not missing:
                return


def main(folder: Path, package: Path, cache: Path, out: Path) -> None:
    """Leaves out types that the package lacks, so that Terraform reports them with their location."""
    folders = used(folder)
    cache.mkdir(parents=True, exist_ok=True)
    extract(package, folders | {PROVIDER}, cache)
    provider = Source((cache / f"{PROVIDER}.js").read_text())
    schema: dict[str, Any] = {"provider": provider.root(), "resources": {}, "data_sources": {}}
    for path in sorted(cache / f"{name}.js" for name in folders):
        if path.exists():
            source = Source(path.read_text())
            kind = "data_sources" if path.name.startswith("data-aws-") else "resources"
            schema[kind][source.type_name()] = source.root()
    del schema["provider"]["attributes"]["alias"]
    out.write_text(json.dumps(schema, indent=1) + "\n")
    print(provider.version())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
