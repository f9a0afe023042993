"""What the figures share: colours, the log axis of gaps, and a legend that fits.

Colours are Okabe and Ito's, told apart by colour-blind readers, and a brown; variants also differ
in marker or line style where they share an axis.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999999",
    "#7A3B10",
)
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "h")
# Smaller gaps are drawn here: a log axis down to rounding errors would hide all else.
FLOOR = 1e-3


def log_axis(
    axis: Axes, drawn: Sequence[float], along: str = "y", ticks: Sequence[float] = (1.0, 2.0, 5.0)
) -> None:
    """Log scale of the x or y axis with ticks at these steps of each decade, as plain numbers."""
    top, bottom = max(drawn), max(min(drawn), FLOOR)
    axis.set(**{f"{along}scale": "log"})
    axis.set(**{f"{along}lim": (bottom / 1.3, max(top, 2 * bottom) * 1.3)})
    scale = axis.yaxis if along == "y" else axis.xaxis
    scale.set_major_locator(LogLocator(subs=tuple(ticks), numticks=20))
    scale.set_major_formatter(
        FuncFormatter(lambda value, _: f"≤{value:g}" if value <= FLOOR else f"{value:g}")
    )
    scale.set_minor_formatter(NullFormatter())


def add_legend(figure: Figure, axis: Axes) -> None:
    """One legend under the panels, out of the curves' way, in as few rows as the width allows."""
    handles, labels = axis.get_legend_handles_labels()
    renderer = FigureCanvasAgg(figure).get_renderer()
    for rows in range(1, len(labels) + 1):
        legend = figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=-(-len(labels) // rows),
            frameon=False,
            fontsize=9,
        )
        if rows == len(labels) or legend.get_window_extent(renderer).width < figure.bbox.width:
            return
        legend.remove()
