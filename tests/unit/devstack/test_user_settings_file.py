"""Settings of one's own on a dev stack: added where they may be, refused by file and setting before anything starts."""

import os
from pathlib import Path

import pytest

from support.spiffe import SpiffeCa
from valetkey_broker.errors import ConfigurationError
from valetkey_broker.settings import ENV_PREFIX
from valetkey_devstack.free_ports import free_port
from valetkey_devstack.user_settings_file import ExtraSettings, check_environment, read_extra_settings

PORT = 18_443
ISSUER = '[[authn.oidc]]\nissuer = "https://issuer.example"\naudience = "valetkey"\n'
CERTIFICATES = '[authn.mtls]\nport = 18444\ntrust_domains = { "example.org" = "ca.pem" }\n'
OWN = {
    "server": {"port": PORT},
    "ledger": {"url": "sqlite:////stack/ledger.db"},
    "clouds": {"dev": {"authority": "https://127.0.0.1"}},
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Is not written yet; a CA's certificate and two files that are no issuer's keys stand beside it."""
    (tmp_path / "ca.pem").write_bytes(SpiffeCa().pem)
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "none.json").write_text('{"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]}')
    return tmp_path / "mine.toml"


def read(file: Path, text: str) -> ExtraSettings:
    file.write_text(text)
    return read_extra_settings(file, PORT, "dev")


def errors(file: Path, text: str) -> list[str]:
    """Returns what is said about the file, line by line, each without the file's name that it begins with."""
    with pytest.raises(ConfigurationError) as caught:
        read(file, text)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines), lines
    return [line.removeprefix(f"{file}: ") for line in lines]


@pytest.mark.parametrize(
    ("text", "setting", "why"),
    [
        ("[vault]\nmount = 'mine'", "vault", "expected settings such as authn, issuing, ledger, limits, logging"),
        ("default_cloud = 'azure-public'", "default_cloud", "expected settings such as authn"),
        ("[server]\nport = 1", "server.port", "use --port"),
        ("[server]\nworkers = 2", "server.workers", "use --workers"),
        ("[server]\ntls_key_file = 'x'", "server.tls_key_file", "its own CA makes it"),
        ("[clouds.dev]\nauthority = 'x'", "clouds.dev", "choose another name"),
    ],
)
def test_what_is_the_stacks_own_is_refused(file: Path, text: str, setting: str, why: str) -> None:
    """Nobody believes to have set what the stack sets itself: it is named, with what may be set, or how."""
    (error,) = errors(file, text)
    assert error.startswith(f"{setting}: is the dev stack's own and cannot be set here; {why}")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[authn", "is not TOML: "),
        ("[autn]", "autn: unknown setting; known here: authn, "),
        ("server = 1", "server: must be a section, in single brackets"),
        ("clouds = 1", "clouds: must be a table of names and values"),
        (f"{ISSUER}audiences = []", "authn.oidc.0.audiences: unknown setting; known here: algorithms, "),
        ('[[authn.oidc]]\nissuer = "https://issuer.example"', "authn.oidc.0.audience: is needed: without it"),
        (f'{ISSUER}ca_file = "none.pem"', "authn.oidc.0.ca_file: {folder}/none.pem does not exist"),
        (CERTIFICATES.replace("ca.pem", "mine.toml"), "authn.mtls.trust_domains: {folder}/mine.toml: holds no CA"),
        (CERTIFICATES.replace("18444", str(PORT)), "authn.mtls.port: is server.port; expected another one"),
        (f'{ISSUER}jwks_file = "mine.toml"', "authn.oidc.0.jwks_file: {folder}/mine.toml is not JSON"),
        (
            f'{ISSUER}jwks_file = "other.json"',
            "authn.oidc.0.jwks_file: not a JWKS; expected an object with a list 'keys'",
        ),
        (f'{ISSUER}jwks_file = "none.json"', "authn.oidc.0.jwks_file: {folder}/none.json holds no key that a token"),
        ('[ledger]\nurl = "mysql://db"', "ledger.url: is not a database the ledger can be kept in"),
        ('[ledger]\nurl_file = "ca.pem"', "ledger.url_file: {folder}/ca.pem: is not a database"),
        ('[logging]\nlevel = "error"', "logging.level: hides when the broker is ready; expected debug or info"),
    ],
)
def test_what_is_wrong_is_told_as_for_any_broker(file: Path, text: str, error: str) -> None:
    """A mistake is named by file and setting, in the words of `check-config`, and not met later in a broker's log."""
    assert errors(file, text)[0].startswith(error.format(folder=file.parent))


def test_file_that_is_not_there(file: Path) -> None:
    """A name that was mistyped is told as such."""
    with pytest.raises(ConfigurationError, match=r"mine\.toml: cannot be read: No such file"):
        read_extra_settings(file, PORT, "dev")


