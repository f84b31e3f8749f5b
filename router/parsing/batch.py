"""The bodies of one or more requests of one namespace, turned into payloads for the sequencers they touch.

    bodies -> pieces of text (lines/text.py) -> lines and fields by a structural index (router/lineprotocol)
    -> plain lines become rows all at once (lines/plain.py), odd ones one by one (lines/odd.py)
    (where a piece has few lines, lines/few.py reads them one by one, without arrays)
    -> rows are packed for their series' sequencers (lines/matrix.py) and encoded (lines/entries.py)
What comes out is as if each line were parsed, checked and placed alone, in order; a refused line leaves no trace but
its reason, nor does a refused body that is all or nothing. Nothing here is final until the additions are settled: if
the store decides otherwise, the batch is parsed again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from common.entry import PackedRows
from common.values.errors import Unavailable
from common.values.ids import SequencerId
from router.parsing.arrow.reading import ArrowTarget, read_arrow
from router.parsing.draft import NO_TABLES, Draft, NewTables
from router.parsing.lines.entries import encode_entries
from router.parsing.lines.few import FewLines, Forms
from router.parsing.lines.matrix import packed
from router.parsing.lines.piece import Bodies, Piece
from router.parsing.lines.series_cache import SeriesCache
from router.parsing.lines.text import Part
from router.parsing.messages import Body, ParsedBatch, RequestLines
from router.parsing.schemas import KnownSchemas, Schemas

Payloads = dict[SequencerId, list[bytes]]


class BatchParser:
    """Parses batches; remembers series and settled schemas between them. For one thread."""

    def __init__(self, sequencers: int) -> None:
        self._sequencers = sequencers
        self._series = SeriesCache(sequencers)
        self._forms = Forms()
        self._schemas = KnownSchemas()

    def parse(
        self,
        namespace: str,
        bodies: Sequence[Body],
        news: Schemas,
        is_cancelled: Callable[[], bool] = lambda: False,
        refused_tables: Mapping[str, str] = NO_TABLES,
    ) -> ParsedBatch:
        """news: settled schemas that this parser may lack; it keeps them.

        refused_tables: new tables whose lines are refused, with the reason. Raises Unavailable soon after
        `is_cancelled`.
        """
        self._schemas.learn(namespace, news)
        schemas = self._schemas.known(namespace)
        if bodies and bodies[0].table:
            target = ArrowTarget(namespace, schemas, refused_tables, self._sequencers)
            return read_arrow(bodies[0], target, lambda: _check_wanted(is_cancelled))
        batch = _Batch(namespace, schemas, refused_tables, self._series, self._forms, is_cancelled)
        requests = [lines for together in _read_together(bodies) for lines in batch.read(together)]
        return ParsedBatch(batch.payloads, requests, batch.draft.additions, batch.draft.lacking)


def _read_together(bodies: Sequence[Body]) -> Iterator[list[Body]]:
    """Runs of bodies that can be read at once: one that is all or nothing is alone."""
    for alone, run in groupby(bodies, lambda body: body.all_or_nothing):
        if alone:
            yield from ([body] for body in run)
        else:
            yield list(run)


class _Batch:
    """One batch while it is parsed."""

    def __init__(
        self,
        namespace: str,
        schemas: Schemas,
        refused_tables: Mapping[str, str],
        series: SeriesCache,
        forms: Forms,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self.draft = Draft(schemas)
        self.payloads: Payloads = {}
        self._namespace = namespace
        self._schemas = schemas
        self._refused_tables = refused_tables
        self._series = series
        self._forms = forms
        self._is_cancelled = is_cancelled

    def read(self, bodies: Sequence[Body]) -> list[RequestLines]:
        """Read bodies of which none, or the only one, is all or nothing."""
        together = Bodies(bodies, [NewTables(self._schemas, self._refused_tables) for _ in bodies], self._check_wanted)
        mark = self.draft.mark()
        payloads: Payloads = {}
        for parts in together.pieces:
            self._check_wanted()
            for tables in self._read_piece(parts, together):
                for sequencer, rows in tables.items():
                    self._check_wanted()
                    payloads.setdefault(sequencer, []).extend(encode_entries(self._namespace, rows))
        (first, *_) = together.requests
        if bodies[0].all_or_nothing and first.refused_count:
            self.draft.withdraw(mark)
            first.withdraw()
        else:
            for sequencer, more in payloads.items():
                self.payloads.setdefault(sequencer, []).extend(more)
        return together.requests

    def _read_piece(self, parts: Sequence[Part], together: Bodies) -> Iterator[Mapping[SequencerId, list[PackedRows]]]:
        series = self._series.of(self._namespace)
        if self._forms.suit(parts):
            yield FewLines(parts, together, series, self.draft, self._forms).read()
        else:
            piece = Piece(parts, together, series, self.draft)
            yield from packed(piece.read(), piece.columns, series)

    def _check_wanted(self) -> None:
        _check_wanted(self._is_cancelled)


def _check_wanted(is_cancelled: Callable[[], bool]) -> None:
    if is_cancelled():
        raise Unavailable("parsing was given up: nobody waits for these lines any longer")
