"""The page for people: every figure in it, nothing in it that could be read as markup."""

from common.http.status_page import status_page


def test_figures_are_shown_readably_and_escaped() -> None:
    """Counts have separators, a pid has none, nested figures get a row each, and text stays text."""
    page = status_page(
        "penstock <x>", {"pid": 12345, "rows_buffered": 12345, "accounts": {"dead": 0}, "a": "<b>", "up": True}
    )
    assert "penstock &lt;x&gt;" in page
    assert "<td>pid</td><td>12345</td>" in page
    assert "<td>rows buffered</td><td>12,345</td>" in page
    assert "<td>accounts dead</td><td>0</td>" in page
    assert "&lt;b&gt;" in page
    assert "<td>up</td><td>yes</td>" in page
