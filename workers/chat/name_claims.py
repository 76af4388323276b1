"""NameClaims: a name in use is not given to a guest a second time, decided by one atomic step in the store.

A user has a claim to a name for each worker with a connection of theirs under that name; a claim belongs to the
worker's incarnation, so that those of a dead worker count no longer. Names that look alike are one name. A guest, and a
user who chooses another name than the token's, gets a name only where nobody else has it. The names that an issuer
vouches for are not refused: several users may have one, and a guest who has it gives it up.

A hello that chooses a name takes the claim before it is answered. A generated name is claimed behind the answer, and a
guest who turns out to share one gets another. A connection that moves claims its name at the new worker before the old
one gives it back.

All names lie in one shard. What nobody waits for is collected while the store works on what was collected before, so
that a storm of newcomers, or of those who leave, shares scripts; one script carries its wishes out in their order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from workers.bus.port import BusError
from workers.bus.script import Argument, ScriptRunner, scripts_of
from workers.chat.chat_connection import ChatConnection
from workers.chat.rules.identity import GUEST_PREFIX
from workers.chat.rules.names import keys_of
from workers.chat.store import keys
from workers.cluster.lease import Lease
from workers.tasks import Tasks

logger = logging.getLogger(__name__)

KEEP: Final = 86_400  # seconds that claims are kept without being repeated, so that those of dead workers expire
REFRESH: Final = 21_600.0  # seconds between two renewals of every claim
MOVED: Final = 3.0  # seconds for which a connection that moved away keeps its name here
AGAIN: Final = 2.0  # seconds until a claim is given back again that the store did not take back
ROUNDS: Final = 3
HOLDERS: Final = 64  # users with one name that are looked at
GRANTED, REFUSED, UNDECIDED = 1, 0, 2  # what claim_names.lua says of a wish
TOGETHER: Final = 64  # wishes in one script: about 2 ms of the store's time
APART: Final = 0.004  # seconds between two scripts with fewer: a storm shares them, a single wish does not wait

Claim = tuple[str, str]  # user and name


class _Wish(Struct, frozen=True, gc=False):
    """A name to be claimed, or with the kind "release" to be given back, for a user."""

    claim: Claim
    kind: str  # see claim_names.lua
    look_alikes: list[str]  # keys of the name


class HeldNames:
    """The claims that are held here, and by how many. Pure.

    Nearly every user has one name, held by one connection: that costs an entry of one dict, and only more is counted.
    """

    __slots__ = ("_further", "_names")

    def __init__(self) -> None:
        self._names: dict[str, str | tuple[str, ...]] = {}  # user → the name, or several
        self._further: dict[Claim, int] = {}  # how many hold a claim beside the first

    def __contains__(self, claim: Claim) -> bool:
        user, name = claim
        return name in self.of(user)

    def __iter__(self) -> Iterator[Claim]:
        """The claims of this moment, whatever changes while they are looked at."""
        return iter([(user, name) for user in self._names for name in self.of(user)])

    def of(self, user: str) -> tuple[str, ...]:
        """The names that a user holds, in the order in which they were claimed."""
        held = self._names.get(user, ())
        return (held,) if isinstance(held, str) else held

    def add(self, claim: Claim) -> bool:
        """Count one more who holds a claim; return whether that is the first."""
        user, name = claim
        if user not in self._names:
            self._names[user] = name
            return True
        before = self.of(user)
        if name in before:
            self._further[claim] = self._further.get(claim, 0) + 1
            return False
        self._names[user] = (*before, name)
        return True

    def remove(self, claim: Claim) -> bool:
        """Count one less who holds a claim; return whether that was the last."""
        further = self._further.pop(claim, 0)
        if further > 1:
            self._further[claim] = further - 1
        if further:
            return False
        user, name = claim
        rest = tuple([other for other in self.of(user) if other != name])
        if rest:
            self._names[user] = rest[0] if len(rest) == 1 else rest
        else:
            del self._names[user]
        return True


class NameClaims:
    """The names that this worker's users have. Made inside the running loop.

    `lost(user, name)` is called where another user has the name: it has to be given up.
    """

    def __init__(self, calls: ScriptRunner, lease: Lease, name: str, tasks: Tasks) -> None:
        self._calls = calls
        self._lease = lease
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._script, self._holders = map(
            calls.script, scripts_of(Path(__file__).parent, "claim_names", "name_holders")
        )
        self._holders_of = [keys.name_holders(name, "", guests=guests) for guests in (True, False)]
        self._wishes: list[_Wish] = []  # that wait for the next script
        self._timer: asyncio.Handle | None = None  # of the next script
        self._sent_at = 0.0  # the time of the last one
        self._held = HeldNames()  # by connections that have the name, or are about to
        self._asking: dict[Claim, asyncio.Task[bool]] = {}  # questions to the store that are not answered yet
        self.lost: Callable[[str, str], None] = lambda user, name: None
        lease.when_reborn(lambda old: self._claim_again())

    def start(self) -> None:
        """Keep the claims for as long as they are held."""
        self._tasks.start(self._refresh(), what="refresh of names in use")

    # ---- one connection ----------------------------------------------------------------------------

    def bind(self, client: ChatConnection, user: str, name: str) -> None:
        """A connection is the user's, under this name; it gives the name before that back."""
        before = client.claimed
        if name == before:
            return
        client.claimed = name
        self.hold((user, name))
        if before:
            self.give_back((user, before))

    def unbind(self, client: ChatConnection, *, moved: bool) -> None:
        """A connection has ended; `moved`: another worker is about to claim its name."""
        name, client.claimed = client.claimed, ""
        if name:
            claim = client.connection.user, name
            self._give_back_later(claim) if moved else self.give_back(claim)

    # ---- claims ------------------------------------------------------------------------------------

    async def take(self, claim: Claim) -> bool:
        """Claim a chosen name, to be given back by `give_back`; False: another user has it. Raises BusError."""
        first = self._held.add(claim)
        asking = self._asking.get(claim)
        if asking is None:
            if not first:
                return True
            asking = self._asking[claim] = self._loop.create_task(self._ask(claim), name="claim to a name")
            asking.add_done_callback(lambda done: self._asked(claim, done))
        taken = False
        try:
            taken = await asyncio.shield(asking)
        finally:
            if not taken:
                self.give_back(claim)
        return taken

    def _asked(self, claim: Claim, asking: asyncio.Task[bool]) -> None:
        """Keep a refusal until nobody counts on the name: who asks meanwhile is refused, too."""
        if claim in self._held:
            if not asking.cancelled() and asking.exception() is None and asking.result():
                del self._asking[claim]
            return
        del self._asking[claim]
        if not asking.cancelled():
            asking.exception()  # nobody waits for it any more
            self._release_claim(claim)

    def hold(self, claim: Claim) -> None:
        """Count one more connection under a name; the first one claims it, and `lost` is called if that fails."""
        if self._held.add(claim):
            self._claim_soon(claim)
        elif asking := self._asking.get(claim):
            asking.add_done_callback(lambda done: self._heard(claim, done))

    def _heard(self, claim: Claim, asking: asyncio.Task[bool]) -> None:
        """The question is answered that was open when the name was given to one more connection."""
        if asking.cancelled() or asking.exception() is not None:
            if self._asking.get(claim) is asking:
                del self._asking[claim]
            self._claim_once_more(claim, asking)
        elif not asking.result():
            self._refused(claim)

    def give_back(self, claim: Claim) -> None:
        """Count one connection under a name less; the last one gives the claim back."""
        if not self._held.remove(claim):
            return
        if (asking := self._asking.get(claim)) is not None and asking.done():
            del self._asking[claim]
        self._release_claim(claim)

    def _release_claim(self, claim: Claim) -> None:
        """Take the claim back in the store; while the store is away, once it is there again.

        What another name of the user looks like, too, stays the user's: whoever respells a name keeps it.
        """
        if claim in self._held:
            return
        user, name = claim
        found = keys_of(name).difference(*map(keys_of, self._held.of(user)))
        if found:
            self._queue(_Wish(claim, "release", sorted(found)))

    def _give_back_later(self, claim: Claim) -> None:
        self._loop.call_later(MOVED, self.give_back, claim)

    async def give_another(self, user: str, names: Iterable[str], rename: Callable[[str], Any]) -> None:
        """Claim the first of the names that is free, and rename the user to it. Raises BusError."""
        for name in names:
            if await self.take((user, name)):
                try:
                    await rename(name)
                finally:
                    self._give_back_later((user, name))  # the workers with connections of the user claim it meanwhile
                return

    async def holders(self, name: str) -> list[str]:
        """The connected users with a name or one that looks alike; a few of many. Raises BusError."""
        wanted = [holders + key for holders in self._holders_of for key in keys_of(name)]
        found = [one.decode().split(" ", 1) for one in await self._calls.call_read(self._holders, wanted, [HOLDERS])]
        if not {incarnation for incarnation, _ in found} <= set(self._lease.live()):
            await self._lease.renew()  # someone new, or someone dead
        live = set(self._lease.live())
        return sorted({user for incarnation, user in found if incarnation in live})

    # ---- the store ---------------------------------------------------------------------------------

    async def _ask(self, claim: Claim, kind: str = "") -> bool:
        """Whether the user has the name now. Who is alive is told only where somebody else has it, too."""
        wish = _Wish(claim, kind or ("guest" if _is_guest(claim) else "chosen"), sorted(keys_of(claim[1])))
        live: list[str] = []
        dead: list[str] = []
        for _ in range(ROUNDS):
            self._send_wishes()  # in the order in which they were made
            reply = await self._calls.call(self._script, self._keys([wish]), self._args([wish], live, dead), again=True)
            _, code, *rest = reply[0] if reply else (1, 1)
            if code != UNDECIDED:
                self._give_up(wish, rest)
                return bool(code == GRANTED)
            live = live or self._lease.live()
            if unknown := {one.decode() for one in rest} - set(live):
                await self._lease.renew()  # someone new, or someone dead
                live = self._lease.live()
                dead = sorted(unknown - set(live))
        raise BusError("who is alive changes too fast")

    def _claim_soon(self, claim: Claim) -> None:
        self._queue(_Wish(claim, "guest" if _is_guest(claim) else "vouched", sorted(keys_of(claim[1]))))

    def _queue(self, wish: _Wish) -> None:
        """Send a wish with the next script."""
        self._wishes.append(wish)
        if len(self._wishes) == TOGETHER:
            self._send_wishes()
        elif self._timer is None:
            wait = self._sent_at + APART - self._loop.time()
            send = self._send_wishes
            self._timer = self._loop.call_later(wait, send) if wait > 0 else self._loop.call_soon(send)

    def _send_wishes(self) -> None:
        """Send what was collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wishes, self._wishes = self._wishes, []
        if not wishes:
            return
        self._sent_at = self._loop.time()

        def done(reply: Any) -> None:
            self._answered(wishes, reply)

        self._calls.send(self._script, self._keys(wishes), self._args(wishes), done, again=True)

    def _keys(self, wishes: list[_Wish]) -> list[str]:
        return [holders + key for wish in wishes for holders in self._holders_of for key in wish.look_alikes]

    def _args(self, wishes: list[_Wish], live: Iterable[str] = (), dead: Iterable[str] = ()) -> list[Argument]:
        live = list(live)
        args: list[Argument] = [self._lease.incarnation, KEEP, len(wishes), len(live)]
        for wish in wishes:
            args += (wish.claim[0], wish.kind, len(wish.look_alikes))
        return [*args, *live, *dead]

    def _answered(self, wishes: list[_Wish], reply: Any) -> None:
        """Take in the reply to a script: an error, or what became of the wishes that were not simply granted."""
        if isinstance(reply, BusError):
            for wish in wishes:
                self._wish_again(wish, reply)
            return
        for number, code, *rest in reply:
            wish = wishes[number - 1]
            if code == UNDECIDED:
                self._tasks.start(self._claim_later(wish.claim, wish.kind), what="a claim to a name")
            elif code == REFUSED:
                self._refused(wish.claim)
            else:
                self._give_up(wish, rest)

    def _wish_again(self, wish: _Wish, why: BusError) -> None:
        if wish.kind == "release":
            logger.debug("a name was not given back, and is again soon: %s", why)
            self._loop.call_later(AGAIN, self._release_claim, wish.claim)
        else:
            self._claim_once_more(wish.claim, why)

    def _give_up(self, wish: _Wish, guests: list[bytes]) -> None:
        """Guests have to give a name up that a user has of right."""
        for guest in guests:
            self.lost(guest.decode(), wish.claim[1])

    async def _claim_later(self, claim: Claim, kind: str) -> None:
        try:
            if not await self._ask(claim, kind):
                self._refused(claim)
        except BusError as error:
            self._claim_once_more(claim, error)

    def _claim_once_more(self, claim: Claim, why: object) -> None:
        logger.debug("a name was not claimed, and is again soon: %s", why)
        self._loop.call_later(AGAIN, lambda: self._claim_soon(claim) if claim in self._held else None)

    def _refused(self, claim: Claim) -> None:
        if claim in self._held:
            self.lost(*claim)

    def _claim_again(self) -> None:
        for claim in self._held:
            self._claim_soon(claim)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH)
            self._claim_again()


def _is_guest(claim: Claim) -> bool:
    return claim[0].startswith(GUEST_PREFIX)
