"""Arrow IPC streams as clients write them."""

from typing import Any

import pyarrow as pa
import pyarrow.ipc

TAG = pa.dictionary(pa.int32(), pa.utf8())
TIME = pa.timestamp("ns", "UTC")


def stream_of(*parts: pa.Table | pa.RecordBatch, compression: str | None = None, deltas: bool = False) -> bytes:
    """One stream of tables or batches of one schema. compression: of each buffer."""
    options = pa.ipc.IpcWriteOptions(compression=compression, emit_dictionary_deltas=deltas)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, parts[0].schema, options=options) as writer:
        for part in parts:
            writer.write(part)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def rows_of(**columns: Any) -> pa.RecordBatch:
    """A batch of arrays or lists.

    time: in ns, 1, 2, … unless it is given. A list for `h` is of tags, for another column of what pyarrow guesses.
    """
    count = len(next(iter(columns.values())))
    arrays = {"time": pa.array(range(1, count + 1), pa.int64()).view(TIME), **columns}
    if isinstance(arrays.get("h"), list):
        arrays["h"] = pa.array(arrays["h"], pa.utf8()).dictionary_encode()
    return pa.record_batch({name: one if isinstance(one, pa.Array) else pa.array(one) for name, one in arrays.items()})
