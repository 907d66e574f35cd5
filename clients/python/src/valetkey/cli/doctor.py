"""`valetkey doctor`: why does storage refuse this token?"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from valetkey.cli import error_output
from valetkey.cli.credential_input import read_stdin
from valetkey.cli.global_options import GlobalOptions, client_of
from valetkey.cli.output_option import Output
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.errors import InvalidArgumentError, ValetKeyError
from valetkey.ledger_values import TokenDiagnosis
from valetkey.sas import Finding, Sas
from valetkey.secret_files import read_bytes
from valetkey.settings import load_settings
from valetkey.storage_probe import StorageAnswer, finding_of, is_emulator, probe_storage
from valetkey.times import utc

_MOST_BYTES = 8192
_SKEW_SECONDS = 60


class Operation(StrEnum):
    """What was tried with the token."""

    READ = "read"
    WRITE = "write"
    LIST = "list"
    DELETE = "delete"


def doctor(
    context: typer.Context,
    *,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="@FILE|-",
            help="The SAS URL, or the token alone: @FILE, or - for standard input. Never the token itself.",
            show_default=False,
        ),
    ] = None,
    lease: Annotated[str | None, typer.Option(help="The lease id, in place of the URL.", show_default=False)] = None,
    operation: Annotated[Operation | None, typer.Option(help="What was tried with it.", show_default=False)] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask neither the broker nor storage.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Say why storage refuses a token: what it says itself, what the broker knows of it, and what storage answers.

    The token stays on this machine, but for one harmless question to the storage account, and only where the broker
    knows its host. The broker gets the hash of its signature. Exit code 0 where nothing speaks against it, 1 otherwise.
    """
    screen = Screen(as_json=output is OutputFormat.JSON)
    if (url is None) == (lease is None):
        raise InvalidArgumentError("--url: expected --url @FILE, --url - or --lease ID, one of them")
    if lease is not None and offline:
        raise InvalidArgumentError("--offline: a lease is known to the broker only; expected --url with it")
    sas = Sas.parse(_text(url)) if url is not None else None
    findings = list(sas.findings(datetime.now(UTC), operation)) if sas else []
    known: TokenDiagnosis | None = None
    answer: StorageAnswer | None = None
    if not offline:
        known = _broker(context, screen, sas, lease, operation)
        if sas and known:
            answer = _storage(context, sas, known)
    if known:
        findings += known.findings
    if sas and known and known.lease:
        altered = sas.altered(known.lease.permissions, known.lease.expire_time)
        findings = [altered, *findings] if altered else findings
    if sas and answer:
        findings = [*_skew(answer), *findings]
        said = finding_of(answer, sas, emulator=is_emulator(_resource(sas, known)))
        findings += [said] if said else []
    _show(screen, sas, known, answer, _ordered(findings, answer))
    if any(finding.decides for finding in findings):
        raise typer.Exit(error_output.REFUSED)
    if lease is not None and (known is None or known.lease is None):
        raise typer.Exit(error_output.NOT_FOUND)


def _text(given: str) -> str:
    if given == "-":
        data = read_stdin(_MOST_BYTES + 1)
    elif given.startswith("@"):
        data = read_bytes(Path(given[1:]), "SAS URL", _MOST_BYTES)
    else:
        raise InvalidArgumentError(
            "--url: takes no token on the command line, where other users of this machine can see it; expected @FILE, "
            "or - for standard input"
        )
    if len(data) > _MOST_BYTES:
        raise InvalidArgumentError(f"--url: is longer than {_MOST_BYTES} bytes; expected one SAS URL")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidArgumentError("--url: is not ASCII; expected one SAS URL") from None


def _broker(
    context: typer.Context, screen: Screen, sas: Sas | None, lease: str | None, operation: Operation | None
) -> TokenDiagnosis | None:
    """Returns what the broker knows; a token that is at hand can be looked at without it."""
    try:
        with client_of(context, screen) as client, screen.busy("Asking the broker"):
            if sas is None:
                return client.diagnose_token(lease_id=lease or "", operation=operation)
            return client.diagnose_token(
                lease_id=sas.fields.get("scid", ""),
                signature_sha256=sas.signature_sha256,
                expire_time=sas.time("se"),
                url=sas.url,
                operation=operation,
            )
    except ValetKeyError as error:
        if sas is None:
            raise
        screen.note(f"the broker could not be asked, so neither was storage: {error.message}")
        return None


