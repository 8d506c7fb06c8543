"""Which classes a strategy buys, beside the baseline: one row of cells for each strategy."""

import html
from collections.abc import Sequence

import numpy as np

from labelbench_ray.reporting.acquisition import Chosen, class_shares, is_answered
from labelbench_ray.reporting.comparisons import BASELINE, Comparison
from labelbench_ray.reporting.figures import Data


def class_figure(comparison: Comparison, bought: Chosen, names: Sequence[str] = ()) -> Data | None:
    """Mean share of every class in what was bought, in percent; classes in the order of the baseline's shares.

    Colours tell the difference to the baseline in points, or the share itself where there is none. None where sets or
    their labels are not known.
    """
    if not is_answered(bought):
        return None
    means = {name: 100 * shares_SC.mean(axis=0) for name, shares_SC in class_shares(comparison, bought).items()}
    series = [name for name in comparison.series if name in means]
    shares_KC = np.stack([means[name] for name in series])
    compared = BASELINE in means
    order_C = np.argsort(-(means[BASELINE] if compared else shares_KC.mean(axis=0)), kind="stable")
    shares_KC = shares_KC[:, order_C]
    differences_KC = shares_KC - means[BASELINE][order_C] if compared else np.zeros_like(shares_KC)
    colours_KC = differences_KC if compared else shares_KC
    return {
        "kind": "classes",
        "series": [html.escape(name) for name in series],
        "classes": [html.escape(names[index]) if index < len(names) else f"class {index}" for index in order_C],
        "colours": colours_KC.round(2).tolist(),
        "most": float(np.abs(colours_KC).max()) or 1.0,
        "diverges": compared,
        "shares": shares_KC.round(2).tolist(),
        "legend": f"points more<br>than {BASELINE}" if compared else "share, %",
    }
