"""The operating system's limit of open files, which is one of connections too.

Its soft limit is 1,024 on most systems, for programs that use select(); its hard limit is far above. At the limit a
server accepts no connection, and a log may not open its next segment.
"""

import resource

_OTHER_FILES = 256
"""Logs, segments, pipes to workers, connections to stores and brokers."""


def connections_possible(wanted: int) -> int:
    """How many of `wanted` connections this process may have open beside its files, after raising its soft limit."""
    files = wanted + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    possible = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft - _OTHER_FILES)
    return max(1, possible)
