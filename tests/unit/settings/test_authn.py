"""Settings of identities: what would let strangers in, or nobody, is refused at start."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from valetkey_broker.adapters.oidc import FileKeySource, HttpKeySource, key_source
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.settings import AuthnSettings, load_settings
from valetkey_devstack.ca import make_ca

GOOD: dict[str, Any] = {"issuer": "https://issuer.example", "audience": "valetkey"}


def parsed(**change: Any) -> Any:
    """Returns the settings of one issuer."""
    full = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    return AuthnSettings.model_validate({"oidc": [full]}).oidc[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audience": None}, "without it a token made for any other service"),
        ({"audience": ""}, "without it"),
        ({"audience": " "}, "without it"),
        ({"algorithms": []}, "at least 1"),
        ({"algorithms": ["HS256"]}, "RS256"),
        ({"algorithms": ["RS256", "none"]}, "RS256"),
        ({"algorithms": ["rs256"]}, "RS256"),
        ({"issuer": None}, "required"),
        ({"issuer": ""}, "https"),
        ({"issuer": "http://issuer.example"}, "https"),
        ({"issuer": "https://issuer.example#x"}, "without #"),
        ({"issuer": "https://*.example"}, "without #, \\* and"),
        ({"issuer": "https://issuer.example/?a=b"}, "pattern"),
        ({"issuer": "https://user@issuer.example"}, "https"),
        ({"issuer": "https://a b"}, "and blanks"),
        ({"issuer": "https://" + "a" * 200}, "200 characters"),
        ({"jwks_uri": "http://issuer.example/keys"}, "https"),
        ({"jwks_uri": "https://issuer.example/keys", "jwks_file": "/x"}, "both given"),
        ({"jwks_file": "/x", "ca_file": "/y"}, "no use"),
        ({"jwks_file": "/x", "proxy": "http://proxy:3128"}, "no use"),
        ({"proxy": "https://proxy:3128"}, "must be http://HOST:PORT"),
        ({"leeway_seconds": 301}, "300"),
        ({"leeway_seconds": -1}, "0"),
        ({"max_lifetime_seconds": 0}, "0"),
        ({"max_stale_seconds": 10}, "under refresh_seconds"),
        ({"min_refresh_seconds": 0}, "0"),
        ({"attributes": {"Bad Name": "x"}}, "not a name"),
        ({"attributes": {"namespace": []}}, "expected the name of a claim"),
        ({"attributes": {"namespace": [""]}}, "expected the name of a claim"),
        ({"attributes": ["namespace"]}, "dictionary"),
        ({"audiences": ["x"]}, "not permitted"),
        ({"login": {}}, "client_id"),
        ({"login": {"client_id": ""}}, "1 to 200 printable characters"),
        ({"login": {"client_id": "a b"}}, "1 to 200 printable characters"),
        ({"login": {"client_id": "cli", "client_secret": "x"}}, "not permitted"),
        ({"login": {"client_id": "cli", "scopes": []}}, "at least 1"),
        ({"login": {"client_id": "cli", "scopes": ["openid offline_access"]}}, "is no scope; expected one word each"),
        ({"login": {"client_id": "cli"}, "issuer": "http://issuer.example", "jwks_file": "/x"}, "login: people log in"),
    ],
)
def test_issuer_that_is_refused(change: dict[str, Any], said: str) -> None:
    """An issuer without audience, with weak algorithms, a name that shifts principals or half an address: no start."""
    with pytest.raises(ValidationError, match=said):
        parsed(**change)


def test_one_issuer_twice() -> None:
    """Two sets of rules for one issuer would make it a matter of luck which one counts."""
    with pytest.raises(ValidationError, match="given twice"):
        AuthnSettings.model_validate({"oidc": [GOOD, {**GOOD, "audience": "other"}]})


def test_path_of_a_claim_whose_name_has_a_dot() -> None:
    """A path is a list of names, so that Kubernetes' claim `kubernetes.io` can be written; one name may stand alone."""
    settings = parsed(attributes={"namespace": ["kubernetes.io", "namespace"], "repository": "repo.name"})
    assert settings.attributes == {"namespace": ("kubernetes.io", "namespace"), "repository": ("repo.name",)}


