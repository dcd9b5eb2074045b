"""C++ for the recurrences, built once by the user's own compiler and kept for the next process.

Nothing here knows an engine.  `library(kept)` gives the functions of `recurrence.cpp` for numbers
kept as "float", "double" or "Half" (bfloat16), for "float" those of `decoding.cpp` too; where
there is no compiler, or it cannot build them, it gives None and the engine's own operations do
the same work more slowly.

The environment variable KSEQ_COMPILED=0 turns it off, CXX names the compiler, XDG_CACHE_HOME the
folder of caches (~/.cache).  A library is made for this processor, so its name holds a hash of
the sources, the compiler and the instructions it may use.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from kseq.data.files import put_in_place

SOURCES, SUFFIXES = Path(__file__).parent, (".cpp", ".h")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)
MOST_SECONDS = 300
MOST_SHOWN = 100
log = logging.getLogger("kseq")
_off: list[str] = []
_failures: dict[str, str] = {}


@contextmanager
def disabled() -> Iterator[None]:
    """Use the engine's own operations while the block runs."""
    _off.append("disabled")
    try:
        yield
    finally:
        _off.pop()


def enabled() -> bool:
    """Whether the compiled path may be used: neither KSEQ_COMPILED=0 nor `disabled`."""
    return not _off and os.environ.get("KSEQ_COMPILED", "1") != "0"


def library(kept: str = "float") -> ctypes.CDLL | None:
    """Return the compiled functions for numbers kept as `kept`, or None where there are none.

    The first call on a machine compiles them, some five seconds, and says so in the log.
    """
    return _library(kept) if enabled() else None


def built(kept: str = "float") -> ctypes.CDLL:
    """Return what `library` gave before, though it may have been turned off since.

    For gradients: what went forward in C++ has kept what only C++ reads.
    """
    found = _library(kept)
    assert found is not None
    return found


@cache
def _library(kept: str) -> ctypes.CDLL | None:
    compiler = find_compiler()
    if compiler is None:
        return None
    try:
        return _loaded(compiler, kept, _cache_folder())
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # no home: RuntimeError
        _failures[kept] = _reason(error)
        log.info("kseq: recurrences are not compiled for %s: %s", kept, _failures[kept])
        return None


def find_compiler() -> str | None:
    """Return the path of a C++ compiler: that in CXX, or the first of the usual names."""
    named = os.environ.get("CXX")
    names = (named,) if named else COMPILERS
    return next((path for path in map(shutil.which, names) if path), None)


def describe() -> str:
    """Say in a few words how recurrences run on a CPU: compiled, or why not.

    Whether the compiler can build them is found out by building them, if nothing has yet.

    Example:
        >>> with disabled():
        ...     describe()
        "the engine's operations (C++ is turned off)"
    """
    if not enabled():
        return "the engine's operations (C++ is turned off)"
    compiler = find_compiler()
    if compiler is None:
        return "the engine's operations (no C++ compiler was found)"
    if library() is None:
        reason = _failures["float"][:MOST_SHOWN]
        return f"the engine's operations (C++ by {compiler} could not be built: {reason})"
    return f"C++ by {compiler}"


def _cache_folder() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(caches) / "kseq" / "compiled"


def _loaded(compiler: str, kept: str, folder: Path) -> ctypes.CDLL:
    path = _built(compiler, kept, folder)
    try:
        return ctypes.CDLL(str(path))
    except OSError:  # not whole, or not for this system
        _build(compiler, kept, path)
        return ctypes.CDLL(str(path))


def _built(compiler: str, kept: str, folder: Path) -> Path:
    path = folder / f"recurrence-{kept.lower()}-{_fingerprint(compiler)}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _build(compiler, kept, path)
    return path


def _build(compiler: str, kept: str, path: Path) -> None:
    """Compile to a name of its own and rename: another process sees the whole file or none."""
    log.warning(
        "kseq: compiling the recurrent layers for this processor (once, some seconds; "
        "KSEQ_COMPILED=0 does without)"
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        target = Path(scratch) / path.name
        sources = [str(SOURCES / name) for name in _sources(kept)]
        command = [compiler, *FLAGS, f"-DKSEQ_KEPT={kept}", *sources, "-o", str(target)]
        try:
            _run([*command, "-fopenmp"])
        except subprocess.CalledProcessError:
            _run(command)  # one thread where the compiler has no OpenMP
        put_in_place(target, path)
    log.info("kseq: compiled in %.1f s to %s", time.perf_counter() - began, path)


def _sources(kept: str) -> tuple[str, ...]:
    others = ("decoding.cpp", "read_out.cpp") if kept == "float" else ()
    return ("recurrence.cpp", *others)


def _fingerprint(compiler: str) -> str:
    """Hash what the machine code depends on: sources, flags, compiler and instruction set."""
    told = _run([compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull])
    texts = [path.read_text() for path in sorted(SOURCES.iterdir()) if path.suffix in SUFFIXES]
    return hashlib.sha256("\n".join([compiler, *FLAGS, told, *texts]).encode()).hexdigest()[:16]


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=MOST_SECONDS, errors="replace"
    )
    return done.stdout


def _reason(error: Exception) -> str:
    lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else repr(error))
