"""The commit log: the write buffer on a local disk, written by one process and tailed by many.

<root>/buffer.json                                     format, number of sequencers, buffer id (buffer_json.py)
<root>/<sequencer:03>/<base:020>-<epoch:08>.log        segments of batches (format.py, segment.py)
<root>/<sequencer:03>/horizon                          the durable end, for readers in other processes (horizon.py)
<root>/<sequencer:03>/lock                             held by the one writer for life

Invariant: an offset is acknowledged, or returned by a reader, only once its bytes are proven durable.
The reading rule is in walk.py, what a cursor makes of it in history.py, what opening for writing does in
recovery.py; docs/formats/log.md has every byte.
"""

from writebuffer.file.backend import FileBackend

__all__ = ["FileBackend"]
