"""How much of the log is kept: whatever comes, what nobody needs can be trimmed."""

from tests.scenarios.scenario import play


def test_a_poison_record_is_passed_once_it_is_kept() -> None:
    """Until its dead letter is in the store the log keeps it, also over a crash; the rows around it do not wait."""
    play("""
        write cpu@0, poison cpu@1, write cpu@2, poll, expect letters 1
        cut cpu, persist, commit, expect replay-offset 1, trim, expect log 2
        fail dead-letter, letter, crash, poll, expect letters 1, expect durable 1, expect dead 1
        letter, tick, tick 61, settle, expect replay-offset 3, trim, expect log 0
    """)


def test_a_stream_of_nothing_but_poison_still_trims() -> None:
    """No file is ever made; the replay offset follows, and with it the log."""
    play("""
        30 times poison cpu@{n}, poll, settle, tick 61, settle, trim, expect log at most 1
        expect log 0, expect dead 30, expect files 0
    """)


def test_one_tiny_warm_partition_beside_a_torrent_keeps_the_log_bounded() -> None:
    """It gets a row now and then, so that it is never cold; it is persisted for the log's sake."""
    play(
        """
        30 times write cpu@{n} at={n}, write slow@{n} at={n}, write cpu@{n}/b at={n}, poll, tick, settle, trim
        expect log at most 25
        10 times write cpu@{n} at=1{n}, poll, tick, settle, trim, expect log at most 25
        """,
        log_records_max=20,
    )


def test_the_log_is_bounded_while_nothing_can_be_persisted() -> None:
    """The store takes no file: polling pauses at twice the limit, and goes on by itself."""
    play(
        """
        50 times write cpu@{n}
        fail data 3, poll 30, tick, expect jobs 1, expect paused yes, persist, expect paused yes
        follow 5, expect applied 50, expect paused no
        """,
        log_records_max=10,
    )
