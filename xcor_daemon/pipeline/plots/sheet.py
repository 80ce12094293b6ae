"""The sheet that every image is drawn on: style, colours, title, and how it is written."""

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
from matplotlib.figure import Figure

SIGNED, SHARE = "RdBu_r", "cividis"  # both read the same to the colour-blind
BLANK = "0.8"  # grey where there is nothing
DARK, ACCENT, SECOND = "0.15", "#0072b2", "#d55e00"
LINE_STYLES = ("-", "--", "-.", ":")
MAX_ROWS = 300  # rows of an image
_COLUMNS = 800  # pixels across an image, about
_STYLE = {
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "figure.dpi": 110,
    "font.size": 10,
    "legend.fontsize": 9,
    "svg.hashsalt": "xcor-daemon",
}


def styled() -> AbstractContextManager[None]:
    """matplotlib's own defaults and ours, whatever the user's matplotlibrc says."""
    return matplotlib.style.context(["default", _STYLE])


def new_figure(size: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_title(axes: Axes, title: str, note: str = "") -> None:
    """The title, and in brackets what was averaged or left out; broken into lines."""
    lines = [line for part in title.splitlines() for line in textwrap.wrap(part, 84)]
    axes.set_title("\n".join([*lines, *(textwrap.wrap(f"({note})", 84) if note else [])]))


def interpolation(n_columns: int) -> str:
    """Sharp cells make small files; many times more columns than pixels must be averaged."""
    return "nearest" if n_columns <= 3 * _COLUMNS else "auto"


def say_nothing(axes: Axes) -> None:
    """An empty image that is meant to be empty."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, "Nothing to show", transform=axes.transAxes, ha="center", va="center")


def edges(lags: np.ndarray) -> tuple[float, float]:
    """Left edge of the first and right edge of the last lag as a pixel (s)."""
    half = (lags[-1] - lags[0]) / max(len(lags) - 1, 1) / 2 or 0.5
    return float(lags[0] - half), float(lags[-1] + half)


def save(figure: Figure, path: Path, title: str, facts: Iterable[str], svg: bool) -> list[Path]:
    """Write the image and its text, each whole or not at all."""
    # No date and no version: the same arrays must give the same bytes.
    written = [
        _write(
            path, ".png", lambda out: figure.savefig(out, format="png", metadata={"Software": None})
        )
    ]
    if svg:
        written.append(
            _write(
                path, ".svg", lambda out: figure.savefig(out, format="svg", metadata={"Date": None})
            )
        )
    text = "\n".join([title, *facts]) + "\n"
    written.append(_write(path, ".txt", lambda out: out.write(text.encode())))
    return written


def _write(path: Path, ending: str, fill: Callable[[io.BytesIO], object]) -> Path:
    out = io.BytesIO()
    fill(out)
    target = path.with_name(
        path.name + ending
    )  # a name such as TA.I02A..BHZ has no suffix to replace
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(out.getvalue())
    return partial.replace(target)
