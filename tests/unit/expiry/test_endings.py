"""What ends when: gathered from memory, files and Vault, with the command that mends each, and told once a day."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from support.core import (
    NOW,
    FakeClock,
    Replica,
    make_api_key,
    make_connector,
    make_secret,
    make_sharing_connector,
)
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.expiry.certificate_endings import CertificateFiles
from valetkey_broker.expiry.daily_warning import DailyWarning
from valetkey_broker.expiry.endings import Endings, Source
from valetkey_broker.expiry.stored_endings import StoredEndings
from valetkey_broker.expiry.vault_login_ending import VaultLogin
from valetkey_broker.model import Connector, Credential, CredentialValue
from valetkey_broker.model.ending import Ending, EndingKind, values
from valetkey_devstack.ca import make_ca

_NOW = datetime.fromtimestamp(NOW, UTC)
_CONNECTOR = make_connector("blob")
_SECRET = replace(make_secret("az_team"), secret_fields=("client_secret",))


def at(days: float) -> datetime:
    return _NOW + timedelta(days=days)


@dataclass(frozen=True, slots=True)
class Certificate(CredentialValue):
    """A credential that knows its end."""

    ends: datetime

    @property
    def expires_at(self) -> datetime:
        return self.ends


class Stored:
    """The endings of a replica's memory; `certificates` are the credentials in memory that know their end."""

    def __init__(self) -> None:
        self.memory = Replica().memory
        self.certificates: dict[str, datetime] = {}
        self.endings = StoredEndings(self.memory, AUTH_METHODS, self._known)

    def _known(self, connector: Connector) -> Credential | None:
        ends = self.certificates.get(connector.credential_uid)
        return Credential(1, Certificate(ends)) if ends else None

    def one(self) -> Ending:
        (only,) = self.endings.now()
        return only


@pytest.fixture
def stored() -> Stored:
    return Stored()


@pytest.mark.parametrize(
    ("auth_method", "said", "itself", "ends", "known_by", "mend"),
    [
        ("service-principal", 10, None, 10, "the operator", "--client-secret @FILE --expires-at DATE"),
        ("service-principal", None, 9, 9, "the certificate", "--client-certificate @FILE"),
        ("service-principal", 8, 9, 8, "the operator", "--client-certificate @FILE --expires-at DATE"),
        ("service-principal", None, None, None, "nobody has said when", "--expires-at DATE"),
        ("account-key", 3, None, 3, "the operator", "--account-key @FILE --expires-at DATE"),
    ],
)
def test_connectors(
    stored: Stored,
    auth_method: str,
    said: int | None,
    itself: int | None,
    ends: int | None,
    known_by: str,
    mend: str,
) -> None:
    """The earlier of what was said and what a certificate says counts, and what is noted is noted again."""
    expires_at = None if said is None else at(said)
    stored.memory.put_connector(replace(_CONNECTOR, auth_method=auth_method, expires_at=expires_at))
    if itself is not None:
        stored.certificates[_CONNECTOR.uid] = at(itself)
    assert stored.one() == Ending(
        EndingKind.CONNECTOR,
        "blob",
        None if ends is None else at(ends),
        known_by,
        f"valetkey service-connector {'update' if ends is None else 'rotate'} blob {mend}",
    )


@pytest.mark.parametrize("auth_method", ["account-key", "connection-string", "implicit"])
def test_what_never_ends_is_not_listed(stored: Stored, auth_method: str) -> None:
    """An account's key has no end, and what the broker is in Azure is not its to renew."""
    stored.memory.put_connector(replace(_CONNECTOR, auth_method=auth_method))
    assert stored.endings.now() == []


@pytest.mark.parametrize(
    ("said", "itself", "fields", "ends", "mend"),
    [
        (10, None, ("client_secret",), 10, "valetkey secret rotate az_team --client-secret @FILE --expires-at DATE"),
        (9, None, ("client_certificate",), 9, "valetkey secret rotate az_team --client-certificate @FILE"),
        (None, 9, ("client_certificate",), 9, "valetkey secret rotate az_team --client-certificate @FILE"),
        (None, None, ("client_secret",), None, "valetkey secret update az_team --expires-at DATE"),
    ],
    ids=["noted", "a certificate's", "of an earlier version", "nobody knows"],
)
def test_named_secrets(
    stored: Stored, said: int | None, itself: int | None, fields: tuple[str, ...], ends: int | None, mend: str
) -> None:
    """One line for the secret, however many connectors use it; a certificate stored before tells its end, too."""
    secret = replace(_SECRET, secret_fields=fields, expires_at=None if said is None else at(said))
    stored.memory.put_secret(secret)
    for name in ("one", "two"):
        stored.memory.put_connector(make_sharing_connector(secret, name))
    if itself is not None:
        stored.certificates[secret.uid] = at(itself)
    only = stored.one()
    assert (only.kind, only.name, only.mend) == (EndingKind.SECRET, "az_team", mend)
    assert only.ends_at == (None if ends is None else at(ends))


def test_api_keys(stored: Stored) -> None:
    """A key ends when it says; rotating it is what gives it more time, also one that has ended."""
    stored.memory.put_api_key(make_api_key(expires=NOW - 60))
    ended = stored.one()
    assert (ended.kind.value, ended.name, ended.ends_at) == ("api-key", "trainer", _NOW - timedelta(seconds=60))
    assert ended.mend == "valetkey api-key rotate trainer --overlap 1h"


