"""Records that could not be applied and are not in the store yet: the replay offset waits for them."""

from collections import OrderedDict

from common.values.ids import Offset, SequencerId
from ingester.core.events import DeadLetter
from ingester.following.decode import Decoded


class DeadLetters:
    """By offset. bytes: what the waiting records hold in memory."""

    def __init__(self, sequencer: SequencerId) -> None:
        self.bytes = 0
        self._sequencer = sequencer
        self._waiting: OrderedDict[Offset, DeadLetter] = OrderedDict()
        self._failed: set[Offset] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def first_offset(self) -> Offset | None:
        """The least offset that waits; None when none does."""
        return next(iter(self._waiting), None)

    def add(self, record: Decoded, reason: str) -> DeadLetter:
        """Records come in order of offsets."""
        letter = DeadLetter(self._sequencer, record.offset, reason, record.data)
        self._waiting[record.offset] = letter
        self.bytes += len(letter.data)
        return letter

    def kept(self, letter: DeadLetter) -> None:
        """It is in the store."""
        del self._waiting[letter.offset]
        self.bytes -= len(letter.data)

    def failed(self, letter: DeadLetter) -> None:
        self._failed.add(letter.offset)

    def again(self) -> list[DeadLetter]:
        """Those whose put failed; each is returned once for each failure."""
        found = [self._waiting[offset] for offset in sorted(self._failed)]
        self._failed.clear()
        return found
