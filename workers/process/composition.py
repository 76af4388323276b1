"""Builds the parts of a worker, and takes them down in order.

Bus before rooms, rooms before presence, all of them before the first connection; and back.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from chatmaster.contract import Listener
from chatmaster.stats import REFUSALS, Field, WorkerStats
from workers.bus.port import Unavailable
from workers.bus.redis_cluster.cluster_bus import bus_for
from workers.cluster.lease import Lease
from workers.http import metrics
from workers.http.site import Site
from workers.node.bindings import Bindings
from workers.node.node import Node
from workers.presence import Presence
from workers.presence.local_state import GRACE
from workers.process.forked import Forks
from workers.process.handshake_judge import judge_of
from workers.registry import Registry
from workers.room_options import retention
from workers.rooms.hub import Hub
from workers.transport.acceptor import server_context
from workers.transport.config import WEBSOCKET_PATHS, EndpointConfig
from workers.transport.endpoint import API, PLAIN, SECURE, Endpoint

logger = logging.getLogger(__name__)

# Seconds to wait for the store when it is optional: for a replacement worker during an outage.
DEGRADED_AFTER = 1.0
STORE_SHARE = 0.75  # of master.ready_timeout: a worker that gives up before the master can still report why

_PLACES = {status: place for place, status in enumerate(REFUSALS)}
_TRANSPORT_FIELDS = (
    (Field.CONNECTIONS_TOTAL, "connections_total"),
    (Field.MESSAGES_IN, "messages_in"),
    (Field.BYTES_IN, "bytes_in"),
    (Field.BYTES_OUT, "bytes_out"),
    (Field.PROTOCOL_ERRORS, "protocol_errors"),
)


class StoreNotReached(Exception):
    """The store did not answer before the first start's deadline."""


async def build(node: Node) -> None:
    """Connect to the store and build the parts that use it. Raises StoreNotReached if the store is required."""
    launch, settings = node.launch, node.settings
    node.hub = Hub(settings)
    node.bus = bus_for(
        launch.store_url, settings, node.hub, retention=retention(settings), on_deaf=node.request_replacement
    )
    node.hub.bind(node.bus)
    node.hub.find = node.connections.get
    node.bus.start()
    node.hub.start()
    node.lease = Lease(node.bus, settings.master.name, launch.incarnation)
    node.lease.store_changed = node.hub.losses.store_changed
    # Leaving a program's room counts at once; in the chat a user who reloads the page stays present.
    grace = GRACE if node.worker.application is not None else 0.0
    node.presence = Presence(node.bus, node.lease, settings, node.on_presence_change, grace=grace)
    node.registry = Registry(node.bus, node.lease, settings)
    node.bindings = Bindings(node.hub, node.presence, node.registry, connections=node.connections, moving=node.moving)
    node.hub.on_note = node.on_note
    node.hub.on_subscribed = node.presence.resubscribed
    try:
        patience = STORE_SHARE * settings.master.ready_timeout if launch.store_required else DEGRADED_AFTER
        await node.bus.ready(patience)
    except Unavailable as error:
        if launch.store_required:
            raise StoreNotReached(f"the store cannot be reached: {error}") from error
        logger.warning("the store cannot be reached: this worker starts without it and connects when it is back")
    await node.backend.prepare()
    await node.lease.start()
    await node.presence.start()
    await node.registry.start()
    for process in launch.orphans:
        node.lease.mark_lost(process)
    await node.presence.succeed(launch.orphans)


async def close(node: Node) -> None:
    """Take down everything that `build` built."""
    for endpoint in node.endpoints:
        endpoint.close()
    await node.tasks.cancel()
    await node.registry.stop()
    await node.presence.stop()
    await node.lease.stop(after=node.presence.grace_left)
    await node.hub.stop()
    await node.bus.stop()
    await node.backend.close()


def copy_counters(node: Node, row: WorkerStats) -> None:
    """Write the counters of every part into the worker's row."""
    if hasattr(node, "bus"):
        node.bus.copy_to(row)
        node.hub.tally.copy_to(row)
        row[Field.ROOMS] = node.hub.rooms.occupied()
    row[Field.CONNECTIONS] = len(node.connections)
    row[Field.USERS] = node.registry.users if hasattr(node, "registry") else 0
    row[Field.TASKS] = len(asyncio.all_tasks(node.loop))
    for field, name in _TRANSPORT_FIELDS:
        row[field] = sum(getattr(endpoint.shared.counts, name) for endpoint in node.endpoints)
    row[Field.BYTES_OUT] += node.hub.tally.bytes_out if hasattr(node, "hub") else 0
    if node.endpoints:
        _copy_transport(node, row)
    node.counters.copy_to(row)
    row[Field.CALLBACK_ERRORS] += node.backend.failures + sum(
        endpoint.shared.counts.callback_errors for endpoint in node.endpoints
    )


