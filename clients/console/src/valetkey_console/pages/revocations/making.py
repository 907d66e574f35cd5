"""Revoking: first what it would hit, then the decision."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.responses import Response

from valetkey import ValetKeyError
from valetkey.revocation_values import RevocationPreview, RevocationTarget
from valetkey.revocation_words import KINDS_OF_KEYS, given, target_words
from valetkey_console.broker.failures import Failure, failure_on_page
from valetkey_console.fields.parsing import wrong
from valetkey_console.pages.revocations.key_revocation_words import BEYOND, what_hard_does
from valetkey_console.visits.rendering import command, segment
from valetkey_console.visits.visit import Visit

_TARGET = ("lease_id", "principal", "grant", "connector", "resource")
_MOST_TEXT = 2_000
_NOT_SAID = "please confirm: this also ends what others signed with the same keys, and lifting does not undo that"


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be revoked, as it is typed. `name` is the id: sent twice, it is one revocation."""

    lease_id: str = ""
    principal: str = ""
    grant: str = ""
    connector: str = ""
    resource: str = ""
    hard: bool = False
    through: str = ""
    reason: str = ""
    name: str = ""

    @classmethod
    def of(cls, given: Mapping[str, object]) -> "Draft":
        """Returns what an address or a form says."""
        texts = {name: str(given.get(name, "")).strip()[:_MOST_TEXT] for name in (*_TARGET, "through", "reason")}
        name = str(given.get("name", "")) or f"r-{secrets.token_hex(6)}"
        return cls(**texts, hard=bool(given.get("hard")), name=name[:_MOST_TEXT])

    @property
    def target(self) -> RevocationTarget:
        """What is revoked; it may be nothing."""
        return RevocationTarget(**{name: getattr(self, name) for name in _TARGET})

    @property
    def line(self) -> str:
        """The same by command."""
        words = ["valetkey", "lease", "revoke"]
        for option, value in given(self.target).items():
            words += [f"--{option}", value] if option != "lease" else []
        words += ["--hard"] if self.hard else []
        words += ["--through", self.through] if self.through else []
        words += ["--reason", self.reason] if self.reason else []
        return command(*words, of=self.lease_id)

    def path(self, *, hard: bool) -> str:
        """Returns the path of the same question, with or without `hard`."""
        said = {name: getattr(self, name) for name in (*_TARGET, "through", "reason")} | {"hard": "1" if hard else ""}
        return f"/revoke?{urlencode({name: text for name, text in said.items() if text})}"


async def ask(visit: Visit) -> Response:
    """Shows the form and, where it names something, what revoking that would hit."""
    return await _page(visit, Draft.of(visit.query))


async def revoke(visit: Visit) -> Response:
    """Revokes."""
    form = await visit.form()
    draft = Draft.of(form)
    try:
        if draft.hard and not form.get("understood"):
            raise wrong("understood", _NOT_SAID)
        made = await visit.broker.create_revocation(
            draft.target, reason=draft.reason, hard=draft.hard, through=draft.through or None, name=draft.name
        )
    except ValetKeyError as error:
        return await _page(visit, draft, failure_on_page(error))
    said = (
        f"Revoked: {', '.join(target_words(made.target))}. Token streams have ended, and no further tokens are issued."
    )
    return visit.redirect(f"/revocations/{segment(made.name)}", said=said)


async def _page(visit: Visit, draft: Draft, failure: Failure | None = None) -> Response:
    # A look that finds nothing to revoke is a page like any other; only a form that failed is not.
    status = 200 if failure is None else failure.status
    preview: RevocationPreview | None = None
    if draft.target != RevocationTarget():
        try:
            preview = await visit.broker.preview_revocation(draft.target, through=draft.through or None)
        except ValetKeyError as error:
            unseen = failure_on_page(error, reading=True)
            failure = failure or unseen
    return visit.render(
        "revocations/revoke.html",
        status=status,
        draft=draft,
        preview=preview,
        failure=failure,
        words=target_words(preview.target) if preview else (),
        signed_with=KINDS_OF_KEYS,
        beyond=_beyond(preview),
        what_hard_does=what_hard_does,
        line=draft.line,
    )


def _beyond(preview: RevocationPreview | None) -> list[str]:
    """Returns what `hard` hits that nobody can count."""
    kinds = {signer.kind or "user-delegation-key" for signer in preview.signers} if preview else set()
    return [text for kind, text in BEYOND.items() if kind in kinds]
