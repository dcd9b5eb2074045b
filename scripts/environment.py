"""Makes and keeps `.venv` for the scripts beside it, with the standard library alone.

`set_up` is the whole of it.  A stamp in `.venv`, written last, says what was installed: with
the stamp in place a start costs two small reads, and without it an interrupted set-up is taken
up where it stopped.  `python3 scripts/environment.py [EXTRA ...]` sets up and runs nothing.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

OLDEST_PYTHON = (3, 11)

if sys.version_info < OLDEST_PYTHON:
    # Here, because an older Python would already trip over the annotations below.
    oldest, found = (".".join(map(str, v[:2])) for v in (OLDEST_PYTHON, sys.version_info))
    sys.stderr.write(f"kseq: error: Python: must be {oldest} or newer, found {found}; ")
    sys.stderr.write("run this with a newer python3\n")
    raise SystemExit(5)

ROOT = Path(__file__).resolve().parent.parent
VERBOSE = "KSEQ_SETUP_VERBOSE"

_FAILED = 5
_INTERRUPTED = 130
_TAIL_LINES = 40
_LONGEST_QUOTE = 120
_INPUTS = ("pyproject.toml", "scripts/constraints.txt")
_NETWORK_SIGNS = (
    "Connection refused",
    "ConnectTimeoutError",
    "Name or service not known",
    "NameResolutionError",
    "Network is unreachable",
    "NewConnectionError",
    "ProxyError",
    "ReadTimeoutError",
    "Temporary failure in name resolution",
)


class SetupError(Exception):
    """`.venv` cannot be made or filled; the text says why and what to do."""


def set_up(root: Path, extras: Iterable[str] = ()) -> Path:
    """Return the Python of `root`/.venv, with kseq and at least `extras` installed in it.

    Raises:
        SetupError: Python has no venv module, the folder cannot be written to, or pip failed.
    """
    wanted = frozenset(extras)
    if not _is_ready(root, wanted):
        _require_venv_module()
        with _only_one_set_up(root) as lock:
            if not _is_ready(root, wanted):
                _make_ready(root, wanted | _installed_extras(root), lock)
    return _python(root)


def run_as_program(main: Callable[[list[str]], int]) -> None:
    """Run `main` with the command line's arguments and exit with what it returns.

    A failed set-up is one line and exit code 5, Ctrl-C exit code 130.
    """
    try:
        code = main(sys.argv[1:])
    except SetupError as error:
        _say(f"error: {error}")
        code = _FAILED
    except KeyboardInterrupt:
        _say("interrupted; the next start goes on where this one stopped")
        code = _INTERRUPTED
    raise SystemExit(code)


def _python(root: Path) -> Path:
    return root / ".venv" / "bin" / "python"


def _stamp(root: Path) -> Path:
    return root / ".venv" / "kseq-stamp.json"


def _is_ready(root: Path, wanted: frozenset[str]) -> bool:
    return (
        _python(root).exists()
        and _read_stamp(root).get("inputs") == _inputs(root)
        and wanted <= _installed_extras(root)
    )


def _installed_extras(root: Path) -> frozenset[str]:
    return frozenset(_read_stamp(root).get("extras", ()))


def _read_stamp(root: Path) -> dict:
    try:
        return json.loads(_stamp(root).read_bytes())
    except (OSError, ValueError):
        return {}


def _write_stamp(root: Path, extras: frozenset[str]) -> None:
    part = _stamp(root).with_suffix(".part")
    part.write_text(json.dumps({"inputs": _inputs(root), "extras": sorted(extras)}) + "\n")
    os.replace(part, _stamp(root))


def _inputs(root: Path) -> str:
    # The checkout's own path counts, because an editable install points to it, and so does the
    # interpreter behind the link, which a system upgrade may replace.
    digest = hashlib.sha256()
    for part in (str(root), os.path.realpath(_python(root))):
        digest.update(part.encode() + b"\0")
    for name in _INPUTS:
        digest.update((root / name).read_bytes() + b"\0")
    return digest.hexdigest()


def _require_venv_module() -> None:
    # Debian ships venv without ensurepip until python3-venv is installed.
    missing = [name for name in ("venv", "ensurepip") if find_spec(name) is None]
    if missing:
        raise SetupError(
            f"Python's venv: must be installed, found no {missing[0]} module; "
            "run `apt install python3-venv` (on other systems: Python's venv package)"
        )


@contextmanager
def _only_one_set_up(root: Path) -> Iterator[int]:
    # The lock is on the checkout itself: it leaves no file, and survives a remade .venv.
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"waiting for another set-up of {root / '.venv'} to finish")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _make_ready(root: Path, extras: frozenset[str], lock: int) -> None:
    new = not _has_working_pip(root)
    log = _fresh_log(root, new)
    if new:
        _say("making .venv")
        _logged([sys.executable, "-m", "venv", str(root / ".venv")], log, lock)
    _say(f"installing {_target(extras)} and what it needs into .venv; {_duration(extras)}")
    _logged(_pip_install(root, extras), log, lock)
    _write_stamp(root, extras)


def _has_working_pip(root: Path) -> bool:
    try:
        command = [_python(root), "-m", "pip", "--version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _fresh_log(root: Path, new: bool) -> Path:
    folder = root / ".venv"
    try:
        if new and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=True)
        (folder / "setup.log").write_bytes(b"")
    except OSError as error:
        raise SetupError(
            f"{folder}: must be a folder to write to, found {error.strerror or error}; "
            "mend that, or clone to another place"
        ) from error
    return folder / "setup.log"


def _target(extras: frozenset[str]) -> str:
    return f"kseq[{','.join(sorted(extras))}]" if extras else "kseq"


def _duration(extras: frozenset[str]) -> str:
    minutes = 5 if "tensorflow" in extras else 3
    return f"the first time takes about {minutes} minutes ({VERBOSE}=1 shows pip at work)"


def _pip_install(root: Path, extras: frozenset[str]) -> list[str]:
    options = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    constraints = ["--constraint", str(root / "scripts" / "constraints.txt")]
    project = str(root) + _target(extras).removeprefix("kseq")
    return [str(_python(root)), "-m", "pip", "install", *options, *constraints, "-e", project]


def _logged(command: list[str], log: Path, lock: int) -> None:
    with log.open("ab") as kept, _started(command, lock) as child:
        for line in child.stdout or ():
            kept.write(line)
            _show(line)
    if child.returncode:
        raise SetupError(_diagnosis(log))


def _started(command: list[str], lock: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # The child holds the lock too: if this process is killed, the next start waits for it.
        pass_fds=(lock,),
    )


def _show(line: bytes) -> None:
    if os.environ.get(VERBOSE):
        sys.stderr.write(line.decode(errors="replace"))


def _diagnosis(log: Path) -> str:
    text = log.read_text(errors="replace")
    lines = [line.strip() for line in text.splitlines()[-_TAIL_LINES:]]
    if any(sign in line for line in lines for sign in _NETWORK_SIGNS):
        return (
            "pip: must reach a package index, found no network; "
            f"connect and run this again, it goes on where it stopped (pip's words: {log})"
        )
    errors = [line for line in lines if line.startswith("ERROR:")] or lines[-1:]
    found = errors[-1][:_LONGEST_QUOTE] if errors else "no reason given"
    return f"pip: must succeed, found {found!r}; mend that and run this again (pip's words: {log})"


def _say(text: str) -> None:
    print(f"kseq: {text}", file=sys.stderr, flush=True)


def _main(extras: list[str]) -> int:
    set_up(ROOT, extras)
    return 0


if __name__ == "__main__":
    run_as_program(_main)
