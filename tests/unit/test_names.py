"""Path components: no name leaves its folder, collides with another, or is skipped by a reader of folders."""

from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from common.catalog.paths import COMPONENT_BYTES_MAX, path_component

NAMES = st.text(st.characters(codec=None, exclude_categories=()), max_size=120)
"""Any text, lone surrogates included."""

KIN = st.text("aAbB!-_./\\% 2e\x00é", max_size=6)
"""Names that are close together, so that a collision has a chance."""


@given(KIN | NAMES, KIN | NAMES)
@example("A", "a")
@example("!41", "A")
@example("", "!")
@example("é", "\udcc3\udca9")
@example("x" * 201, "x" * 202)
def test_distinct_names_never_meet(one: str, other: str) -> None:
    """Injective, also on a file system that ignores case."""
    assume(one != other)
    assert path_component(one).casefold() != path_component(other).casefold()


@given(NAMES)
@example("../../etc")
@example("..")
@example("/")
@example("_hidden")
@example(".hidden")
@example("\x00")
@example("Ω" * 300)
def test_a_component_stays_in_its_folder_and_in_sight(name: str) -> None:
    """One component: no separator, no dot or underscore in front, ASCII, never empty, never too long."""
    component = path_component(name)
    assert component.isascii()
    assert component.isprintable()
    assert component == component.lower()
    assert not set(component) & set('/\\:*?"<>|%= ')
    assert component[0] not in "._"
    assert 0 < len(component) <= COMPONENT_BYTES_MAX


@given(st.text("abcxyz0189-", min_size=1, max_size=COMPONENT_BYTES_MAX))
def test_plain_names_are_kept(name: str) -> None:
    """People find their tables: what is safe already is not changed."""
    assert path_component(name) == name


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("cpu", "cpu"),
        ("disk.io_v2-total", "disk.io_v2-total"),
        ("CPU", "!43!50!55"),
        ("_internal", "!5finternal"),
        (".hidden", "!2ehidden"),
        ("../../etc", "!2e.!2f..!2fetc"),
        ("naïve", "na!c3!afve"),
        ("", "!"),
        ("a" * 201, "a" * 166 + "!-2bd1564e4ef42f5d5f33784f15d7c033"),
    ],
)
def test_the_escaping_is_the_one_of_existing_folders(name: str, component: str) -> None:
    """A change here would lose the files of every existing store."""
    assert path_component(name) == component


def test_the_longest_component_fits_a_file_system(tmp_path: Path) -> None:
    """A folder can really be made for a name of any length."""
    (tmp_path / path_component("Ω" * 10_000)).mkdir()
