"""Resource ids: what is accepted follows Azure's rules to the last character, in every spelling."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from valetkey_broker.model import Container, InvalidFieldError, ResourceId, check_prefix
from valetkey_broker.model.cloud_profile import CloudProfile

_ALNUM = string.ascii_lowercase + string.digits
_PATH_ALPHABET = string.ascii_letters + string.digits + "_.=@+,~!()'-"
_RESERVED = ("$root", "$web", "$logs")
_SUFFIXES = ("core.windows.net", "core.usgovcloudapi.net", "core.chinacloudapi.cn", "storage-emulator.local")

_words = st.lists(st.text(_ALNUM, min_size=1, max_size=20), min_size=1, max_size=5)
_containers = st.sampled_from(_RESERVED) | _words.map("-".join).filter(lambda name: 3 <= len(name) <= 63)
_accounts = st.text(_ALNUM, min_size=3, max_size=24)
_segments = st.text(_PATH_ALPHABET, min_size=1, max_size=12).filter(lambda text: text not in (".", ".."))
_prefixes = st.lists(_segments, max_size=4).map("/".join)
# What breaks parsers: separators, escapes, controls, line ends that `$` lets pass, look-alikes of a-z, 0-9, - and /.
_HOSTILE = (
    *("\0", "\n", "\r", "\t", "\x7f", "\x85", "\u2028", " ", "\\", "?", "#", "%", "%2e", "%2F", "%00", "*", '"', "&"),
    *("/", "//", ".", "..", "/..", "/../", "/./", "-", "--", ":", "@", "://", "$", "$web", "|", ";", "A", "Z"),
    *(
        "\u0430",
        "\u0435",
        "\u043e",
        "\uff44",
        "\u0131",
        "K",
        "\u017f",
        "\u0663",
        "\u00b2",
        "\u07c0",
        "\u2010",
        "\uff0d",
        "\u2215",
        "\uff0f",
        "\u2024",
        "\u3002",
        "\u200b",
        "\u0301",
    ),
)
_spellings = st.builds(
    lambda form, container, account, suffix, prefix: form.format(
        container=container, account=account, suffix=suffix, path=f"/{prefix}" if prefix else ""
    ),
    st.sampled_from(
        (
            "{container}",
            "az://{container}{path}",
            "azure://{container}{path}",
            "abfs://{container}{path}",
            "abfs://{container}@{account}.dfs.{suffix}{path}",
            "abfss://{container}@{account}.dfs.{suffix}{path}",
            "wasbs://{container}@{account}.blob.{suffix}{path}",
            "https://{account}.blob.{suffix}/{container}{path}",
            "https://{account}.z12.blob.{suffix}/{container}{path}",
            "https://{account}.z12.dfs.{suffix}/{container}{path}",
            "https://127.0.0.1:10000/{account}/{container}{path}",
        )
    ),
    _containers,
    _accounts,
    st.sampled_from(_SUFFIXES),
    _prefixes,
)


@st.composite
def _bent(draw: st.DrawFn) -> str:
    """Draws a good spelling with one or two hostile pieces put in, anywhere, the ends included."""
    text: str = draw(_spellings)
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 2)))
        text = text[:start] + draw(st.sampled_from(_HOSTILE)) + text[end:]
    return text


def _is_container(name: str) -> bool:
    # Azure's rules once more, spelled out without a regular expression.
    if name in _RESERVED:
        return True
    return 3 <= len(name) <= 63 and all(part and set(part) <= set(_ALNUM) for part in name.split("-"))


def _outcome(text: str, field: str = "resource_id") -> ResourceId | InvalidFieldError:
    try:
        return ResourceId.parse(text, field)
    except InvalidFieldError as error:
        return error


def _check_accepted(text: str, parsed: ResourceId) -> None:
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set('%?#\\*"&;| ')
    assert _is_container(parsed.container)
    for segment in parsed.prefix.split("/") if parsed.prefix else ():
        assert segment
        assert segment not in (".", "..")
        assert set(segment) <= set(_PATH_ALPHABET)
    assert (parsed.account is None) == (parsed.endpoint is None)
    if parsed.account is not None:
        assert 3 <= len(parsed.account) <= 24
        assert set(parsed.account) <= set(_ALNUM)
    assert ResourceId.parse(str(parsed)) == ResourceId(parsed.container, parsed.prefix, directory=parsed.directory)


@given(_containers, _prefixes, _accounts, st.sampled_from(_SUFFIXES), st.sampled_from(("", ".z1", ".z12", ".z99")))
@example("demo", "a@b", "account", "core.windows.net", "")
@example("demo", "", "acct123", "storage.azure.net", ".z12")
def test_the_spellings_agree(container: str, prefix: str, account: str, suffix: str, zone: str) -> None:
    """Whatever way a caller writes it, the same thing is authorised and signed; a zone stays part of the host."""
    path = f"/{prefix}" if prefix else ""
    host = f"{account}{zone}"
    endpoint = f"https://{host}.blob.{suffix}"
    short = ResourceId(container, prefix)
    full = ResourceId(container, prefix, account, endpoint)
    assert ResourceId.parse(container) == ResourceId(container)
    for scheme in ("az", "azure", "abfs"):
        assert ResourceId.parse(f"{scheme}://{container}{path}") == short
    for scheme in ("abfs", "abfss"):
        assert ResourceId.parse(f"{scheme}://{container}@{host}.dfs.{suffix}{path}") == full
    for scheme in ("wasb", "wasbs"):
        assert ResourceId.parse(f"{scheme}://{container}@{host}.blob.{suffix}{path}") == full
    assert ResourceId.parse(f"https://{host}.dfs.{suffix}/{container}{path}") == full
    assert ResourceId.parse(f"{endpoint}/{container}{path}") == full
    assert ResourceId.parse(str(full)) == short
    local = ResourceId.parse(f"https://127.0.0.1:10000/{account}/{container}{path}")
    assert local == ResourceId(container, prefix, account, f"https://127.0.0.1:10000/{account}")


@pytest.mark.parametrize(
    "text",
    [
        "wasbs://demo/models",  # without an account it would be read as one
        "wasbs://demo@account.dfs.core.windows.net",
        "abfss://demo@account.blob.core.windows.net",
        "azure://demo@account.blob.core.windows.net",
        "https://account.z.blob.storage.azure.net/demo",
        "https://account.z123.blob.storage.azure.net/demo",
        "https://account.x12.blob.storage.azure.net/demo",
        "https://account.z12.z13.blob.storage.azure.net/demo",
        "https://account.z12.file.storage.azure.net/demo",
        "https://z12.blob/demo",
    ],
)
def test_what_no_tool_writes_is_refused(text: str) -> None:
    """Each spelling is taken as its tool writes it; what mixes two of them is a mistake to be told of."""
    with pytest.raises(InvalidFieldError, match="resource_id: "):
        ResourceId.parse(text)


def test_a_zone_is_held_against_the_cloud_profile() -> None:
    """A host with a zone is served by a profile with this zone alone: none answers for another's account."""
    zone = ResourceId.parse("https://acct.z12.blob.storage.azure.net/c01")
    plain = ResourceId.parse("abfss://c01@acct.dfs.core.windows.net")
    profile = CloudProfile(
        name="zone",
        authority="https://login.microsoftonline.com",
        arm_endpoint="",
        blob_endpoint="https://{account}.z12.blob.storage.azure.net",
    )
    assert zone.account == plain.account == "acct"
    assert (zone.endpoint == profile.blob_url("acct"), plain.endpoint == profile.blob_url("acct")) == (True, False)


