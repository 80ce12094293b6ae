"""Correlations, stacks and stations -> images: arrays in, ``NAME.png`` and ``NAME.txt`` out.

The text file beside an image describes it for readers who cannot see it. If there are more data
than an image can show, its title states the averaging or selection. The same arrays give the
same bytes. Only this package loads matplotlib.
"""

from .availability import availability
from .correlograms import correlogram
from .dvv import velocity_changes
from .overviews import overview, spectrum
from .record_sections import record_section, virtual_shot
from .station_maps import station_map

__all__ = [
    "availability",
    "correlogram",
    "overview",
    "record_section",
    "spectrum",
    "station_map",
    "velocity_changes",
    "virtual_shot",
]
