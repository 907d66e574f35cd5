"""How revocations are shown, and what is said of one before it is made."""

from dataclasses import asdict
from typing import Any

from valetkey import revocation_words
from valetkey.cli.quoting import one_line
from valetkey.cli.screen import Screen
from valetkey.revocation_values import Revocation, RevocationPreview, RevocationTarget, RevokedSigner
from valetkey.revocation_words import KINDS_OF_KEYS, holder_words, key_words
from valetkey.times import utc

BEYOND = (
    "also ends tokens that anybody else signed with user delegation keys of the account: az, scripts, another broker. "
    "Only this broker's own are on record, and counted here"
)
"""What nobody can list."""
BEYOND_ACCOUNT_KEY = (
    "also ends all that anybody else signed with that key of the account, or signs in with by it: az, scripts, "
    "applications with a connection string. Only this broker's own tokens are on record, and counted here"
)
"""The same, where the key is the account's own."""


def print_preview(screen: Screen, preview: RevocationPreview, *, hard: bool) -> None:
    """Says on standard error what a revocation would do."""
    screen.note(
        f"revoking {target_words(preview.target)}: streams end at once, further tokens are refused until lifted"
    )
    least = "at least " if preview.incomplete else ""
    if not preview.covered:
        screen.note("no token that it covers is alive")
        return
    last = "the last of these" if preview.incomplete else "the last"
    screen.note(f"{least}{_count(preview.covered)} out, {last} until {_until(preview)}")
    rows = [
        [
            signer.account,
            KINDS_OF_KEYS.get(signer.kind, "unknown"),
            f"{least}{signer.covered}" + (f", until {utc(signer.covered_until)}" if signer.covered_until else ""),
            _others(signer),
            signer.obstacle or _what_hard_does(signer),
        ]
        for signer in preview.signers
    ]
    screen.table(["ACCOUNT", "SIGNED WITH", "COVERED", "OTHERS OF THE SAME KEYS", "--hard"], rows, aside=True)
    if hard:
        for kind, beyond in (("user-delegation-key", BEYOND), ("account-key", BEYOND_ACCOUNT_KEY)):
            if any((signer.kind or "user-delegation-key") == kind for signer in preview.signers):
                screen.warn(f"--hard {beyond}")
    else:
        screen.note("tokens that are out live to their end: without --hard they are waited for")
    for name in preview.in_force:
        screen.note(f"revocation {name} covers the same already")


def print_revocations(screen: Screen, found: list[Revocation]) -> None:
    """Prints revocations as a table."""
    screen.table(
        ["ID", "STATE", "COVERS", "KEYS", "TOKENS END", "REVOKED", "BY", "REASON"],
        [
            [
                each.name,
                each.state,
                target_words(each.target),
                keys_words(each),
                utc(each.covered_until) if each.covered_until else "",
                utc(each.create_time),
                each.created_by if not each.lifted_by else f"{each.created_by}, lifted by {each.lifted_by}",
                one_line(each.reason),
            ]
            for each in found
        ],
    )


def keys_words(revocation: Revocation) -> str:
    """Returns how far the revocation of keys is, account by account."""
    if not revocation.hard:
        return "left alone"
    return "; ".join(map(key_words, revocation.keys))


def rotation_words(revocation: Revocation) -> str:
    """Returns how far the rotations are by which keys of accounts end; empty where there are none."""
    on_the_way = [each for each in revocation.keys if each.rotates]
    return "; ".join(
        f"rotating {revocation_words.rotation_words(each)}"
        if not each.revoke_time
        else f"{holder_words(each.rotates)}: the old key is made anew; trying it on storage"
        for each in on_the_way
    )


def target_words(target: RevocationTarget) -> str:
    """Returns a target in words."""
    return ", ".join(revocation_words.target_words(target))


def preview_json(preview: RevocationPreview) -> dict[str, Any]:
    """Returns a preview for programs."""
    return {
        "target": target_json(preview.target),
        "covered": preview.covered,
        "covered_until": utc(preview.covered_until) if preview.covered_until else None,
        "incomplete": preview.incomplete,
        "in_force": list(preview.in_force),
        "signers": [
            {
                "account": each.account,
                "kind": each.kind,
                "connectors": list(each.connectors),
                "covered": each.covered,
                "covered_until": utc(each.covered_until) if each.covered_until else None,
                "others": each.others,
                "other_principals": list(each.other_principals),
                "others_until": utc(each.others_until) if each.others_until else None,
                "others_incomplete": each.others_incomplete,
                "obstacle": each.obstacle,
                "rotates": list(each.rotates),
                "by": each.by,
            }
            for each in preview.signers
        ],
    }


def revocation_json(revocation: Revocation) -> dict[str, Any]:
    """Returns a revocation for programs."""
    return {
        "id": revocation.name,
        "state": revocation.state,
        "target": target_json(revocation.target),
        "reason": revocation.reason,
        "hard": revocation.hard,
        "create_time": utc(revocation.create_time),
        "created_by": revocation.created_by,
        "covered": revocation.covered,
        "covered_until": utc(revocation.covered_until) if revocation.covered_until else None,
        "keys": [
            {
                "account": each.account,
                "connector": each.connector,
                "state": each.state,
                "revoke_time": utc(each.revoke_time) if each.revoke_time else None,
                "proof_time": utc(each.proof_time) if each.proof_time else None,
                "covered": each.covered,
                "others": each.others,
                "error": each.error,
                "kind": each.kind,
                "rotates": each.rotates,
                "rotation_state": each.rotation_state,
                "hits_incomplete": each.hits_incomplete,
            }
            for each in revocation.keys
        ],
        "lift_time": utc(revocation.lift_time) if revocation.lift_time else None,
        "lifted_by": revocation.lifted_by,
    }


def target_json(target: RevocationTarget) -> dict[str, str]:
    """Returns what is given of a target."""
    return {name: value for name, value in asdict(target).items() if value}


def _what_hard_does(signer: RevokedSigner) -> str:
    if not signer.rotates:
        return "can revoke the keys, by Azure Resource Manager"
    what = ", ".join(map(holder_words, signer.rotates))
    return f"rotates {what} by connector {signer.by}, and has the old key made anew at once"


def _others(signer: RevokedSigner) -> str:
    least = "at least " if signer.others_incomplete else ""
    if not signer.others:
        return "none found; not all were looked at" if least else "none on record"
    more = "" if len(signer.other_principals) == 1 else f" of {len(signer.other_principals)} principals"
    until = f", until {utc(signer.others_until)}" if signer.others_until else ""
    return f"{least}{signer.others}{more}: {', '.join(signer.other_principals)}{until}"


def _count(number: int) -> str:
    return f"{number} token that is covered is" if number == 1 else f"{number} tokens that are covered are"


def _until(preview: RevocationPreview) -> str:
    return utc(preview.covered_until) if preview.covered_until else "now"
