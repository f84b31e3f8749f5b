"""Bodies as clients compress them."""

import pyarrow as pa


def zstd(data: bytes) -> bytes:
    """One frame, written as a stream: it does not say its size."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    frame: bytes = sink.getvalue().to_pybytes()
    return frame
