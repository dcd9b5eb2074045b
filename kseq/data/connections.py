"""Bytes from an address over HTTP or HTTPS, with a bound on every wait.

Nothing here knows what the bytes are for: whoever asks checks them.
"""

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.error import HTTPError

CONNECT_SECONDS = 8.0
STALL_SECONDS = 30.0
WHOLE_SECONDS = 300.0
_BLOCK_BYTES = 2**16


@dataclass(frozen=True)
class Patience:
    """How many seconds to wait for a connection, for the next bytes, and for the whole file."""

    connect: float = CONNECT_SECONDS
    stall: float = STALL_SECONDS
    whole: float = WHOLE_SECONDS


class RefusedError(Exception):
    """What was found in place of the file; the message begins with "found"."""


def received(url: str, patience: Patience) -> Iterator[bytes]:
    """Yield what the address answers, in blocks of at most 64 KiB.

    Raises:
        RefusedError: no connection, an answer that is not a file, a transfer that stalls or lasts.
    """
    deadline = time.monotonic() + patience.whole
    unfinished = f"it unfinished after {patience.whole:g} s"
    try:
        with _in_time(url, patience, unfinished) as response:
            while block := response.read1(_BLOCK_BYTES):
                yield block
                if time.monotonic() > deadline:
                    raise RefusedError(f"found {unfinished}")
    except TimeoutError as error:
        raise RefusedError(f"found no data for {patience.stall:g} s") from error
    except HTTPError as error:
        error.close()
        reason = " ".join(str(error.reason).split())
        raise RefusedError(f"found HTTP {error.code} {reason}"[:60]) from error
    except (OSError, HTTPException, ValueError) as error:
        raise RefusedError(f"found {_reason(error)}") from error


def _in_time(url: str, patience: Patience, unfinished: str) -> Any:
    def close(response: Any) -> None:
        response.close()

    return _within(patience.whole, lambda: _answer(url, patience), unfinished, undo=close)


def _answer(url: str, patience: Patience) -> Any:
    """Return the open response, its headers read."""
    request = urllib.request.Request(url, headers={"User-Agent": "kseq"})
    response = _opener(patience).open(request)
    packed = response.headers.get("Content-Encoding", "identity")
    if packed != "identity":
        response.close()
        raise RefusedError(f"found it packed ({packed[:20]}), which nobody asked for")
    return response


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return (getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)[:50]


class _Redirects(urllib.request.HTTPRedirectHandler):
    """urllib's, closing the answer whose address cannot be parsed."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


# Those of `urllib.request.build_opener`, without FTP and the files of this machine.
_OTHER_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.UnknownHandler,
    urllib.request.HTTPDefaultErrorHandler,
    _Redirects,
    urllib.request.HTTPErrorProcessor,
)


def _opener(patience: Patience) -> urllib.request.OpenerDirector:
    """Return what opens HTTP and HTTPS, and follows redirects to nothing else."""

    class Plain(_Patient, HTTPConnection):
        waits = patience

    class Secure(_Patient, HTTPSConnection):
        waits = patience

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(Plain, req)

    class SecureHandler(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(Secure, req)

    opener = urllib.request.OpenerDirector()
    for handler in (*_OTHER_HANDLERS, PlainHandler, SecureHandler):
        opener.add_handler(handler())
    return opener


class _Patient:
    """A connection with one bound on all of connecting and another on each wait for data.

    Resolving a name has no timeout of its own and may hang offline, and each address of a name
    would get the whole timeout; so connecting runs beside us and is left behind when it is late.
    """

    waits: Patience
    sock: Any
    close: Callable[[], None]

    def connect(self) -> None:
        self.timeout = self.waits.connect
        late = f"no connection within {self.waits.connect:g} s"
        connect = super().connect  # type: ignore[misc]
        _within(self.waits.connect, connect, late, undo=lambda _: self.close())
        self.sock.settimeout(self.waits.stall)


def _within(seconds: float, call: Callable[[], Any], late: str, undo: Callable[[Any], None]) -> Any:
    """Return what `call` returns, or raise what it raises; leave it behind when it is late.

    What it still returns after that is given to `undo`.

    Raises:
        ConnectionError: with the words `late`.
    """
    returned: list[Any] = []
    failures: list[Exception] = []
    left = threading.Event()

    def run() -> None:
        try:
            returned.append(call())
        except Exception as error:
            failures.append(error)
        if left.is_set() and returned:
            undo(returned[0])

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(seconds)
    if worker.is_alive():
        left.set()
        raise ConnectionError(late)
    if failures:
        raise failures[0]
    return returned[0]
