"""How many bytes of bodies this router holds at once; over the bound, clients are asked to come back."""


class Admission:
    """Counts bytes from the first one read of a body to the resolution of its last append."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes_held = 0

    def admit(self, count: int) -> bool:
        """Take `count` more bytes, if they fit."""
        if self.bytes_held + count > self.bytes_max:
            return False
        self.bytes_held += count
        return True

    def release(self, count: int) -> None:
        assert 0 <= count <= self.bytes_held, f"release of {count} bytes, {self.bytes_held} held"
        self.bytes_held -= count

    @property
    def refusal(self) -> str:
        return f"{self.bytes_held} bytes of writes are in flight, the limit is {self.bytes_max}: send again later"