def test_relative_paths_start_at_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates that lie beside the file are found from wherever the stack is started; absolute paths stay."""
    elsewhere = file.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    text = f"{ISSUER}ca_file = '../{file.parent.name}/ca.pem'\n[authn.mtls]\nport = 18444\n"
    read(file, f"{text}trust_domains = {{ 'example.org' = 'ca.pem', 'b.example' = '{file.parent}/ca.pem' }}")
    values = read_extra_settings(Path("../mine.toml"), PORT, "dev").values["authn"]
    assert Path(values["oidc"][0]["ca_file"]).samefile(file.parent / "ca.pem")
    for path in values["mtls"]["trust_domains"].values():
        assert Path(path).is_absolute()
        assert Path(path).samefile(file.parent / "ca.pem")
    assert values["oidc"][0]["issuer"] == "https://issuer.example"


def test_they_come_on_top_of_the_stacks(file: Path) -> None:
    """Sections are added, settings of a section put beside the stack's; a ledger takes the place of the stack's."""
    text = f"{ISSUER}[server]\ngrace_seconds = 2\n[ledger]\nurl = 'postgresql:///mine'\nretention_days = 30\n"
    cloud = "[clouds.mine]\nauthority = 'https://login.example'\nblob_endpoint = 'https://{account}.example'"
    merged = read(file, text + cloud).on_top_of(OWN)
    assert merged["server"] == {"port": PORT, "grace_seconds": 2}
    assert merged["ledger"] == {"url": "postgresql:///mine", "retention_days": 30}
    assert set(merged["clouds"]) == {"dev", "mine"}
    assert merged["authn"]["oidc"][0]["audience"] == "valetkey"


def test_issuers_and_roles_come_beside_the_stacks(file: Path) -> None:
    """Who adds an issuer of their own can still log in as one of the stack's people."""
    own = {**OWN, "authn": {"oidc": [{"issuer": "https://127.0.0.1/v2.0"}], "roles": [{"role": "viewer"}]}}
    roles = "[[authn.roles]]\nrole = 'auditor'\nprincipals = ['key:a']\n"
    merged = read(file, ISSUER + CERTIFICATES + roles).on_top_of(own)["authn"]
    assert [each["issuer"] for each in merged["oidc"]] == ["https://127.0.0.1/v2.0", "https://issuer.example"]
    assert [each["role"] for each in merged["roles"]] == ["viewer", "auditor"]
    assert merged["mtls"]["port"] == 18444
    assert len(own["authn"]["oidc"]) == 1


def test_ledger_without_a_place_keeps_the_stacks(file: Path) -> None:
    """Who only sets for how long records are kept does not move them out of the stack's directory."""
    extra = read(file, "[ledger]\nretention_days = 30")
    assert extra.on_top_of(OWN)["ledger"] == {"url": "sqlite:////stack/ledger.db", "retention_days": 30}
    assert "the ledger" not in extra.summary()


def test_summary_says_what_was_added_and_no_password(file: Path) -> None:
    """Whoever reads the screen sees whom the broker admits now; a password of the ledger's is not among it."""
    roles = "[[authn.roles]]\nrole = 'auditor'\nprincipals = ['key:a']\n"
    ledger = "[ledger]\nurl = 'postgresql://u:PLANTED@127.0.0.1/x'\n[limits]\nstreams = 5"
    extra = read(file, ISSUER + CERTIFICATES + roles + ledger)
    assert extra.certificate_port == 18444
    assert extra.summary() == (
        "tokens of https://issuer.example for valetkey; client certificates of spiffe://example.org "
        "at 127.0.0.1:18444; roles auditor; the ledger on PostgreSQL; settings of limits"
    )
    assert read(file, "").summary() == "nothing"
    assert read(file, "").certificate_port is None


@pytest.mark.parametrize("url", ["postgresql://u:PLANTED@127.0.0.1:{port}/x", "sqlite:////nowhere/ledger.db"])
async def test_a_ledger_that_cannot_be_used_is_told(file: Path, url: str) -> None:
    """A stack does not say Ready with a broker that serves nobody because its ledger is away."""
    extra = read(file, f"[ledger]\nurl = '{url.format(port=free_port())}'\ntimeout_seconds = 2")
    with pytest.raises(ConfigurationError) as caught:
        await extra.check_ledger()
    said = str(caught.value)
    assert said.startswith(f"{file}: ")
    assert "its database does not answer; start it, or" in said or "there is no directory /nowhere" in said
    assert "PLANTED" not in said


async def test_the_stacks_own_ledger_is_not_asked(file: Path) -> None:
    """Without a ledger of the user's there is none to look for before the stack has its directory."""
    await read(file, "[ledger]\nretention_days = 30").check_ledger()


@pytest.mark.parametrize("name", ["SERVER__HOST", "vault__address", "CLOUDS", "DEFAULT_CLOUD"])
def test_environment_cannot_move_a_stack(name: str) -> None:
    """A shell set up for production neither puts a demo broker on the network nor writes demo data into its Vault."""
    with pytest.raises(ConfigurationError, match=f"{name}.*unset"):
        check_environment({f"{ENV_PREFIX}{name}": "0.0.0.0"})
    check_environment({f"{ENV_PREFIX}LOGGING__LEVEL": "debug", "VALETKEY_ENDPOINT": "127.0.0.1:8443"})
