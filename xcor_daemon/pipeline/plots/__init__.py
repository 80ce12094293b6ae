"""Correlations, stacks and stations -> images: arrays in, ``NAME.png`` and ``NAME.txt`` out.

The text file beside an image says what it shows, for those who do not see it. Where there is more
than an image can hold, its title says what was averaged or left out. The same arrays give the
same bytes. This is the only room that loads matplotlib.
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
