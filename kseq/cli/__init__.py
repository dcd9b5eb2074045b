"""The command line: `kseq COMMAND ...`, and the only room that prints.

Results go to standard output, progress and errors to standard error.  Exit codes: 0 fine, 1 a bug
of ours, 2 usage, 3 bad data, 4 bad model file, 5 file system or network, 6 numerical, 130 Ctrl-C,
143 terminated.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from kseq.cli.ending import explained, interrupted, one_line
from kseq.cli.printing import nobody_reads, say
from kseq.cli.processes import in_own_name, speaks
from kseq.errors import KseqError

_PACKAGE = f"{Path(__file__).parent.parent}{os.sep}"


class Terminated(BaseException):
    """Raised where the program is when the system asks it to end (SIGTERM)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the console script calls this."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _prepare_streams()
    with _own_signals_and_warnings():
        ending = _ending_of(arguments)
        return _end(*ending) if ending else 0


def _ending_of(arguments: list[str]) -> tuple[int, str] | None:
    """Run one command; return the exit code and what to say where it did not come to its end."""
    try:
        _run(arguments)
        return None
    except KeyboardInterrupt:
        return 130, interrupted("stopped by Ctrl-C", arguments) if speaks() else ""
    except Terminated as ended:
        _hear_no_more()
        # Where one of several processes is gone the launcher ends the others: they say why first.
        if isinstance(ended.__context__, KseqError):
            return _failed(ended.__context__)
        return 143, interrupted("asked to end", arguments) if speaks() else ""
    except Exception as error:
        _hear_no_more()
        if isinstance(error, BrokenPipeError) and nobody_reads(sys.stdout):
            return 0, ""
        if "--debug" in arguments:
            raise
        return _failed(error)


def _failed(error: Exception) -> tuple[int, str]:
    code, message = explained(error)
    return code, in_own_name(message) if speaks(error) else ""


def _run(arguments: list[str]) -> None:
    from kseq.cli.options import parse

    # A TensorFlow chosen as the engine tells of itself otherwise.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # argparse exits after --help and --version; its errors are UsageErrors here.
    with suppress(SystemExit):
        options = parse(arguments)
        command = import_module(f"kseq.cli.{options.room}")
        getattr(command, options.command)(options)
    if sys.stdout is not None:
        sys.stdout.flush()


def _end(code: int, message: str) -> int:
    _hear_no_more()
    _forget_unwritten_output()
    # What the command was reading batches with is in cycles, and TensorFlow's complains on
    # standard error where it is still there when Python ends.
    with suppress(KeyboardInterrupt):
        gc.collect()
    if message:
        say(one_line(message))
    return code


def _hear_no_more() -> None:
    """Do not let whoever asks a command to end that is ending have the last word."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _forget_unwritten_output() -> None:
    """What could not be written must not be tried again, and complained of, when Python ends."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _prepare_streams() -> None:
    """Make text printable in any locale."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What an earlier command could not write is tried again here.
            with suppress(OSError):
                stream.reconfigure(errors="backslashreplace")


@contextmanager
def _own_signals_and_warnings() -> Iterator[None]:
    """End cleanly on SIGTERM and show warnings our way; afterwards all is as it was."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminate) if is_main else None
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)


def _terminate(*_: Any) -> NoReturn:
    raise Terminated


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any
) -> None:
    """Show our own warnings as one line; those of libraries are not the user's to mend."""
    if speaks() and category is UserWarning and filename.startswith(_PACKAGE):
        say(f"kseq: note: {message}")