def test_where_keys_come_from() -> None:
    """A file is read, everything else is asked over HTTPS."""
    assert isinstance(key_source(parsed(jwks_file="/x", issuer="kubernetes/serviceaccount")), FileKeySource)
    assert isinstance(key_source(parsed()), HttpKeySource)


@pytest.mark.parametrize(
    "mtls",
    [
        {"port": 8444},
        {"port": 8444, "trust_domains": {}},
        {"port": 8444, "trust_domains": {"spiffe://example.org": "/x"}},
        {"port": 0, "trust_domains": {"example.org": "/x"}},
        {"trust_domains": {"example.org": "/x"}},
    ],
)
def test_mtls_that_is_refused(mtls: dict[str, Any]) -> None:
    """Client certificates need a port, and CAs for at least one bare trust domain."""
    with pytest.raises(ValidationError):
        AuthnSettings.model_validate({"mtls": mtls})


@pytest.mark.parametrize(
    "binding",
    [
        {"role": "root", "principals": ["key:a"]},
        {"role": "admin", "principals": []},
        {"role": "admin", "principals": [""]},
        {"role": "admin", "principals": ["*"]},
        {"role": "admin", "principals": ["key:**"]},
        {"role": "admin", "principals": ["*:*"]},
        {"role": "admin", "principals": ["key:a?"]},
        {"role": "admin"},
    ],
)
def test_role_binding_that_is_refused(binding: dict[str, Any]) -> None:
    """A pattern that would make everybody an admin does not start a broker."""
    with pytest.raises(ValidationError):
        AuthnSettings.model_validate({"roles": [binding]})


GITHUB = "oidc:https://token.actions.githubusercontent.com"


@pytest.mark.parametrize(
    ("principal", "said"),
    [
        ("spiffe://*/x", "leaves open who vouches"),
        ("spiffe://a*/x", "leaves open who vouches"),
        ("oidc:*#x", "leaves open who vouches"),
        ("oidc:https://*#x", "leaves open who vouches"),
        ("key:*", "to all API keys"),
        ("key:*-*", "to all API keys"),
        ("oidc:https://issuer.example#*", "to all that oidc:https://issuer.example vouches for"),
        ("spiffe://example.org/*/*", "to all that spiffe://example.org vouches for"),
        (f"{GITHUB}#repo:*/*", "strangers"),
        (f"{GITHUB}#repo:*/*:ref:refs/heads/main", "strangers"),
        (f"{GITHUB}#repo:our*/*:environment:prod", "strangers"),
        (f"{GITHUB}#environment:prod", "strangers"),
        ("oidc:https://gitlab.com#project_path:*/ops:ref_type:branch:ref:main", "strangers"),
        ("trainer", "not a principal"),
        ("Key:trainer", "not a principal"),
        ("spiffe://example.org", "not a principal"),
        ("oidc:https://issuer.example", "not a principal"),
    ],
)
@pytest.mark.parametrize("role", ["admin", "operator", "auditor", "viewer"])
def test_a_role_for_people_nobody_knows(role: str, principal: str, said: str) -> None:
    """A role is for people somebody vouches for by name: what would make strangers admin does not start a broker."""
    with pytest.raises(ValidationError, match=said) as caught:
        AuthnSettings.model_validate({"roles": [{"role": role, "principals": ["key:ops", principal]}]})
    assert "principals: " not in str(caught.value)