@pytest.mark.no_cover
@given(_bent())
@settings(max_examples=400)
def test_nothing_hostile_is_accepted(text: str) -> None:
    """What is accepted keeps Azure's rules whole: no escape, control character or look-alike rides along."""
    outcome = _outcome(text)
    if isinstance(outcome, ResourceId):
        _check_accepted(text, outcome)
    else:
        assert str(outcome).isprintable()


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No input makes the parser fail in another way than by saying what is wrong."""
    outcome = _outcome(text)
    if isinstance(outcome, ResourceId):
        _check_accepted(text, outcome)


BAD_NAMES = (
    *("ab", "a" * 64, "Demo", "DEMO", "demo--a", "a--b", "-demo", "demo-", "---", "de_mo", "de.mo", "a b c"),
    *("..", "...", "a/b", "a/../b", "../demo", "demo/..", "/demo", "demo/", "a?x", "demo?x", "demo#x", "demo%2e%2e"),
    *("demo%00", "demo\0", "\0demo", "demo\n", "\ndemo", "demo\r\n", "demo\t", " demo", "demo ", "demo\u2028"),
    *(
        "d\u0435mo",
        "\uff44\uff45\uff4d\uff4f",
        "demo\u0661",
        "dem\u043e",
        "de\u0301mo",
        "demo\u200b",
        "demoK",
        "demo\uff0da",
        "$demo",
        "$WEB",
        "$web\n",
    ),
    *("demo*", 'de"mo', "demo;", "demo&sig", "demo:80", "demo@acc"),
)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_container_names_are_refused_in_every_spelling(name: str) -> None:
    """The names of Azure's rules, traversal and look-alikes, alone and inside each form; the field is named."""
    for text in (
        name,
        f"az://{name}",
        f"abfs://{name}",
        f"abfss://{name}@account.dfs.core.windows.net",
        f"https://account.blob.core.windows.net/{name}",
        f"https://localhost:10000/account/{name}",
    ):
        # A slash at the end is refused in the bare form only: a URL may have one.
        outcome = _outcome(text, "resource")
        if isinstance(outcome, ResourceId):
            assert (name, outcome.container, outcome.prefix) == ("demo/", "demo", "")
        else:
            assert outcome.field == "resource"
            assert outcome.expected
            assert str(outcome).replace("…", "").isascii()
            assert str(outcome).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "://",
            "az://",
            "az:///",
            "az:///demo",
            "az:demo",
            "AZ://demo",
            "s3://demo",
            "http://account.blob.x.y/demo",
        ),
        *("az://demo//", "az://demo//a", "az://demo/a//b", "az://demo/./a", "az://demo/a/..", "az://demo/a/../../b"),
        *("az://demo/%2e%2e", "az://demo/%252F", "az://demo/a b", "az://demo/a?b", "az://demo/a#b", "az://demo/a\\b"),
        *("az://demo/\u00e4", "az://demo/a\n", "az://demo/a\0", "az://demo/a/\n", "az://demo/*", "az://demo@account"),
        *("abfss://demo", "abfss://demo@account", "abfss://demo@account.blob.core.windows.net"),
        *(
            "abfss://demo@ACCOUNT.dfs.core.windows.net",
            "abfss://demo@a.dfs.core.windows.net",
            "abfs://@account.dfs.x.y",
        ),
        *("abfss://demo@account.dfs.core.windows.net:443", "abfss://demo@u:p@account.dfs.core.windows.net"),
        *("https://account.blob.core.windows.net", "https://account.blob.core.windows.net/"),
        *("https://account.blob.core.windows.net:443/demo", "https://u@account.blob.core.windows.net/demo"),
        *(
            "https://evil.example/demo",
            "https://evil.example/account/demo",
        ),
        *("https://account.blob./demo", "https://account.blob.x/demo", "https://account.blob.core..net/demo"),
        *(
            "https://127.0.0.1/account/demo",
            "https://127.0.0.2:1/account/demo",
            "https://localhost:123456/account/demo",
        ),
        *("https://169.254.169.254:80/account/demo", "https://account.blob.core.windows.net\n/demo"),
        *("https://account.blob.core.windows.net/demo?sig=x", "https://account.blob.core.windows.net/demo\n"),
    ],
)
def test_malformed_ids_are_refused(text: str) -> None:
    """Other schemes, hosts with users or ports, half-given forms and paths that climb never become a resource."""
    with pytest.raises(InvalidFieldError) as caught:
        ResourceId.parse(text)
    assert caught.value.field == "resource_id"


