"""The figure of the ratio by timestep, and the common style of figures."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from training.validation.ratio import Estimate, RunRatio
from training.validation.validate import Validation

# Okabe and Ito's colour-blind safe palette; markers distinguish lines in greyscale.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#666666"
SMALL, _TEXT, _TITLE = 9, 10, 12


@dataclass(frozen=True)
class Look:
    """Colour and marker of a run."""

    colour: str
    marker: str

    @classmethod
    def of(cls, number: int) -> "Look":
        """The look of a run by its number; markers shift when colours repeat."""
        return cls(_COLOURS[number % len(_COLOURS)], _MARKERS[(number + number // len(_COLOURS)) % len(_MARKERS)])


def new_figure(height: float) -> Figure:
    """An empty figure of the usual width, ``height`` in inches."""
    return Figure(figsize=(7.2, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))


def png(figure: Figure) -> bytes:
    """A figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=160)
    return stream.getvalue()


def tidy(axes: Axes, x: str, y: str) -> None:
    """Label the axes and remove decoration."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=GREY, labelsize=SMALL)
    axes.set_xlabel(x, fontsize=_TEXT)
    axes.set_ylabel(y, fontsize=_TEXT)


def entitle(axes: Axes, title: str, below: str) -> None:
    """A title over the top panel, and a subtitle."""
    axes.set_title(below, fontsize=SMALL, color=GREY, loc="left", x=0, pad=10)
    axes.figure.suptitle(title, fontsize=_TITLE, fontweight="bold", x=0.01, ha="left")


def label(name: str, most: int = 48) -> str:
    """A run's name as a label: shortened to its end, and escaped for matplotlib."""
    shown = name if len(name) <= most else f"...{name[3 - most :]}"
    plain = shown.replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain  # matplotlib leaves labels with a leading _ out of legends


def name_runs(axes: Axes) -> None:
    """The legend."""
    axes.legend(frameon=False, fontsize=_TEXT, loc="best", labelspacing=0.3)


def ratio_figure(found: Validation) -> bytes:
    """Ratios above and, for several runs, differences to the first run below; bands are 95 % intervals. PNG."""
    several = len(found.runs) > 1
    figure = new_figure(5.8 if several else 4.2)
    shares = (3, 1.4) if several else (1,)
    panels = figure.subplots(len(shares), 1, sharex=True, squeeze=False, height_ratios=shares)[:, 0]
    left_out = f" ({found.clips_without_mask} without motion left out)" if found.clips_without_mask else ""
    entitle(
        panels[0],
        f"Error of the {found.prediction}-prediction in moving regions, relative to overall",
        f"{found.clips:,} held-out clips{left_out}; mask: heatmap > {found.options.threshold:g}; bands: 95 % intervals",
    )
    for number, run in enumerate(found.runs):
        _line(panels[0], run, [losses.ratio for losses in run.by_timestep], Look.of(number))
        if number:
            _line(panels[1], run, [losses.difference for losses in run.by_timestep], Look.of(number))
    x = "timestep of the noise schedule (0: clean)"
    tidy(panels[0], "" if several else x, "loss in mask / loss overall")
    panels[0].axhline(1, color=GREY, linewidth=0.8, linestyle=(0, (4, 4)), zorder=0)
    name_runs(panels[0])
    if several:
        tidy(panels[1], x, "difference")
        panels[1].set_title(f"minus {label(found.runs[0].name)}", fontsize=SMALL, color=GREY, loc="left", x=0)
        panels[1].axhline(0, color=Look.of(0).colour, linewidth=1.6, zorder=0)
        panels[1].yaxis.set_major_locator(MaxNLocator(4))
        figure.align_ylabels(panels)
    return png(figure)


def _line(axes: Axes, run: RunRatio, values: Sequence[Estimate], look: Look) -> None:
    steps = [losses.timestep for losses in run.by_timestep]
    low, high = [value.low for value in values], [value.high for value in values]
    axes.fill_between(steps, low, high, color=look.colour, alpha=0.16, linewidth=0)
    middle = [value.value for value in values]
    axes.plot(
        steps, middle, color=look.colour, marker=look.marker, markersize=4.5, linewidth=1.6, label=label(run.name)
    )
