"""Settings: file and environment together, and every mistake named by file and setting before anything starts."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.model import CloudProfile
from valetkey_broker.settings import ENV_PREFIX, Settings, load_settings
from valetkey_devstack.ca import make_ca

_CLOUD = {"authority": "https://login.example", "blob_endpoint": "https://{account}.blob.example"}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)


_BY_TOKEN: dict[str, Any] = {
    "auth": "jwt",
    "role": "broker",
    "jwt_file": "/dev/null",
    "role_id_file": None,
    "secret_id_file": None,
}


class File:
    """A settings file whose named files exist."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "broker.toml"
        self.sections: dict[str, dict[str, Any]] = {"server": {}, "vault": {"address": "https://vault.example"}}
        for section, setting in (
            *(("server", "tls_cert_file"), ("server", "tls_key_file")),
            *(("vault", "role_id_file"), ("vault", "secret_id_file")),
        ):
            (directory / setting).write_text("x")
            self.sections[section][setting] = str(directory / setting)

    def load(self, top: str = "", **sections: dict[str, Any]) -> Settings:
        """Writes the sections with `sections` over them, and reads them. A value of None leaves a setting out."""
        merged = {name: {**self.sections.get(name, {}), **sections.get(name, {})} for name in self.sections | sections}
        lines = [top]
        for name, values in merged.items():
            lines.append(f"[{name.replace('__', '.')}]")
            lines += [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
        self.path.write_text("\n".join(lines))
        return load_settings(self.path)

    def problems(self, top: str = "", **sections: dict[str, Any]) -> list[str]:
        """Returns what is said about the file, line by line, each without the file's name that it begins with."""
        with pytest.raises(ConfigurationError) as caught:
            self.load(top, **sections)
        lines = str(caught.value).splitlines()
        assert all(line.startswith(f"{self.path}: ") for line in lines)
        bare = caught.value.__suppress_context__ or caught.value.__context__ is None
        assert bare, "what was typed must not come back through a traceback"
        return [line.removeprefix(f"{self.path}: ") for line in lines]


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        pairs = (f'"{key}" = {_toml(each)}' for key, each in value.items())
        return f"{{ {', '.join(pairs)} }}"
    return f"'{value}'" if isinstance(value, str) else str(value).lower()


@pytest.fixture
def file(tmp_path: Path) -> File:
    """Is complete and good."""
    return File(tmp_path)


def test_a_small_file_is_enough(file: File) -> None:
    """Everything that can have a safe default has one."""
    settings = file.load()
    assert (settings.server.host, settings.server.port, settings.server.workers) == ("127.0.0.1", 8443, 1)
    assert settings.vault.mount == "valetkey"
    assert (settings.issuing.default_ttl_seconds, settings.issuing.max_ttl_seconds) == (900, 12 * 3600)
    assert settings.default_cloud == "azure-public"
    assert set(settings.files()) == {
        *("server.tls_cert_file", "server.tls_key_file", "vault.role_id_file", "vault.secret_id_file")
    }


def test_the_environment_wins_value_by_value(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """One variable changes one setting and leaves the rest of its section as the file has it."""
    monkeypatch.setenv("VALETKEY_BROKER_SERVER__PORT", "9443")
    monkeypatch.setenv("VALETKEY_BROKER_CLOUDS__DEV__ARM_ENDPOINT", "https://arm.example")
    settings = file.load(server={"port": 1234, "workers": 2}, clouds__dev=_CLOUD)
    assert (settings.server.port, settings.server.workers) == (9443, 2)
    assert settings.server.tls_cert_file.name == "tls_cert_file"
    assert settings.profiles()["dev"].arm_endpoint == "https://arm.example"


def test_mistakes_in_the_environment_are_told(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that does not fit, an unknown setting of a section, and a section that is no JSON: none is ignored."""
    monkeypatch.setenv("VALETKEY_BROKER_SERVER__PORT", "PLANTED")
    monkeypatch.setenv("VALETKEY_BROKER_VAULT__ADRESS", "PLANTED")
    with pytest.raises(ConfigurationError) as caught:
        file.load()
    port, adress = str(caught.value).splitlines()
    # The variable is named, not the file, which is innocent.
    assert port.startswith("VALETKEY_BROKER_SERVER__PORT: server.port: must be a valid integer")
    assert adress.startswith("VALETKEY_BROKER_VAULT__ADRESS: vault.adress: unknown setting; known here: address, ")
    assert "PLANTED" not in str(caught.value)
    monkeypatch.setenv("VALETKEY_BROKER_ISSUING", "PLANTED")
    with pytest.raises(ConfigurationError, match="VALETKEY_BROKER_ISSUING: is not JSON") as caught:
        file.load()
    assert "PLANTED" not in str(caught.value)


def test_a_section_in_the_environment_is_named_for_what_it_holds(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """A section given as JSON is to blame for its own values only; the rest still comes from the file."""
    monkeypatch.setenv("valetkey_broker_server", '{"workers": 0}')
    with pytest.raises(ConfigurationError) as caught:
        file.load(server={"port": 0})
    port, workers = sorted(str(caught.value).splitlines())
    assert port.startswith(f"{file.path}: server.port: ")
    assert workers.startswith("valetkey_broker_server: server.workers: ")


@pytest.mark.parametrize(
    ("top", "sections", "known"),
    [
        ("surprise = 1", {}, "authn, clouds, default_cloud, "),
        ("", {"logging": {"colour": 1}}, "format, level"),
        ("", {"clouds__dev": {**_CLOUD, "ca": "x"}}, "arm_endpoint, authority, blob_endpoint, ca_file, "),
        ("", {"authn": {"oidc": [{"issuer": "https://a", "audience": "a", "url": "x"}]}}, "algorithms, attributes, "),
    ],
)
def test_an_unknown_setting_meets_the_known_ones(file: File, top: str, sections: dict[str, Any], known: str) -> None:
    """A typing slip is mended at once where the right names stand beside it."""
    (problem,) = file.problems(top, **sections)
    assert f": unknown setting; known here: {known}" in problem


def test_secrets_that_everybody_can_read_draw_a_warning(file: File) -> None:
    """A private key or a secret id that others can read is told, with the command that mends it; a group may."""
    settings = file.load()
    key, secret_id = settings.server.tls_key_file, settings.vault.secret_id_file
    key.chmod(0o640)
    secret_id.chmod(0o604)
    assert settings.warnings() == [
        f"vault.secret_id_file: {secret_id} is open to every user of this machine; run: chmod o-rwx {secret_id}"
    ]
    secret_id.chmod(0o400)
    assert settings.warnings() == []
    key.chmod(0o602)
    assert len(settings.warnings()) == 1


def test_variables_that_a_cluster_sets_do_no_harm(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets such names for a Service called valetkey-broker; they are not settings."""
    monkeypatch.setenv("VALETKEY_BROKER_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("VALETKEY_BROKER_PORT", "tcp://10.0.0.1:8443")
    assert file.load().server.port == 8443


@pytest.mark.parametrize(
    ("top", "sections", "setting"),
    [
        ("surprise = 1", {}, "surprise"),
        ("_env_file = 'x'", {}, "_env_file"),
        ("", {"surprise": {"a": 1}}, "surprise"),
        ("", {"server": {"prot": 1}}, "server.prot"),
        ("", {"server": {"plaintext": True}}, "server.plaintext"),
        ("", {"server": {"tls_cert_file": None}}, "server.tls_cert_file"),
        ("", {"server": {"tls_key_file": None}}, "server.tls_key_file"),
        ("", {"server": {"port": 0}}, "server.port"),
        ("", {"server": {"port": 65536}}, "server.port"),
        ("", {"server": {"workers": 0}}, "server.workers"),
        ("", {"server": {"max_deadline_seconds": 0}}, "server.max_deadline_seconds"),
        ("", {"server": {"max_message_bytes": 10}}, "server.max_message_bytes"),
        ("", {"vault": {"address": None}}, "vault.address"),
        ("", {"vault": {"mount": "../x"}}, "vault.mount"),
        ("", {"vault": {"mount": "secret?x"}}, "vault.mount"),
        ("", {"vault": {"approle_mount": "a b"}}, "vault.approle_mount"),
        ("", {"vault": {"approle_mount": "auth/approle"}}, "vault.approle_mount"),
        *(("", {"vault": {"mount": mount}}, "vault.mount") for mount in ("", "/", "a//b", "/a", "a/../b", "ä")),
        *(("", {"vault": {"namespace": name}}, "vault.namespace") for name in ("a b", "a//b", "..", "a/../b")),
        ("", {"vault": {"max_stale_seconds": -1}}, "vault.max_stale_seconds"),
        ("", {"vault": {"role_id_file": None}}, "vault.role_id_file"),
        ("", {"vault": {"role": "broker"}}, "vault.role"),
        ("", {"vault": {"auth_mount": "jwt"}}, "vault.auth_mount"),
        ("", {"vault": {"auth": "ldap"}}, "vault.auth"),
        ("", {"vault": {**_BY_TOKEN, "role": None}}, "vault.role"),
        ("", {"vault": {**_BY_TOKEN, "jwt_file": None}}, "vault.jwt_file"),
        ("", {"vault": {**_BY_TOKEN, "auth_mount": "auth/jwt"}}, "vault.auth_mount"),
        ("", {"vault": {**_BY_TOKEN, "secret_id_file": "/x"}}, "vault.secret_id_file"),
        ("", {"issuing": {"default_ttl_seconds": 59}}, "issuing.default_ttl_seconds"),
        ("", {"issuing": {"max_ttl_seconds": 7 * 24 * 3600 + 1}}, "issuing.max_ttl_seconds"),
        ("", {"issuing": {"delegation_key_seconds": 7 * 24 * 3600 + 1}}, "issuing.delegation_key_seconds"),
        ("", {"issuing": {"default_ttl_seconds": 7200, "max_ttl_seconds": 3600}}, "issuing"),
        ("", {"issuing": {"max_ttl_seconds": 36000, "delegation_key_seconds": 3600}}, "issuing"),
        ("", {"logging": {"format": "xml"}}, "logging.format"),
        ("", {"logging": {"level": "loud"}}, "logging.level"),
        ("default_cloud = 'nowhere'", {}, "default_cloud"),
        ("", {"clouds__dev": {**_CLOUD, "authority": None}}, "clouds.dev.authority"),
        ("", {"clouds__dev": {**_CLOUD, "ca": "x"}}, "clouds.dev.ca"),
        ("", {"clouds__dev": {**_CLOUD, "implicit_sources": ["azure-cli"]}}, "clouds.dev.implicit_sources.0"),
    ],
)
def test_each_mistake_names_its_setting(file: File, top: str, sections: dict[str, Any], setting: str) -> None:
    """Unknown, missing, insecure and contradictory settings stop the start with one line that says which."""
    (problem,) = file.problems(top, **sections)
    assert problem.startswith(f"{setting}: ")


def test_all_mistakes_are_told_at_once(file: File) -> None:
    """Nobody has to start five times for five mistakes."""
    problems = file.problems(
        server={"port": 0, "workers": 0}, vault={"address": "http://vault"}, logging={"level": "x"}
    )
    assert len(problems) == 4


_BAD_URLS = (
    *(
        "http://host.example",
        "http://localhost:8100",
        "http://127.0.0.1.example",
        "http://user@127.0.0.1:8100",
        "http://[::1",
        "host.example",
        "https://",
        "https://:443",
        "ftp://host.example",
        "file:///etc/passwd",
        "",
    ),
    *("https://user@host.example", "https://user:PLANTED@host.example", "https://:PLANTED@host.example"),
    *("https://@host.example", "https://host.example?x=1", "https://host.example#x", "https://host.example:99999"),
    *("https://host.example:port", "https://[::1"),
)


@pytest.mark.parametrize("url", _BAD_URLS)
def test_only_https_urls_are_taken(file: File, url: str) -> None:
    """Secrets travel to Vault and Entra over TLS or not at all, and no password stands in a URL."""
    (problem,) = file.problems(vault={"address": url})
    assert problem.startswith("vault.address: ")
    assert "PLANTED" not in problem
    assert any(p.startswith("clouds.dev.authority: ") for p in file.problems(clouds__dev={**_CLOUD, "authority": url}))
    if url:  # Empty stands for none.
        (problem,) = file.problems(clouds__dev={**_CLOUD, "arm_endpoint": url})
        assert problem.startswith("clouds.dev.arm_endpoint: ")


@pytest.mark.parametrize("address", ["http://127.0.0.1:8100", "http://127.0.0.9/", "http://[::1]:8100"])
def test_an_agent_on_this_machine_may_do_without_tls(file: File, address: str) -> None:
    """Vault Agent listens in plain HTTP on loopback: what stays on the machine needs no TLS, and has no CA or proxy."""
    assert file.load(vault={"address": address}).vault.address == address.rstrip("/")
    for more in ({"proxy": "http://proxy:3128"}, {"ca_file": str(file.path)}):
        (problem,) = file.problems(vault={"address": address, **more})
        assert "ca_file and proxy have no use with an address that begins with http://" in problem


@pytest.mark.parametrize(
    "url",
    [
        *("proxy:3128", "http://proxy", "https://proxy:3128", "socks5://proxy:1080", "http://proxy:0"),
        *("http://u:PLANTED@proxy:3128", "http://proxy:3128/path", "http://proxy:3128?x", "http://proxy:x"),
    ],
)
def test_proxies_are_plain_forward_proxies(file: File, url: str) -> None:
    """A proxy is a host and a port: no password stands in the settings, and nothing is guessed."""
    for sections in ({"vault": {"proxy": url}}, {"clouds__dev": {**_CLOUD, "proxy": url}}):
        (problem,) = file.problems(**sections)
        assert "proxy: " in problem
        assert "PLANTED" not in problem
    assert file.load(vault={"proxy": "http://proxy:3128/"}).vault.proxy == "http://proxy:3128"


def test_section_of_a_built_in_cloud_says_what_differs(file: File) -> None:
    """A proxy for Azure's public cloud takes one line, not its endpoints copied from the docs."""
    plain, changed = file.load(), file.load(**{"clouds__azure-public": {"proxy": "http://proxy:3128"}})
    public = changed.profiles()["azure-public"]
    assert public == dataclasses.replace(plain.profiles()["azure-public"], proxy="http://proxy:3128")


@pytest.mark.parametrize(
    "template",
    [
        *(
            "https://blob.example",
            "https://{account}.{account}.example",
            "https://{name}.example",
            "https://{}.example",
        ),
        *("https://{account}.{x}.example", "https://{account!r}.example", "https://{account.__class__}.example"),
        *("https://{account}.example}", "https://{{account}}.example", "http://{account}.example"),
        *("https://azurite:10000/{account}", "https://blob.{account}.example", "https://{account}.example/base"),
        *("https://127.0.0.1:10000/base/{account}", "https://127.0.0.1.example/{account}"),
    ],
)
def test_a_blob_endpoint_has_one_place_for_the_account(file: File, template: str) -> None:
    """The template is filled for every token: what could not be filled, or shows more than the account, is refused.

    So is what the ledger could not read the account from: revocations of its containers would cover nothing.
    """
    (problem,) = file.problems(clouds__dev={**_CLOUD, "blob_endpoint": template})
    assert problem.startswith("clouds.dev.blob_endpoint: ")


def test_a_cloud_of_ones_own(file: File, tmp_path: Path) -> None:
    """An operator's profile stands beside the built-in ones, or over one; slashes at the end do not matter."""
    make_ca(tmp_path)
    dev = {"authority": "https://login.example/", "blob_endpoint": "https://127.0.0.1:10000/{account}/"}
    settings = file.load(
        "default_cloud = 'dev'",
        clouds__dev={**dev, "ca_file": str(tmp_path / "ca.pem"), "correlation_id": False},
        **{"clouds__azure-china": _CLOUD},
    )
    profiles = settings.profiles()
    assert profiles["dev"] == CloudProfile(
        name="dev",
        authority="https://login.example",
        arm_endpoint="",
        blob_endpoint="https://127.0.0.1:10000/{account}",
        ca_file=str(tmp_path / "ca.pem"),
        correlation_id=False,
    )
    assert profiles["dev"].container_url("acc", "demo") == "https://127.0.0.1:10000/acc/demo"
    assert profiles["azure-china"].authority == "https://login.example"
    assert settings.files()["clouds.dev.ca_file"] == tmp_path / "ca.pem"


def test_the_built_in_clouds_are_microsofts(file: File) -> None:
    """The hosts that long-lived secrets are sent to do not change by accident."""
    profiles = file.load().profiles()
    assert {name: (p.authority, p.blob_url("acc")) for name, p in profiles.items()} == {
        "azure-public": ("https://login.microsoftonline.com", "https://acc.blob.core.windows.net"),
        "azure-us-government": ("https://login.microsoftonline.us", "https://acc.blob.core.usgovcloudapi.net"),
        "azure-china": ("https://login.chinacloudapi.cn", "https://acc.blob.core.chinacloudapi.cn"),
    }
    assert all(profile.ca_file is None and profile.correlation_id for profile in profiles.values())


def test_the_limits_may_be_equal(file: File) -> None:
    """A default ttl at the limit, and a key as long as the longest token, contradict nothing."""
    week = 7 * 24 * 3600
    limits = {"default_ttl_seconds": week, "max_ttl_seconds": week, "delegation_key_seconds": week}
    assert file.load(issuing=limits).issuing.default_ttl_seconds == week


def test_settings_do_not_change(file: File) -> None:
    """What was checked at the start is what holds."""
    settings = file.load()
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]  # that is the point


def test_named_files_are_looked_at(file: File, tmp_path: Path) -> None:
    """A missing file, a directory in its place and a name that no file can have are told together, by setting."""
    problems = file.problems(
        server={"tls_cert_file": str(tmp_path / "nowhere.pem"), "tls_key_file": str(tmp_path)},
        vault={"role_id_file": str(tmp_path / ("x" * 300))},
        clouds__dev={**_CLOUD, "ca_file": str(tmp_path / "no-ca.pem")},
    )
    assert problems == [
        f"server.tls_cert_file: {tmp_path}/nowhere.pem does not exist",
        f"server.tls_key_file: {tmp_path} is a directory; expected a file",
        f"vault.role_id_file: {tmp_path}/{'x' * 300} cannot be reached: File name too long",
        f"clouds.dev.ca_file: {tmp_path}/no-ca.pem does not exist",
    ]


def test_the_settings_file_itself(tmp_path: Path) -> None:
    """A missing file, a directory, broken TOML and bytes that are no text: the file is named, and what is wrong."""
    broken, binary = tmp_path / "broken.toml", tmp_path / "binary.toml"
    broken.write_text("[server\nport = 1")
    binary.write_bytes(b"\xff\xfe\x00")
    for path, words in (
        (tmp_path / "nowhere.toml", "cannot be read: No such file or directory"),
        (tmp_path, "cannot be read: Is a directory"),
        (broken, "is not TOML: .*line 1"),
        (binary, "is not TOML: "),
    ):
        with pytest.raises(ConfigurationError, match=words) as caught:
            load_settings(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_an_empty_file_names_what_is_needed(tmp_path: Path) -> None:
    """The first start of a newcomer ends with the list of what to give."""
    path = tmp_path / "broker.toml"
    path.write_text("")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)
    assert str(caught.value).splitlines() == [
        f"{path}: server: is missing; needed in it: tls_cert_file, tls_key_file",
        f"{path}: vault: is missing; needed in it: address, role_id_file, secret_id_file",
    ]


@pytest.mark.parametrize(
    ("host", "address"), [("0.0.0.0", "0.0.0.0:8443"), ("::1", "[::1]:8443"), ("localhost", "localhost:8443")]
)
def test_the_address_is_written_as_grpc_wants_it(file: File, host: str, address: str) -> None:
    """An IPv6 host without brackets would be taken for a host and another port."""
    assert file.load(server={"host": host}).server.address == address


# What pydantic calls things in its own world.
_PYDANTIC = (
    "Value error",
    "Input should",
    "dictionary",
    "tuple",
    "Tuple",
    "Field required",
    "instance of",
    "Source",
    "str_",
)
_ISSUER = {"issuer": "https://a", "audience": "b"}


@pytest.mark.parametrize(
    ("top", "sections", "said"),
    [
        ("", {"server": {"port": True}}, "server.port: is true; expected something else"),
        ("", {"issuing": {"discovery_seconds": True}}, "issuing.discovery_seconds: is true"),
        ("", {"issuing": {"discovery_seconds": float("inf")}}, "discovery_seconds: must be a finite number"),
        ("", {"issuing": {"discovery_seconds": float("nan")}}, "discovery_seconds: must be a finite number"),
        ("", {"vault": {"mount": 5}}, "vault.mount: must be a text, in quotes"),
        ("", {"vault": {"ca_file": 5}}, "vault.ca_file: must be a path, in quotes"),
        ("issuing = 5", {}, "issuing: must be a section, in single brackets"),
        ("clouds = 5", {}, "clouds: must be a table of names and values"),
        ("", {"authn": {"oidc": _ISSUER}}, "authn.oidc: must be a list: "),
        ("", {"authn": {"oidc": [{**_ISSUER, "algorithms": ["HS256"]}]}}, "authn.oidc.0.algorithms.0: must be 'RS256'"),
        ("", {"authn": {"oidc": [{**_ISSUER, "algorithms": []}]}}, "authn.oidc.0.algorithms: must not be empty"),
        ("", {"authn": {"oidc": [{**_ISSUER, "issuer": "http://a"}]}}, "issuer: must be an https:// URL"),
        ("", {"authn": {"roles": [{"role": "boss", "principals": ["key:a"]}]}}, "authn.roles.0.role: must be 'admin'"),
        ("", {"server": {"tls_cert_file": None}}, "server.tls_cert_file: is missing"),
        ("", {"authn": {"mtls": {"port": 8443, "trust_domains": {"a.org": "/x"}}}}, "authn.mtls.port: is server.port"),
    ],
)
def test_faults_are_told_in_words_of_the_file(file: File, top: str, sections: dict[str, Any], said: str) -> None:
    """A mistake is one line in the words of a TOML file, not in those of the library that reads it."""
    (problem,) = file.problems(top, **sections)
    assert said in problem
    assert not [word for word in _PYDANTIC if word in problem]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SERVER", "{oops", "VALETKEY_BROKER_SERVER: is not JSON; expected a section as JSON, or a value in "),
        ("SERVR__PORT", "1", "VALETKEY_BROKER_SERVR__PORT: unknown section; known here: authn, clouds, default_cloud"),
        ("AUTHN__OIDC", '[{"issuer": "https://a"}]', "VALETKEY_BROKER_AUTHN__OIDC: authn.oidc.0.audience: is needed"),
        ("SERVER__PORT", "true", "VALETKEY_BROKER_SERVER__PORT: server.port: must be a valid integer"),
    ],
)
def test_variables_are_blamed_by_name(
    file: File, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """A slip in a variable is not passed over, and not looked for in the file."""
    monkeypatch.setenv(f"VALETKEY_BROKER_{name}", value)
    with pytest.raises(ConfigurationError) as caught:
        file.load()
    assert said in str(caught.value)
    assert not [word for word in _PYDANTIC if word in str(caught.value)]


def test_variables_of_kubernetes_are_none_of_ours(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Service called valetkey-broker puts variables into every pod beside it; they change nothing."""
    for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_GRPC", "PORT", "PORT_8443_TCP", "PORT_8443_TCP_ADDR"):
        monkeypatch.setenv(f"VALETKEY_BROKER_{name}", "tcp://10.0.0.7:8443")
    assert file.load().server.port == 8443
