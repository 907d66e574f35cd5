"""A grant as it is typed into the form: kept as it is where something in it cannot be used."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from starlette.datastructures import FormData

from valetkey import Grant, GrantedConnector, GrantSpec
from valetkey_console.fields.parsing import MOST_TEXT, as_duration, as_moment, duration, lines, moment, pairs
from valetkey_console.pages.field_problems import FieldProblems
from valetkey_console.pages.permission_choices import words_of
from valetkey_console.pages.resources.ids import container_and_path
from valetkey_console.visits.rendering import attributes as attribute_lines
from valetkey_console.visits.rendering import command, visible

_TEXTS = (
    "name", "principals", "containers", "prefixes", "role", "max_ttl", "attributes", "source_ip", "expires",
    "note", "labels", "version",
)  # fmt: skip
_NO_NAME = re.compile("[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Draft:
    """The fields of the form, each as text; lists have a line each. `connectors` are NAME or NAME=ID."""

    name: str = ""
    principals: str = ""
    connectors: Sequence[str] = ()
    containers: str = ""
    prefixes: str = ""
    role: str = ""
    permissions: Sequence[str] = ()
    max_ttl: str = ""
    attributes: str = ""
    source_ip: str = ""
    expires: str = ""
    note: str = ""
    labels: str = ""
    version: str = ""
    access: str = ""

    @property
    def by_role(self) -> bool:
        """Whether a role says what tokens may do, and not the permissions; as long as nobody chose, what is there."""
        return self.access == "role" if self.access else bool(self.role) or not self.permissions

    @classmethod
    def sent(cls, form: FormData) -> "Draft":
        """Returns what was sent; of role and permissions, the one that the form says counts."""
        texts = {name: str(form.get(name, "")).strip()[:MOST_TEXT] for name in _TEXTS}
        permissions = words_of(map(str, form.getlist("permissions")))
        access = str(form.get("access", ""))
        if access == "role":
            permissions = []
        elif access == "permissions":
            texts["role"] = ""
        else:
            access = ""
        connectors = lines("\n".join(map(str, form.getlist("connectors"))))
        return cls(connectors=connectors, permissions=permissions, access=access, **texts)

    @classmethod
    def of(cls, grant: Grant) -> "Draft":
        """Returns what a grant says."""
        spec = grant.spec
        return cls(
            name=grant.name,
            principals="\n".join(spec.principals),
            connectors=tuple(f"{each.name}={each.uid}" for each in grant.connectors),
            containers="\n".join(spec.containers),
            prefixes="\n".join(spec.prefixes),
            role=spec.consumer_role,
            permissions=spec.permissions,
            max_ttl=as_duration(spec.max_ttl),
            attributes="\n".join(attribute_lines(spec.attributes)),
            source_ip=spec.source_ip,
            expires=as_moment(spec.expire_time),
            note=spec.note,
            labels="\n".join(attribute_lines(spec.labels)),
            version=str(grant.version),
        )

    @classmethod
    def asked(cls, query: Mapping[str, str]) -> "Draft":
        """Returns the grant that would allow what a question asked; see `explain`."""
        said = {name: query.get(name, "").strip()[:MOST_TEXT] for name in (
            "principal", "resource", "permissions", "connector", "attributes", "ttl", "source_ip"
        )}  # fmt: skip
        container, path = container_and_path(said["resource"])
        return cls(
            name=_name_of(said["principal"], container),
            principals=said["principal"],
            connectors=(said["connector"],) if said["connector"] else (),
            containers=container,
            prefixes=path,
            permissions=words_of((said["permissions"],)),
            max_ttl=said["ttl"],
            attributes=said["attributes"],
            source_ip=said["source_ip"],
        )

    def spec(self) -> GrantSpec:
        """Returns what is to be stored. Raises FormValidationError for what is missing or cannot be understood."""
        problems = FieldProblems()
        principals, containers = lines(self.principals), lines(self.containers)
        problems.require(self.name, "name", "one such as trainer-models")
        problems.require(principals, "principals", "at least one, such as key:trainer")
        problems.require(self.connectors, "connectors", "the one that reaches the containers", "none is selected")
        problems.require(containers, "containers", "at least one, such as models")
        if self.role and self.permissions:
            problems.add("permissions", "both a role and permissions are given; expected one of them")
        problems.require(self.role or self.permissions, "permissions", "at least one, or a role", "none is selected")
        max_ttl = problems.read(duration, self.max_ttl, "max_ttl")
        expires = problems.read(moment, self.expires, "expire_time")
        attributes = problems.read(pairs, lines(self.attributes), "attributes") or {}
        labels = problems.read(pairs, lines(self.labels), "labels") or {}
        problems.check()
        return GrantSpec(
            principals=principals,
            connectors=tuple(_connector(each) for each in self.connectors),
            containers=containers,
            prefixes=lines(self.prefixes),
            permissions=tuple(self.permissions),
            consumer_role=self.role,
            attributes=attributes,
            max_ttl=max_ttl,
            source_ip=self.source_ip,
            expire_time=expires,
            note=self.note,
            labels=labels,
        )

    def line(self, before: "Draft | None" = None) -> str:
        """Returns the same by command: a new grant, or what differs from `before`."""
        words = ["valetkey", "grant", "create" if before is None else "update"]
        known = before or Draft()
        for field, option, example in (
            ("principals", "--principal", "PRINCIPAL"),
            ("connectors", "--connector", "CONNECTOR"),
            ("containers", "--container", "CONTAINER"),
            ("prefixes", "--prefix", ""),
            ("attributes", "--attribute", ""),
            ("labels", "--label", ""),
        ):
            mine = _each(getattr(self, field))
            if before is None and field == "connectors":
                # The one of that name now is meant; which one it is, only a change has to say.
                mine = tuple(each.partition("=")[0] for each in mine)
            if mine != _each(getattr(known, field)):
                words += [word for each in mine or ("",) for word in (option, each)]
            elif example and before is None:
                words += [option, example]
        if not self.role and not self.permissions:
            by = ["--role", "deployer"] if self.by_role else ["--permissions", "PERMISSIONS"]
            words += by if before is None else []
        elif (self.role, *self.permissions) != (known.role, *known.permissions):
            words += ["--role", self.role] if self.role else ["--permissions", ",".join(self.permissions)]
        for field, option, none in (
            ("max_ttl", "--max-ttl", "none"),
            ("source_ip", "--source-ip", ""),
            ("expires", "--expires", "never"),
            ("note", "--note", ""),
        ):
            if (text := getattr(self, field)) != getattr(known, field):
                words += [option, text or none]
        if words == ["valetkey", "grant", "update"]:
            # Nothing is changed yet: an example.
            words += ["--max-ttl", self.max_ttl or "1h"]
        return command(*words, of=self.name or "NAME")

    def with_note_of(self, stored: "Draft") -> "Draft":
        """Returns the same with the note as it is stored, where the form only wrote out what of it cannot be seen."""
        return replace(self, note=stored.note) if self.note == visible(stored.note) else self

    def with_connector(self, name: str) -> "Draft":
        """Returns the same for a connector."""
        return replace(self, connectors=(name,))


def _each(given: str | Sequence[str]) -> tuple[str, ...]:
    return lines(given) if isinstance(given, str) else tuple(given)


def _connector(text: str) -> GrantedConnector:
    name, _, uid = text.partition("=")
    return GrantedConnector(name, uid)


def _name_of(principal: str, container: str) -> str:
    """Returns a name to begin with: that of who asks, and the container."""
    who = _NO_NAME.sub("-", principal.rpartition("#")[2].rpartition(":")[2].rpartition("/")[2].lower())
    words = f"{who}-{container}" if who else container
    return _NO_NAME.sub("-", words.lower()).strip("-")[:63].strip("-")
