"""Methods of a client, made from calls when they are first used."""

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from importlib import import_module
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, get_args, overload

from valetkey.calls.base import Asking

P = ParamSpec("P")
Result = TypeVar("Result")
Returned = TypeVar("Returned")


class Deferred(NamedTuple):
    """A call, by the module of `valetkey.calls` that has it."""

    module: str
    name: str

    def load(self) -> Any:
        """Returns the call."""
        return getattr(import_module(f"valetkey.calls.{self.module}"), self.name)


class Group:
    """A module of `valetkey.calls` that is not loaded yet."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Deferred:
        return Deferred(self._name, name)


class Method(Generic[P, Returned]):
    """A method that is made when it is first looked at, and takes its own place then."""

    def __init__(self, call: Deferred, make: Callable[[Any], Any]) -> None:
        self._call = call
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    @overload
    def __get__(self, instance: None, owner: type) -> Callable[Concatenate[Any, P], Returned]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Callable[P, Returned]: ...

    def __get__(self, instance: object | None, owner: type) -> Any:
        function = self._make(self._call.load())
        function.__qualname__ = f"{self._owner.__name__}.{self._name}"
        setattr(self._owner, self._name, function)
        return function.__get__(instance, owner)


def blocking(call: Callable[P, Asking[Result]]) -> Method[P, Result]:
    """Returns the method of `Client` that makes a call."""
    return Method(_deferred(call), _blocking)


def asynchronous(call: Callable[P, Asking[Result]]) -> Method[P, Coroutine[Any, Any, Result]]:
    """Returns the method of `AsyncClient` that makes a call."""
    return Method(_deferred(call), _asynchronous)


def _deferred(call: Any) -> Deferred:
    found: Deferred = call  # what the type checker sees as a call of `groups`
    return found


def _blocking(call: Callable[..., Asking[Any]]) -> Any:
    @wraps(call)
    def method(self: Any, /, *arguments: Any, **named: Any) -> Any:
        return self._caller.run(call(*arguments, **named))

    method.__signature__ = _signature(call)  # type: ignore[attr-defined]
    return method


def _asynchronous(call: Callable[..., Asking[Any]]) -> Any:
    @wraps(call)
    async def method(self: Any, /, *arguments: Any, **named: Any) -> Any:
        return await self._caller.run(call(*arguments, **named))

    method.__signature__ = _signature(call)  # type: ignore[attr-defined]
    return method


def _signature(call: Callable[..., Asking[Any]]) -> inspect.Signature:
    """Returns the signature that people see: with `self`, and with what comes of the call."""
    own = inspect.signature(call)
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return own.replace(
        parameters=[first, *own.parameters.values()], return_annotation=get_args(own.return_annotation)[-1]
    )
