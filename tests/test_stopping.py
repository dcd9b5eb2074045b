"""Ctrl-C and SIGTERM that wait for the end of a step."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from children import LONGEST

from kseq.training.stopping import stopping_gently

pytestmark = pytest.mark.engine("torch")

ROOT = Path(__file__).resolve().parent.parent


class Ended(BaseException):
    pass


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request):
    """A signal whose handler raises `Ended`."""

    def end(*_):
        raise Ended

    before = signal.signal(request.param, end)
    yield request.param
    signal.signal(request.param, before)


def told_to_end(work):
    """Do `work` while signals wait; return how far it came before it ended."""
    done = []
    with pytest.raises(Ended):
        with_signals_waiting(work, done)
    return done


def with_signals_waiting(work, done):
    with stopping_gently() as stop:
        work(stop, done)
    done.append("after it")


def test_a_signal_waits_until_it_is_acted_on(number):
    def work(stop, done):
        signal.raise_signal(number)
        done.append("the step")
        assert stop.asked == number
        stop.act()
        done.append("too far")

    before = signal.getsignal(number)
    assert told_to_end(work) == ["the step"]
    assert signal.getsignal(number) is before


def test_the_second_signal_acts_at_once(number):
    def work(stop, done):
        signal.raise_signal(number)
        done.append("the step")
        signal.raise_signal(number)
        done.append("too far")

    assert told_to_end(work) == ["the step"]


def test_a_signal_that_nobody_acted_on_acts_at_the_end(number):
    def work(stop, done):
        signal.raise_signal(number)
        done.append("all of it")

    assert told_to_end(work) == ["all of it"]


def test_without_a_signal_nothing_happens(number):
    before = signal.getsignal(number)
    with stopping_gently() as stop:
        assert signal.getsignal(number) is not before
        stop.act()
    assert signal.getsignal(number) is before


def test_an_error_is_not_replaced(number):
    def work(stop, done):
        signal.raise_signal(number)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        with_signals_waiting(work, [])


def test_where_nothing_is_saved_a_signal_acts_at_once(number):
    with pytest.raises(Ended), stopping_gently(active=False):
        signal.raise_signal(number)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping_gently() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.asked is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_listens_to_nothing():
    found = []

    def run():
        with stopping_gently() as stop:
            found.append(stop.asked)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [None]


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", -2)])
def test_a_program_without_handlers_ends_by_the_signal(name, code):
    program = (
        "import signal; from kseq.training.stopping import stopping_gently\n"
        "try:\n"
        f"    with stopping_gently() as stop: signal.raise_signal(signal.{name}); stop.act()\n"
        "finally: print('left in order')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        check=False,
        timeout=LONGEST,
    )
    assert (done.returncode, done.stdout) == (code, b"left in order\n")
