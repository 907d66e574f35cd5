"""TokenWatcher: fresh tokens in time, and an end with the right reason as soon as there is one."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from support.core import (
    NOW,
    PROFILE,
    PROFILES,
    FakeClock,
    Replica,
    call_info,
    credential_of,
    make_connector,
    make_grant,
    no_news,
    principal,
)
from support.fake_cloud import FakeCloud
from support.fake_ledger import FakeLedger, ledger_down
from valetkey_broker.adapters.azure import AUTH_METHODS
from valetkey_broker.authz.policy import Policy
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.reach_cache import ReachCache
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.issuing.connector_choice import ConnectorChooser
from valetkey_broker.issuing.decider import Decider
from valetkey_broker.issuing.issuer import Issuer
from valetkey_broker.issuing.scope_choice import Scopes
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.issuing.stream_end_reasons import EndReason
from valetkey_broker.issuing.token_request import TokenRequest
from valetkey_broker.issuing.token_stream import TokenWatcher
from valetkey_broker.model import InvalidFieldError, Lease, Permission, PermissionSet, Principal, ResourceId, Standing
from valetkey_broker.settings import IssuingSettings

REQUEST = TokenRequest.parse("az://demo", PermissionSet([Permission.READ]), ttl=1000)
TRAINER = principal(name="key:trainer", expires=NOW + 100_000)

Stream = AsyncGenerator[Any, None]


class World:
    """A watcher on fakes, that looks every few milliseconds at a clock which stands still."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.memory = Replica().memory
        self.cloud = FakeCloud({"acc": ["demo"]}, profile=PROFILE)
        self.ledger = FakeLedger()
        self.standing = Standing.GOOD
        self.closed_to: BrokerError | None = None
        self.admitted = 0
        self.ends = float("inf")
        policy = Policy(self.memory, self.clock)
        questions = CloudClient(self.cloud, credential_of, 20)
        self.keys = SigningKeys(
            questions=questions, clock=self.clock, key_seconds=24 * 3600, skew_seconds=900, auth_methods=AUTH_METHODS
        )
        self.reach = ReachCache(questions, self.clock, 1e6)
        decider = Decider(
            memory=self.memory,
            policy=policy,
            chooser=ConnectorChooser(PROFILES, self.reach),
            scopes=Scopes(self.reach, self.keys),
            keys=self.keys,
            clock=self.clock,
            settings=IssuingSettings(),
            standing=lambda _caller: self.standing,
            catch_up=no_news,
        )
        issuer = Issuer(
            decider=decider,
            cloud=self.cloud,
            ledger=self.ledger,
            clock=self.clock,
            skew_seconds=IssuingSettings().clock_skew_seconds,
        )
        self.watcher = TokenWatcher(
            auth_methods=AUTH_METHODS,
            issuer=issuer,
            policy=policy,
            memory=self.memory,
            standing=lambda _caller: self.standing,
            admit=self._admit,
            clock=self.clock,
            check_seconds=0.002,
            refreshed=lambda caller: replace(caller, expires=min(caller.expires, self.ends)),
            vouchers=lambda: (self.standing, self.ends),
        )
        self.connector = make_connector()
        self.memory.put_connector(self.connector)
        self.grant()

    def _admit(self, _caller: Principal) -> None:
        self.admitted += 1
        if self.closed_to is not None:
            raise self.closed_to

    def grant(self, name: str = "training", **fields: Any) -> None:
        fields = {"principals": ("key:trainer",), "permissions": "r", **fields}
        self.memory.put_grant(make_grant(name, self.connector, **fields))

    def watch(self, caller: Principal = TRAINER, **fields: Any) -> Stream:
        return self.watcher.watch(call_info(caller), replace(REQUEST, **fields))

    async def azure_away(self, retry_after: float | None = None) -> None:
        """Takes the key of the last token away, and Azure with it."""
        self.keys.forget(self.connector.uid)
        self.cloud.fail("signing_key", BrokerError(Reason.CLOUD_UNAVAILABLE, "away", retry_after=retry_after))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.keys.close()
    await world.reach.close()


async def token(stream: Stream) -> Lease:
    """Returns the next message, which has to be a token."""
    async with asyncio.timeout(30):
        message = await anext(stream)
    assert isinstance(message, Lease), message
    return message


