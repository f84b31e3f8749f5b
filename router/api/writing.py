"""One write over HTTP, through any API: read, handed to the service, timed and counted."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from common.http.app import Handler, InvalidQuery, Request, Response
from common.values.clock import Clock
from common.values.errors import Unavailable
from common.values.ids import Offset, SequencerId
from common.values.namespaces import why_no_namespace
from common.values.token import TOKEN_HEADER, format_token
from router.api.body import BodyReader
from router.api.client_texts import RETRY_AFTER_S
from router.api.joined_lines import with_hint
from router.api.refused import WriteRefused
from router.core.admission import Admission
from router.core.events import WriteRequest
from router.core.outcome import Limited, Outcome, Overloaded, Reason, RequestRefused, Retry
from router.core.rates import ClientRates
from router.metrics import RouterMetrics
from router.parsing.messages import RefusedLine, RequestLines
from router.service import RouterService

DROPPED_HEADER = "X-Penstock-Dropped-Fields"
"""On an answer to lines that were stored without a field: a 204 has no body to say so in."""

PARTIAL_WRITE = "partial write of line protocol occurred"
"""InfluxDB 3's text: its clients show single lines only beside it."""

STATUS_OF = {Reason.INVALID: 400, Reason.NO_LENGTH: 411, Reason.TOO_SLOW: 408}

_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Target:
    """What a write's parameters say, as in WriteRequest."""

    namespace: str
    precision_ns: int
    all_or_nothing: bool = False
    no_sync: bool = False
    table: str = ""


class Writes:
    """Brings requests to the service. `write` raises ClientGone."""

    def __init__(
        self,
        service: RouterService,
        admission: Admission,
        metrics: RouterMetrics,
        clock: Clock,
        *,
        body_bytes_max: int,
        rates: ClientRates,
    ) -> None:
        self._service = service
        self._bodies = BodyReader(admission, body_bytes_max)
        self._rates = rates
        self._metrics = metrics
        self._clock = clock

    def handler(self, target_of: Callable[[Request], Target], render: Callable[[Outcome], Response]) -> Handler:
        """Of one API: `target_of` reads a request's parameters, `render` answers it."""

        async def post(request: Request) -> Response:
            return render(await self.write(request, target_of))

        return post

    async def write(self, request: Request, target_of: Callable[[Request], Target]) -> Outcome:
        """What became of `request`. target_of: reads its parameters, or raises WriteRefused."""
        started_s = self._clock.monotonic_s()
        body_bytes = 0
        try:
            target = target_of(request)
            self._service.check_open()
            self._check_rates(request)
            body = await self._bodies.read(request)
            body_bytes = len(body)
            self._rates.charge_bytes(request.client, body_bytes, self._clock.monotonic_s())
            outcome = with_hint(await self._service.write(_write_request(request, target, body)), body)
        except WriteRefused as refused:
            outcome = refused.outcome
        except InvalidQuery as error:
            outcome = RequestRefused(str(error))
        except Unavailable as error:
            outcome = Retry(error)
        if isinstance(outcome, Overloaded | Limited):
            request.intake.rest(outcome.retry_after_s if isinstance(outcome, Limited) else RETRY_AFTER_S)
        self._metrics.count(outcome, self._clock.monotonic_s() - started_s, body_bytes)
        return outcome

    def _check_rates(self, request: Request) -> None:
        if refusal := self._rates.admit(request.client, self._clock.monotonic_s()):
            retry_after_s, message = refusal
            raise WriteRefused(Limited(message, retry_after_s))


def _write_request(request: Request, target: Target, body: bytes) -> WriteRequest:
    return WriteRequest(
        target.namespace,
        body,
        target.precision_ns,
        _trace_parent(request),
        all_or_nothing=target.all_or_nothing,
        no_sync=target.no_sync,
        client=request.client,
        table=target.table,
    )


def check_namespace(namespace: str, parameter: str) -> str:
    """`namespace`, as given by `parameter`. Raises WriteRefused for an invalid one."""
    if not namespace:
        raise WriteRefused(RequestRefused(f"{parameter} is missing: give ?{parameter}=NAMESPACE"))
    if reason := why_no_namespace(namespace):
        raise WriteRefused(RequestRefused(f"{parameter} {reason}"))
    return namespace


def checked_precision(query: Mapping[str, str], precisions_ns: Mapping[str, int], default: str) -> int:
    """Nanoseconds of the unit that `precision` names. Raises WriteRefused for one that the API does not know."""
    precision = query.get("precision") or default
    if precision not in precisions_ns:
        raise WriteRefused(RequestRefused(f"invalid precision {precision[:40]!r}: use {', '.join(precisions_ns)}"))
    return precisions_ns[precision]


def refusal_headers(reason: Reason) -> Mapping[str, str]:
    """Without a length, or the rest of a body, what follows on the connection may be the body and not a request."""
    return {"Connection": "close"} if reason in (Reason.NO_LENGTH, Reason.TOO_SLOW) else {}


def report_headers(lines: RequestLines, last_offsets: Mapping[SequencerId, Offset]) -> dict[str, str]:
    """What an answer to stored lines says beside its status: the write token, and the fields that were left out."""
    headers = {TOKEN_HEADER: format_token(last_offsets)} if last_offsets else {}
    if lines.dropped_count:
        first = lines.dropped[0]
        headers[DROPPED_HEADER] = (
            f"{lines.dropped_count}; line {first.number}: field '{first.name}' left out, the name is reserved"
        )
    return headers


def refused_lines(lines: RequestLines, text_of: Callable[[RefusedLine], str]) -> list[str]:
    """A text for each refused line that is listed, and how many more there are."""
    listed = [text_of(line) for line in lines.refused]
    if len(listed) < lines.refused_count:
        listed.append(f"and {lines.refused_count - len(listed)} more")
    return listed


def listed_lines(lines: RequestLines) -> list[dict[str, Any]]:
    """The refused lines that are listed, as InfluxDB 3 writes them."""
    return [
        {"error_message": line.reason, "line_number": line.number, "original_line": line.start}
        for line in lines.refused
    ]


def _trace_parent(request: Request) -> str:
    """The W3C trace context, where the request brings a valid one."""
    given = request.headers.get("traceparent", "")
    return given if _TRACE_PARENT.fullmatch(given) else ""
