"""What kseq writes, and what must hold when a disk does not take it.

Run as a program, with a folder on a small file system of its own and the name of a function, it
fills that file system and prints how often it was refused.
"""

import json
import os
import shutil
import sys
from pathlib import Path

POINTS = 20


def writers():
    """Return by file name what writes that file."""
    import numpy as np

    import kseq
    from kseq import figures
    from kseq.cli.pictures import write_picture
    from kseq.data.files import write_text

    letters = [chr(i) for i in range(500, 3500)]
    model = kseq.LanguageModel(kseq.Vocab("abcdef"), units=32, num_layers=2)
    figure = figures.plot_series(np.arange(50.0), np.arange(50))
    figure.set_size_inches(2, 1)
    return {
        "model.keras": model.save,
        "vocab.json": kseq.Vocab(letters).save,
        "curve.png": lambda path: write_picture(figure, path),
        "curve.svg": lambda path: write_picture(figure, path),
        "history.json": lambda path: write_text(path, '{"loss": 1.5}' * 4000),
    }


def message_of(write, path):
    from kseq.errors import FileError

    try:
        write(path)
    except FileError as error:
        return str(error)
    raise AssertionError(f"{path} was written without room for it")


def check_refused(write, path, has_version_before):
    """Write where there is no room: an error of three parts, and everything as it was."""
    from kseq.checks import shown_path

    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    message = message_of(write, path)
    assert message.startswith(f"{shown_path(path)}: must be written whole, found "), message
    assert "; free some space or choose another disk" in message
    assert message.endswith("the version before is untouched") == has_version_before
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before


def fill(folder, name, room):
    """Leave `room` bytes, or a little less, to a file system of few MiB."""
    with open(folder / name, "wb") as stream:
        found = os.statvfs(folder)
        stream.write(bytes(max(found.f_bavail * found.f_bsize - room, 0)))


def fill_again_and_again(folder):
    """Write each file at many sizes of the room that is left; return how often it was refused."""
    refused = 0
    for name, write in writers().items():
        path = folder / "files" / name
        path.parent.mkdir(exist_ok=True)
        write(path)
        size = path.stat().st_size
        for point in range(POINTS):
            fill(folder, "filler", size * point // POINTS)
            check_refused(write, path, has_version_before=True)
            refused += 1
        path.unlink()
        fill(folder, "filler", 0)
        check_refused(write, path, has_version_before=False)
        (folder / "filler").unlink()
        write(path)
        assert path.stat().st_size > 0
    return refused


def train_again_and_again(folder):
    """Resume a run with ever more room left; return how often it ended for want of room."""
    from command_line import FOX, QUICK, TINY, error_line, kseq, works

    os.chdir(folder)
    Path("a.txt").write_text(FOX * 3)
    longer = ["train", "a.txt", *TINY, "--quiet", "--dropout", "0.5", "--epochs", "3"]
    works(*longer, "--run-dir", "whole")
    works("train", "a.txt", *QUICK, "--dropout", "0.5", "--run-dir", "begun")
    refused = 0
    for point in range(POINTS):
        shutil.copytree("begun", "run")
        fill(folder, "filler", 16_000 * point)
        said = kseq(*longer, "--run-dir", "run", "--resume")
        Path("filler").unlink()
        assert said.code in (0, 5), said
        if said.code == 5:
            line = error_line(said)
            assert "found No space left on device; " in line, line
            refused += 1
        check_resumes(longer)
        shutil.rmtree("run")
    return refused


def check_resumes(longer):
    """The files that are there are whole, and the run ends where an unbroken one does."""
    import numpy as np
    from command_line import works

    import kseq

    for file in Path("run").glob("*.keras"):
        kseq.load_model(file)
    works(*longer, "--run-dir", "run", "--resume")
    for name in ("model.keras", "best.keras"):
        models = [kseq.load_model(Path(run, name)) for run in ("run", "whole")]
        for one, other in zip(*(model.get_weights() for model in models), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
    losses = [
        [epoch["loss"] for epoch in json.loads(Path(run, "history.json").read_text())["epochs"]]
        for run in ("run", "whole")
    ]
    assert losses[0] == losses[1]


if __name__ == "__main__":
    print(globals()[sys.argv[2]](Path(sys.argv[1])))
