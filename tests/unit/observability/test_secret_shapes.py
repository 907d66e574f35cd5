"""What has the shape of a secret is not shown, wherever it stands; what logs and records hold every day is."""

import ast
import base64
import re
import string
import time
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import valetkey_broker
from valetkey_broker.model.cloud_profile import DEVELOPMENT_KEY
from valetkey_broker.observability.redaction import scrub

ALNUM = string.ascii_letters + string.digits
SURROUNDINGS = [
    ("", ""),
    ("see ", " ok"),
    ('"', '"'),
    ("x='", "'"),
    ("(", ")"),
    ("line\n", "\nline"),
    ("https://a.x/b?c=", "&d=e"),
]
_keys = st.binary(min_size=64, max_size=64).map(lambda raw: base64.b64encode(raw).decode())
_words = st.text(ALNUM, min_size=12, max_size=40)
_entra = st.builds(
    lambda begin, digit, end: f"{begin}{digit}Q~{end}",
    st.text(ALNUM + "_.~-", min_size=3, max_size=3),
    st.sampled_from(string.digits),
    st.text(ALNUM + "_.~-", min_size=34, max_size=34),
)
_surroundings = st.sampled_from(SURROUNDINGS)


def any_case(text: str) -> st.SearchStrategy[str]:
    """Gives `text` with each letter in either case."""
    return st.tuples(*(st.sampled_from((letter.lower(), letter.upper())) for letter in text)).map("".join)


@given(_entra, _surroundings)
def test_client_secrets_of_entra(secret: str, around: tuple[str, str]) -> None:
    """The secret that a connector is registered with is known by its shape, whoever pasted it where."""
    text = secret.join(around)
    assert secret not in scrub(text)
    assert scrub(text).startswith(around[0])
    assert scrub(text).endswith(around[1])


@given(_keys, _surroundings, st.booleans())
def test_account_keys(key: str, around: tuple[str, str], encoded: bool) -> None:
    """A storage account's key opens everything: it is known bare, too, as it is and as URLs have it."""
    written = urllib.parse.quote(key, safe="/") if encoded else key
    shown = scrub(written.join(around))
    assert written not in shown
    assert key.rstrip("=") not in shown


NAMES = [
    *("sig", "AccountKey", "account_key", "SharedAccessKey", "client_secret", "client-secret", "clientsecret"),
    *(
        "client_assertion",
        "secret_id",
        "access_token",
        "refresh_token",
        "id_token",
        "password",
        "PASSWD",
        "pwd",
        "api_key",
    ),
]


@given(
    st.sampled_from(NAMES).flatmap(any_case),
    st.sampled_from(["=", " = ", '="', "='", "%3D", "%3d", "%253D"]),
    _words,
    _surroundings,
)
def test_values_by_their_names(name: str, sign: str, secret: str, around: tuple[str, str]) -> None:
    """name=value, of URLs, forms, connection strings and commands, in any case and any encoding."""
    shown = scrub(f"{name}{sign}{secret}".join(around))
    assert secret not in shown
    assert f"{name}{sign}***" in shown


@given(
    st.sampled_from(
        [name for name in NAMES if "-" not in name and name not in ("sig", "SharedAccessKey", "PASSWD", "pwd")]
    ),
    _words,
)
def test_values_in_json_and_in_reprs(name: str, secret: str) -> None:
    """A body or a dict that somebody prints."""
    for text in (f'{{"{name}": "{secret}", "a": 1}}', f"{{'{name}': '{secret}', 'a': 1}}", f'{{"{name}":"{secret}"}}'):
        assert secret not in scrub(text)
        assert scrub(text).startswith(text[: len(name) + 3])


@given(
    st.sampled_from(["postgresql", "https", "amqp"]),
    st.text(ALNUM, max_size=8),
    st.text(ALNUM + "!$&()*+,;=-._~%#?/", min_size=6),
)
def test_passwords_in_urls(scheme: str, user: str, password: str) -> None:
    """A database's URL is shown without its password; user, host and the rest help and stay."""
    secret = f"p{password}w"  # Digits and a slash alone would be a port.
    shown = scrub(f"cannot reach {scheme}://{user}:{secret}@db.example:5432/x now")
    assert shown == f"cannot reach {scheme}://{user}:***@db.example:5432/x now"


@given(
    st.sampled_from(["bearer", "Bearer", "BEARER"]),
    st.text(ALNUM + "-._~+/", min_size=20),
    st.sampled_from(["", "Authorization: ", "authorization="]),
)
def test_bearer_tokens(word: str, token: str, before: str) -> None:
    """Whatever kind of token it is."""
    assert scrub(f"{before}{word} {token}") == f"{before}{word} ***"


