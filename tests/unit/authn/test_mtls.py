"""Client certificates: whose id is believed, by whose CA, and for how long."""

import datetime as dt
import os
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from support.core import FakeClock
from support.spiffe import CLIENT, DOMAIN, SERVER, WORKLOAD, SpiffeCa
from valetkey_broker.authn import mtls as mtls_module
from valetkey_broker.authn.mtls import MtlsVerifier
from valetkey_broker.authn.roles import RoleBindings
from valetkey_broker.authn.trust_bundles import TrustBundles
from valetkey_broker.errors import BrokerError, ConfigurationError
from valetkey_broker.model import Evidence, InvalidFieldError, Pattern, Role
from valetkey_broker.model.spiffe import SpiffeId, check_trust_domain, parse_spiffe_id


class Mtls:
    """A verifier that believes `ca` for example.org and `other` for other.example."""

    def __init__(self, directory: Path, roles: RoleBindings | None = None) -> None:
        self.ca, self.other = SpiffeCa(), SpiffeCa("other.example")
        self.file = directory / "bundle.pem"
        self.file.write_bytes(self.ca.pem)
        (directory / "other.pem").write_bytes(self.other.pem)
        self.clock = FakeClock(time.time())
        self.trust = TrustBundles({DOMAIN: self.file, "other.example": directory / "other.pem"})
        self.verifier = MtlsVerifier(self.trust, roles or RoleBindings(), self.clock)

    def problem(self, chain: bytes) -> tuple[str, str]:
        """Returns reason and problem of a chain that has to be refused."""
        with pytest.raises(BrokerError) as caught:
            self.verifier.verify(chain)
        return caught.value.reason.name, caught.value.metadata.get("problem", "")


@pytest.fixture
def mtls(tmp_path: Path) -> Mtls:
    return Mtls(tmp_path)


def test_workload(mtls: Mtls) -> None:
    """A SPIFFE workload is a principal by its id, as long as its certificate lasts."""
    svid = mtls.ca.issue()
    principal = mtls.verifier.verify(svid.chain)
    assert principal.name == WORKLOAD
    assert principal.evidence is Evidence.MTLS
    assert principal.roles == frozenset()
    assert principal.expires == svid.leaf.not_valid_after_utc.timestamp()
    assert mtls.verifier.verify(svid.chain) is principal


def test_roles_of_a_workload(tmp_path: Path) -> None:
    """A role is bound to a workload by its id."""
    mtls = Mtls(tmp_path, RoleBindings([(Role.AUDITOR, [Pattern(f"spiffe://{DOMAIN}/ns/ml/sa/*", "x")])]))
    assert mtls.verifier.verify(mtls.ca.issue().chain).roles == {Role.AUDITOR}


def test_chain_with_an_intermediate_ends_with_its_shortest_part(mtls: Mtls) -> None:
    """Intermediates are followed, and a certificate is no better than the CA above it."""
    between = mtls.ca.intermediate(ends=dt.timedelta(minutes=5))
    principal = mtls.verifier.verify(between.issue().chain)
    assert principal.expires == between.certificate.not_valid_after_utc.timestamp()


def test_missing_intermediate(mtls: Mtls) -> None:
    """A chain with a hole is not believed."""
    leaf_only = mtls.ca.intermediate().issue().chain.split(b"-----END CERTIFICATE-----\n")[0]
    assert mtls.problem(leaf_only + b"-----END CERTIFICATE-----\n") == ("CREDENTIALS_INVALID", "chain")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"uris": ()}, "extensions"),
        ({"uris": (), "dns": ["trainer"]}, "san"),
        ({"uris": (WORKLOAD, f"spiffe://{DOMAIN}/admin")}, "san"),
        ({"uris": (WORKLOAD, WORKLOAD)}, "san"),
        ({"uris": (WORKLOAD, "https://example.org/x")}, "san"),
        ({"uris": ("https://example.org/x",)}, "san"),
        ({"uris": (f"spiffe://{DOMAIN}",)}, "san"),
        ({"uris": ("spiffe://elsewhere.example/x",)}, "trust-domain"),
        ({"uris": (f"spiffe://{DOMAIN}.evil/x",)}, "trust-domain"),
        ({"purposes": [SERVER]}, "key-usage"),
        ({"purposes": None}, "extensions"),
        ({"ca": True}, "key-usage"),
        ({"ca": True, "usage": {"digital_signature": True, "key_cert_sign": False, "crl_sign": False}}, "key-usage"),
        ({"usage": {"key_cert_sign": True}}, "key-usage"),
        ({"ca": None, "usage": {"key_cert_sign": True}}, "key-usage"),
        ({"usage": {"crl_sign": True}}, "key-usage"),
        ({"usage": {"digital_signature": False, "key_agreement": True}}, "key-usage"),
        ({"usage": None}, "extensions"),
    ],
)
def test_certificate_that_is_no_workloads(mtls: Mtls, options: dict[str, Any], expected: str) -> None:
    """Exactly one SPIFFE id of a known trust domain, made for clients, not a CA: anything else is refused."""
    assert mtls.problem(mtls.ca.issue(**options).chain) == ("CREDENTIALS_INVALID", expected)


