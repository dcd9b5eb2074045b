"""Tokenize a text of gigabytes and train on it, and tell what memory that takes.

    python tests/large_text.py --gigabytes 2 --folder /tmp

A text of that size is made of the bundled story, each copy numbered, indexed, split, counted for
the floors, and trained on for some steps with both kinds of batches; the files are removed.
Prints one JSON object: seconds, MB/s, and the resident memory of the process in MB at its peak.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any

STEPS = 20
READ_BATCHES = 2000


def main() -> None:
    """Make the text, measure in a process of its own, remove the text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", help="where there is room for twice as much")
    parser.add_argument("--level", default="char")
    parser.add_argument("--cleaning", default="none")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(Path(options.measure), options.level, options.cleaning)))
        return
    folder = Path(tempfile.mkdtemp(prefix="kseq-large-", dir=options.folder))
    try:
        write_text(folder / "text.txt", int(options.gigabytes * 1e9))
        ways = ["--level", options.level, "--cleaning", options.cleaning]
        subprocess.run([sys.executable, __file__, "--measure", str(folder), *ways], check=True)
    finally:
        shutil.rmtree(folder)


def write_text(path: Path, size: int) -> None:
    """Write the story again and again, each copy with a number, until `size` is reached."""
    story = resources.files("kseq.data").joinpath("story.txt").read_bytes()
    with path.open("wb") as file:
        for number in range(size // len(story) + 1):
            file.write(story + b"\n%d\n" % number)


def measured(folder: Path, level: str, cleaning: str) -> dict[str, Any]:
    """Index, split, count, read and train; return times and memory."""
    import kseq

    path, report = folder / "text.txt", {"bytes": (folder / "text.txt").stat().st_size}
    how = {"level": level, "cleaning": cleaning, "cache_dir": folder / "ids"}
    clock = Clock(report)
    corpus = kseq.load_corpus(path, **how)
    clock.note("index")
    report["mb_per_second"] = round(report["bytes"] / 1e6 / report["index_seconds"], 1)
    report |= {"tokens": len(corpus), "vocab_size": len(corpus.vocab)}
    kseq.load_corpus(path, **how)
    clock.note("open")
    train, valid = corpus.split(0.9)
    clock.note("split")
    report["floors"] = kseq.ngram_floors(train, valid).to_dict()
    clock.note("floors")
    model = kseq.LanguageModel(train.vocab, cell="lstm", units=128, num_layers=1)
    model.compile()
    for make in (kseq.SequentialBatches, kseq.RandomBatches):
        batches = make(train, 64, 100)
        for index in range(0, len(batches), max(1, len(batches) // READ_BATCHES)):
            batches[index]
        for index in range(STEPS):
            model.train_on_batch(*batches[index])
        clock.note(make.__name__)
    return report


class Clock:
    """Writes the seconds since the last note, and the peak of memory, into a report."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report, self.last = report, time.perf_counter()

    def note(self, name: str) -> None:
        """Call it `name`."""
        now = time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.report |= {f"{name}_seconds": round(now - self.last, 2)}
        self.report |= {f"{name}_peak_mb": round(peak / 1e6)}
        self.last = now


if __name__ == "__main__":
    main()
