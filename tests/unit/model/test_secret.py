"""Secret: no usual way of printing, copying or shipping it shows what it holds."""

import copy
import dataclasses
import io
import json
import logging
import pickle

import pytest

from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.model import Container, Credential, Lease, Permission, PermissionSet, Scope, Secret, SigningKey

_PLANTED = "PLANTED~value"


def test_no_formatting_shows_it() -> None:
    """Log lines, messages and debuggers print stars, whatever conversion their author chose."""
    secret = Secret(_PLANTED)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{secret:>40}", "%s %r" % (secret, secret)]  # noqa: UP031 (the old conversion is what is tested)
    shown += ["{}".format(secret), "{0!s}".format(secret), str([secret]), str({"k": secret}), ascii(secret)]  # noqa: UP030, UP032 (as above)
    assert all("***" in text and _PLANTED not in text for text in shown)


def test_logging_does_not_show_it() -> None:
    """The standard library's lazy formatting prints stars too."""
    out = io.StringIO()
    logger = logging.Logger("test")  # noqa: LOG001 (one of our own, so that no handler of others is touched)
    logger.addHandler(logging.StreamHandler(out))
    logger.warning("secret %s %r", Secret(_PLANTED), Secret(_PLANTED))
    assert out.getvalue() == "secret Secret(***) Secret(***)\n"


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_it_does_not_leave_its_process(leave: object) -> None:
    """Pickling, copying and JSON are refused, and the refusal does not show it either."""
    assert callable(leave)
    with pytest.raises(TypeError) as caught:
        leave(Secret(_PLANTED))
    assert _PLANTED not in str(caught.value)


def test_it_has_no_dict_to_look_into() -> None:
    """`vars` and generic dumpers find nothing."""
    with pytest.raises(TypeError):
        vars(Secret(_PLANTED))


def test_reveal_gives_it() -> None:
    """The one way to the value works, and equality, hash and truth go by the value."""
    assert Secret(_PLANTED).reveal() == _PLANTED
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a")
    assert not Secret("")


def test_values_that_hold_secrets_do_not_show_them() -> None:
    """A credential, key or lease in a log line or traceback gives nothing away."""
    permissions = PermissionSet([Permission.READ])
    lease = Lease(
        "id",
        "key:a",
        "g",
        "c",
        "uid",
        1,
        Scope.of_container(Container("account", "demo", "https://x")),
        permissions,
        1,
        2,
        sas_token=_PLANTED,
    )
    for value in (Credential(1, ClientSecret(Secret(_PLANTED))), SigningKey("account", 1.0, 2.0, _PLANTED), lease):
        assert _PLANTED not in repr(value)
        assert dataclasses.is_dataclass(value)
