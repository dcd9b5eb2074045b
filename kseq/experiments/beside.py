"""What has to be said beside a result: unseen data, what counting reaches, and warnings.

Training perplexity on memorised text is no achievement, and a forecaster may be worse than the
mean of four points: neither is shown without the figure that says so.
"""

from __future__ import annotations

import math
from typing import Any

Report = dict[str, Any]


def beside(report: Report) -> tuple[str, ...]:
    """Return what stands beside the figure of a report, a sentence each.

    report: what `kseq train`, `forecast` or `figures seeing-ahead` prints with --json.

    Example:
        >>> beside({"mse_after": {"lstm": 0.002, "persistence": 0.0001}})
        ('mean squared error: lstm 0.002, persistence 0.0001',)
    """
    parts = (_held_out, _one_step, _simple_rules, _free_run, _seeing_ahead)
    return tuple(said for part in parts if (said := part(report)))


def _held_out(report: Report) -> str:
    """Return the perplexity of unseen text, and that of counting."""
    held_out = report.get("held_out") or {}
    if "perplexity" not in held_out:
        return ""
    perplexity, floors = _number(held_out["perplexity"]), held_out.get("floors", {})
    bits = f"{math.log2(perplexity):.2f}" if perplexity > 0 else "nan"
    counted = f"; counting has {_listed(floors)}" if floors else ""
    return f"unseen text: perplexity {perplexity:.4g}, {bits} bits a token{counted}"


def _one_step(report: Report) -> str:
    """Return the error one step ahead on unseen points, of the model and of simple rules."""
    errors = report.get("mse", {})
    return f"mean squared error on unseen points: {_listed(errors, 'test')}" if errors else ""


def _simple_rules(report: Report) -> str:
    errors = report.get("mse_after", {})
    return f"mean squared error: {_listed(errors)}" if errors else ""


def _free_run(report: Report) -> str:
    """Return the error of a run on its own output, by how many true points were given first."""
    errors = report.get("free_run_rmse", {})
    after = {f"{given} given": error for given, error in errors.items()}
    return f"root mean square error on its own output: {_listed(after)}" if after else ""


def _seeing_ahead(report: Report) -> str:
    """Return the warning of a model that reads what it is asked to predict."""
    numbers = report.get("seeing-ahead", {}).get("numbers", {})
    if not numbers:
        return ""
    withheld, bigram = _number(numbers["withheld"]), _number(numbers["bigram"])
    return (
        f"warning: with what comes next withheld, its perplexity is {withheld:.4g} where pairs "
        f'of characters have {bigram:.4g}, and it writes "{numbers["text"]}"'
    )


def _listed(values: dict[str, Any], key: str | None = None) -> str:
    own = {name: value[key] if key else value for name, value in values.items()}
    return ", ".join(f"{name} {_number(value):.4g}" for name, value in own.items())


def _number(value: Any) -> float:
    """Return a number of a report; what was not finite is null in a file."""
    return math.nan if value is None else float(value)