def test_length_is_bounded() -> None:
    """A huge id is refused for its length, and its text does not come back in the message."""
    with pytest.raises(InvalidFieldError, match="at most 1200") as caught:
        ResourceId.parse("az://demo/" + "a" * 5000)
    assert len(str(caught.value)) < 200


def test_a_path_is_no_longer_than_a_blobs_name() -> None:
    """Azure takes names of 1,024 characters in 254 segments; what is longer could never be used."""
    for path in ("a" * 1024, "/".join("a" * 254)):
        assert ResourceId.parse(f"az://demo/{path}/").prefix == check_prefix("prefixes", path) == path
    for path in ("a" * 1025, "a/" * 512 + "a", "/".join("a" * 255)):
        for parse in (lambda text: ResourceId.parse(f"az://demo/{text}"), lambda text: check_prefix("prefixes", text)):
            with pytest.raises(InvalidFieldError, match="1024 characters and 254 segments"):
                parse(path)


@pytest.mark.parametrize("name", ["abc", "a" * 63, "a-b-c", "0a0", "123", *_RESERVED])
def test_names_at_the_edges_are_accepted(name: str) -> None:
    """3 and 63 characters, digits, single hyphens and Azure's own containers are legal."""
    assert ResourceId.parse(name).container == name


def test_hyphens_in_paths_and_trailing_slashes_are_legal() -> None:
    """`--` is forbidden in a container name only, and a folder may be written with its slash."""
    assert ResourceId.parse("az://demo/a--b/c/") == ResourceId("demo", "a--b/c", directory=True)
    assert ResourceId.parse("az://demo/") == ResourceId("demo")