@pytest.mark.parametrize(
    "principal",
    [
        *("key:ops-*", "key:ops", "spiffe://example.org/ops/*", "spiffe://example.org/ns/*/sa/*"),
        *("oidc:https://issuer.example#ops-*", "oidc:https://issuer.example#system:serviceaccount:ml:*"),
        *(f"{GITHUB}#repo:ours/*:ref:refs/heads/main", f"{GITHUB}#repo:ours@12/*@*:environment:prod"),
        f"{GITHUB}#repository_owner_id:12:environment:prod",
    ],
)
def test_a_role_for_people_who_are_known(principal: str) -> None:
    """Patterns that name who vouches, and for whom, are taken."""
    parsed = AuthnSettings.model_validate({"roles": [{"role": "auditor", "principals": [principal]}]})
    assert parsed.roles[0].principals == (principal,)


def test_a_role_of_nobody_is_warned_about() -> None:
    """A slash too many in an issuer's name makes a role that nobody has: check-config says so, and for whom."""
    binding = {"role": "auditor", "principals": ["oidc:https://issuer.example/#a", "spiffe://other.org/a", "key:a"]}
    known = AuthnSettings.model_validate({"oidc": [GOOD], "roles": [binding]}).warnings()
    assert [line.partition(": ")[2].partition(";")[0] for line in known] == [
        "oidc:https://issuer.example/#a can be nobody: no section here is for https://issuer.example/",
        "spiffe://other.org/a can be nobody: no section here is for spiffe://other.org",
    ]
    binding["principals"] = ["oidc:https://issuer.example#a"]
    assert AuthnSettings.model_validate({"oidc": [GOOD], "roles": [binding]}).warnings() == []


def least(directory: Path) -> str:
    """Returns the least settings a broker needs, with files that exist."""
    for name in ("crt", "key", "role", "secret"):
        (directory / name).write_text("unused")
    return f"""
[server]
tls_cert_file = "{directory}/crt"
tls_key_file = "{directory}/key"
[vault]
address = "https://vault.invalid"
role_id_file = "{directory}/role"
secret_id_file = "{directory}/secret"
"""


def test_ports_differ(tmp_path: Path) -> None:
    """The port for client certificates is another one than the port for all."""
    file = tmp_path / "broker.toml"
    file.write_text(f"{least(tmp_path)}[authn.mtls]\nport = 8443\ntrust_domains = {{'a.b' = '{tmp_path}/crt'}}\n")
    with pytest.raises(ConfigurationError, match=r"authn.mtls.port: is server.port"):
        load_settings(file)


def test_missing_files_are_named(tmp_path: Path) -> None:
    """A file of an identity that is not there is named with its setting, before anything starts."""
    file = tmp_path / "broker.toml"
    mtls = "[authn.mtls]\nport = 8444\ntrust_domains = {'a.b' = '/nowhere/ca'}\n"
    issuer = "[[authn.oidc]]\nissuer = 'x'\naudience = 'y'\njwks_file = '/nowhere/jwks'\n"
    file.write_text(least(tmp_path) + mtls + issuer)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file)
    assert "authn.oidc.0.jwks_file: /nowhere/jwks does not exist" in str(caught.value)
    assert "authn.mtls.trust_domains.a.b: /nowhere/ca does not exist" in str(caught.value)


def test_documented_settings_load(tmp_path: Path) -> None:
    """The examples of docs/authentication.md are settings that load, each on its own."""
    page = (Path(__file__).parents[3] / "docs" / "authentication.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in page.split("```toml\n")[1:]]
    assert len(blocks) >= 5
    ca = make_ca(tmp_path).ca_file.read_bytes()
    for number, block in enumerate(blocks):
        text = block
        for path in {word for word in block.split('"') if word.startswith("/") or word.endswith(".pem")}:
            there = tmp_path / path.removeprefix("/").replace("/", "_")
            there.write_bytes(ca)
            text = text.replace(f'"{path}"', f'"{there}"')
        file = tmp_path / f"{number}.toml"
        file.write_text(least(tmp_path) + text)
        assert load_settings(file).authn != AuthnSettings()
