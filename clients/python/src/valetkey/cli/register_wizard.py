"""`register --interactive`: explains each step, asks, shows what would be reached, and lets the person choose of it."""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from valetkey.cli.auth_methods import METHODS, AuthMethod, check_taken, option
from valetkey.cli.connector_draft import Draft, config_of, secrets_of
from valetkey.cli.connector_types import find_method, find_type
from valetkey.cli.credential_input import PromptLeftError, read_secret
from valetkey.cli.environment_credentials import offers, read_offer
from valetkey.cli.prompts import Left, Prompts
from valetkey.cli.resource_views import print_numbered
from valetkey.client import Client
from valetkey.connector_type_values import AuthMethodDescription, ConnectorTypeDescription, FieldDescription
from valetkey.errors import InvalidArgumentError, NotFoundError, SettingsError, ValetKeyError
from valetkey.values import Resource, Resources

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SHOWN = 30
_RESOURCE = "resource_id"
_ALL_TYPES = "all"


class Wizard:
    """One connector, asked for step by step. What options said already is not asked again."""

    def __init__(
        self,
        prompts: Prompts,
        client: Client,
        said: Mapping[str, str],
        chosen: AuthMethod | None,
        notes: Mapping[str, Any],
    ) -> None:
        """`said` are fields by the API's names, secrets included; `chosen` is the auth method, if options say it.

        `notes` are what is noted down of the connector.
        """
        self._prompts = prompts
        self._client = client
        self._given = dict(said)
        self._chosen = chosen
        self._notes = dict(notes)
        self._fields: dict[str, FieldDescription] = {}

    def run(self, name: str | None, connector_type: str, resource_type: str | None, resource_id: str | None) -> Draft:
        """Returns the connector as the person confirmed it.

        Raises prompts.Left or KeyboardInterrupt where they left, and ValetKeyError where the broker cannot be asked.
        """
        described = find_type(self._client.list_connector_types(), connector_type)
        name = self._name(name)
        self._prompts.heading("What it is for")
        self._prompts.say(f"{described.title}: {described.help}")
        resource_type = self._type(described, resource_type, resource_id)
        method = self._login(described)
        self._places(described)
        draft = Draft(
            name=name,
            connector_type=connector_type,
            auth_method=AuthMethod(method.auth_method),
            resource_type=resource_type,
            resource_id=resource_id,
            config={},
            secrets={},
            notes=self._notes,
        )
        draft, reached = self._verified(draft)
        if draft.resource_id is None:
            draft = replace(draft, resource_id=self._resource(reached))
        self._confirm(draft)
        return draft

    def _type(
        self, described: ConnectorTypeDescription, resource_type: str | None, resource_id: str | None
    ) -> str | None:
        """Returns the one type of resources that it is for; None for all of them, or where its resource says it."""
        types = {each.resource_type: each for each in described.resource_types}
        if resource_type is None and resource_id is None and len(types) > 1:
            self._prompts.say(f"  1. {_ALL_TYPES}: each of them, and those that the broker learns later")
            for number, each in enumerate(types.values(), 2):
                self._prompts.say(f"  {number}. {each.resource_type}: {each.help}")
            chosen = self._prompts.choose("Resource type", [_ALL_TYPES, *types], default=_ALL_TYPES)
            return None if chosen == _ALL_TYPES else chosen
        for each in types.values():
            if resource_type == each.resource_type or len(types) == 1:
                self._prompts.say(f"It serves resources of the type {each.resource_type}. {each.help}")
        return resource_type

    def _name(self, name: str | None) -> str:
        def check(given: str) -> None:
            if not _NAME.fullmatch(given):
                raise InvalidArgumentError("expected 1 to 63 lower-case letters, digits and inner hyphens")
            try:
                self._client.get_connector(given)
            except NotFoundError:
                return
            raise InvalidArgumentError(f"there is a connector {given} already; expected another name")

        self._prompts.heading("Its name")
        if name is not None:
            check(name)
            self._prompts.say(f"It is called {name}.")
        else:
            self._prompts.say("Grants and token requests call it by this: lower-case letters, digits, inner hyphens.")
            name = self._prompts.required("Name", check=check)
        if "description" not in self._notes and (text := self._prompts.ask("Description (Enter leaves it out)")):
            self._notes["description"] = text
        return name

    def _login(self, described: ConnectorTypeDescription) -> AuthMethodDescription:
        self._prompts.heading("How it logs in")
        known = [method for method in described.auth_methods if method.auth_method in set(AuthMethod)]
        if self._chosen is None and not secrets_of(self._given):
            self._take_from_environment([method.auth_method for method in known])
        if self._chosen is None:
            for number, method in enumerate(known, 1):
                self._prompts.say(f"  {number}. {method.auth_method}: {method.help}")
            words = [method.auth_method for method in known]
            self._chosen = AuthMethod(self._prompts.choose("Auth method", words, default=words[0]))
        method = find_method(described, self._chosen.value)
        check_taken(self._chosen, self._given)
        self._prompts.say(f"{method.title}. What is secret is not shown, goes to Vault, and never comes out again.")
        self._fields = {field.name: field for field in (*method.fields, *described.fields)}
        asked = self._one_of(method)
        for field in method.fields:
            if field.name in asked and field.name not in self._given:
                self._ask(field)
        return method

    def _take_from_environment(self, known: Collection[str]) -> None:
        """Offers what lies in the environment; names where it is from, never what it is."""
        for offer in offers(os.environ):
            if offer.auth_method not in known:
                continue
            self._prompts.say(f"Your environment offers a credential: {offer}.")
            if not self._prompts.yes("Use it?", default=True):
                continue
            try:
                self._given |= read_offer(offer, self._prompts.screen)
            except SettingsError as error:
                self._prompts.say(error.message)
                continue
            self._chosen = offer.auth_method
            return

    def _one_of(self, method: AuthMethodDescription) -> list[str]:
        """Returns the fields to ask for; of secrets that stand for each other the one that is chosen."""
        names = [field.name for field in method.fields]
        secrets = METHODS[AuthMethod(method.auth_method)].secrets
        instead = [name for name in secrets if name in names]
        if len(instead) < 2 or any(name in self._given for name in instead):  # noqa: PLR2004 (one is no choice)
            chosen = [name for name in instead if name in self._given] or instead
        else:
            for number, name in enumerate(instead, 1):
                self._prompts.say(f"  {number}. {name.replace('_', '-')}: {self._fields[name].help}")
            words = [name.replace("_", "-") for name in instead]
            chosen = [self._prompts.choose("Which of them", words, default=words[0]).replace("-", "_")]
        left_out = {name for name in instead if name not in chosen}
        # What opens a certificate is asked for with one only.
        return [name for name in names if not any(name.startswith(other) for other in left_out)]

    def _ask(self, field: FieldDescription) -> None:
        self._prompts.say(f"{option(field.name).removeprefix('--')}: {field.help}")
        needed = field.required or field.name in METHODS[self._chosen or AuthMethod.SERVICE_PRINCIPAL].secrets
        self._given.pop(field.name, None)
        label = field.name.replace("_", " ").capitalize()
        if field.choices and needed:
            for number, word in enumerate(field.choices, 1):
                self._prompts.say(f"  {number}. {word}")
            self._given[field.name] = self._prompts.choose(label, field.choices)
            return
        if not field.secret:
            given = (
                self._prompts.required(f"{label}, such as {field.example}")
                if needed
                else self._prompts.ask(f"{label} (Enter leaves it out)")
            )
            if given:
                self._given[field.name] = given
            return
        while True:
            try:
                given = self._secret(field, needed=needed)
            except PromptLeftError:
                raise Left from None
            except SettingsError as error:
                self._prompts.say(error.message)
                continue
            if given:
                self._given[field.name] = given
            return

    def _secret(self, field: FieldDescription, *, needed: bool) -> str:
        if field.name == "client_certificate":  # of several lines, or binary: nothing to be typed
            return self._read(field.name, f"@{self._prompts.required('Path of its file').removeprefix('@')}")
        if not needed and not self._prompts.yes(f"Is there a {field.name.replace('_', ' ')}?", default=False):
            return ""
        return self._read(field.name, "-")  # at a terminal, that is the hidden prompt

    def _read(self, field: str, given: str) -> str:
        return read_secret(field, given, self._prompts.screen)

    def _places(self, described: ConnectorTypeDescription) -> None:
        unsaid = [field for field in described.fields if field.name not in self._given]
        told, question = "It looks through all that its credential shows", "Narrow that down?"
        if self._chosen in (AuthMethod.ACCOUNT_KEY, AuthMethod.CONNECTION_STRING):
            unsaid = [field for field in unsaid if field.name == "cloud"]
            told, question = "A key reaches its account and no other", "Choose another cloud?"
        self._prompts.heading("Where it looks")
        for field in described.fields:
            if field.name in self._given:
                self._prompts.say(f"{option(field.name).removeprefix('--')}: {self._given[field.name]}")
        self._prompts.say(f"{told}{'' if 'cloud' in self._given else ', in the default cloud of the broker'}.")
        if unsaid and self._prompts.yes(question, default=False):
            for field in unsaid:
                self._ask(field)

    def _verified(self, draft: Draft) -> tuple[Draft, Resources]:
        """Returns the draft with what was given last, and what it reaches; asks anew for what was wrong."""
        self._prompts.heading("Verifying")
        while True:
            draft = replace(draft, config=config_of(self._given), secrets=secrets_of(self._given))
            try:
                with self._prompts.screen.busy("Logging in, listing, getting a key; nothing is stored yet"):
                    reached = self._client.check_connector(draft.name, **draft.arguments())
            except ValetKeyError as error:
                self._prompts.checks(error.checks)
                self._prompts.say(f"That did not work: {error.message}")
                field = self._what_to_change(error)
            else:
                self._prompts.checks(reached.checks)
                return draft, reached
            if field == _RESOURCE:
                draft = replace(draft, resource_id=self._prompts.ask("Resource, such as az://models") or None)
            else:
                self._ask(self._fields[field])

    def _what_to_change(self, error: ValetKeyError) -> str:
        fields = [field for field in self._fields if field in self._given or not self._fields[field].secret]
        words = [field.replace("_", "-") for field in (*fields, _RESOURCE)]
        named = error.metadata.get("field", "").rpartition(".")[2]
        secret = next((field for field in fields if self._fields[field].secret), "")
        default = named or (secret if error.reason == "CLOUD_CREDENTIAL_REJECTED" else "")
        self._prompts.say("What is to be given anew? Ctrl-C leaves; nothing was stored.")
        for number, word in enumerate(words, 1):
            self._prompts.say(f"  {number}. {word}")
        default = default.replace("_", "-")
        return self._prompts.choose("Which", words, default=default if default in words else "").replace("-", "_")

    def _resource(self, reached: Resources) -> str | None:
        self._prompts.heading("What it serves")
        if not reached:
            self._prompts.say("It reaches nothing yet, and will serve what it finds later.")
            return None
        print_numbered(self._prompts.say, reached, _SHOWN)
        chosen: list[str | None] = []

        def check(given: str) -> None:
            chosen[:] = [_found(given, reached)]

        self._prompts.say("Choose the one that it serves by its number or its id; Enter serves all of them.")
        self._prompts.ask("Resource", check=check)
        return chosen[0]

    def _confirm(self, draft: Draft) -> None:
        self._prompts.heading("Ready")
        self._prompts.say(
            f"{draft.name} logs in by {draft.auth_method} and serves {draft.resource_id or 'all that it reaches'}."
        )
        self._prompts.say("The same without questions:")
        self._prompts.show(f"  {draft.command()}")
        if not self._prompts.yes("Register it?", default=True):
            raise InvalidArgumentError("not confirmed; nothing was stored")


def _found(given: str, reached: Resources) -> str | None:
    """Returns the id of the resource that a number, a name or an id means; None for Enter, which means all."""
    if not given:
        return None
    if given.isdecimal() and 0 < int(given) <= len(reached):
        return _id(reached[int(given) - 1], reached)
    found = [each for each in reached if given in (each.resource_id, each.resource_id.removeprefix("az://"), each.url)]
    if len(found) == 1:
        return _id(found[0], reached)
    if found:
        raise InvalidArgumentError(f"there are {len(found)} of that name, in several accounts; expected a number")
    if reached.left_out:
        return given  # one of those that are not shown; the broker knows
    raise InvalidArgumentError("it does not reach that; expected a number, or an id of the list")


def _id(resource: Resource, reached: Resources) -> str:
    """Returns the shortest id that means only this one: containers of two accounts may have one name."""
    alike = [each for each in reached if each.resource_id == resource.resource_id]
    return resource.resource_id if len(alike) == 1 else resource.url
