"""Processes that tests start."""

import os
import signal
import subprocess
import threading
from contextlib import contextmanager

# Seconds after which a process hangs; none takes a tenth of it on a busy machine.
LONGEST = 1800


def without_coverage():
    """Return the environment of a process that gets signals from outside at any moment.

    The tracer of coverage takes a lock at each call.  A KeyboardInterrupt that is raised within
    the tracer leaves it locked, and the process waits for itself at its next call.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@contextmanager
def bounded(child):
    """Kill a forked child that hangs, by its number, and so end what waits for it."""
    limit = threading.Timer(LONGEST, os.kill, (child, signal.SIGKILL))
    limit.start()
    try:
        yield
    finally:
        limit.cancel()
        # A fork while it ends would copy a lock that it holds.
        limit.join()


@contextmanager
def running(words, **options):
    """Start a process that is killed when the block ends, or when it hangs.

    What waits for its output or its end is over then, too.
    """
    with subprocess.Popen(words, **options) as child:
        limit = threading.Timer(LONGEST, child.kill)
        limit.start()
        try:
            yield child
        finally:
            limit.cancel()
            child.kill()