@given(st.sampled_from(["", "x", "token_", "token%3D", "a=b&t="]), _words, _words, _words)
def test_tokens_of_issuers(before: str, header: str, claims: str, signature: str) -> None:
    """A JWT is known where it begins within a word, too."""
    assert scrub(f"{before}eyJ{header}.{claims}.{signature} end") == f"{before}*** end"


@pytest.mark.parametrize("header", ["Authorization: Basic dXNlcjpwdw==", '"authorization": "Basic dXNlcjpwdw=="'])
def test_basic_credentials(header: str) -> None:
    """A password in base64 is no less a password."""
    assert "dXNlcjpwdw" not in scrub(header)


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH "])
@pytest.mark.parametrize("newline", ["\n", "\\n"])
def test_private_keys(kind: str, newline: str) -> None:
    """A key's file pasted whole, cut off, or within JSON."""
    body = newline.join(["MIIEvQ" + "k" * 58] * 3)
    begin, end = f"-----BEGIN {kind}PRIVATE KEY-----", f"-----END {kind}PRIVATE KEY-----"
    assert scrub(f"a {begin}{newline}{body}{newline}{end} b") == "a *** b"
    assert scrub(f"a {begin}{newline}{body}") == "a ***"
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
    assert scrub(certificate) == certificate


_hex = st.integers(1, 32).flatmap(lambda size: st.binary(min_size=size, max_size=size)).map(bytes.hex)
_label = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=28).map("a{}z".format)
_every_day = st.one_of(
    _hex,
    st.uuids().map(str),
    _label,
    st.builds(
        "https://{}.blob.core.windows.net/{}".format,
        st.text(string.ascii_lowercase + string.digits, min_size=3, max_size=15),
        _label,
    ),
    st.builds("https://127.0.0.1:{}/{}/{}".format, st.integers(1, 65535), _label, _label),
    st.builds("spiffe://{}.example/ns/{}/sa/{}".format, _label, _label, _label),
    st.builds("oidc:https://{}.example:8443/x#system:serviceaccount:{}:{}@y".format, _label, _label, _label),
    st.builds("key:{}".format, _label),
    st.builds("az://{}".format, _label),
    st.builds("postgresql://{}@{}.example:5432/x?sslmode=verify-full".format, _label, _label),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.ip_addresses().map(str),
    st.builds("seed={} epochs={} sigma={}".format, st.integers(), st.integers(), st.floats()),
    st.integers().map(str),
)


@given(st.lists(_every_day, min_size=1, max_size=6), st.sampled_from([" ", ", ", "\n", ": "]))
def test_what_logs_hold_every_day_is_shown(values: list[str], between: str) -> None:
    """Request ids, hashes, names, resources, principals and parameters of runs are what a log is for."""
    text = between.join(values)
    if re.search(r"\b[sbr]\.[A-Za-z0-9_-]{20}", text) is None:
        assert scrub(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "expected a bearer token, which no client certificate is",
        "the password is wrong, and so is the user: look at ledger.url_file",
        "client_secret: is empty; expected the secret's value",
        "--client-secret-file FILE",
        "design=2 assign=3 sigma=0.1 key=value",
        "postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full",
        "https://[2001:db8::1]:8443/a@b",
        "https://login.example:443/x#user@y",
        "sha256:" + "0af" * 21 + "0",
    ],
)
def test_prose_and_addresses_stay(text: str) -> None:
    """Words for secrets are none."""
    assert scrub(text) == text


def test_our_own_messages_are_shown_whole() -> None:
    """No text in the broker's code looks like a secret to itself: an error must not lose what it has to say."""
    root = Path(valetkey_broker.__file__).parent
    for file in root.rglob("*.py"):
        if file.name in ("redaction.py", "errors.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                # The one key in the code is no message, and known to everybody.
                assert node.value == DEVELOPMENT_KEY.reveal() or scrub(node.value) == node.value, file


@pytest.mark.parametrize(
    "piece",
    [
        "://a:b",
        "sig",
        "sig ",
        "sig=",
        "-----BEGIN RSA PRIVATE KEY-----",
        "bearer ",
        "AccountKey",
        "%25",
        "Q~",
        "A",
        "eyJ",
        "s.",
        '"',
        "@://:",
    ],
)
def test_cost_grows_with_the_length_only(piece: str) -> None:
    """Nobody makes the broker busy with a text that a pattern chews on: the time grows as the length does."""
    short, long = ((f"{piece * (size // len(piece))} = @ % == ':") for size in (8_000, 32_000))
    best = {}
    for text in (short, long):
        best[text] = min(_seconds(text) for _ in range(5))
    assert best[long] < 12 * best[short] + 0.001


def _seconds(text: str) -> float:
    begin = time.process_time()
    scrub(text)
    return time.process_time() - begin
