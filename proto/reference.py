"""Writes docs/api.md: every service, message and enum of the API, with what the proto files say of them.

`make proto` runs it on their descriptors, and `make lint` fails where the page is not current.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb

_OURS = ".valetkey.v1."
_SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in pb.FieldDescriptorProto.Type.items()}
# How a descriptor counts its parts, for the places of comments: numbers of fields in descriptor.proto.
_MESSAGES, _ENUMS, _SERVICES, _PARTS, _INNER_MESSAGES, _INNER_ENUMS = 4, 5, 6, 2, 3, 4
_START = """# The API

gRPC, package `valetkey.v1`; the sources are in `proto/`, and this page is made from them. Who may call what is said by
[roles](authentication.md#roles-for-people), and of tokens by [grants](grants.md). Errors carry an `ErrorReason` in
their details.

"""


class Page:
    """One proto file after the other, told in Markdown."""

    def __init__(self) -> None:
        self.services: list[str] = []
        self.messages: list[str] = []
        self.enums: list[str] = []

    def add(self, file: pb.FileDescriptorProto) -> None:
        """Adds all that a file declares."""
        said = {tuple(each.path): _flat(each.leading_comments) for each in file.source_code_info.location}
        for index, service in enumerate(file.service):
            place = (_SERVICES, index)
            rows = [
                f"| `{method.name}` | {_type(method.input_type)} | {'a stream of ' if method.server_streaming else ''}"
                f"{_type(method.output_type)} | {said[(*place, _PARTS, number)]} |"
                for number, method in enumerate(service.method)
            ]
            head = "| call | takes | answers | what it does |\n| --- | --- | --- | --- |"
            self.services.append("\n".join((f"## {service.name}\n\n{said[place]}\n\n{head}", *rows)))
        for index, message in enumerate(file.message_type):
            self._message(message, (_MESSAGES, index), "", said)
        for index, enum in enumerate(file.enum_type):
            self._enum(enum, (_ENUMS, index), "", said)

    def text(self) -> str:
        parts = (*self.services, "## Messages", *sorted(self.messages), "## Enums", *sorted(self.enums))
        return _START + "\n\n".join(parts) + "\n"

    def _message(
        self, message: pb.DescriptorProto, place: tuple[int, ...], outer: str, said: dict[tuple[int, ...], str]
    ) -> None:
        if message.options.map_entry:
            return
        name = outer + message.name
        text = f"### {name}\n\n{said[place]}"
        if message.field:
            text += "\n\n| field | type | what it is |\n| --- | --- | --- |"
        maps = {f"{inner.name}": inner for inner in message.nested_type if inner.options.map_entry}
        for number, field in enumerate(message.field):
            text += f"\n| `{field.name}` | {_field_type(field, maps)} | {said[(*place, _PARTS, number)]} |"
        self.messages.append(text)
        for number, inner in enumerate(message.nested_type):
            self._message(inner, (*place, _INNER_MESSAGES, number), f"{name}.", said)
        for number, enum in enumerate(message.enum_type):
            self._enum(enum, (*place, _INNER_ENUMS, number), f"{name}.", said)

    def _enum(
        self, enum: pb.EnumDescriptorProto, place: tuple[int, ...], outer: str, said: dict[tuple[int, ...], str]
    ) -> None:
        rows = [
            f"| `{value.name}` | {value.number} | {said[(*place, _PARTS, number)]} |"
            for number, value in enumerate(enum.value)
        ]
        head = "| value | number | what it means |\n| --- | --- | --- |"
        self.enums.append("\n".join((f"### {outer}{enum.name}\n\n{said[place]}\n\n{head}", *rows)))


def _flat(comment: str) -> str:
    """Returns a comment as a line that may stand in a table; what is not code holds no tags."""
    line = " ".join(comment.split()).replace("|", "\\|")
    return "`".join(part if n % 2 else re.sub(r"([<*_\[])", r"\\\1", part) for n, part in enumerate(line.split("`")))


def _type(name: str) -> str:
    if not name.startswith(_OURS):
        return f"`{name.removeprefix('.')}`"
    ours = name.removeprefix(_OURS)
    return f"[{ours}](#{ours.replace('.', '').lower()})"


def _field_type(field: pb.FieldDescriptorProto, maps: dict[str, pb.DescriptorProto]) -> str:
    inner = maps.get(field.type_name.rpartition(".")[2])
    if inner is not None:
        return f"map of {_field_type(inner.field[0], {})} to {_field_type(inner.field[1], {})}"
    one = _type(field.type_name) if field.type_name else f"`{_SCALARS[field.type]}`"
    if field.label == pb.FieldDescriptorProto.LABEL_REPEATED:
        return f"list of {one}"
    return f"{one}, optional" if field.proto3_optional else one


def _ours(descriptors: pb.FileDescriptorSet) -> Iterator[pb.FileDescriptorProto]:
    return (file for file in descriptors.file if f".{file.package}." == _OURS)


def main(source: str, target: str) -> None:
    """Reads a descriptor set with its comments from one file, and writes the page to the other."""
    page = Page()
    for file in _ours(pb.FileDescriptorSet.FromString(Path(source).read_bytes())):
        page.add(file)
    Path(target).write_text(page.text(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
