"""The command line: `kseq COMMAND ...`, and the only room that prints.

Results go to standard output, progress and errors to standard error.  Exit codes: 0 fine, 1 a bug
of ours, 2 usage, 3 bad data, 4 bad model file, 5 file system or network, 6 numerical, 130 Ctrl-C,
143 terminated.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from kseq.errors import FileError, KseqError

LONGEST_ERROR = 300


class Terminated(BaseException):
    """Raised where the program is when the system asks it to end (SIGTERM)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the console script calls this."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    _prepare_streams()
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return _end(130, "interrupted: stopped by Ctrl-C; a run folder can be resumed by --resume")
    except Terminated:
        return _end(143, "terminated: asked to end; a run folder can be resumed by --resume")
    except BrokenPipeError:
        return _leave_closed_pipe()
    except Exception as error:
        if debug:
            raise
        return _end(*_explained(error))


def _run(arguments: list[str]) -> int:
    from kseq.cli.options import parse

    options = parse(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    warnings.showwarning = _show_warning
    command = import_module(f"kseq.cli.{options.room}")
    getattr(command, options.command)(options)
    sys.stdout.flush()
    return 0


def _explained(error: Exception) -> tuple[int, str]:
    if isinstance(error, KseqError):
        return error.exit_code, f"error: {error}"
    if isinstance(error, _memory_errors()):
        return 5, "error: memory: must hold the model and a batch, found it full; " + (
            "reduce the batch size"
        )
    if isinstance(error, OSError):
        found = FileError(f"{error.filename or 'file'}: must be usable, found {error.strerror}")
        return found.exit_code, f"error: {found}; check the path and the disk"
    return 1, f"error: this is a bug of kseq: {type(error).__name__}: {error}; run with --debug"


def _memory_errors() -> tuple[type[BaseException], ...]:
    if "keras" not in sys.modules:
        return (MemoryError,)
    return import_module("kseq.backend").out_of_memory_errors()


def _end(code: int, message: str) -> int:
    line = " ".join(f"kseq: {message}".split())
    if len(line) > LONGEST_ERROR:
        line = line[: LONGEST_ERROR - 3] + "..."
    print(line, file=sys.stderr)
    return code


def _leave_closed_pipe() -> int:
    # Python would complain once more when it flushes standard output at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _prepare_streams() -> None:
    """Make text printable in any locale."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _terminate(*_: Any) -> None:
    raise Terminated


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any
) -> None:
    """Show our own warnings as one line; those of libraries are not the user's to mend."""
    if category is UserWarning and f"{os.sep}kseq{os.sep}" in filename:
        print(f"kseq: note: {message}", file=sys.stderr)