def _storage(context: typer.Context, sas: Sas, known: TokenDiagnosis) -> StorageAnswer | None:
    """Shows the token to storage, at a host that the broker named; the CA of the settings is trusted besides."""
    resource = _resource(sas, known)
    if not resource.startswith("https://") or not (known.lease or known.storage_known) or "sig" in sas.doubled:
        return None
    given: GlobalOptions = context.obj
    settings = load_settings(endpoint=given.endpoint, ca_file=given.ca_file, config_file=given.config)
    return probe_storage(sas, resource, settings.ca_file)


def _resource(sas: Sas, known: TokenDiagnosis | None) -> str:
    return known.lease.resource if known and known.lease else sas.url


def _skew(answer: StorageAnswer) -> Sequence[Finding]:
    try:
        ahead = (datetime.now(UTC) - parsedate_to_datetime(answer.date)).total_seconds()
    except (ValueError, TypeError):
        return ()
    if abs(ahead) <= _SKEW_SECONDS:
        return ()
    where = "ahead of" if ahead > 0 else "behind"
    return (Finding("clock", f"this machine's clock is {abs(ahead):.0f} s {where} storage's", "Synchronise it (NTP)."),)


def _ordered(findings: Sequence[Finding], answer: StorageAnswer | None) -> Sequence[Finding]:
    """Returns the findings, the likeliest cause first; the same cause, found twice, stands once."""
    first: dict[str, Finding] = {}
    for finding in findings:  # What the token says itself comes before what storage makes of it.
        first.setdefault(finding.cause, finding)
    taken = answer is not None and answer.accepted
    # What storage took is not altered, revoked or out of its time.
    rank = ("permission", "scope", "protocol") if taken else ()
    return sorted(first.values(), key=lambda each: (not each.decides, bool(rank) and each.cause not in rank))


def _show(
    screen: Screen,
    sas: Sas | None,
    known: TokenDiagnosis | None,
    answer: StorageAnswer | None,
    findings: Sequence[Finding],
) -> None:
    first = findings[0] if findings else None
    if first and (first.decides or not (answer and answer.accepted)):
        cause, following = first.message, first.mend
    elif answer and answer.accepted:
        cause, following = "storage takes the token; nothing speaks against it", ""
    else:
        cause, following = "nothing speaks against the token, as far as could be told", ""
    if screen.as_json:
        screen.json(
            {
                "cause": first.cause if first and first.decides else None,
                "message": cause,
                "next": following,
                "findings": [_json(finding) for finding in findings],
                "token": _token(sas),
                "lease": _lease(known),
                "storage": {"status": answer.status, "code": answer.code, "accepted": answer.accepted}
                if answer
                else None,
            }
        )
        return
    rows = [*_token(sas).items(), *((f"lease {name}", value) for name, value in _lease(known).items())]
    if answer:
        rows.append(("storage says", f"HTTP {answer.status} {answer.code}".strip() if answer.status else "no answer"))
    screen.properties([(name.replace("_", " "), str(value)) for name, value in rows])
    for finding in findings[1:] if first else ():
        screen.note(" ".join(filter(None, (f"{finding.message}.", finding.mend))))
    screen.line(f"Cause: {cause}")
    if following:
        screen.line(f"Next:  {following}")


def _said(answer: StorageAnswer | None) -> dict[str, Any] | None:
    return {"status": answer.status, "code": answer.code, "accepted": answer.accepted} if answer else None


def _json(finding: Finding) -> dict[str, Any]:
    return {"cause": finding.cause, "message": finding.message, "next": finding.mend, "decides": finding.decides}


def _token(sas: Sas | None) -> dict[str, str]:
    if sas is None:
        return {}
    times = {name: sas.time(field) for name, field in (("valid_from", "st"), ("expires", "se"), ("key_expires", "ske"))}
    return {
        "url": re.sub(r"//[^/@]*@", "//", sas.url),  # A password has no place there, and none on a screen.
        "scope": sas.scope,
        "permissions": sas.fields.get("sp", ""),
        **{name: utc(time) for name, time in times.items() if time},
        "protocol": sas.fields.get("spr", ""),
        "address": sas.fields.get("sip", ""),
        "signed_by": "user delegation key" if "skoid" in sas.fields else "account key",
        "version": sas.fields.get("sv", ""),
    }


def _lease(known: TokenDiagnosis | None) -> dict[str, str]:
    if known is None or known.lease is None:
        return {}
    lease = known.lease
    return {
        "id": lease.id,
        "principal": lease.principal,
        "resource": lease.resource,
        "permissions": ", ".join(lease.permissions),
        "connector": lease.connector,
        "grant": lease.grant,
        "issued": utc(lease.issue_time),
        "expires": utc(lease.expire_time),
    }
