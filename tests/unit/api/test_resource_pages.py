"""Pages of resources: none too large, nothing lost, nothing twice, errors where they belong."""

import pytest

from valetkey.v1 import common_pb2, errors_pb2
from valetkey.v1 import resource_service_pb2 as pb
from valetkey_broker.api.resource_pages import bounded, resource_page
from valetkey_broker.model import InvalidFieldError

MESSAGE_LIMIT = 4 * 1024 * 1024


def resource(number: int, account: str = "acc", longer: str = "") -> common_pb2.Resource:
    name = f"container-{number:05}{longer}"
    url = f"https://{account}.blob.core.windows.net/{name}"
    return common_pb2.Resource(resource_type=1, resource_id=f"az://{name}", account=account, url=url)


def entry(name: str, count: int = 0, **more: str) -> pb.ConnectorResources:
    return pb.ConnectorResources(
        connector_uid=f"uid-{name}", connector=name, resources=[resource(number) for number in range(count)], **more
    )


def all_pages(entries: list[pb.ConnectorResources], size: int = 0) -> list[list[pb.ConnectorResources]]:
    pages, token = [], ""
    while True:
        page, token = resource_page(entries, size, token)
        pages.append(list(page))
        if not token:
            return pages


@pytest.mark.no_cover
@pytest.mark.parametrize("longer", ["", "x" * 1000], ids=["short", "long"])
def test_a_large_account_never_outgrows_a_message(longer: str) -> None:
    """24,000 containers are 5 MB, or 50: each page fits, and together they are all that there is."""
    large = pb.ConnectorResources(connector="a", resources=[resource(n, longer=longer) for n in range(24_000)])
    pages = all_pages([large, entry("b", 3)])
    assert max(pb.ListResourcesResponse(connectors=page).ByteSize() for page in pages) < MESSAGE_LIMIT
    seen = [each.resource_id for page in pages for part in page for each in part.resources if part.connector == "a"]
    assert seen == sorted(each.resource_id for each in large.resources)
    assert [len(part.resources) for part in pages[-1] if part.connector == "b"] == [3]


@pytest.mark.parametrize("size", range(1, 8))
def test_pages_of_any_size_hold_the_same(size: int) -> None:
    """Whatever the size, every resource and every entry comes once; an error comes with the first part of its entry."""
    broken = entry("b", error_message="away")
    broken.error.reason = errors_pb2.ERROR_REASON_CLOUD_UNAVAILABLE
    partly = entry("c", 4)
    partly.account_errors.add(account="sick")
    pages = all_pages([entry("d", 1), entry("a", 3), partly, broken, entry("e")], size)
    assert all(sum(len(part.resources) for part in page) <= size for page in pages)
    parts = [part for page in pages for part in page]
    assert list(dict.fromkeys(part.connector for part in parts)) == ["a", "b", "c", "d", "e"]
    for name, count in (("a", 3), ("b", 0), ("c", 4), ("d", 1), ("e", 0)):
        ids = [each.resource_id for part in parts if part.connector == name for each in part.resources]
        assert ids == [resource(number).resource_id for number in range(count)]
    assert [part.connector for part in parts if part.HasField("error")] == ["b"]
    assert [part.connector for part in parts if part.account_errors] == ["c"]


def test_what_is_no_page() -> None:
    """Sizes and tokens that make no sense are told as that."""
    for size, token, field in ((-1, "", "page_size"), (0, "!", "page_token"), (0, "YQ==", "page_token")):
        with pytest.raises(InvalidFieldError) as caught:
            resource_page([entry("a", 2)], size, token)
        assert caught.value.field == field


def test_answers_without_pages_are_cut() -> None:
    """Verifying a connector shows what fits, and says how much does not."""
    resources = [resource(number) for number in range(24_000)]
    shown, left_out = bounded(resources)
    assert (len(shown), left_out) == (5000, 19_000)
    assert bounded(resources[:10]) == (resources[:10], 0)
