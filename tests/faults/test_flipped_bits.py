"""Every single bit of a log's files flipped: reported, or harmless; never wrong data, never a silent cut."""

from collections import Counter

from common.values.errors import PenstockError
from tests.support.crash_disk import CrashDisk
from tests.support.crash_model import Content, Folder, Image, files
from tests.support.figures import record_figure
from tests.support.file_log import OneLog
from writebuffer.record import Record, RecordHeaders

SEGMENT_BYTES = 250
RECORDS = [Record.of(RecordHeaders("", "", bytes(16), number, number), b"%d" % number) for number in range(3)]


def small_log() -> Image:
    """Three records in two segments, closed: with indexes, horizon and buffer.json beside them."""
    log = OneLog(SEGMENT_BYTES)
    writer = log.open()
    writer.commit(RECORDS[:2])
    writer.commit(RECORDS[2:])
    writer.close()
    assert len(log.segments()) == 2
    return log.disk.image()


def flipped(image: Image, path: str, bit: int) -> Folder:
    root = image.left([choice.versions - 1 for choice in image.choices])
    content = dict(files(root))[path]
    assert isinstance(content, Content)
    content.now[bit // 8] ^= 1 << bit % 8
    return root


def read(log: OneLog) -> list[Record]:
    """All there is, from each offset on; raises what a reader gets."""
    reader = log.backend.open_reader()
    cursor = reader.cursor(0)
    end = log.offsets()[1]
    found: list[Record] = []
    while len(found) < end:
        found += [one.record for one in cursor.poll(10, 2**20, 0).records]
        assert found == RECORDS[: len(found)]
    for offset in range(end - 1, -1, -1):
        cursor.seek(offset)
        assert cursor.poll(1, 2**20, 0).records[0].record == found[offset]
    cursor.seek_to_time(2)
    assert cursor.poll(1, 2**20, 0).next_offset == end
    return found


def what_readers_get(log: OneLog) -> str:
    """Checks what they are given."""
    try:
        found = read(log)
    except PenstockError:
        return "reported"
    return "whole" if len(found) == 3 else "not all proven yet"


def what_a_writer_gets(log: OneLog) -> str:
    """Checks that nothing was cut."""
    try:
        log.backend.create(1)
        log.open().close()
    except PenstockError:
        return "reported"
    assert read(log) == RECORDS
    return "whole"


def outcomes(kind: str) -> Counter[str]:
    """What readers, and a writer after them, get for every bit of the files of a kind: how often."""
    image = small_log()
    root = image.still_running()
    counted: Counter[str] = Counter()
    for path, content in files(root):
        if content is None or not path.endswith(kind):
            continue
        for bit in range(len(content.now) * 8):
            log = OneLog(SEGMENT_BYTES, CrashDisk(flipped(image, path, bit)))
            counted[f"{what_readers_get(log)}, {what_a_writer_gets(log)}"] += 1
    assert counted
    record_figure(f"bits of {kind} flipped: {sum(counted.values())} (readers, writer: {dict(counted)})")
    return counted


def test_a_flipped_bit_of_a_segment_is_reported_to_readers_and_at_opening() -> None:
    """Every bit of a segment is covered by a checksum, and everything in it is below the durable end."""
    assert set(outcomes(".log")) == {"reported, reported"}


def test_a_flipped_bit_of_an_index_changes_nothing() -> None:
    """Indexes are advisory."""
    assert set(outcomes(".idx")) == {"whole, whole"}


def test_a_flipped_bit_of_the_horizon_cuts_nothing() -> None:
    """Readers go by the segments' own proof until the writer opens the log, which proves the newest batch again."""
    assert set(outcomes("horizon")) == {"not all proven yet, whole"}


def test_a_flipped_bit_of_buffer_json_is_reported_or_harmless() -> None:
    """Another number of sequencers, another identity, no JSON: each is an error; an upper-case digit is none."""
    assert set(outcomes("buffer.json")) <= {"reported, reported", "whole, whole", "whole, reported"}
