"""Image features and quantised weights that are kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeptFeatures:
    """The features of one image for one model, on disk; of all images of a prompt where they cannot be told apart.

    ``key`` is a SHA-256 over all that they depend on; ``age_s`` is the time since they were last used.
    """

    key: str
    model: str
    revision: str | None
    dtype: str
    size_bytes: int
    age_s: float


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """All features that are kept on disk, the most recently used first, and how much there may be of them."""

    folder: str
    limit_bytes: int
    entries: tuple[KeptFeatures, ...]

    @property
    def size_bytes(self) -> int:
        """Of all entries."""
        return sum(entry.size_bytes for entry in self.entries)

    def joined(self, other: FeatureCache) -> FeatureCache:
        """Both as one, under this one's folder."""
        entries = sorted(self.entries + other.entries, key=lambda entry: entry.age_s)
        return FeatureCache(self.folder, self.limit_bytes + other.limit_bytes, tuple(entries))


@dataclass(frozen=True, slots=True)
class Cleared:
    """Features that were deleted from the disk, and what is left there: numbers of entries, and their bytes."""

    folder: str
    entries: int
    size_bytes: int
    left: int
    left_bytes: int

    def joined(self, other: Cleared) -> Cleared:
        """What both say, under this one's folder."""
        sums = (self.entries + other.entries, self.size_bytes + other.size_bytes, self.left + other.left)
        return Cleared(self.folder, *sums, self.left_bytes + other.left_bytes)