async def end(stream: Stream) -> EndReason:
    """Returns the next message, which has to be the last one."""
    async with asyncio.timeout(30):
        message = await anext(stream)
        assert isinstance(message, EndReason), message
        assert [rest async for rest in stream] == []
    return message


async def looks() -> None:
    """Lets streams look around a few times."""
    await asyncio.sleep(0.02)


async def quiet(task: "asyncio.Task[Any]") -> None:
    await looks()
    assert not task.done(), task


async def asked_azure(world: World, times: int) -> None:
    """Waits until Azure has been asked for so many keys."""
    async with asyncio.timeout(30):
        while world.cloud.calls["signing_key"] < times:
            await looks()


async def soon(world: World, waiting: "asyncio.Task[Lease]", seconds: float) -> Lease:
    """Returns the token that comes within `seconds` of the clock, which is moved on until it does.

    In steps: on a busy machine an error may be looked at only after the first of them.
    """
    latest = world.clock.now + seconds
    while not waiting.done() and world.clock.now < latest:
        world.clock.now += seconds / 10
        await looks()
    return await waiting


async def test_fresh_tokens_life_after_life(world: World) -> None:
    """The first token comes at once, one more in each life, each with a record and a lease of its own."""
    stream = world.watch(purpose="run 17")
    leases = [await token(stream)]
    for _ in range(4):
        upcoming = asyncio.create_task(token(stream))
        world.clock.now = leases[-1].expires - 1000 + 599
        await quiet(upcoming)
        world.clock.now += 152
        leases.append(await upcoming)
    assert [event.lease_id for event in world.ledger.recorded] == [lease.id for lease in leases]
    assert len({lease.id for lease in leases}) == 5
    assert {event.purpose for event in world.ledger.recorded} == {"run 17"}
    assert all(later.expires > earlier.expires for earlier, later in itertools.pairwise(leases))
    assert world.admitted == 4  # The first one was let in by the guard.
    await stream.aclose()


async def test_fresh_tokens_are_jittered(world: World) -> None:
    """A hundred streams that began together ask at different points between 60 and 75 percent of a life."""
    streams = [world.watch() for _ in range(100)]
    for stream in streams:
        await token(stream)
    upcoming = [asyncio.create_task(token(stream)) for stream in streams]
    renewed = []
    at_first = len(world.ledger.recorded)
    for step in range(590, 760, 10):
        before = len(world.ledger.recorded)
        world.clock.now = NOW + step
        await looks()
        renewed.append(len(world.ledger.recorded) - before)
    await asyncio.gather(*upcoming)
    assert renewed[0] == 0
    assert len(world.ledger.recorded) - at_first == 100  # On a busy machine the last are recorded after the last look.
    assert len([count for count in renewed if count]) > 8
    assert max(renewed) < 40
    for stream in streams:
        await stream.aclose()


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("grant deleted", EndReason.GRANT_GONE),
        ("grant narrowed", EndReason.GRANT_GONE),
        ("connector deleted", EndReason.CONNECTOR_GONE),
        ("connector deleted and made anew", EndReason.CONNECTOR_GONE),
        ("key revoked", EndReason.IDENTITY_REVOKED),
        ("identity expired", EndReason.IDENTITY_EXPIRED),
        ("broker stops", EndReason.SHUTDOWN),
    ],
)
@pytest.mark.parametrize("azure_hangs", [False, True], ids=["between tokens", "while Azure hangs"])
async def test_ends(world: World, what: str, why: EndReason, azure_hangs: bool) -> None:
    """Whatever takes the right away ends the stream soon, with its reason and no further token."""
    stream = world.watch()
    await token(stream)
    waiting = asyncio.create_task(end(stream))
    await quiet(waiting)
    if azure_hangs:
        world.keys.forget(world.connector.uid)
        world.cloud.hold("signing_key")
        world.clock.now += 760
        async with asyncio.timeout(30):
            while world.cloud.calls["signing_key"] < 2:
                await looks()
        await quiet(waiting)
    if what == "grant deleted":
        world.memory.drop_grant("training")
    elif what == "grant narrowed":
        world.grant(permissions="l")
    elif what.startswith("connector"):
        world.memory.drop_connector(world.connector.name)
        if "anew" in what:
            world.memory.put_connector(make_connector())
    elif what == "key revoked":
        world.standing = Standing.ENDED
    elif what == "identity expired":
        world.clock.now = TRAINER.expires
    else:
        world.watcher.stop()
    assert await waiting is why
    assert len(world.ledger.recorded) == 1
    world.cloud.heal()


