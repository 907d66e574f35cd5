"""Where the environment names a forward proxy: which brokers are reached without it."""

import pytest

from valetkey.channel import channel_options

DIRECT = ("grpc.enable_http_proxy", 0)


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example.com:3128")


@pytest.mark.parametrize(
    ("said", "direct"),
    [
        ("*", True),
        ("broker.example.com", True),
        ("other.test, Example.COM", True),
        (".example.com", True),
        ("broker.example.com:8443", True),
        ("broker.example.com:443", False),
        ("roker.example.com", False),
        ("broker.example.com.evil.test", False),
        ("example.com.", True),
        ("", False),
        (".", False),
        (",", False),
        ("*.example.com", False),  # as with requests, aiohttp and curl
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_brokers_that_the_environment_keeps_from_its_proxy(
    monkeypatch: pytest.MonkeyPatch, name: str, said: str, direct: bool
) -> None:
    """Protects whoever has one NO_PROXY for all programs: gRPC alone would go through the proxy all the same."""
    monkeypatch.setenv(name, said)
    assert (DIRECT in channel_options("broker.example.com:8443")) is direct
    assert (DIRECT in channel_options("broker.example.com.:8443")) is direct


def test_addresses_and_what_is_grpcs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects clusters, which are named by their networks, and a variable that is for gRPC alone."""
    monkeypatch.setenv("NO_PROXY", "10.1.0.0/16,fd00::/8,localhost")
    assert [DIRECT in channel_options(each) for each in ("10.1.2.3:8443", "10.2.2.3:8443", "[fd00::1]:8443")] == [
        True,
        False,
        True,
    ]
    # As people write them: a network by one of its addresses, and IPv6 as in a URL.
    for said, endpoint, direct in (
        ("10.1.2.3/8", "10.9.9.9:8443", True),
        ("[fd00::1]", "[fd00::1]:8443", True),
        ("[fd00::1]:8443", "[fd00::1]:8443", True),
        ("[fd00::1]:443", "[fd00::1]:8443", False),
        ("[fd00::2]", "[fd00::1]:8443", False),
    ):
        monkeypatch.setenv("NO_PROXY", said)
        assert (DIRECT in channel_options(endpoint)) is direct, said
    monkeypatch.setenv("no_grpc_proxy", "nobody.test")
    assert DIRECT not in channel_options("10.1.2.3:8443")
