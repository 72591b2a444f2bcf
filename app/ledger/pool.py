"""The size of a pool of connections."""

from typing import NamedTuple


class Pool(NamedTuple):
    """Connections of one process: how many stay open, and how many there may be at once."""

    kept: int = 4
    most: int = 20

    @property
    def overflow(self) -> int:
        return max(0, self.most - self.kept)


POOL = Pool()
"""Unless the settings say otherwise."""
