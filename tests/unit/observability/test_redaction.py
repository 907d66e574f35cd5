"""Redaction: by type, by the name of the field, by shape; and exceptions without their text."""

from typing import Any

import pytest

from valetkey.v1 import token_service_pb2
from valetkey_broker.model import Secret
from valetkey_broker.observability.redaction import frames, redact, scrub

_PLANTED = "PLANTED"


def _redacted(**fields: Any) -> dict[str, Any]:
    return dict(redact(None, "info", {"event": "something", **fields}))


@pytest.mark.parametrize(
    "value",
    [
        Secret(_PLANTED),
        _PLANTED.encode(),
        bytearray(_PLANTED.encode()),
        memoryview(_PLANTED.encode()),
        [Secret(_PLANTED), _PLANTED.encode()],
        (1, {"deep": [Secret(_PLANTED)]}),
        {"client_secret": _PLANTED},
        {"outer": {"Password": _PLANTED, "headers": {"Authorization": _PLANTED}}},
        {"client_secret": [_PLANTED, {"x": _PLANTED}]},
        frozenset({Secret(_PLANTED)}),
        ValueError(_PLANTED),
        [ValueError(_PLANTED)],
        token_service_pb2.IssueTokenResponse(sas_token=_PLANTED),
    ],
)
def test_secrets_go_by_their_type_and_by_names_inside(value: Any) -> None:
    """Whatever object an author put into a line, however deep, shows no secret."""
    assert _PLANTED not in str(_redacted(thing=value))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "client_secret",
            "secret",
            "secret_id",
            "SECRET",
            "password",
            "passphrase",
            "authorization",
            "api_key",
            "apikey",
        ),
        *("sas_token", "access_token", "token", "signature", "private_key", "PrivateKey"),
    ],
)
def test_secrets_go_by_the_name_of_their_field(name: str) -> None:
    """A field that is called like a secret shows stars, text or not."""
    assert _redacted(**{name: _PLANTED})[name] == "***"
    assert _PLANTED not in str(_redacted(**{name: [_PLANTED]}))


@pytest.mark.parametrize(
    "name", ["secret_id_file", "secret_version", "credential_version", "lease_id", "connector", "problem"]
)
def test_names_that_only_sound_like_secrets_are_shown(name: str) -> None:
    """Which file is missing, and which version is in use, must be readable."""
    assert _redacted(**{name: "plain"})[name] == "plain"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://a.blob.x/c?sp=r&sig=PLANTED%2B%3D&se=1", "https://a.blob.x/c?sp=r&sig=***&se=1"),
        ("sig=PLANTED", "sig=***"),
        ("'sig=PLANTED'", "'sig=***'"),
        ("key vk_" + "P" * 43 + " given", "key *** given"),
        ("Authorization: Bearer PLANTED", "Authorization: Bearer ***"),
        ("authorization: bearer PLANTED", "authorization: bearer ***"),
        ("next=https%3A%2F%2Fa%3Fsig%3DPLANTED", "next=https%3A%2F%2Fa%3Fsig%3D***"),
        ("jwt eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJQTEFOVEVEIn0.UExBTlRFRA end", "jwt *** end"),
        ("token hvs." + "P" * 24, "token ***"),
        ("token s." + "P" * 24, "token ***"),
        ("token hvb." + "P" * 24 + "!", "token ***!"),
        ("DefaultEndpointsProtocol=https;AccountKey=PLANTED==;EndpointSuffix=x", None),
    ],
)
def test_secrets_go_by_their_shape(text: str, shown: str | None) -> None:
    """In any text, the event itself included, what looks like a secret becomes stars and the rest stays."""
    shown = shown or "DefaultEndpointsProtocol=https;AccountKey=***;EndpointSuffix=x"
    assert scrub(text) == shown
    assert redact(None, "info", {"event": text})["event"] == shown
    assert _redacted(problem=text, many=[text], deep={"x": (text,)})["many"] == [shown]


def test_what_is_no_secret_stays() -> None:
    """Numbers, truth values and plain text are what a log is for."""
    fields = {"count": 3, "share": 0.5, "yes": True, "nothing": None, "text": "az://demo", "list": [1, None, "a"]}
    assert _redacted(**fields) == {"event": "something", **fields}
    assert _redacted(value={"a": {1}})["value"] == {"a": [1]}
    assert scrub("vk_short and s.short") == "vk_short and s.short"


def _fail() -> None:
    raise ValueError(_PLANTED)


def _raise_chain() -> None:
    try:
        _fail()
    except ValueError as error:
        raise KeyError(_PLANTED) from error


def _caught(raiser: Any) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (any; its frames are what is tested)
        raiser()
    return caught.value


@pytest.mark.parametrize("form", ["instance", "tuple"])
def test_exceptions_show_types_and_places(form: str) -> None:
    """What `exc_info` brings is turned into frames before a renderer can print text and locals."""
    error = _caught(_raise_chain)
    event = _redacted(exc_info=error if form == "instance" else (type(error), error, error.__traceback__))
    assert "exc_info" not in event
    assert event["frames"][0] == "builtins.KeyError"
    assert "builtins.ValueError" in event["frames"]
    assert any("test_redaction.py:" in line for line in event["frames"])
    assert _PLANTED not in str(event)


@pytest.mark.parametrize("exc_info", [None, False, True, (None, None, None), "text"])
def test_no_exception_no_frames(exc_info: Any) -> None:
    """`exc_info=True` outside of an except block is harmless."""
    assert _redacted(exc_info=exc_info) == {"event": "something"}


def test_frames_follow_the_context_and_stop_where_it_is_suppressed() -> None:
    """The cause of an unexpected error is in the log, unless its author cut it off; and the list stays short."""

    def implicit() -> None:
        try:
            _fail()
        except ValueError:
            raise KeyError(_PLANTED)  # noqa: B904 (the implicit context is what is tested)

    def suppressed() -> None:
        try:
            _fail()
        except ValueError:
            raise KeyError(_PLANTED) from None

    def deep(left: int = 50) -> None:
        if left:
            deep(left - 1)
        raise ValueError(_PLANTED)

    assert "builtins.ValueError" in frames(_caught(implicit))
    assert "builtins.ValueError" not in frames(_caught(suppressed))
    assert len(frames(_caught(deep), limit=5)) <= 6
    assert _PLANTED not in str([frames(_caught(raiser)) for raiser in (implicit, suppressed, deep)])


def test_deep_call_does_not_push_the_cause_out() -> None:
    """Whoever reads the log at night finds what began it, however many layers the error came through."""

    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        try:
            dict[str, str]()[_PLANTED]
        except KeyError as error:
            raise RuntimeError from error

    shown = frames(_caught(lambda: deep(40)))
    assert {"builtins.RuntimeError", "builtins.KeyError"} <= set(shown)
    assert len(shown) < 60
