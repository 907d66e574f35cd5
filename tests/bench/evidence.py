"""The callers of the bench: one with an API key, one with a JWT, one with a client certificate."""

import json
from dataclasses import dataclass
from pathlib import Path

from support.inproc import make_key
from support.oidc import AUDIENCE, ISSUER, SUBJECT, Signer, claims, mint
from support.spiffe import DOMAIN, WORKLOAD, SpiffeCa

KEY = make_key("B")
PRINCIPALS = ("key:bench", f"oidc:{ISSUER}#{SUBJECT}", WORKLOAD)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the callers show, made up for one run, and the files by which a broker knows it."""

    jwt: str
    certificate: Path
    key: Path
    jwks_file: Path
    ca_file: Path


def make_evidence(directory: Path) -> Evidence:
    """Writes the files of a Kubernetes-shaped issuer and a SPIFFE-shaped CA, and what they give the callers."""
    signer, authority = Signer(), SpiffeCa()
    workload = authority.issue()
    made = Evidence(
        jwt=mint(claims(), signer),
        certificate=directory / "workload.pem",
        key=directory / "workload.key",
        jwks_file=directory / "jwks.json",
        ca_file=directory / "spiffe-ca.pem",
    )
    made.certificate.write_bytes(workload.chain)
    made.key.write_bytes(workload.key)
    made.jwks_file.write_text(json.dumps({"keys": [signer.jwk()]}), encoding="ascii")
    made.ca_file.write_bytes(authority.pem)
    return made


def authn_settings(jwks_file: Path, ca_file: Path, port: int) -> dict[str, object]:
    """Returns the broker's section `authn` that knows these callers; client certificates go to `port`."""
    return {
        "oidc": [{"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": jwks_file}],
        "mtls": {"port": port, "trust_domains": {DOMAIN: ca_file}},
    }
