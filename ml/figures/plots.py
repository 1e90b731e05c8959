"""Plots of a study, for the modeler who compares runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.data.lots import LotFrame, Matrix
from ml.figures.cross_validation import CrossValidation
from ml.figures.metrics import calibration
from ml.figures.thresholds import Costs, Thresholds, decide, expected_cost

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GOOD, BAD = "#4477aa", "#cc3311"
"""People who cannot tell red from green can tell these apart."""


def _save(file: Path, draw: Callable[[Axes], None], title: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, fontsize="medium" if "\n" in title else None)
    draw(axes)
    figure.savefig(file, dpi=110)


def plot_figures(
    evaluated: CrossValidation, thresholds: Thresholds, costs: Costs, folder: Path
) -> None:
    """Plot precision and recall, ROC, calibration, confusion and cost of tested items."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    def pr(axes: Axes) -> None:
        for p in evaluated.p.T:
            precision, recall, _ = precision_recall_curve(evaluated.y, p)
            axes.step(recall, precision, where="post", alpha=0.8)
        axes.axhline(evaluated.y.mean(), color="grey", ls=":", label="base rate")
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
        axes.legend()

    def roc(axes: Axes) -> None:
        for p in evaluated.p.T:
            false_positives, recall, _ = roc_curve(evaluated.y, p)
            axes.step(false_positives, recall, where="post", alpha=0.8)
        axes.axvline(0.05, color="grey", ls=":", label="5 % false positives")
        axes.set(xlabel="false positive rate", ylabel="recall")
        axes.legend()

    _save(folder / "pr.png", pr, "Precision and recall, a line a split")
    _save(folder / "roc.png", roc, "ROC, a line a split")
    _save(folder / "calibration.png", lambda a: _calibration(a, evaluated), "Calibration")
    used = (
        f"deployed thresholds {thresholds.low:.3f}, {thresholds.high:.3f}, chosen on all folds\n"
        "(the metric cost has each fold's own thresholds, chosen without it)"
    )
    title = f"Verdicts at the {used}"
    _save(folder / "confusion.png", lambda a: _confusion(a, evaluated, thresholds), title)
    paid = f"escape {costs.escape:g}, scrap {costs.scrap:g}, review {costs.review:g}"
    title = f"Cost an item ({paid}) at the {used}"
    _save(folder / "cost.png", lambda a: _cost(a, evaluated, thresholds, costs), title)


def _calibration(axes: Axes, evaluated: CrossValidation) -> None:
    y = np.repeat(evaluated.y, evaluated.p.shape[1])
    bins = calibration(y, evaluated.p.ravel())
    axes.plot([0, 1], [0, 1], color="grey", ls=":")
    axes.plot([one[0] for one in bins], [one[1] for one in bins], "o-", color=GOOD)
    axes.set(xlabel="mean probability (bins of equal count)", ylabel="share of bad ones")


def _confusion(axes: Axes, evaluated: CrossValidation, thresholds: Thresholds) -> None:
    verdicts = ("good", "needs_human", "bad")
    counts = np.zeros((2, 3))
    for label, row in zip(evaluated.y, evaluated.p, strict=True):
        for p in row:
            counts[label, verdicts.index(str(decide(p, thresholds)))] += 1 / len(row)
    shades = np.log1p(counts)
    axes.imshow(shades, cmap="Blues")
    for (label, at), count in np.ndenumerate(counts):
        color = "white" if shades[label, at] > 0.6 * shades.max() else "black"
        text = f"{count:.0f}" if count == round(count) else f"{count:.1f}"
        axes.text(at, label, text, ha="center", va="center", color=color, fontsize="large")
    axes.set(xticks=range(3), xticklabels=verdicts, yticks=range(2), yticklabels=["good", "bad"])
    axes.set(xlabel="verdict, mean count over splits", ylabel="label")


def _cost(axes: Axes, evaluated: CrossValidation, thresholds: Thresholds, costs: Costs) -> None:
    y, p = np.repeat(evaluated.y, evaluated.p.shape[1]), evaluated.p.ravel()
    cuts = np.quantile(p, np.linspace(0, 1, 80))
    single = [expected_cost(y, p, Thresholds(cut, cut), costs) for cut in cuts]
    axes.plot(cuts, single, color=GOOD, label="one threshold, no review")
    chosen = expected_cost(y, p, thresholds, costs)
    axes.axhline(chosen, color=BAD, label="two thresholds, with review")
    axes.axvspan(thresholds.low, min(thresholds.high, 1.0), color=BAD, alpha=0.15)
    axes.set(xlabel="threshold", ylabel="cost an item")
    axes.legend()


