"""The run a folder held before: set aside while another takes its place, put back if none does.

    .moving-0001/       files on their way out or back; they belong into the folder
    .earlier-0001/      a whole earlier run, until the run in the folder has finished

A folder of files is moved file by file and takes the other name, in one step, when all are there.
So whenever a program is killed, `put_back` knows what belongs where: files on their way always go
back, and an earlier run does where the one that was to replace it saved no checkpoint.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from kseq.runs.checkpoints import checkpoint_files

SETTINGS, HISTORY, BEST = "settings.json", "history.json", "best.keras"
# What the command line adds when a training is over.
RESULTS = ("model.keras", "curve.png")
_OUTPUTS = (BEST, HISTORY, *RESULTS)
_MOVING, _EARLIER = ".moving-", ".earlier-"


def outputs_in(folder: Path) -> list[Path]:
    """Return the files of the run that a folder holds, settings not among them.

    Where `put_back` would put files back, it is they, where they are now.
    """
    return [path for place in _places(folder) for path in _outputs(place)]


def can_resume(folder: Path) -> bool:
    """Whether the run that a folder holds has a checkpoint, be it one to be put back."""
    return any(checkpoint_files(place) for place in _places(folder))


def earlier_runs(folder: Path) -> list[Path]:
    """Return where the runs are that the one in the folder is to replace, the newest last."""
    # Those of earlier versions have letters for a number: they are older than any of today.
    found = folder.glob(f"{_EARLIER}*")
    return sorted(found, key=lambda path: (path.name[len(_EARLIER) :].isdecimal(), path.name))


def set_aside(folder: Path) -> None:
    """Move the run that a folder holds into a folder inside, if there is one."""
    found = _outputs(folder)
    if not found:
        return
    moving = folder / f"{_MOVING}{_next_number(folder):04}"
    moving.mkdir()
    for path in (*found, folder / SETTINGS):
        if path.exists():
            path.rename(moving / path.name)
    moving.rename(_renamed(moving, _EARLIER))


def put_back(folder: Path) -> None:
    """Undo the work of a run that was to replace another, and ended before its first checkpoint.

    Where there was none, or it has a checkpoint, nothing changes.
    """
    for place in _displaced(folder):
        moving = place
        if _is_whole(place):
            for name in (HISTORY, BEST, SETTINGS):
                (folder / name).unlink(missing_ok=True)
            moving = place.rename(_renamed(place, _MOVING))
        for path in sorted(moving.iterdir()):
            path.rename(folder / path.name)
        moving.rmdir()


def forget_earlier(folder: Path) -> None:
    """Remove the runs that the one in the folder has replaced."""
    for path in earlier_runs(folder):
        shutil.rmtree(path, ignore_errors=True)


def _outputs(folder: Path) -> list[Path]:
    named = [folder / name for name in _OUTPUTS if (folder / name).exists()]
    return [*checkpoint_files(folder), *named]


def _displaced(folder: Path) -> list[Path]:
    """Return the folders whose files are to be put back."""
    moving = sorted(folder.glob(f"{_MOVING}*"))
    if moving or checkpoint_files(folder) or any((folder / name).exists() for name in RESULTS):
        return moving
    return earlier_runs(folder)[-1:]


def _places(folder: Path) -> list[Path]:
    """Return the folders whose files, put together, are the run that a folder holds."""
    displaced = _displaced(folder)
    return displaced if any(map(_is_whole, displaced)) else [folder, *displaced]


def _is_whole(place: Path) -> bool:
    return place.name.startswith(_EARLIER)


def _next_number(folder: Path) -> int:
    numbers = [path.name.rpartition("-")[2] for path in earlier_runs(folder)]
    return 1 + max((int(each) for each in numbers if each.isdecimal()), default=0)


def _renamed(place: Path, prefix: str) -> Path:
    return place.with_name(prefix + place.name.partition("-")[2])
