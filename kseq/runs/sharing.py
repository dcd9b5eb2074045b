"""The state of a training in several processes, as one that any number of them can go on from.

A checkpoint holds the carried state of all rows and the figures of all processes; everything else
is the same in each, but for the draws of dropout: those of the first process are kept, and the
others go on with new ones.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from kseq.backend.processes import Place, Team
from kseq.errors import KseqError, UsageError
from kseq.nn.sharing import figures_of
from kseq.runs.checkpoints import Checkpoint, as_bytes, from_bytes
from kseq.runs.folder import RunFolder
from kseq.runs.settings import differences

_REFUSED = b"refused"
_DIGITS = 10
_LONGEST = 140  # bytes of what a process says of itself: with the rest of it, one line


def gathered(state: Checkpoint, model: Any, team: Team) -> Checkpoint:
    """Return the state of the whole training from what each process has taken."""
    if team.is_alone:
        return state
    rows = {n: a for n, a in state.arrays.items() if n.startswith("carried/")}
    arrays = state.arrays | {name: team.stacked(array) for name, array in rows.items()}
    figures = figures_of(model, team)
    arrays |= {f"metrics/{number}": value for number, value in enumerate(figures)}
    return replace(state, arrays=arrays)


def share_of(state: Checkpoint, place: Place) -> Checkpoint:
    """Return what one of several processes takes of a state: its rows, and figures only once."""
    if place.size == 1:
        return state
    arrays = dict(state.arrays)
    for name, array in state.arrays.items():
        if name.startswith("carried/"):
            arrays[name] = np.array_split(array, place.size)[place.rank]
        elif name.startswith("metrics/") and not place.leads:
            arrays[name] = np.zeros_like(array)
    return replace(state, arrays=arrays)


def check_alike(facts: dict[str, Any], team: Team) -> None:
    """Refuse processes that would not train the same: they would wait for each other, or learn
    from what nobody meant.

    facts: what decides what a process reads and does, and when it hears others; plain JSON values.

    Raises:
        UsageError: in every process, and in the same words, which name what differs.
    """
    facts = json.loads(json.dumps(facts))
    first = json.loads(team.told(json.dumps(facts).encode() if team.leads else None) or b"{}")
    found = differences(first, facts, "in process 0", f"in process {team.place.rank}")
    row = bytearray(", ".join(found).encode()[:_LONGEST].ljust(_LONGEST, b"\0"))
    for told in team.stacked(np.frombuffer(row, "uint8")[None]):
        words = told.tobytes().rstrip(b"\0").decode(errors="ignore")
        if words:
            raise UsageError(
                f"processes: must all train the same, found {words}; start them with the same "
                "command and, on each machine, the same texts"
            )


def begun(folder: RunFolder, settings: Any, resume: bool, team: Team) -> Checkpoint | None:
    """As `RunFolder.begin`, in the leading process; the others get what it found.

    Raises: as that; in the others UsageError.
    """
    if team.is_alone:
        return folder.begin(settings, resume)
    content = _found(folder, settings, resume, team) if team.leads else team.told(None)
    if content == _REFUSED:
        raise UsageError(
            "run_dir: must be one the first process can use, found that it cannot; see what it says"
        )
    if content is None:
        return None
    return from_bytes(int(content[:_DIGITS]), content[_DIGITS:])


def _found(folder: RunFolder, settings: Any, resume: bool, team: Team) -> bytes | None:
    try:
        start = folder.begin(settings, resume)
    except KseqError:
        team.told(_REFUSED)
        raise
    content = start and f"{start.position:0{_DIGITS}}".encode() + as_bytes(start)
    return team.told(content or None)
