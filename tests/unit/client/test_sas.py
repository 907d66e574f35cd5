"""Reading a SAS without asking anybody: what it says against its own use, and that its signature stays inside."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.errors import InvalidArgumentError
from valetkey.sas import Sas
from valetkey.storage_probe import StorageAnswer, finding_of, probe_storage
from valetkey_devstack.free_ports import free_port

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SIG = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D"
URL = "https://contosoml.blob.core.windows.net/models"


def sas(**change: str) -> str:
    """Returns a SAS URL that is good at NOW; fields that are changed to nothing are left out."""
    fields = {
        "sv": "2026-02-06",
        "st": "2026-05-01T11:45:00Z",
        "se": "2026-05-01T12:15:00Z",
        "sr": "c",
        "sp": "rl",
        "spr": "https",
        "skoid": "x",
        "skt": "2026-05-01T11:00:00Z",
        "ske": "2026-05-01T20:00:00Z",
        "sig": SIG,
        **change,
    }
    return f"{URL}?" + "&".join(f"{name}={value}" for name, value in fields.items() if value)


def _causes(text: str, operation: str | None = None, now: datetime = NOW) -> list[str]:
    return [finding.cause for finding in Sas.parse(text).findings(now, operation)]


def test_a_good_token_has_nothing_against_it() -> None:
    """No false alarm: neither for a URL nor for a token alone."""
    assert _causes(sas(), "list") == []
    assert _causes(sas().partition("?")[2]) == []


@pytest.mark.parametrize(
    ("change", "operation", "cause"),
    [
        ({"se": "2026-05-01T11:59:59Z"}, None, "expired"),
        ({"se": ""}, None, "no-end"),
        ({"st": "2026-05-01T12:00:01Z"}, None, "not-yet-valid"),
        ({"ske": "2026-05-01T11:00:00Z"}, None, "key-expired"),
        ({"skt": "2026-05-01T13:00:00Z"}, None, "key-not-yet-valid"),
        ({"sp": "r"}, "write", "permission"),
        ({"sr": "b", "sp": "rl"}, "list", "scope"),
        ({"sig": "AAAA"}, None, "signature-damaged"),
        ({"sig": SIG.replace("AAA", "A+A", 1)}, None, "signature-damaged"),
        ({"sip": "203.0.113.7"}, None, "address"),
        ({"sduoid": "x"}, None, "user-bound"),
    ],
)
def test_each_cause_is_told(change: dict[str, str], operation: str | None, cause: str) -> None:
    """What the token itself explains needs nobody else."""
    assert _causes(sas(**change), operation) == [cause]


def test_plain_http_is_told() -> None:
    """A token for https is refused over http before anything else is looked at."""
    assert _causes(sas().replace("https://", "http://", 1)) == ["protocol"]


def test_two_tokens_in_one_url_are_told() -> None:
    """What azure-core makes of a token that is renewed between a try and its retry."""
    assert _causes(f"{sas()}&{sas().partition('?')[2]}")[0] == "two-tokens"


@given(text=st.text(max_size=60))
def test_no_error_repeats_what_was_given(text: str) -> None:
    """What is no SAS may be another secret."""
    with pytest.raises(InvalidArgumentError) as caught:
        Sas.parse(f"MARK{text.replace('sig', '')}MARK")
    assert "MARK" not in str(caught.value)


def test_a_token_that_differs_from_its_record_was_altered() -> None:
    """A letter that somebody added, or a later end, breaks the signature; the order of letters does not matter."""
    end = datetime(2026, 5, 1, 12, 15, tzinfo=UTC)
    parsed = Sas.parse(sas())
    assert parsed.altered(("list", "read"), end) is None
    for found in (parsed.altered(("read",), end), parsed.altered(("read", "list"), NOW)):
        assert found is not None
        assert (found.cause, found.decides) == ("altered", True)


def test_the_signature_never_shows() -> None:
    """Neither a repr nor a finding has it."""
    parsed = Sas.parse(sas())
    assert "AAAAAA" not in repr(parsed) + repr(parsed.findings(NOW + timedelta(days=1), "write"))


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (StorageAnswer(200), None),
        (StorageAnswer(404, "BlobNotFound"), None),
        (StorageAnswer(403, "AuthenticationFailed"), "signature"),
        (StorageAnswer(403, "AuthorizationFailure"), "network"),
        (StorageAnswer(403, "AuthorizationPermissionMismatch"), "role-missing"),
        (StorageAnswer(403, "AuthorizationSourceIPMismatch"), "address"),
        (StorageAnswer(403, "KeyBasedAuthenticationNotPermitted"), "shared-key-off"),
        (StorageAnswer(409, "Strange"), "refused"),
        (StorageAnswer(0, why="TimeoutError"), "unreachable"),
    ],
)
def test_what_storage_says_is_read(answer: StorageAnswer, cause: str | None) -> None:
    """Azure's codes mean one thing each."""
    found = finding_of(answer, Sas.parse(sas()))
    assert (found.cause if found else None) == cause
    if answer.code == "AuthorizationFailure":
        emulated = finding_of(answer, Sas.parse(sas()), emulator=True)
        assert emulated is not None
        assert emulated.cause == "signature"


@pytest.mark.parametrize("name", ["a b", "a%20b", "ü"])
def test_a_blob_is_asked_for_whatever_its_name(name: str) -> None:
    """Protects who copies a URL as it was shown: what cannot be sent as it is, is no storage that does not answer."""
    account = f"https://127.0.0.1:{free_port()}/contoso"  # where nobody is
    sas = Sas.parse(f"{account}/models/{name}?sv=2026-02-06&sr=b&sp=r&sig={SIG}")
    assert probe_storage(sas, f"{account}/models", None) == StorageAnswer(0, why="ConnectionRefusedError")


def test_a_token_that_only_writes_is_not_called_broken() -> None:
    """A harmless question needs read or list; that they are missing says nothing."""
    assert finding_of(StorageAnswer(403, "AuthorizationPermissionMismatch"), Sas.parse(sas(sp="w"))) is None