async def test_another_grant_still_allows(world: World) -> None:
    """A stream goes on as long as any grant allows it, and says which one did."""
    world.grant("zz-other")
    stream = world.watch()
    assert (await token(stream)).grant == "training"
    upcoming = asyncio.create_task(token(stream))
    world.memory.drop_grant("training")
    await quiet(upcoming)
    world.clock.now += 760
    assert (await upcoming).grant == "zz-other"
    await stream.aclose()


async def test_changes_that_do_not_matter(world: World) -> None:
    """Other people's grants and connectors come and go without a stir."""
    stream = world.watch()
    await token(stream)
    upcoming = asyncio.create_task(token(stream))
    world.memory.put_connector(make_connector("unrelated"))
    world.grant("unrelated", principals=("key:somebody-else",))
    world.memory.drop_grant("unrelated")
    await quiet(upcoming)
    assert len(world.ledger.recorded) == 1
    upcoming.cancel()
    await asyncio.gather(upcoming, return_exceptions=True)


async def test_azure_away_and_back(world: World) -> None:
    """While Azure is away it is asked again now and then; the stream goes on once it is back."""
    stream = world.watch()
    await token(stream)
    await world.azure_away()
    upcoming = asyncio.create_task(token(stream))
    world.clock.now += 760
    await quiet(upcoming)
    for _ in range(20):
        world.clock.now += 1
        await looks()
    # After two, four, eight seconds and so on, and the first time for the first token.
    assert 3 <= world.cloud.calls["signing_key"] - 1 <= 5
    world.cloud.heal()
    assert (await soon(world, upcoming, 60)).expires > NOW + 1700
    await stream.aclose()


async def test_azure_says_when_to_come_back(world: World) -> None:
    """A throttling Azure is not asked again before the time it names."""
    stream = world.watch()
    await token(stream)
    await world.azure_away(retry_after=60)
    upcoming = asyncio.create_task(token(stream))
    world.clock.now += 760
    await asked_azure(world, 2)
    await quiet(upcoming)
    world.clock.now += 59
    await quiet(upcoming)
    assert world.cloud.calls["signing_key"] == 2
    world.cloud.heal()
    world.clock.now += 2
    await upcoming
    await stream.aclose()


@pytest.mark.parametrize("retry_after", [None, 3600.0], ids=["soon", "long after the token"])
async def test_azure_stays_away(world: World, retry_after: float | None) -> None:
    """The stream ends as UNAVAILABLE when the last token does, not earlier."""
    stream = world.watch()
    await token(stream)
    await world.azure_away(retry_after)
    waiting = asyncio.create_task(end(stream))
    world.clock.now = NOW + 760
    await quiet(waiting)
    world.clock.now = NOW + 999
    await quiet(waiting)
    world.clock.now = NOW + 1001
    assert await waiting is EndReason.UNAVAILABLE
    assert len(world.ledger.recorded) == 1


async def test_taken_away_while_azure_is_away(world: World) -> None:
    """Between two tries the stream still looks whether it may go on."""
    stream = world.watch()
    await token(stream)
    await world.azure_away(retry_after=100)
    waiting = asyncio.create_task(end(stream))
    world.clock.now += 760
    await quiet(waiting)
    world.memory.drop_grant("training")
    assert await waiting is EndReason.GRANT_GONE


@pytest.mark.parametrize("back", [True, False])
async def test_ledger_away(world: World, back: bool) -> None:
    """Without its record no token comes; with the ledger back in time the stream goes on, otherwise it ends."""
    stream = world.watch()
    await token(stream)
    world.ledger.fail_with = ledger_down()
    world.clock.now = NOW + 760
    if back:
        upcoming = asyncio.create_task(token(stream))
        await quiet(upcoming)
        world.ledger.fail_with = None
        await soon(world, upcoming, 10)
        assert len(world.ledger.recorded) == 2
        await stream.aclose()
    else:
        waiting = asyncio.create_task(end(stream))
        await quiet(waiting)
        world.clock.now = NOW + 1001
        assert await waiting is EndReason.UNAVAILABLE


