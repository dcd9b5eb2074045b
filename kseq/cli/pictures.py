"""Pictures as files: PNG and SVG, each whole or not at all, the same bytes for the same picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kseq.data.files import atomic_path

SUFFIXES = (".png", ".svg")
DPI = 150


def picture_files(folder: Path, name: str) -> list[Path]:
    """Return where the picture of that name goes."""
    return [folder / f"{name}{suffix}" for suffix in SUFFIXES]


def write_picture(figure: Any, path: Path) -> None:
    """Write one figure in the format its path names."""
    from matplotlib import rc_context

    # Without these an SVG has random names and the date in it.
    settings = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
    with atomic_path(path) as part, rc_context({"svg.hashsalt": "kseq"}):
        figure.savefig(part, dpi=DPI, **settings)


def write_pictures(pictures: dict[str, Any], folder: Path) -> list[str]:
    """Write each figure as PNG and SVG; return their names."""
    for name, figure in pictures.items():
        for path in picture_files(folder, name):
            write_picture(figure, path)
    return list(pictures)
