"""Several sources as one: each channel from the source that stations.csv names for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ...errors import NoDataError
from ...request.stations import Channel
from ..datatypes import Metadata, Samples, Source


class MultiSource:
    """Channels with a ``DataCenter`` come from the source of that name, others from ``default``."""

    def __init__(self, default: Source, others: Mapping[str, Source]) -> None:
        self.default = default
        self.others = dict(others)
        self.name = default.name

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """Coordinates and responses, each from the channel's own source."""
        epochs = {}
        for source, some in self._by_source(channels):
            epochs.update(source.metadata(some, response).epochs)
        return Metadata(epochs)

    def fetch(
        self, channels: Iterable[Channel], start: int, end: int
    ) -> Iterator[tuple[Channel, Samples | NoDataError]]:
        """Samples of each channel in [start, end) (ns since 1970), or the reason for none."""
        for source, some in self._by_source(channels):
            yield from source.fetch(some, start, end)

    def _by_source(self, channels: Iterable[Channel]) -> Iterator[tuple[Source, list[Channel]]]:
        groups: dict[str, list[Channel]] = {}
        for channel in channels:
            groups.setdefault(channel.data_center, []).append(channel)
        for name, some in groups.items():
            yield self.others.get(name, self.default), some
