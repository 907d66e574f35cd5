"""What every call is made of: requests that go out, and answers that come back, in whichever way they travel.

A call is a generator: it yields requests and is sent their answers, and what it returns is the call's result. So it
does not know whether a thread or a task waits for the answers.
"""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message

from valetkey.errors import InvalidArgumentError

Item = TypeVar("Item")
Result = TypeVar("Result")
Answer = TypeVar("Answer", bound=Message)

PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class Rpc:
    """One request to be made. `repeatable` tells that doing it twice does no harm."""

    request: Message
    answer: type[Message]
    repeatable: bool = False

    @property
    def path(self) -> str:
        """The method's full name, as gRPC wants it."""
        return path_of(self.answer)


Asking: TypeAlias = Generator[Rpc, Any, Result]


def ask(request: Message, answer: type[Answer], *, repeatable: bool = False) -> Asking[Answer]:
    """Makes one request of a call, which yields from it, and returns the answer.

    Which method that is, the type of the answer tells: each has its own. `repeatable` is for what may be done twice: a
    read, or a token, of which a second one is a lease more.
    """
    found: Answer = yield Rpc(request, answer, repeatable)
    return found


def ask_pages(
    request: Any, answer: type[Message], items: Callable[[Any], Iterable[Item]], limit: int | None = None
) -> Asking[list[Item]]:
    """Makes the requests of a list, which change `request`, to its last page, or until there are `limit` items."""
    found: list[Item] = []
    while limit is None or len(found) < limit:
        request.page_size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(found))
        page = yield Rpc(request, answer, repeatable=True)
        found += items(page)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    return found[:limit]


def path_of(answer: type[Message]) -> str:
    """Returns the full name of the method that answers with a type. Raises LookupError where there is none."""
    for service in answer.DESCRIPTOR.file.services_by_name.values():
        for method in service.methods:
            if method.output_type.full_name == answer.DESCRIPTOR.full_name:
                return f"/{service.full_name}/{method.name}"
    raise LookupError(f"no method answers with {answer.DESCRIPTOR.full_name}")


def several(values: Iterable[Item], field: str, example: str) -> list[Item]:
    """Returns the items of an argument.

    Raises InvalidArgumentError for one bare string, whose characters would be taken one by one.
    """
    if isinstance(values, str):
        raise InvalidArgumentError(f"{field}: is one string; expected several, such as {example}")
    return list(values)
