"""Names, counts and other text, as a message shows them."""

CHARS_MAX = 40


def shown(text: bytes | str) -> str:
    """The start of `text` in quotes. A backslash is shown as it was written, not doubled; what cannot be printed is
    escaped."""
    plain = text[: 5 * CHARS_MAX].decode(errors="replace") if isinstance(text, bytes) else text
    plain = plain if len(plain) <= CHARS_MAX else plain[:CHARS_MAX] + "…"
    return f"'{plain}'" if plain.isprintable() else repr(plain)


def counted(count: int, one: str, many: str = "") -> str:
    """`count` of what is called `one`: "1 row", "2 rows", "1,000 rows". many: where it is not `one` with an s."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {many or f'{one}s'}"
