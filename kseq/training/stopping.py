"""Ctrl-C and SIGTERM that wait for the end of a step."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether somebody has asked a training to stop; the second who asks is heard at once.

    asked: the number of the signal, or None.
    patient: whether a signal is but `wished`, until somebody says that it is `asked`: of several
        processes all stop at the same step, and their launcher may send a signal twice.
    """

    def __init__(self, patient: bool = False) -> None:
        self.asked: int | None = None
        self.wished: int | None = None
        self.patient = patient
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Note the signals from now on; one that the program ignores stays ignored."""
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before not in (signal.SIG_IGN, None):
                self._before[number] = before
                signal.signal(number, self._note)

    def restore(self) -> None:
        """Let the signals do what they did before."""
        for number, before in self._before.items():
            signal.signal(number, before)

    def act(self) -> None:
        """Do now what the signal that was asked for does: raise, as a rule."""
        if self.asked is None:
            return
        number, self.asked, self.wished = self.asked, None, None
        self.restore()
        if self._before.get(number) is signal.SIG_DFL:
            # The system would end the process here, with a lock left behind.
            sys.exit(128 + number)
        signal.raise_signal(number)

    def _note(self, number: int, _: Any) -> None:
        if self.patient:
            self.wished = number
            return
        self.asked = number
        self.restore()


@contextmanager
def stopping_gently(active: bool = True, patient: bool = False) -> Iterator[Stop]:
    """Note Ctrl-C and SIGTERM while the block runs, where this is the main thread."""
    stop = Stop(patient)
    if active and threading.current_thread() is threading.main_thread():
        stop.listen()
    try:
        yield stop
    finally:
        stop.restore()
    stop.asked = stop.asked or stop.wished
    stop.act()
