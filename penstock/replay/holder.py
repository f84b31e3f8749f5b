"""Who commits what a replay made: the sequencer's running ingester, or, where none runs, this process."""

import http.client
import json
import os
import secrets
import socket
from typing import Any, Protocol

from common.catalog.manifest import manifest
from common.catalog.manifest.change import Change, Instance
from common.catalog.manifest.state import ManifestState
from common.catalog.manifest.swap import Swap
from common.store.objects import ObjectStore, run
from common.values.addresses import Address
from common.values.errors import Unavailable
from common.values.ids import SequencerId
from ingester.following.claim import claim
from writebuffer.contract import Reader

TIMEOUT_S = 60.0


class Refused(Exception):
    """The partition has other files by now: make the swap again from the newer state."""


class Holder(Protocol):
    """state: the newest one known; files are made from it, under its epoch."""

    state: ManifestState

    def commit(self, swap: Swap) -> None:
        """Durable at return, and in `state`. Raises Refused, with `state` newer; Unavailable; Fenced."""
        ...


def find_holder(reader: Reader, store: ObjectStore, sequencer: SequencerId) -> Holder:
    """Claims the sequencer where nothing listens at its ingester's address any more.

    Raises Unavailable where that cannot be told: the address is out of reach, or what answers is no ingester of it.
    """
    state = run(manifest.load(sequencer), store)
    if not state.http_address:
        return _Claimed(reader, store, state)
    try:
        status, answer = _ask(state, "GET", "/status", None, timeout_s=5.0)
    except ConnectionRefusedError:
        return _Claimed(reader, store, state)
    except OSError as error:
        raise _unreachable(state, str(error) or type(error).__name__) from None
    if status != 200 or answer.get("sequencer") != sequencer:
        return _Claimed(reader, store, state)  # its port was reused
    if "epoch" not in answer:
        raise _unreachable(state, "it has not claimed its sequencer yet")
    return _Live(store, state)


class _Live:
    """An ingester runs: it names the files."""

    def __init__(self, store: ObjectStore, state: ManifestState) -> None:
        self.state = state
        self._store = store

    def commit(self, swap: Swap) -> None:
        try:
            status, answer = _ask(self.state, "POST", "/swap", swap.to_json(), TIMEOUT_S)
        except OSError as error:
            raise _unreachable(self.state, str(error) or type(error).__name__) from None
        self.state = run(manifest.newer(self.state), self._store)
        if status == 409:
            raise Refused(answer.get("message", ""))
        if status != 200:
            raise _unreachable(self.state, answer.get("message", f"it answered {status}"))


class _Claimed:
    """None runs: this process claims the sequencer, and an ingester that starts claims it again."""

    def __init__(self, reader: Reader, store: ObjectStore, state: ManifestState) -> None:
        name = f"{socket.gethostname()}-{os.getpid()}-replay"
        claimant = Instance(name, state.instance.http_address, state.instance.flight_address)
        self.state = claim(reader, store, state.sequencer, claimant, accept_loss=False).state
        self._store = store

    def commit(self, swap: Swap) -> None:
        if refusal := swap.refusal(self.state):
            raise Refused(refusal)
        change = swap.added_to(Change(self.state.as_of), self.state)
        self.state = run(manifest.commit(self.state, change, secrets.token_hex(16)), self._store)


def _ask(state: ManifestState, method: str, path: str, values: Any, timeout_s: float) -> tuple[int, dict[str, Any]]:
    """Status and JSON. Raises OSError; what is no HTTP counts as status 0."""
    address = Address.parse(state.http_address)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
    try:
        body = None if values is None else json.dumps(values).encode()
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        found = json.loads(response.read())
        return response.status, found if isinstance(found, dict) else {}
    except (http.client.HTTPException, ValueError):
        return 0, {}
    finally:
        connection.close()


def _unreachable(state: ManifestState, why: str) -> Unavailable:
    return Unavailable(
        f"sequencer {state.sequencer}: its ingester at {state.http_address} did not say that it named the files of "
        f"this replay: {why}. Run this again once `penstock status` shows it live, or with the ingester stopped",
        sequencer=state.sequencer,
        written="unknown",
    )