@pytest.mark.parametrize("then", [Standing.ENDED, Standing.UNKNOWN], ids=lambda each: each.value)
async def test_issuer_away_for_too_long(world: World, then: Standing) -> None:
    """Meanwhile there is no token and no end. What turns out ends the stream by its own name, and where nothing has
    turned out when the last token ends, the reason says so: nothing was revoked, call again.
    """
    stream = world.watch()
    await token(stream)
    world.standing = Standing.UNKNOWN
    waiting = asyncio.create_task(end(stream))
    for moment in (760, 999):
        world.clock.now = NOW + moment
        await quiet(waiting)
    assert (len(world.ledger.recorded), len(world.cloud.signed), world.admitted) == (1, 1, 0)
    world.standing = then
    if then is Standing.UNKNOWN:
        world.clock.now = NOW + 1001
    why = {Standing.ENDED: EndReason.IDENTITY_REVOKED, Standing.UNKNOWN: EndReason.ISSUER_UNAVAILABLE}
    assert await waiting is why[then]
    assert len(world.ledger.recorded) == 1


@pytest.mark.parametrize("hangs", [True, False], ids=["while Azure hangs", "before Azure is asked"])
async def test_issuer_away_and_back(world: World, hangs: bool) -> None:
    """An issuer that comes back before the last token ends costs a stream nothing."""
    stream = world.watch()
    await token(stream)
    upcoming = asyncio.create_task(token(stream))
    if hangs:
        world.keys.forget(world.connector.uid)
        gate = world.cloud.hold("signing_key")
        world.clock.now = NOW + 760
        await quiet(upcoming)
    world.standing = Standing.UNKNOWN
    if hangs:
        gate.set()
    world.clock.now = NOW + 800
    await quiet(upcoming)
    assert len(world.ledger.recorded) == 1
    world.standing = Standing.GOOD
    world.clock.now = NOW + 810
    assert (await upcoming).expires == NOW + 1810
    await stream.aclose()


@pytest.mark.parametrize("reason", [Reason.VAULT_UNAVAILABLE, Reason.NOT_SERVING, Reason.RATE_LIMITED])
async def test_not_let_in(world: World, reason: Reason) -> None:
    """A renewal is let in like a call: with memory too old, or too many calls, nothing is issued."""
    stream = world.watch()
    await token(stream)
    world.closed_to = BrokerError(reason, "not now", retry_after=1)
    waiting = asyncio.create_task(end(stream))
    world.clock.now = NOW + 760
    await quiet(waiting)
    world.clock.now = NOW + 1001
    assert await waiting is EndReason.UNAVAILABLE
    assert (len(world.ledger.recorded), len(world.cloud.signed)) == (1, 1)


@pytest.mark.parametrize(
    "reason",
    [
        *(Reason.CLOUD_UNAVAILABLE, Reason.CLOUD_THROTTLED, Reason.VAULT_UNAVAILABLE, Reason.RESOURCE_NOT_FOUND),
        *(Reason.CLOUD_CREDENTIAL_REJECTED, Reason.CLOUD_PERMISSION_MISSING, Reason.RESOURCE_AMBIGUOUS),
    ],
    ids=lambda each: each.name,
)
async def test_no_error_ends_a_stream_before_its_last_token(world: World, reason: Reason) -> None:
    """A stream ended 23 s before its last token did, for an account that could not be listed for a moment: a secret is
    replaced, a firewall opened, a listing answered while that token lives, and the stream goes on.
    """
    stream = world.watch()
    await token(stream)
    world.keys.forget(world.connector.uid)
    world.cloud.fail("signing_key", reason)
    upcoming = asyncio.create_task(token(stream))
    for moment in (760, 800, 900, 990):
        world.clock.now = NOW + moment
        await quiet(upcoming)
    world.cloud.heal()
    lease = await soon(world, upcoming, 9)
    assert NOW + 1990 <= lease.expires < NOW + 2000
    world.keys.forget(world.connector.uid)
    world.cloud.fail("signing_key", reason)
    waiting = asyncio.create_task(end(stream))
    world.clock.now = lease.expires - 0.5
    await quiet(waiting)
    world.clock.now = lease.expires + 0.5
    assert await waiting is EndReason.UNAVAILABLE
    world.cloud.heal()


