"""Variables PENSTOCK_… that no setting reads, found where they look like one that a setting would.

Others are let be: a URL's `env:NAME` may name any variable, and Kubernetes sets PENSTOCK_SERVICE_HOST and others for a
service that is called penstock.
"""

import dataclasses
from collections.abc import Iterable, Iterator

from common.values.config import KINDS, variable

_PREFIX = "PENSTOCK_"
_OF_COMMANDS = frozenset(("PENSTOCK_CONFIG", "PENSTOCK_URL", "PENSTOCK_NAMESPACE"))
_LIKENESS_MIN = 0.85
"""difflib's ratio of the names after their prefix: one letter of three or more is missing, or one too many."""


def misspelt(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Those that look like a known name, which they are not, and that name; in order."""
    unknown = sorted({name for name in names if name.startswith(_PREFIX)} - (known := _known()))
    for name in unknown:
        if nearest := _nearest(name.removeprefix(_PREFIX), [one.removeprefix(_PREFIX) for one in sorted(known)]):
            yield name, _PREFIX + nearest


def _known() -> frozenset[str]:
    return _OF_COMMANDS | {variable(field.name) for kind in KINDS for field in dataclasses.fields(kind)}


def _nearest(name: str, known: list[str]) -> str:
    import difflib

    swapped = [one for one in known if sorted(one) == sorted(name)]
    return next(iter(swapped or difflib.get_close_matches(name, known, n=1, cutoff=_LIKENESS_MIN)), "")