def _copy_transport(node: Node, row: WorkerStats) -> None:
    descriptors = node.endpoints[0].shared.descriptors  # one budget for all endpoints
    row[Field.ACCEPT_PAUSES], row[Field.ACCEPT_PAUSED] = descriptors.pauses, descriptors.paused_at
    row[Field.DESCRIPTORS], row[Field.DESCRIPTORS_LIMIT] = descriptors.before + descriptors.used, descriptors.file_limit
    counts = [0] * len(REFUSALS)
    for endpoint in node.endpoints:
        for status, count in endpoint.shared.counts.refused.items():
            counts[_PLACES.get(status, _PLACES[0])] += count
    for place, count in enumerate(counts):
        row[Field.REFUSED + place] = count
    row[Field.HANDSHAKE_FAILURES] = sum(counts)


# ---- accepting -----------------------------------------------------------------------------------------


async def listen(node: Node, forks: Forks) -> None:
    """Accept on every listener from the master."""
    for listener in node.launch.listeners:
        await adopt(node, listener, forks)


async def adopt(node: Node, listener: Listener, forks: Forks) -> None:
    """Accept on one more listener, with the endpoint that serves its kind of address."""
    forks.adopt(listener.sock)
    kind = SECURE if listener.address.startswith("wss://") else PLAIN
    if listener.address == node.settings.api.address:
        kind = API
    endpoint = next((one for one in node.endpoints if one.kind == kind), None)
    if endpoint is None:
        endpoint = _endpoint(node, kind)
        node.endpoints.append(endpoint)
        node.bus.hold_back(endpoint.shared.poller)
    await endpoint.listen(listener.sock)


def _endpoint(node: Node, kind: str) -> Endpoint:
    application, settings = node.application, node.settings
    config = EndpointConfig.of(
        settings,
        binary=application.binary,
        subprotocols=application.subprotocols,
        paths=frozenset() if kind == API else _websocket_paths(node),
        message_size=application.frame_size(settings.limits.message_size),
        max_send_buffer=node.worker.max_send_buffer,
        keep_headers=_kept_headers(node),
    )
    tls = server_context(settings.server.tls_cert, settings.server.tls_key) if kind == SECURE else None
    site = _api_site(node) if kind == API else _http(node)
    if not node.endpoints:
        return Endpoint(config, node, site, tls=tls, kind=kind, judge=judge_of(node), answers=node.hub.answers)
    first = node.endpoints[0]  # one budget of descriptors for all of a worker's endpoints, and one account of addresses
    return Endpoint(
        config,
        node,
        site,
        tls=tls,
        kind=kind,
        judge=judge_of(node),
        descriptors=first.shared.descriptors,
        peers=first.shared.peers,
        refusals=first.shared.refusals,
        answers=first.shared.answers,
    )


def _kept_headers(node: Node) -> tuple[str, ...]:
    """What connections keep of the handshake: what the program names, and what the hook hello passes on."""
    hooks = node.settings.hooks
    passed = [sys.intern(name.lower()) for name in hooks.headers] if hooks.hello and node.worker.is_chat else []
    return tuple(dict.fromkeys([*node.worker.keep_headers, *passed]))


def _websocket_paths(node: Node) -> frozenset[str] | None:
    if not node.worker.serves_websockets:
        return frozenset()
    return None if node.application.any_path else WEBSOCKET_PATHS


def _http(node: Node) -> Site:
    """Build the site that answers plain HTTP: the application's page and the operator's paths."""
    table = node.launch.stats.table
    page, script, parts = node.application.page()
    return Site(
        page=page if node.settings.http.page else None,
        script=script,
        parts=parts if node.settings.http.page else {},
        ready=lambda: _why_not_ready(node),
        drained=lambda: node.why_not_welcome(),
        metrics=(lambda: metrics.render(table)) if node.settings.http.metrics else None,
        metrics_for_all=node.settings.http.metrics == "public",
        program=node.worker.http,
        state=node.http_state,
        routes=node.routes,
    )


def _api_site(node: Node) -> Site:
    """Build the site of `api.listen`: the verbs and the operator's paths."""
    table = node.launch.stats.table
    return Site(
        ready=lambda: _why_not_ready(node),
        metrics=(lambda: metrics.render(table)) if node.settings.http.metrics else None,
        metrics_for_all=node.settings.http.metrics == "public",
        routes=node.api_routes,
    )


def _why_not_ready(node: Node) -> str | None:
    if node.bus.state == "ready":
        return None
    if node.bus.why:
        return node.bus.why
    age = node.bus.probe_age
    since = "nothing has come back from it yet" if age == float("inf") else f"last round trip {age:.1f} s ago"
    return f"the store is {node.bus.state}: {since}"
