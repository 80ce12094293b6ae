"""The figure of every image: style, margins, colours, title, and writing to files.

Margins are given in inches for their contents: matplotlib's own layout engines measure every text
several times, which takes as long as the rendering itself.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from ...atomic_files import write_bytes

SIGNED, SHARE = "RdBu_r", "cividis"  # both suitable for colour-blind readers
BLANK = "0.8"  # grey for missing data
DARK, ACCENT, SECOND = "0.15", "#0072b2", "#d55e00"
LINE_STYLES = ("-", "--", "-.", ":")
MAX_ROWS = 300  # rows of an image
COLOUR_BAR_WIDTH = 1.0  # inches on the right of its axes
_LINE = 0.19  # inches from one line of the title to the next
_COLUMNS = 800  # approximate width of an image in pixels
_STYLE = {
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "figure.dpi": 110,
    "font.size": 10,
    "legend.fontsize": 9,
    "svg.hashsalt": "xcor-daemon",
    # Hinting takes a sixth of the rendering time and makes hardly any difference.
    "text.hinting": "no_hinting",
}


def styled() -> AbstractContextManager[None]:
    """Use matplotlib's defaults and ours, independent of the user's matplotlibrc."""
    return matplotlib.style.context(["default", _STYLE])


def new_figure(
    size: tuple[float, float], left: float = 0.85, right: float = 0.2, bottom: float = 0.55
) -> Figure:
    """A figure of a width and height with margins around its axes, all in inches.

    `write_title` sets the upper margin.
    """
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    width, height = size
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width)
    return figure


def figure_of(axes: Axes) -> Figure:
    """The figure that axes belong to."""
    assert isinstance(axes.figure, Figure)  # there are no subfigures
    return axes.figure


def write_title(axes: Axes, title: str, note: str = "") -> None:
    """Write the title, and a note in brackets on averaged or omitted data; break the lines."""
    lines = [line for part in title.splitlines() for line in textwrap.wrap(part, 84)]
    lines += textwrap.wrap(f"({note})", 84) if note else []
    axes.set_title("\n".join(lines), y=1)  # above the axes, regardless of other artists
    figure = figure_of(axes)
    figure.subplots_adjust(top=1 - (0.15 + _LINE * len(lines)) / figure.get_figheight())


def colour_bar(shown: ScalarMappable, axes: Axes, label: str, extend: str = "neither") -> None:
    """Add a colour bar on the right of the axes, in a margin of COLOUR_BAR_WIDTH."""
    figure = figure_of(axes)
    width = axes.get_position().width * figure.get_figwidth()
    inset = axes.inset_axes((1 + 0.15 / width, 0, 0.2 / width, 1))
    figure.colorbar(shown, cax=inset, label=label, extend=extend)


def interpolation(n_columns: int) -> str:
    """The interpolation for an image: sharp cells make small files, but columns narrower than a
    pixel must be averaged.
    """
    return "nearest" if n_columns <= 3 * _COLUMNS else "auto"


def write_no_data(axes: Axes) -> None:
    """Label axes that are empty because there are no data."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", va="center")


def edges(lags: np.ndarray) -> tuple[float, float]:
    """Left edge of the first and right edge of the last sample of lags (n_lags,), all in s."""
    half = (lags[-1] - lags[0]) / max(len(lags) - 1, 1) / 2 or 0.5
    return float(lags[0] - half), float(lags[-1] + half)


def save(figure: Figure, path: Path, title: str, facts: Iterable[str], svg: bool) -> list[Path]:
    """Write the image and its text file, each atomically."""
    # No date and no version: the same arrays must give the same bytes. The canvas renders once,
    # savefig twice.
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    options = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}}
    written = [_write(path, ".png", lambda out: canvas.print_png(out, **options))]
    if svg:
        written.append(
            _write(
                path, ".svg", lambda out: figure.savefig(out, format="svg", metadata={"Date": None})
            )
        )
    text = "\n".join([title, *facts]) + "\n"
    written.append(_write(path, ".txt", lambda out: out.write(text.encode())))
    return written


def _write(path: Path, ending: str, render: Callable[[io.BytesIO], object]) -> Path:
    out = io.BytesIO()
    render(out)
    target = path.with_name(
        path.name + ending
    )  # a name such as TA.I02A..BHZ has no suffix to replace
    write_bytes(target, out.getvalue(), durable=False)  # flushed with all results of the job
    return target