def plot_importance(names: Sequence[str], importance: Any, file: Path) -> None:
    """Plot the fifteen features that the model uses most."""
    order = np.argsort(np.asarray(importance))[-15:]

    def draw(axes: Axes) -> None:
        axes.barh([names[at] for at in order], np.asarray(importance)[order], color=GOOD)

    _save(file, draw, "Importance of features")


def plot_shap(model: Any, features: Matrix, names: Sequence[str], file: Path) -> bool:
    """Plot SHAP values of lots (Lundberg and Lee 2017). Return False if no fast explainer fits.

    `features` are the model's own input: scaled ones, if a scaler comes before it.
    """
    import shap
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    try:
        if hasattr(model, "coef_"):
            explained = shap.LinearExplainer(model, features)(features)
        else:
            explained = shap.TreeExplainer(model)(features)
    except Exception:  # SHAP raises many kinds of errors for models that it does not support.
        return False
    values = explained.values[..., 1] if explained.values.ndim == 3 else explained.values
    shap.summary_plot(values, features, feature_names=list(names), show=False, max_display=15)
    pyplot.gcf().savefig(file, dpi=110, bbox_inches="tight")
    pyplot.close("all")
    return True


def plot_lots(frame: LotFrame, features: Matrix, names: Sequence[str], folder: Path) -> None:
    """Plot the data before any model: distributions, correlation, failed lots next to good ones."""
    for variable in frame.variables:
        failed = [v[variable] for v, y in zip(frame.values, frame.labels, strict=True) if y]
        good = [v[variable] for v, y in zip(frame.values, frame.labels, strict=True) if not y]

        def draw(axes: Axes, sides: Any = (good, failed), variable: str = variable) -> None:
            for side, colour, name in zip(sides, (GOOD, BAD), ("good", "failed"), strict=True):
                values = np.concatenate(side)
                label = f"{len(side)} {name} lots"
                axes.hist(values, bins=60, density=True, alpha=0.55, color=colour, label=label)
            axes.set(xlabel=variable, ylabel="density of readings")
            axes.legend()

        _save(folder / f"readings_{variable}.png", draw, f"Readings of {variable}")
    _save(folder / "correlation.png", lambda a: _correlation(a, features, names), "Correlation")
    best = _most_different(features, frame.labels)

    def beside(axes: Axes) -> None:
        sides = [[features[frame.labels == label, at] for at in best] for label in (0, 1)]
        for offset, side, colour in zip((-0.2, 0.2), sides, (GOOD, BAD), strict=True):
            positions = np.arange(len(best)) + offset
            scaled = [_scaled(one, features[:, at]) for one, at in zip(side, best, strict=True)]
            axes.boxplot(
                scaled,
                positions=positions,
                widths=0.35,
                patch_artist=True,
                boxprops={"facecolor": colour, "alpha": 0.6},
                medianprops={"color": "black"},
            )
        axes.set_xticks(range(len(best)), [names[at] for at in best], rotation=40, ha="right")
        axes.set_ylabel("standard deviations from the mean")

    _save(folder / "failed_beside_good.png", beside, "Good (blue) and failed (red) lots")


def plot_widths(widths: Sequence[float], ap: Sequence[float], folder: Path) -> None:
    """Plot, and write as csv, how the average precision depends on the width of the bands."""

    def curve(axes: Axes) -> None:
        axes.plot(widths, ap, "o-", color=GOOD)
        axes.set(xlabel="width of the bands, in scales", ylabel="average precision", ylim=(0, 1.05))

    _save(folder / "width.png", curve, "Average precision by the width of the bands")
    rows = [f"{width},{value:.6f}" for width, value in zip(widths, ap, strict=True)]
    (folder / "width.csv").write_text("\n".join(["width,ap", *rows]) + "\n", "utf-8")


def _scaled(values: Any, whole: Any) -> Any:
    return (values - whole.mean()) / (whole.std() or 1.0)


def _most_different(features: Matrix, labels: Any) -> list[int]:
    spread = features.std(axis=0) + 1e-9
    gap = np.abs(features[labels == 1].mean(axis=0) - features[labels == 0].mean(axis=0)) / spread
    return [int(at) for at in np.argsort(gap)[::-1][:8]]


def _correlation(axes: Axes, features: Matrix, names: Sequence[str]) -> None:
    varying = [at for at in range(features.shape[1]) if features[:, at].std() > 0]
    axes.imshow(np.corrcoef(features[:, varying].T), cmap="RdBu", vmin=-1, vmax=1)
    labels = [names[at] for at in varying]
    axes.set_xticks(range(len(varying)), labels, rotation=90, fontsize=4)
    axes.set_yticks(range(len(varying)), labels, fontsize=4)
