"""Trainings that are killed at random moments, again and again, and what they end with.

    python tests/killed_runs.py --runs 200      (KERAS_BACKEND=torch, jax or tensorflow)

One training of each kind is left alone; every other is stopped by SIGKILL, SIGTERM or SIGINT at a
random moment, resumed, perhaps stopped again, and at last left to end.  All must end with the same
weights, optimizer, history and text, to the bit.  Prints one JSON object.  A training that goes on
for longer than `--limit` seconds shows where it stands and ends all.
"""

import argparse
import faulthandler
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

EPOCHS, CHECKPOINT_STEPS = 6, 5
KINDS = ("sequential", "random")
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
MOST_KILLS = 4
TIMES = ("tokens_per_second", "seconds", "seconds_left")
LIMIT = 600  # seconds; a training takes one on a quiet machine, some twenty under JAX
STEPS_LOG, RESULT = "steps.log", "result.json"


# What a child does.


def learn(folder, kind):
    """Train with everything a state can hold; write what came of it beside the run."""
    import keras

    import kseq

    class Log(keras.callbacks.Callback):
        reads_logs = False

        def on_train_batch_end(self, batch, logs=None):
            with open(folder / STEPS_LOG, "ab") as log:
                log.write(b".")

    ids = np.random.default_rng(0).choice(5, 200, p=[0.4, 0.3, 0.15, 0.1, 0.05]) + 1
    make = kseq.SequentialBatches if kind == "sequential" else kseq.RandomBatches
    batches = make(ids, 3, 5)
    model = kseq.LanguageModel(kseq.Vocab(list("abcde")), "lstm", 8, 2, dropout=0.5)
    rate = kseq.schedule("one_cycle", 0.1, EPOCHS * len(batches)) if kind == "sequential" else 0.05
    model.compile(kseq.clipped_optimizer("adam", rate))
    run = kseq.train(
        model,
        batches,
        EPOCHS,
        validation=kseq.SequentialBatches(ids[:60], 2, 5),
        run_dir=folder / "run",
        resume=True,
        checkpoint_steps=CHECKPOINT_STEPS,
        patience=2,
        plateau=None if kind == "sequential" else 1,
        prompts=["ab"],
        sample_every=2,
        callbacks=[Log()],
    )
    drawn = model.generate("ab", 40, temperature=1.0, seed=3)
    (folder / RESULT).write_text(json.dumps(result_of(model, run, drawn)))


def result_of(model, run, text):
    from keras import ops

    digest = hashlib.sha256()
    for variable in (*model.variables, *model.optimizer.variables):
        digest.update(np.ascontiguousarray(ops.convert_to_numpy(variable.value)).tobytes())
    records = [{k: v for k, v in each.items() if k not in TIMES} for each in run.records]
    facts = {"records": records, "stopped_early": run.stopped_early, "text": text}
    return {"weights": digest.hexdigest(), **facts, "provenance": model.provenance.to_dict()}


def child(folder, kind):
    """Run `learn` in a process of its own; return its id."""
    from kseq.backend import alone

    # A Ctrl-C that comes before the child listens waits; it would unwind the parent's frames.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    process = os.fork()
    if process:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        return process

    code = 1
    try:
        faulthandler.enable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        warnings.simplefilter("ignore")
        with alone():
            learn(folder, kind)
        # One that comes after it has no more to end.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        code = 0
    except KeyboardInterrupt:
        code = 130
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        os._exit(code)


# What the parent does.


def end_of(process, limit):
    """Wait for a child; return its exit code, negative for a signal.

    One that takes longer than `limit` seconds is told to show its stack and end.
    """
    for ends in (0, signal.SIGABRT, signal.SIGKILL):
        # A signal 0 asks whether there is a process.
        os.kill(process, ends)
        until = time.monotonic() + limit
        while time.monotonic() < until:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
    raise RuntimeError(f"a training does not end in {3 * limit} seconds, nor by SIGKILL")


def finished(folder, kind, limit):
    """Let a training end; return what came of it and how many steps it took in all."""
    code = end_of(child(folder, kind), limit)
    if code:
        raise RuntimeError(f"a training left alone ended with {code}")
    return json.loads((folder / RESULT).read_text()), len((folder / STEPS_LOG).read_bytes())


def struck(folder, kind, limit, number, delay):
    """Send a signal to a training after a while; return its exit code."""
    process = child(folder, kind)
    time.sleep(delay)
    # Not yet waited for, so the id is still this child's.
    os.kill(process, number)
    return end_of(process, limit)


def killed_run(folder, kind, limit, seconds, draw):
    """Kill a training a few times and let it end; return its result, steps and the kills."""
    kills = Counter()
    for _ in range(draw.randint(1, MOST_KILLS)):
        number = draw.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        code = struck(folder, kind, limit, number, draw.uniform(0, seconds))
        if code == 0:
            break
        # Before the training listens, the system ends it as it does any program.
        if code not in (-number, CODES.get(number)):
            raise RuntimeError(f"{signal.Signals(number).name} ended a training with {code}")
        kills[signal.Signals(number).name] += 1
    return *finished(folder, kind, limit), kills


def compare(runs, seed, limit, scratch):
    """Return how many of so many killed trainings ended as those left alone."""
    alone, seconds = {}, {}
    for kind in KINDS[:runs]:
        began = time.monotonic()
        folder = scratch / kind
        folder.mkdir()
        alone[kind] = finished(folder, kind, limit)
        seconds[kind] = time.monotonic() - began
    kills, same, repeated, different = Counter(), 0, 0, []
    for number in range(runs):
        kind, draw = KINDS[number % len(KINDS)], random.Random(f"{seed} {number}")
        folder = scratch / f"{number}"
        folder.mkdir()
        result, steps, struck_by = killed_run(folder, kind, limit, seconds[kind], draw)
        kills += struck_by
        more = steps - alone[kind][1]
        repeated = max(repeated, more - struck_by["SIGKILL"] * CHECKPOINT_STEPS)
        if result == alone[kind][0]:
            same += 1
            shutil.rmtree(folder)
        else:
            wrong = [name for name in result if result[name] != alone[kind][0][name]]
            different.append([number, *wrong])
    return {
        "engine": os.environ.get("KERAS_BACKEND", "torch"),
        "runs": runs,
        "same": same,
        "different": different,
        "kills": dict(kills),
        "steps_lost_beyond_the_interval": repeated,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=LIMIT)
    options = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # The children find the engine imported, and nothing computed with it.
    import keras  # noqa: F401

    scratch = Path(tempfile.mkdtemp(prefix="kseq-killed-"))
    try:
        print(json.dumps(compare(options.runs, options.seed, options.limit, scratch)))
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
