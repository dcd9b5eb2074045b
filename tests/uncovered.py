"""Processes that coverage does not watch."""

import os


def without_coverage():
    """Return the environment of a process that gets signals from outside at any moment.

    The tracer of coverage takes a lock at each call.  A KeyboardInterrupt that is raised within
    the tracer leaves it locked, and the process waits for itself at its next call.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
