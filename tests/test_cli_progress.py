"""Progress: a line an epoch into a file, one living line on a terminal."""

import io

import pytest

from kseq.cli.progress import Progress, epoch_line

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

RECORD = {
    "loss": 1.5,
    "perplexity": 4.4817,
    "val_perplexity": 6.1,
    "tokens_per_second": 24310.0,
    "seconds_left": 75.0,
    "skipped_steps": 0,
}


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def screen(self):
        """The lines a person sees: a carriage return with an erasure starts a line anew."""
        return [line.rpartition("\r\x1b[K")[2] for line in self.getvalue().split("\n")]


NARROW = "epoch {}/{} loss 1.500 perplexity 4.48 held-out 6.10 24,310 tok/s 1:15 left"


def record(epoch, **more):
    return {"epoch": epoch, **RECORD, **more}


def shown(stream, epochs, until=None, **more):
    with Progress(epochs, quiet=False, stream=stream) as progress:
        for epoch in range(1, (until or epochs) + 1):
            progress.show(record(epoch, **more))
    return stream


def test_a_file_gets_a_line_an_epoch_and_no_escapes():
    lines = shown(io.StringIO(), 100).getvalue().splitlines()

    assert lines == [epoch_line(record(epoch), 100) for epoch in range(1, 101)]


@pytest.mark.parametrize("epochs", [39, 50, 100, 500, 1999])
def test_about_twenty_lines_stay_on_a_terminal(epochs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    screen = shown(Terminal(), epochs).screen()

    assert 14 <= len(screen) <= 23
    assert screen[0].split() == NARROW.format(1, epochs).split()
    assert screen[-2] == NARROW.format(epochs, epochs)
    assert screen[-1] == ""


def test_a_short_training_shows_every_epoch_on_a_terminal():
    assert len(shown(Terminal(), 10).screen()) == 10 + 1


def test_the_line_in_between_is_rewritten():
    terminal = Terminal()
    progress = Progress(100, quiet=False, stream=terminal)
    for epoch in (1, 2, 3):
        progress.show(record(epoch))

    assert [line.split()[1] for line in terminal.screen()] == ["1/100", "3/100"]


def test_a_training_that_ends_early_leaves_a_fresh_line():
    assert shown(Terminal(), 100, until=7).getvalue().endswith("left\n")


def test_a_note_does_not_run_into_the_living_line():
    terminal = Terminal()
    progress = Progress(100, quiet=False, stream=terminal)
    progress.show(record(1))
    progress.show(record(2))
    progress.note("said")

    assert terminal.screen()[1:] == ["said", ""]


def test_no_line_is_wider_than_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, shown(Terminal(), 5).screen())) == 39


def test_samples_stay_below_their_epoch():
    terminal = Terminal()
    progress = Progress(100, quiet=False, stream=terminal)
    progress.show(record(2, samples=["one\ntwo", "three"]))

    assert terminal.screen()[1:] == ["  | one", "  | two", "  | three", ""]


def test_skipped_steps_are_told():
    assert epoch_line(record(1, skipped_steps=3), 5).endswith(
        "3 steps skipped (gradient not finite)"
    )


def test_a_stream_that_breaks_stops_no_training():
    class Broken(io.StringIO):
        writes = 0

        def write(self, text):
            self.writes += 1
            raise BrokenPipeError

    broken = shown(Broken(), 5)

    assert broken.writes == 1


def test_quiet_is_quiet_and_no_stream_is_no_error(monkeypatch):
    stream = io.StringIO()
    progress = Progress(5, quiet=True, stream=stream)
    progress.show(record(1))
    assert stream.getvalue() == ""

    monkeypatch.setattr("sys.stderr", None)
    Progress(5, quiet=False).show(record(1))