def test_other_names_beside_the_id_are_no_harm(mtls: Mtls) -> None:
    """DNS names may stand beside the one URI; they make nobody anything."""
    assert mtls.verifier.verify(mtls.ca.issue(dns=["admin.example.org"]).chain).name == WORKLOAD


def test_ca_speaks_for_its_own_trust_domain_only(mtls: Mtls) -> None:
    """The CA of one trust domain, trusted by TLS, cannot make workloads of another."""
    assert mtls.problem(mtls.other.issue([WORKLOAD]).chain) == ("CREDENTIALS_INVALID", "chain")
    assert mtls.verifier.verify(mtls.other.issue(["spiffe://other.example/x"]).chain).name == "spiffe://other.example/x"


def test_ca_of_the_same_name(mtls: Mtls) -> None:
    """A stranger's CA that calls itself like ours signs in vain."""
    assert mtls.problem(SpiffeCa().issue().chain) == ("CREDENTIALS_INVALID", "chain")


def test_leaf_that_signs_a_leaf(mtls: Mtls) -> None:
    """A workload cannot make itself a CA."""
    parent = mtls.ca.issue()
    assert mtls.problem(SpiffeCa("SPIRE").issue().chain + parent.chain) == ("CREDENTIALS_INVALID", "chain")


def test_times_of_a_certificate(mtls: Mtls) -> None:
    """Before its time and after it a certificate is refused, also one that was verified before."""
    soon = mtls.ca.issue(begins=dt.timedelta(minutes=1)).chain
    assert mtls.problem(soon) == ("CREDENTIALS_INVALID", "not-yet-valid")
    assert mtls.problem(mtls.ca.issue(begins=dt.timedelta(hours=-2), ends=dt.timedelta(hours=-1)).chain) == (
        "CREDENTIALS_EXPIRED",
        "",
    )
    good = mtls.ca.issue(ends=dt.timedelta(minutes=10)).chain
    principal = mtls.verifier.verify(good)
    mtls.clock.now = principal.expires
    assert mtls.problem(good) == ("CREDENTIALS_EXPIRED", "")
    mtls.clock.now = principal.expires - 1
    mtls.verifier.verify(good)


def test_remembered_certificate_goes_with_its_ca(mtls: Mtls) -> None:
    """A CA taken out of the bundle takes its certificates along at once; a new one is believed without a restart."""
    new = SpiffeCa()
    chain = mtls.ca.issue().chain
    mtls.verifier.verify(chain)
    mtls.file.write_bytes(mtls.ca.pem + new.pem)
    mtls.trust._bundle._checked_at = 0.0
    mtls.verifier.verify(chain)
    mtls.verifier.verify(new.issue().chain)
    mtls.file.write_bytes(new.pem)
    mtls.trust._bundle._checked_at = 0.0
    assert mtls.problem(chain) == ("CREDENTIALS_INVALID", "chain")


def test_broken_bundle_keeps_the_last_good_one(mtls: Mtls) -> None:
    """A half-written or missing file does not lock everybody out."""
    for ruin in (lambda: mtls.file.write_bytes(b"half"), mtls.file.unlink):
        ruin()
        mtls.trust._bundle._checked_at = 0.0
        mtls.verifier.verify(mtls.ca.issue().chain)


def test_bundle_cut_amid_its_second_ca_keeps_the_last_good_one(mtls: Mtls) -> None:
    """A bundle whose writer is not done is not used: those for whom its last CA vouches, and their streams, go on."""
    whole = SpiffeCa().pem + mtls.ca.pem
    mtls.file.write_bytes(whole[:-40])
    mtls.trust._bundle._checked_at = 0.0
    principal = mtls.verifier.verify(mtls.ca.issue().chain)
    mtls.file.write_bytes(whole)
    mtls.trust._bundle._checked_at = 0.0
    assert mtls.verifier.still_valid(principal)


