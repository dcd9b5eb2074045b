"""How fast one, two and more processes train one model on this machine.

    python tests/several_processes.py --processes 1 2 --threads 1

Each number of processes trains the same model on the same batches, in turn and again, each process
with so many threads.  Prints one JSON object: tokens per second, the best and the median epoch.
To be run on a machine that does nothing else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 600


def learn(units, rows, epochs):
    """Train in this process, which may be one of several; print the speed of each epoch."""
    import kseq

    corpus = kseq.load_corpus("story")
    model = kseq.LanguageModel(corpus.vocab, "lstm", units, 2)
    run = kseq.train(model, kseq.SequentialBatches(corpus, rows, 35), epochs)
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps([record["tokens_per_second"] for record in run.records[1:]]))


def speeds(count, threads, words):
    """Start so many processes with PyTorch's launcher; give the speeds of its epochs."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    done = subprocess.run(
        [sys.executable, *launcher, __file__, "--learn", *words],
        env={
            **os.environ,
            "KERAS_BACKEND": "torch",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": str(threads),
            "KERAS_HOME": tempfile.gettempdir(),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--rows", type=int, default=32, help="of a batch, over all processes")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--learn", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = (options.units, options.rows, options.epochs)
    if options.learn:
        learn(*sizes)
        return
    words = [f"--{n}={v}" for n, v in zip(("units", "rows", "epochs"), sizes, strict=True)]
    found = {count: [] for count in options.processes}
    for _ in range(options.rounds):
        for count in found:
            found[count] += speeds(count, options.threads, words)
    figures = {
        count: {"median": round(statistics.median(each)), "best": round(max(each))}
        for count, each in found.items()
    }
    about = {"threads_each": options.threads, "units": options.units, "rows": options.rows}
    print(json.dumps({**about, "tokens_per_second": figures}))


if __name__ == "__main__":
    main()