async def test_certificates_in_files(tmp_path: Path) -> None:
    """The server's chain ends with its first, a bundle of CAs with its last; what cannot be read is named."""
    for name in "ab":
        (tmp_path / name).mkdir()
        authority = make_ca(tmp_path / name)
    certificate, _ = authority.issue("server", tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "a" / "ca.pem").read_bytes() + (tmp_path / "b" / "ca.pem").read_bytes())
    server, trust = await CertificateFiles(certificate, {"example.org": both})()
    assert (server.kind, server.name, server.known_by) == (
        EndingKind.SERVER_CERTIFICATE,
        "server.tls_cert_file",
        "the certificate",
    )
    assert server.ends_at is not None
    assert server.ends_at > datetime.now(UTC)
    assert (trust.kind, trust.name) == (EndingKind.TRUST_BUNDLE, "example.org")
    (broken,) = await CertificateFiles(tmp_path / "none.pem", {})()
    assert (broken.ends_at, broken.known_by, broken.not_looked_at) == (None, "the file cannot be read now", True)


class Login:
    """A Vault that says when the secret id ends, or why it does not."""

    def __init__(self, answer: datetime | BrokerError | None) -> None:
        self.answer = answer

    async def secret_id_end(self) -> datetime | None:
        if isinstance(self.answer, BrokerError):
            raise self.answer
        return self.answer


async def test_the_way_into_vault() -> None:
    """It ends, or never does, or the broker may not look: then that is said, with what lets it look.

    That Vault is away is another matter: who asks what ends soon has to know that nobody looked.
    """
    (ending,) = await VaultLogin(Login(at(2)))()
    assert (ending.kind, ending.ends_at, ending.known_by) == (EndingKind.VAULT_SECRET_ID, at(2), "Vault")
    assert await VaultLogin(Login(None))() == []
    for cause, why in (("denied", "the broker may not look it up"), ("sealed", "Vault does not tell now")):
        error = BrokerError(Reason.VAULT_UNAVAILABLE, "no", {"cause": cause})
        (unknown,) = await VaultLogin(Login(error))()
        assert (unknown.ends_at, unknown.known_by, unknown.not_looked_at) == (None, why, cause == "sealed")


def of(*endings: Ending) -> Source:
    async def source() -> Iterable[Ending]:
        await asyncio.sleep(0)
        return endings

    return source


def ending(name: str, days: float | None, margin: int = 0, mend: str = "mend it") -> Ending:
    ends = None if days is None else at(days)
    return Ending(EndingKind.CONNECTOR, name, ends, "x", mend, timedelta(days=margin))


async def test_what_ends_within_a_time() -> None:
    """The first to end first, what has ended too; a margin counts; what nobody knows is never within any time."""
    all_of = Endings(
        [of(ending("later", 30), ending("never", None)), of(ending("soon", 3), ending("over", -1))], FakeClock()
    )
    all_of.add(of(ending("wary", 20, margin=10)))
    assert [each.name for each in await all_of.all()] == ["over", "soon", "wary", "later", "never"]
    assert [each.name for each in await all_of.within(timedelta(days=14))] == ["over", "soon", "wary"]
    assert [each.name for each in await all_of.within(timedelta())] == ["over"]
    assert len(await all_of.within(timedelta(days=10**6))) == 4
    assert next(values(await all_of.all())) == ("connector", "over", NOW - 86400)
    assert len(list(values(await all_of.all()))) == 4
    all_of.add(of(replace(ending("unseen", None), not_looked_at=True)))
    assert [each.name for each in await all_of.within(timedelta())] == ["over", "unseen"]


@pytest.mark.parametrize(("first", "second", "ends"), [(10, 5, 5), (5, 10, 5), (None, 5, 5), (5, None, 5)])
async def test_of_two_who_know_the_earlier_counts(first: float | None, second: float | None, ends: float) -> None:
    """A cloud that tells an end is added beside what operators said; the command that mends it stays theirs."""
    both = Endings([of(ending("a", first)), of(ending("a", second, mend=""))], FakeClock())
    (one,) = await both.all()
    assert (one.ends_at, one.mend) == (at(ends), "mend it")


async def test_the_daily_line() -> None:
    """One line: a warning that names what ends and what mends it, twenty of them at most; or that nothing does."""
    many = [ending(f"c{number:02}", 1 + number / 100) for number in range(25)]
    with capture_logs() as logs:
        await DailyWarning(Endings([of(*many)], FakeClock()), 14).tell()
        await DailyWarning(Endings([of(ending("later", 30))], FakeClock()), 14).tell()
    warning, info = logs
    assert (warning["log_level"], warning["count"], len(warning["ends"])) == ("warning", 25, 20)
    assert warning["ends"][0] == "connector c00 2027-01-16T08:00Z: mend it"
    assert info["log_level"] == "info"
    assert "not_looked_at" not in info
    unseen = replace(ending("c", None), not_looked_at=True)
    with capture_logs() as logs:
        await DailyWarning(Endings([of(unseen)], FakeClock()), 14).tell()
        await DailyWarning(Endings([of(unseen, *many)], FakeClock()), 14).tell()
    assert [line["not_looked_at"] for line in logs] == [["connector c: x"]] * 2
    assert [line.get("count") for line in logs] == [None, 25]


async def test_the_daily_line_waits_and_goes_on() -> None:
    """It waits until everything was read, and a source that breaks its word does not end it."""
    ready = asyncio.Event()

    async def broken() -> Iterable[Ending]:
        raise ValueError("broken")

    daily = DailyWarning(Endings([broken], FakeClock()), 14)
    with capture_logs() as logs:
        running = asyncio.create_task(daily.run(ready.wait))
        await asyncio.sleep(0)
        assert logs == []
        ready.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert [line["log_level"] for line in logs] == ["error"]
        assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
