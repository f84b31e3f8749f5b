"""The fuzzer's inputs, without the fuzzer: those of the corpus are parsed as the model says in every run."""

from pathlib import Path

import pytest

from tests.fuzz.inputs import batch_of, bytes_of, check_input

CORPUS = sorted((Path(__file__).parent / "corpus" / "line_protocol").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=[path.name for path in CORPUS])
def test_an_input_of_the_corpus_is_parsed_as_the_model_says(path: Path) -> None:
    """Each was made by hand, or found by the fuzzer as the first to reach some code, or made a difference once."""
    check_input(path.read_bytes())


def test_an_input_stands_for_bodies_and_options() -> None:
    """What is written as an input is read as the same bodies; every byte of options means some."""
    assert [body.data for body in batch_of(bytes_of([b"a", b"", b"b\n"])).bodies] == [b"a", b"", b"b\n"]
    assert [body.data for body in batch_of(b"").bodies] == [b""]
    for options in range(256):
        check_input(bytes_of([b"t float=1,integer=2i 5\nt,tag=x f=1", b"u f=1\nbad", b"t f=t\nu f=2 6"], options))
