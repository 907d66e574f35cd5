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


def test_what_could_not_be_looked_at(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects whoever asks while Vault is away from silence; the code goes by what is known."""
    unseen = pb.Ending(
        kind=pb.ENDING_KIND_VAULT_SECRET_ID,
        name="vault.secret_id_file",
        known_by="Vault does not tell now",
        not_looked_at=True,
    )
    broker.endings = [unseen]
    asked = valetkey("expiring", "--within", "30d")
    assert asked.code == 0
    assert [cell in asked.out for cell in ("vault-secret-id", "not looked at", "Vault does not tell now")] == [True] * 3
    assert "vault-secret-id vault.secret_id_file could not be looked at (Vault does not tell now)" in asked.err
    assert "nothing else ends within 30d" in asked.err
    (only,) = valetkey("expiring", "-o", "json").json
    assert (only["name"], only["end_time"], only["soon"]) == ("vault.secret_id_file", None, False)
    assert only["not_looked_at"] is True
    broker.endings = [pb.Ending(kind=pb.ENDING_KIND_API_KEY, name="trainer", end_time=Timestamp(seconds=1)), unseen]
    both = valetkey("expiring", "-o", "json")
    assert (both.code, [each["not_looked_at"] for each in both.json]) == (6, [False, True])


def test_a_time_that_cannot_be(valetkey: Runner) -> None:
    """Protects against a check that can never find anything."""
    assert valetkey("expiring", "--within", "-1d").code == 2
    assert valetkey("expiring", "--within", "soon").code == 2


def test_how_long_issuing_would_go_on(valetkey: Runner, broker: FakeBroker) -> None:
    """Protects whoever decides, with Vault or Entra away, how much time there is: until when, and what stops first."""
    now = datetime.now(UTC)
    left = broker.issuing_left
    left.without_vault_end_time.FromDatetime(now + timedelta(minutes=40, seconds=30))
    assert "not known: no connector is registered" in valetkey("issuing-left").out
    left.connectors_with_lasting_keys = 1
    assert "goes on: no connector needs it" in valetkey("issuing-left").out
    left.connectors_without_key.append("idle")
    left.connectors_without_key_left_out = 3
    assert "stops at once: no key is in memory" in valetkey("issuing-left").out
    for account, hours in (("first", -2), ("second", 5)):
        each = left.accounts.add(connector="demo", account=account)
        each.end_time.FromDatetime(now + timedelta(hours=hours, minutes=1))
    left.accounts[0].failing_since_time.FromDatetime(now - timedelta(hours=3))
    left.vault_away_since_time.FromDatetime(now - timedelta(minutes=20))
    shown = valetkey("issuing-left")
    assert shown.code == 0
    text = " ".join(shown.out.split())
    for part in ("40m from now", "stopped 1h59m ago", "demo on first stops first", "5h from now", "idle and 3 more"):
        assert part in text
    found = valetkey("issuing-left", "-o", "json").json
    assert found["without_vault"]["seconds_left"] // 60 == 40
    assert [each["account"] for each in found["without_entra"]] == ["first", "second"]
    assert found["without_entra"][0]["seconds_left"] < 0 < found["without_entra"][1]["seconds_left"]
    assert (found["connectors_without_key"], found["connectors_with_lasting_keys"]) == (["idle"], 1)