async def lived(
    world: World, stream: Stream, *, until: float, step: float = 0.1
) -> list[tuple[float, Lease | EndReason]]:
    """Returns what a stream gives until a moment, each with the time at which it came."""
    given: list[tuple[float, Lease | EndReason]] = []

    async def follow() -> None:
        async for item in stream:
            given.append((world.clock.now, item))  # noqa: PERF401 (as it comes, not at the end)

    reading = asyncio.create_task(follow())
    while world.clock.now < until and not reading.done():
        await asyncio.sleep(0.006)
        world.clock.now += step
    await looks()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    return given


@pytest.mark.parametrize("begins", [NOW, NOW + 0.7])
async def test_the_last_token_of_a_grant_is_the_last(world: World, begins: float) -> None:
    """Of a grant with 12 s left eight tokens came, each the last, it was said: one comes, and the end when it ends."""
    world.clock.now = begins
    world.grant(expires=NOW + 12.4)
    given = await lived(world, world.watch(), until=NOW + 14)
    assert [type(item) for _, item in given] == [Lease, EndReason]
    assert given[-1][1] is EndReason.GRANT_GONE
    assert NOW + 12.4 <= given[-1][0] <= NOW + 13


async def test_a_shrinking_life_brings_no_storm(world: World) -> None:
    """Where another connector is allowed for longer, the one in use still gives its last token once, then the other."""
    other = make_connector("zz-other", "demo", account="acc")
    world.memory.put_connector(other)
    world.grant(expires=NOW + 12.4)
    world.memory.put_grant(make_grant("lasting", other, principals=("key:trainer",), permissions="r"))
    world.memory.put_connector(single := make_connector("azure-blob-demo", "demo", account="acc"))
    world.memory.put_grant(
        make_grant("training", single, principals=("key:trainer",), permissions="r", expires=NOW + 12.4)
    )
    given = await lived(world, world.watch(), until=NOW + 20)
    assert [(item.connector, item.expires) for _, item in given if isinstance(item, Lease)] == [
        ("azure-blob-demo", NOW + 12),
        ("zz-other", given[1][0] // 1 + 1000),
    ]
    assert given[1][0] <= NOW + 13


async def test_a_grant_that_ends(world: World) -> None:
    """A token that ends with its grant is the last one; none is made that would end no later."""
    world.grant(expires=NOW + 500.5)
    stream = world.watch()
    assert (await token(stream)).expires == NOW + 500
    waiting = asyncio.create_task(end(stream))
    for moment in (400.0, 499.9):
        world.clock.now = NOW + moment
        await quiet(waiting)
    world.clock.now = NOW + 501
    assert await waiting is EndReason.GRANT_GONE
    assert len(world.ledger.recorded) == 1


async def test_a_grant_that_is_extended(world: World) -> None:
    """A grant extended in time gives a fresh token while the last one still lives."""
    world.grant(expires=NOW + 500)
    stream = world.watch()
    await token(stream)
    upcoming = asyncio.create_task(token(stream))
    world.clock.now = NOW + 450
    await quiet(upcoming)
    world.grant(expires=NOW + 5000)
    assert (await upcoming).expires == NOW + 1450
    await stream.aclose()


async def test_shortest_tokens(world: World) -> None:
    """Tokens of one second keep coming, and do not spin."""
    stream = world.watch(ttl=1)
    lease = await token(stream)
    for _ in range(5):
        upcoming = asyncio.create_task(token(stream))
        await quiet(upcoming)
        world.clock.now = lease.expires + 0.01
        lease = await upcoming
        assert lease.expires > world.clock.now
    assert len(world.ledger.recorded) == 6
    await stream.aclose()


async def test_first_token_refused(world: World) -> None:
    """Where there is no first token there is no stream, only the error."""
    with pytest.raises(BrokerError) as caught:
        await token(world.watch(resource=ResourceId.parse("az://secret")))
    assert caught.value.reason is Reason.RESOURCE_DENIED
    with pytest.raises(InvalidFieldError):
        await token(world.watch(ttl=-1))
    world.ledger.fail_with = ledger_down()
    with pytest.raises(BrokerError) as caught:
        await token(world.watch())
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE


@pytest.mark.parametrize("azure_hangs", [False, True], ids=["between tokens", "while Azure hangs"])
async def test_a_stream_that_is_left(world: World, azure_hangs: bool) -> None:
    """A caller that goes leaves nothing running behind."""
    stream = world.watch()
    await token(stream)
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(token(stream))
    if azure_hangs:
        world.keys.forget(world.connector.uid)
        gate = world.cloud.hold("signing_key")
        world.clock.now += 760
        await quiet(waiting)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        gate.set()  # Asking for the key is everybody's, and goes on.
        await looks()
    else:
        await quiet(waiting)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert asyncio.all_tasks() <= before
    assert len(world.ledger.recorded) == 1


async def test_another_signer_brings_a_fresh_token_at_once(world: World) -> None:
    """What the principal before signed may end with it at any moment; but one that fails is no reason to hurry."""
    stream = world.watch()
    first = await token(stream)
    azure = replace(world.connector.azure, client_id="33333333-3333-4333-8333-333333333333")
    other = replace(world.connector, azure=azure, credential_version=2, version=2)
    world.memory.put_connector(other)
    second = await token(stream)
    assert (first.credential_version, second.credential_version) == (1, 2)
    assert world.clock.now == NOW
    world.memory.put_connector(replace(other, description="noted", version=3))
    waiting = asyncio.ensure_future(token(stream))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    world.cloud.fail("signing_key", Reason.CLOUD_CREDENTIAL_REJECTED)
    world.memory.put_connector(replace(world.connector, credential_version=3, version=4))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    assert world.cloud.calls["signing_key"] == 3
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_a_stream_ends_with_the_overlap_of_its_rotated_key(world: World) -> None:
    """A key that is rotated ends earlier than it said: no token of its stream outlives it, and the reason says why."""
    stream = world.watch()
    await token(stream)
    world.ends = NOW + 1000
    world.clock.now += 760
    last = await token(stream)
    assert last.expires == NOW + 1000
    waiting = asyncio.create_task(end(stream))
    world.clock.now = NOW + 1000
    assert await waiting is EndReason.IDENTITY_EXPIRED


async def test_another_secret_of_the_same_principal_leaves_streams_alone(world: World) -> None:
    """What it signed stays good whichever of its secrets is withdrawn: nobody is sent a token for nothing."""
    stream = world.watch()
    await token(stream)
    world.memory.put_connector(replace(world.connector, credential_version=2, version=2))
    waiting = asyncio.ensure_future(token(stream))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_sign_of_life_after_each_silence(world: World) -> None:
    """Each silence gives one None, between tokens and while Azure lets wait, and the token after it is not lost."""
    stream = world.watcher.watch(call_info(TRAINER), REQUEST, 0.02)
    async with asyncio.timeout(30):
        while (first := await anext(stream)) is None:
            pass  # Even a fake may take longer than that to hand out the first key.
    assert isinstance(first, Lease)
    assert [await anext(stream) for _ in range(3)] == [None] * 3
    world.keys.forget(world.connector.uid)
    held = world.cloud.hold("signing_key")
    world.clock.now += 760
    async with asyncio.timeout(30):
        while world.cloud.calls["signing_key"] < 2:
            assert await anext(stream) is None
        assert [await anext(stream) for _ in range(3)] == [None] * 3
        held.set()
        while (message := await anext(stream)) is None:
            pass
    assert isinstance(message, Lease)
    await stream.aclose()


async def test_silent_where_nobody_asked(world: World) -> None:
    """A client that does not know signs of life never gets one."""
    stream = world.watch()
    await token(stream)
    waiting = asyncio.create_task(end(stream))
    await quiet(waiting)
    world.watcher.stop()
    assert await waiting is EndReason.SHUTDOWN
