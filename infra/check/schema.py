#!/usr/bin/env python3
"""Writes the schema of the AWS provider, as far as a folder of Terraform code uses it, as JSON; prints the version.

The schema comes from the npm package @cdktn/provider-aws, which is generated from the schema of the real provider: a
folder for each resource type and data source, whose index.js says of each argument whether it is required, optional or
computed (in comments before the getters), and its type (in the tables that write HCL). A block in the JSON is
{"attributes": {name: {"type", "required", "optional", "computed"}}, "blocks": {name: {"nesting", "min", "max", "block"}}},
with types written as Terraform's protocol writes them. What the package does not know (defaults, which values are
sensitive, what the provider's own code refuses) is not in it either.
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
    """What can be written in HCL: an argument or a nested block."""

    value: str
    is_block: bool
    kind: str
    storage: str


class Member(NamedTuple):
    """What can be read of a resource or of a nested block, and whether it can or must be written."""

    computed: bool
    optional: bool
    required: bool
    body: str


def fail(message: str) -> NoReturn:
    """Stops, for a schema that is not understood must not be served."""
    raise SystemExit(f"schema.py: {message}")


def upper_first(text: str) -> str:
    return text[0].upper() + text[1:]


def between(source: str, start: str, end: str) -> str:
    """The lines from the one which starts with `start` up to the first that is `end`; nothing if there are none."""
    found = re.search(rf"^{re.escape(start)}.*?^{re.escape(end)}$", source, re.MULTILINE | re.DOTALL)
    return found.group() if found else ""


def arguments_in(text: str) -> dict[str, Argument]:
    """The arguments which a table for HCL lists."""
    return {
        found["name"]: Argument(found["value"], found["is_block"] == "true", found["kind"], found["storage"])
        for found in ARGUMENT.finditer(text)
    }


def members_in(text: str) -> dict[str, Member]:
    """The members of a class, by the comments before their getters."""
    return {
        found["name"]: Member(
            found["computed"] == "true", found["optional"] == "true", found["required"] == "true", found["body"]
        )
        for found in FLAGS.finditer(text)
    }


class Source:
    """The index.js of one resource type, data source or of the provider itself."""

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
        """The block of the resource, data source or provider."""
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
        """One block. The provider's nested blocks have no members here: whatever they hold is optional."""
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
        """A nested block. A list or set which is written from a single struct may hold one only."""
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
        """The type of an attribute: of what is written, if it can be, else of what its getter returns."""
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
        """The type of an attribute which holds an object or many, which Terraform's users write as `x = [{ ... }]`."""
        members = self.struct_members(cls)
        arguments = self.struct_arguments(cls[0].lower() + cls[1:])
        fields = {name: self.type_of(name, arguments.get(name), member) for name, member in members.items()}
        single = ["object", fields]
        return single if shape == "OutputReference" else ["set" if is_set == "true" else "list", single]


def storage_type(argument: Argument) -> Any:
    """The type of an argument that is no struct, such as a `set` of a `stringList`."""
    found = STORAGE.fullmatch(argument.storage)
    if not found:
        fail(f"a type that is not understood: {argument}")
    result: Any = SCALARS[found.group(1)]
    for collection in re.findall("List|Map", found.group(2)):
        result = [COLLECTIONS[collection], result]
    return result if argument.kind == "simple" else [argument.kind, result[1]]


def used(folder: Path) -> set[str]:
    """The package's folders for what the Terraform code uses."""
    prefixes = {"resource": "", "data": "data-aws-"}
    return {
        prefixes[kind] + name.replace("_", "-") for path in folder.rglob("*.tf") for kind, name in USED.findall(path.read_text())
    }


def extract(package: Path, folders: set[str], cache: Path) -> None:
    """Puts the index.js of each folder into the cache, of those that the package has and the cache has not."""
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
    """Leaves out the types which the package does not have, so that Terraform names them with their places."""
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
