"""A store with some persisted partitions, and the check of it, for tests of fsck and gc."""

import io
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from common.catalog.cluster import Cluster
from common.catalog.manifest.change import StoredFile
from common.catalog.paths import CLUSTER, data_file
from common.store.objects import ObjectStore
from common.values.ids import Epoch, Offset, SequencerId
from penstock.fsck.check import Options, SequencerReport, check
from penstock.fsck.finding import Finding, Kind
from tests.support.dict_store import DictStore
from tests.support.ingester_rig import SECOND_NS, SEQUENCER, IngesterRig
from tests.support.records import DAY0_NS, row

DAY_SECONDS = 86_400
HOUR_S = 3600.0


def a_persisted_rig(store: ObjectStore | None = None) -> IngesterRig:
    """Three records in two partitions, one row of them overwritten, one repeated; all of it is persisted."""
    rig = IngesterRig(store=store)
    rig.store.put(CLUSTER, Cluster("id", SEQUENCER + 1).to_json())
    rig.append({"cpu": [row(DAY0_NS + second, host, v=1.0, w=second) for second in range(5) for host in "ab"]})
    rig.append({"cpu": [row(DAY0_NS, "a", v=2.0), row(DAY0_NS + DAY_SECONDS * SECOND_NS, "a", v=3.0)]})
    rig.again(0)
    rig.poll()
    rig.go_cold()
    return rig


@dataclass
class Watched:
    """What a check reported while it ran."""

    expected: int = 0
    read_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    def expect(self, size_bytes: int) -> None:
        self.expected += size_bytes

    def read(self, size_bytes: int) -> None:
        self.read_bytes += size_bytes

    def found(self, finding: Finding) -> None:
        self.findings.append(finding)


def checked(rig: IngesterRig, deep: bool = False, age_s: float = 0.0, grace_s: float = HOUR_S) -> SequencerReport:
    """The check, `age_s` after the last put."""
    store: DictStore = rig.store
    watched = Watched()
    options = Options(deep, grace_s, store.now_ns + round(age_s * SECOND_NS))
    report = check(SEQUENCER, store, options, watched)
    assert watched.findings == report.findings
    assert watched.read_bytes == watched.expected == report.bytes
    return report


def deep_findings(store: ObjectStore, sequencers: int, now_ns: int) -> list[Finding]:
    """What the deep check of all sequencers finds."""
    options = Options(True, HOUR_S, now_ns)
    reports = [check(SequencerId(number), store, options, Watched()) for number in range(sequencers)]
    return [found for report in reports for found in report.findings]


def hold_clean(store: ObjectStore, sequencers: int, now_ns: int) -> list[SequencerReport]:
    """The deep check of all sequencers finds nothing but young files; the reports."""
    options = Options(True, HOUR_S, now_ns)
    reports = [check(SequencerId(number), store, options, Watched()) for number in range(sequencers)]
    wrong = [str(found) for report in reports for found in report.findings if found.kind is not Kind.WAITING]
    assert not wrong, wrong
    return reports


def kinds(report: SequencerReport) -> list[str]:
    """The kinds of what was found, in order."""
    return [found.kind.value for found in report.findings]


def a_file_of(rig: IngesterRig, at: int = 0) -> StoredFile:
    return list(rig.core.state.files.values())[at]


def put_unnamed(rig: IngesterRig, epoch: int, first: int = 0, last: int = 0, job: int = 99) -> str:
    """A data file that no record names; its path."""
    folder = a_file_of(rig).partition.folder
    path = data_file(folder, SEQUENCER, Epoch(epoch), Offset(first), Offset(last), job, 0)
    rig.store.put(path, b"PAR1")
    return path


def pages(data: bytes, column: int) -> range:
    """Where in a Parquet file the pages of a column of the first row group are, headers included."""
    chunk = pq.read_metadata(io.BytesIO(data)).row_group(0).column(column)
    start = min(filter(None, [chunk.data_page_offset, chunk.dictionary_page_offset or 0]))
    return range(start, start + chunk.total_compressed_size)


def flipped(data: bytes, position: int) -> bytes:
    """With another bit at that position."""
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def flipped_in_page(data: bytes, column: int = 0) -> bytes:
    """With another bit at the end of that column's values."""
    return flipped(data, pages(data, column)[-1])
