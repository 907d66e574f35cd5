"""Reads the agent's configuration: everything that can be known to be wrong is said before anything is begun."""

import grp
import re
from dataclasses import dataclass, field
from pathlib import Path

from valetkey.calls.tokens import token_request
from valetkey.cli.agent import output_texts
from valetkey.cli.agent.configuration import CommandPlan, OutputPlan, Plan, ResourcePlan, Scope
from valetkey.cli.agent.toml_tables import Document, Section, read_text
from valetkey.cli.permission_and_attribute_parsing import PERMISSIONS
from valetkey.durations import parse_duration
from valetkey.errors import SettingsError, ValetKeyError

_TOP = ("readiness_file", "remove_on_exit", "resource")
_RESOURCE = ("name", "resource", "permissions", "ttl", "connector", "source_ip", "purpose")
_KEPT = ("proxy", "output", "on_renewal", "on_renewal_timeout")
_OUTPUT = ("path", "format", "template", "through_proxy", "mode", "group", "world_readable")
_MODE = re.compile(r"0?[0-7]{3}")
_MOST_MODE, _OWNER_READS, _ALL_READ = 0o644, 0o400, 0o004
_COMMAND_SECONDS, _MOST_COMMAND_SECONDS = 30.0, 3600.0
_MOST_ID = 2**31 - 1


def read_plan(path: Path) -> Plan:
    """Returns what a file says. Raises SettingsError for the first thing that is wrong in it, with its line."""
    document, values = Document.read(path)
    top = Section(document, (), values)
    top.known(_TOP)
    reading = _Reading()
    reading.taken[_real(path.absolute())] = "the configuration itself"
    readiness = top.path("readiness_file")
    if readiness is not None:
        reading.take(top, "readiness_file", readiness)
    remove = top.flag("remove_on_exit")
    resources = tuple(reading.resource(section) for section in top.tables("resource"))
    if not resources:
        raise top.error("resource", "there is none; expected [[resource]] for each of them")
    # Templates are read once all paths are known: none may be written over.
    for section, output in reading.templates:
        if _real(output) in reading.written:
            raise section.error("template", f"{output} is one of the outputs")
    return Plan(resources=resources, readiness_file=readiness, remove_on_exit=remove, warnings=tuple(reading.warnings))


def _real(path: Path) -> Path:
    """Returns a path by which two names of one file are found out; a link at its end stays, as it is refused itself."""
    return path.parent.resolve() / path.name