def test_bundle_is_looked_at_now_and_then_only(mtls: Mtls) -> None:
    """The files are not touched at every call."""
    first = mtls.trust.current()
    mtls.file.write_bytes(SpiffeCa().pem)
    assert mtls.trust.current() is first
    mtls.trust._bundle._checked_at = 0.0
    assert mtls.trust.current() is not first


@pytest.mark.parametrize(
    "content", [None, b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_bundle_that_is_none_is_refused_at_start(tmp_path: Path, content: bytes | None) -> None:
    """A broker does not start on a bundle it cannot read, and says which file it was."""
    file = tmp_path / "bundle.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=os.fspath(file)):
        TrustBundles({DOMAIN: file})


@pytest.mark.parametrize("chain", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_certificate_that_cannot_be_read(mtls: Mtls, chain: bytes) -> None:
    """Broken bytes are refused, not an error of the broker."""
    assert mtls.problem(chain) == ("CREDENTIALS_INVALID", "malformed")


@pytest.mark.parametrize(
    "error",
    [
        x509.DuplicateExtension("twice", x509.SubjectAlternativeName.oid),
        x509.InvalidVersion("which", 9),
        x509.UnsupportedGeneralNameType("what"),
    ],
)
def test_certificate_that_the_library_will_not_read(
    mtls: Mtls, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What it says of a certificate in its own way is about the caller's certificate all the same."""

    def unreadable(_leaf: x509.Certificate) -> SpiffeId:
        raise error

    monkeypatch.setattr(mtls_module, "_identity", unreadable)
    assert mtls.problem(mtls.ca.issue().chain) == ("CREDENTIALS_INVALID", "malformed")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "spiffe://",
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://example.org/a/",
        "spiffe://example.org//a",
        "spiffe://example.org/a//b",
        "spiffe://example.org/./a",
        "spiffe://example.org/a/..",
        "spiffe://example.org/a/../b",
        "spiffe://example.org/%2e%2e/a",
        "spiffe://example.org/a%2Fb",
        "spiffe://example.org/a?b",
        "spiffe://example.org/a#b",
        "spiffe://example.org/a*",
        "spiffe://example.org/a b",
        "spiffe://example.org/a\n",
        "spiffe://example.org/ä",
        "spiffe://example.org:8443/a",
        "spiffe://user@example.org/a",
        "spiffe://EXAMPLE.org/a",
        "SPIFFE://example.org/a",
        "spiffe:/example.org/a",
        "https://example.org/a",
        " spiffe://example.org/a",
        "spiffe:///a",
        f"spiffe://{'a' * 256}/a",
        f"spiffe://example.org/{'a' * 2048}",
    ],
)
def test_not_a_spiffe_id(value: str) -> None:
    """The letter of the standard: nothing is decoded, folded or cleaned up."""
    with pytest.raises(InvalidFieldError):
        parse_spiffe_id(value)


@given(st.text(max_size=40).map(lambda tail: f"spiffe://example.org{tail}"))
def test_spiffe_id_is_taken_as_it_stands_or_not_at_all(value: str) -> None:
    """What is accepted comes back unchanged, and has no segment that could lead elsewhere."""
    try:
        parsed = parse_spiffe_id(value)
    except InvalidFieldError:
        return
    assert str(parsed) == value
    assert not {"", ".", ".."} & set(parsed.path[1:].split("/"))


def test_longest_spiffe_id() -> None:
    """2,048 characters are allowed, by the standard."""
    value = "spiffe://example.org/" + "a" * (2048 - len("spiffe://example.org/"))
    assert str(parse_spiffe_id(value)) == value


@pytest.mark.parametrize("value", ["", "spiffe://example.org", "example.org/", "Example.org", "a b", "a:1"])
def test_not_a_trust_domain(value: str) -> None:
    """A trust domain is a bare name in lower case."""
    with pytest.raises(InvalidFieldError):
        check_trust_domain(value)


def test_client_purpose_alone_is_enough(mtls: Mtls) -> None:
    """A certificate for clients only is a client's."""
    mtls.verifier.verify(mtls.ca.issue(purposes=[CLIENT]).chain)


def test_certificate_without_basic_constraints(mtls: Mtls) -> None:
    """SPIFFE lets a workload's certificate leave them out, which says that it is no CA."""
    mtls.verifier.verify(mtls.ca.issue(ca=None).chain)
