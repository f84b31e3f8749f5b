"""`@needs(Trimmable)`: the property speaks of an optional power and is not run where that is not declared."""

import pytest


def needs(*powers: type) -> pytest.MarkDecorator:
    return pytest.mark.needs.with_args(*powers)