@dataclass(slots=True)
class _Reading:
    """What has been read so far, and may come once only."""

    taken: dict[Path, str] = field(default_factory=dict)
    written: set[Path] = field(default_factory=set)
    ports: dict[int, str] = field(default_factory=dict)
    templates: list[tuple[Section, Path]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def take(self, section: Section, key: str, path: Path) -> None:
        """Notes a path that is written to. Raises SettingsError where something else is."""
        real = _real(path)
        if real in self.taken:
            raise section.error(key, f"{path} is {self.taken[real]} already; expected a path of its own for each")
        self.taken[real] = "the readiness file" if key == "readiness_file" else "an output"
        self.written.add(real)

    def resource(self, section: Section) -> ResourcePlan:
        section.known((*_RESOURCE, *_KEPT))
        scope = _scope(section)
        port = self._port(section)
        outputs = tuple(self._output(each, has_proxy=port is not None) for each in section.tables("output"))
        through = any(output.through_proxy for output in outputs)
        if not outputs and port is None:
            raise section.error("", "nothing is kept for it; expected [[resource.output]], or [resource.proxy]")
        if port == 0 and not through:
            raise section.error(
                "proxy", "port 0 is a free one, and no output says which; expected a port, or through_proxy = true"
            )
        return ResourcePlan(
            name=section.text("name") or scope.resource,
            scope=scope,
            outputs=outputs,
            port=port,
            command=_command(section),
        )

    def _port(self, section: Section) -> int | None:
        proxy = section.table("proxy")
        if proxy is None:
            return None
        proxy.known(("port",))
        port = proxy.number("port", 0, 65535)
        if port is None:
            raise proxy.error("port", "it is missing; expected a port on 127.0.0.1, or 0 for a free one")
        if port and port in self.ports:
            raise proxy.error("port", f"{port} is that of {self.ports[port]} already; expected one of its own")
        self.ports[port] = str(section.values.get("resource"))
        return port

    def _output(self, section: Section, *, has_proxy: bool) -> OutputPlan:
        section.known(_OUTPUT)
        path = section.path("path")
        if path is None:
            raise section.error("path", "it is missing; expected where to write")
        self.take(section, "path", path)
        through = section.flag("through_proxy")
        if through and not has_proxy:
            raise section.error("through_proxy", "the resource has no proxy; expected [resource.proxy] above")
        form, template = section.text("format"), section.path("template")
        if (form is None) == (template is None):
            raise section.error("format", "expected either format or template")
        if form is not None and form not in output_texts.WORDS:
            raise section.error("format", f"{form!r} is unknown; expected one of {', '.join(output_texts.WORDS)}")
        text = None
        if template is not None:
            text = self._template(section, template, through=through)
        mode = self._mode(section, path)
        return OutputPlan(
            path=path, form=form or "template", template=text, through_proxy=through, mode=mode, gid=_gid(section)
        )

    def _template(self, section: Section, path: Path, *, through: bool) -> str:
        self.templates.append((section, path))
        try:
            text = read_text(path, "the template")
        except SettingsError as error:
            raise section.error("template", error.message) from None
        if problem := output_texts.problem_of(text, through_proxy=through):
            raise section.error("template", f"{path.name}, {problem}")
        return text

    def _mode(self, section: Section, path: Path) -> int:
        if isinstance(section.values.get("mode"), int):
            raise section.error("mode", 'a number is no mode; expected octal digits in quotes, such as "0640"')
        text, world = section.text("mode") or "0600", section.flag("world_readable")
        if not _MODE.fullmatch(text):
            raise section.error("mode", f'{text!r} is no mode; expected octal digits such as "0640"')
        mode = int(text, 8)
        if mode & ~_MOST_MODE or not mode & _OWNER_READS:
            raise section.error("mode", f"{text} is not for files that are read; expected 0600, 0640 or such")
        if bool(mode & _ALL_READ) != world:
            if world:
                raise section.error("world_readable", f"mode {text} lets not all read it; expected mode 0644, or none")
            raise section.error(
                "mode",
                f"{text} lets every user of this machine use the token; expected 0640 with group, or "
                "world_readable = true beside it",
            )
        if world:
            self.warnings.append(f"{path} can be read by every user of this machine: world_readable = true")
        return mode


def _scope(section: Section) -> Scope:
    words = section.texts("permissions")
    if words is None:
        raise section.error("permissions", f"it is missing; expected some of {', '.join(PERMISSIONS)}")
    if unknown := [word for word in words if word not in PERMISSIONS]:
        raise section.error("permissions", f"{unknown[0]!r} is unknown; expected some of {', '.join(PERMISSIONS)}")
    ttl = None
    if (text := section.text("ttl")) is not None:
        try:
            ttl = parse_duration(text, "ttl")
        except ValetKeyError as error:
            raise section.error("ttl", error.message.removeprefix("ttl: ")) from None
        if not ttl.total_seconds() > 0:
            raise section.error("ttl", f"{text!r} is no life; expected minutes, such as 15m")
    scope = Scope(
        resource=section.needed("resource", "a container, az://CONTAINER/PATH or such"),
        permissions=tuple(dict.fromkeys(words)),
        ttl=ttl,
        connector=section.text("connector"),
        source_ip=section.text("source_ip"),
        purpose=section.text("purpose"),
    )
    try:
        token_request(**scope.arguments())
    except (ValetKeyError, ValueError) as error:
        raise section.error("", str(error)) from None
    return scope


def _command(section: Section) -> CommandPlan | None:
    arguments, text = section.texts("on_renewal"), section.text("on_renewal_timeout")
    if arguments is None:
        if text is not None:
            raise section.error("on_renewal_timeout", "there is no on_renewal that it would be of")
        return None
    if any("\0" in each for each in arguments):
        raise section.error("on_renewal", "it holds a NUL")
    seconds = _COMMAND_SECONDS
    if text is not None:
        try:
            seconds = parse_duration(text, "on_renewal_timeout").total_seconds()
        except ValetKeyError as error:
            raise section.error("on_renewal_timeout", error.message.partition(": ")[2]) from None
        if not 0 < seconds <= _MOST_COMMAND_SECONDS:
            raise section.error("on_renewal_timeout", f"{text!r} is out of range; expected up to 1h")
    return CommandPlan(arguments=arguments, seconds=seconds)


def _gid(section: Section) -> int | None:
    value = section.values.get("group")
    if value is None:
        return None
    if isinstance(value, int):
        return section.number("group", 0, _MOST_ID)
    name = section.needed("group", "a group's name or number")
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise section.error(
            "group", f"there is no group {name!r} on this machine; expected one of /etc/group, or its number"
        ) from None
