"""Reports on standard output: one JSON object for a script, or words for a person."""

from __future__ import annotations

import json
import math
from typing import Any


def print_report(report: dict[str, Any], words: str, as_json: bool) -> None:
    """Print `words`, or the report as one line of JSON that any locale can carry."""
    print(json.dumps(finite(report)) if as_json else words)


def finite(value: Any) -> Any:
    """Return a report with None for the numbers JSON does not have.

    Example:
        >>> finite({"perplexity": float("inf"), "floors": [2.0]})
        {'perplexity': None, 'floors': [2.0]}
    """
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