@given(_spellings)
def test_a_slash_at_the_end_means_a_directory(text: str) -> None:
    """In every spelling: a path is one blob, with a slash a directory, and a container stays a container."""
    plain = ResourceId.parse(text)
    assert not plain.directory
    if "://" in text:
        slashed = ResourceId.parse(f"{text}/")
        assert (slashed.prefix, slashed.directory) == (plain.prefix, bool(plain.prefix))
        assert str(slashed) == (f"{plain}/" if plain.prefix else str(plain))


@pytest.mark.parametrize(
    "text",
    [
        "https://account.blob.core.windows.net/demo/a?snapshot=2026-01-01T00:00:00.0000000Z",
        "az://demo/a?versionid=2026-01-01T00:00:00.0000000Z",
        "az://demo/a?comp=x&Snapshot=2026",
    ],
)
def test_snapshots_and_versions_are_refused_by_name(text: str) -> None:
    """A token for a blob is not one for its past, and nobody is given the blob in place of its snapshot."""
    with pytest.raises(InvalidFieldError, match="a snapshot or a version, for which no tokens are given"):
        ResourceId.parse(text)


def test_containers_show_their_canonical_id() -> None:
    """Listings and requests spell a container the same way."""
    assert Container("account", "demo", "https://account.blob.invalid/demo").resource_id == "az://demo"


@pytest.mark.parametrize(
    "text",
    [
        "https://account.blob.core.windows.net/demo?sv=2025-07-05&sr=c&sp=rl&sig=PLANTED%2Bsignature%3D",
        "https://account.blob.core.windows.net/demo%3Fsv=2025-07-05&SIG%3DPLANTED",
        "sv=2025-07-05&sr=c&sp=rl&sig=PLANTED",
        "az://demo/a b/sig=PLANTED",
        "az://demo?" + "PLANTED" * 500,
    ],
)
def test_a_pasted_sas_is_not_shown_again(text: str) -> None:
    """A signature that was pasted in the wrong place does not travel on in an error, nor into logs of errors."""
    with pytest.raises(InvalidFieldError) as caught:
        ResourceId.parse(text)
    assert "PLANTED" not in str(caught.value)
    if "?" in text:
        assert "leave out everything from the ? on" in str(caught.value)
