"""`valetkey expiring` against a fake broker: what ends, what mends it, and the exit code that scripts go by."""

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from support.cli_runner import Runner
from support.fake_broker import FakeBroker
from valetkey.v1 import expiry_service_pb2 as pb


def test_what_ends_soon(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects cron jobs: 6 where something ends, 0 where nothing does, and all that a person needs in the line."""
    ended = valetkey("expiring", "--within", "30d")
    assert (ended.code, ended.out) == (0, "")
    assert "nothing ends within 30d" in ended.err
    assert broker.requests[-1].within.seconds == 30 * 86400
    end = Timestamp()
    end.FromDatetime(datetime.now(UTC) + timedelta(days=3, minutes=1))
    mend = "valetkey api-key rotate trainer --overlap 1h"
    soon = pb.Ending(kind=pb.ENDING_KIND_API_KEY, name="trainer", end_time=end, known_by="the broker", mend=mend)
    later = pb.Ending(kind=pb.ENDING_KIND_SECRET, name="az_team", known_by="nobody has said when", mend="note it")
    broker.endings, broker.others = [soon], [later]
    found = valetkey("expiring")
    assert found.code == 6
    assert broker.requests[-1].within.seconds == 14 * 86400
    assert [cell in found.out for cell in ("api-key", "trainer", "3d", "the broker", mend)] == [True] * 5
    both = valetkey("expiring", "--all", "-o", "json")
    assert both.code == 6
    first, second = both.json
    assert (first["kind"], first["soon"], first["mend"], first["seconds_left"] // 86400) == ("api-key", True, mend, 3)
    assert (second["end_time"], second["seconds_left"], second["soon"]) == (None, None, False)


def test_a_time_that_cannot_be(valetkey: Runner) -> None:
    """Protects against a check that can never find anything."""
    assert valetkey("expiring", "--within", "-1d").code == 2
    assert valetkey("expiring", "--within", "soon").code == 2
