"""An offset that was asked for, or none.

Where librdkafka's request to the leader failed, its answer to list_offsets has OFFSET_INVALID, -1001, and no error
(rd_kafka_ListOffsets_response_merge drops it). A broker itself says -1: of a time, that no record is that young.
Nothing is known then: neither that the partition is empty, nor that records are lost.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from common.values.ids import Offset

NONE_SO_YOUNG = Offset(-1)


def offset_of(answer: "Future[Any]", read: Callable[[Any], int], least: int = 0) -> "Future[Offset]":
    """What `read` finds in `answer`; below `least` a _TRANSPORT error, which is asked again like any other."""
    offset: Future[Offset] = Future()

    def take(answered: "Future[Any]") -> None:
        if error := answered.exception():
            offset.set_exception(error)
        elif (found := read(answered.result())) < least:
            missing = KafkaError(KafkaError._TRANSPORT, f"the broker gave no offset ({found})")
            offset.set_exception(KafkaException(missing))
        else:
            offset.set_result(Offset(found))

    answer.add_done_callback(take)
    return offset
