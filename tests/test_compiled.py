"""The compiled recurrences: the oracle, finite differences, laws; and no compiler at all."""

import logging
import os
import stat
import sys
import threading

import numpy as np
import oracle
import pytest

from kseq.backend import compiled

torch = pytest.importorskip("torch")
from kseq.backend import torch_compiled  # noqa: E402

DOUBLE = compiled.library("double")
pytestmark = [
    pytest.mark.engine("torch"),
    pytest.mark.skipif(DOUBLE is None, reason="no C++ compiler here"),
]

KINDS = {"simple_rnn": (1, 1), "gru": (3, 1), "gru_reset_before": (3, 1), "lstm": (4, 2)}
# Around the widths of a vector and of a tile of rows; one step, one row, one unit.
SHAPES = [(1, 1, 1, 1), (3, 2, 4, 5), (4, 7, 1, 16), (2, 13, 3, 17), (5, 6, 2, 40), (3, 25, 2, 66)]


def drawn(kind, T, B, D, H, seed=0):
    """Give inputs (T, B, D), the states, W, R and b as float64 tensors that want gradients."""
    rng = np.random.default_rng([seed, T, B, D, H])
    gates, count = KINDS[kind]
    bias = (2, gates * H) if kind == "gru" else (gates * H,)
    shapes = [(T, B, D), *[(B, H)] * count, (D, gates * H), (H, gates * H), bias]
    return [torch.tensor(rng.normal(size=s), requires_grad=True) for s in shapes]


def run(kind, leaves, mask=None):
    inputs, *states, W, R, b = leaves
    outputs, last = torch_compiled.recurrence(kind, inputs, states, W, R, b, mask)
    return [outputs, *last]


def gradients(results, leaves, seed=1):
    """Give the gradients of a random linear function of the results."""
    rng = np.random.default_rng(seed)
    factors = [torch.tensor(rng.normal(size=tuple(r.shape))).to(r.dtype) for r in results]
    total = sum((r * f).sum() for r, f in zip(results, factors, strict=True))
    return torch.autograd.grad(total, leaves), factors


def close(ours, theirs, tolerance=1e-12):
    for pair in zip(ours, theirs, strict=True):
        a, b = (torch.as_tensor(one).detach().double() for one in pair)
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_the_oracle(kind, shape):
    leaves = drawn(kind, *shape)
    results = run(kind, leaves)
    found, (d_outputs, *d_states) = gradients(results, leaves)

    inputs, *states, W, R, b = [leaf.detach().numpy() for leaf in leaves]
    family, batch_first = kind.removesuffix("_reset_before"), np.swapaxes(inputs, 0, 1)
    outputs, last = oracle.forward(family, batch_first, states, [W, R, b])
    close(results, [np.swapaxes(outputs, 0, 1), *last])
    d_inputs, d_first, d_weights = oracle.backward(
        family,
        batch_first,
        states,
        [W, R, b],
        np.swapaxes(d_outputs.numpy(), 0, 1),
        [d.numpy() for d in d_states],
    )
    close(found, [np.swapaxes(d_inputs, 0, 1), *d_first, *d_weights], 1e-10)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_differences(kind, masked):
    leaves = drawn(kind, 4, 3, 2, 5)
    mask = torch.tensor(np.random.default_rng(2).random((4, 3)) > 0.4) if masked else None
    assert torch.autograd.gradcheck(lambda *given: tuple(run(kind, given, mask)), leaves)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_with_held_steps_is_the_row_without_them(kind):
    T, B, D, H = 7, 5, 3, 18
    leaves = drawn(kind, T, B, D, H)
    mask = torch.tensor(np.random.default_rng(3).random((T, B)) > 0.5)
    outputs, *last = run(kind, leaves, mask)
    found, (d_outputs, *d_last) = gradients([outputs, *last], leaves[:1])
    inputs, *states, W, R, b = leaves
    for row in range(B):
        steps = mask[:, row].nonzero()[:, 0]
        alone = inputs[steps, row : row + 1].detach().requires_grad_()
        first = [state[row : row + 1] for state in states]
        if len(steps) == 0:
            close([one[row : row + 1] for one in last], first)
            continue
        results = run(kind, [alone, *first, W, R, b])
        close([outputs[steps, row : row + 1]], results[:1])
        close([one[row : row + 1] for one in last], results[1:])
        # A held step shows the state before it, whose gradient then is the step's too.
        shown = (mask[:, row].cumsum(0) - 1).numpy()
        d_alone = torch.zeros_like(results[0])
        for t, step in enumerate(shown):
            if step >= 0:
                d_alone[step] += d_outputs[t, row]
        d_results = [d_alone, *[d[row : row + 1] for d in d_last]]
        (d_inputs,) = torch.autograd.grad(results, [alone], d_results)
        close([found[0][steps, row : row + 1]], [d_inputs])


@pytest.mark.parametrize("kind", KINDS)
def test_one_long_run_is_two_carried_ones(kind):
    inputs, *states, W, R, b = drawn(kind, 9, 4, 3, 20)
    whole, last = torch_compiled.recurrence(kind, inputs, states, W, R, b)
    early, between = torch_compiled.recurrence(kind, inputs[:4], states, W, R, b)
    late, ended = torch_compiled.recurrence(kind, inputs[4:], between, W, R, b)
    close([torch.cat([early, late]), *ended], [whole, *last])


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_the_same_on_any_number_of_threads(kind, threads):
    before = torch.get_num_threads()
    leaves = [leaf.detach().float().requires_grad_() for leaf in drawn(kind, 30, 5, 3, 66)]
    alone = run(kind, leaves)
    try:
        torch.set_num_threads(threads)
        shared = run(kind, leaves)
        (d_shared, _) = gradients(shared, leaves[:2])
    finally:
        torch.set_num_threads(before)
    (d_alone, _) = gradients(alone, leaves[:2])
    close([*shared, *d_shared], [*alone, *d_alone], 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_strided_inputs_and_states_are_read_right(kind):
    inputs, *states, W, R, b = drawn(kind, 4, 3, 2, 6)
    leaves = [inputs, *states, W, R, b]
    strided = [leaf.detach().t().contiguous().t() if leaf.ndim == 2 else leaf for leaf in leaves]
    strided[0] = inputs.detach().transpose(0, 1).contiguous().transpose(0, 1)
    assert not any(leaf.is_contiguous() for leaf in strided[:2])
    close(run(kind, strided), run(kind, leaves))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.03)])
@pytest.mark.parametrize("kind", KINDS)
def test_narrow_numbers_stay_near_float64(kind, dtype, tolerance):
    kept = torch_compiled.KEPT[getattr(torch, dtype)]
    if compiled.library(kept) is None:
        pytest.skip(f"this processor has no instructions for {dtype}")
    leaves = drawn(kind, 12, 5, 3, 34)
    leaves = [(leaf / leaf.shape[0] ** 0.5).detach().requires_grad_() for leaf in leaves]
    mask = torch.tensor(np.random.default_rng(4).random((12, 5)) > 0.2)
    narrow = [leaf.detach().to(getattr(torch, dtype)).requires_grad_() for leaf in leaves]
    ours, exact = run(kind, narrow, mask), run(kind, leaves, mask)
    d_ours, _ = gradients(ours, narrow)
    d_exact, _ = gradients(exact, leaves)
    for a, b in zip([*ours, *d_ours], [*exact, *d_exact], strict=True):
        assert a.dtype == getattr(torch, dtype)
        assert (a.double() - b).norm() <= tolerance * b.norm()


def test_large_inputs_saturate_without_a_word():
    large = torch.tensor([[[1e30, -1e30, 200.0, -200.0, 0.0]]])
    outputs = run("simple_rnn", [large, torch.zeros(1, 5), torch.eye(5), torch.zeros(5, 5), None])
    assert outputs[0].flatten().tolist() == [1, -1, 1, -1, 0]


def test_what_is_not_a_number_stays_so():
    broken = torch.tensor([[[np.nan, 1.0]]])
    for dtype in (torch.float32, torch.float64):
        zeros = [torch.zeros(rows, 2).to(dtype) for rows in (1, 2, 2)]
        outputs = run(
            "simple_rnn", [broken.to(dtype), zeros[0], torch.eye(2).to(dtype), zeros[2], None]
        )
        assert outputs[0].isnan().any()


def test_nothing_is_kept_where_no_gradient_is_wanted():
    leaves = drawn("lstm", 3, 2, 2, 4)
    with torch.no_grad():
        outputs, *_ = run("lstm", leaves)
    assert outputs.grad_fn is None


def test_a_second_backward_gives_the_same():
    leaves = drawn("lstm", 3, 2, 2, 4)
    total = run("lstm", leaves)[0].sum()
    first = torch.autograd.grad(total, leaves, retain_graph=True)
    close(first, torch.autograd.grad(total, leaves), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_asked_for_has_a_gradient(kind):
    leaves = drawn(kind, 3, 2, 2, 4)
    for wanted in range(len(leaves)):
        some = [leaf.detach().requires_grad_(i == wanted) for i, leaf in enumerate(leaves)]
        (alone,), _ = gradients(run(kind, some), [some[wanted]])
        every, _ = gradients(run(kind, leaves), leaves)
        close([alone], [every[wanted]])


def test_the_switches_turn_it_off(monkeypatch):
    leaves = drawn("lstm", 3, 2, 2, 4)
    with compiled.disabled():
        assert compiled.library("double") is None
        assert torch_compiled.recurrence("lstm", leaves[0], leaves[1:3], *leaves[3:]) is None
    assert compiled.enabled()
    monkeypatch.setenv("KSEQ_COMPILED", "0")
    assert not compiled.enabled()
    assert compiled.library("double") is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_went_forward_in_cpp_goes_back_in_it_when_it_is_turned_off_between(kind):
    leaves = drawn(kind, 3, 2, 2, 4)
    expected, _ = gradients(run(kind, leaves), leaves)
    results = run(kind, leaves)
    with compiled.disabled():
        found, _ = gradients(results, leaves)
    close(found, expected, 0)


def test_what_cannot_be_compiled_is_left_to_pytorch():
    inputs, h, W, R, b = drawn("simple_rnn", 3, 2, 2, 4)
    other = [leaf.detach().half() for leaf in (inputs, h, W, R, b)]
    assert torch_compiled.recurrence("simple_rnn", other[0], [other[1]], *other[2:]) is None
    nothing = inputs[:, :0]
    assert torch_compiled.recurrence("simple_rnn", nothing, [h[:0]], W, R, b) is None


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A folder of caches that holds nothing yet, and no memory of another."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled._library.cache_clear()
    yield tmp_path / "kseq" / "compiled"
    compiled._library.cache_clear()


def compiler_that(tmp_path, does):
    """Write a compiler in Python that runs `does` when it is to build, with `target` known."""
    path = tmp_path / "compiler"
    path.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "if '-E' in sys.argv: sys.exit(print('#define TOY 1'))\n"
        f"target = sys.argv[sys.argv.index('-o') + 1]\n{does}\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_without_a_compiler_there_is_no_library(empty_cache, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiled.find_compiler() is None
    assert compiled.library("float") is None
    assert not empty_cache.exists()


def test_without_a_home_there_is_no_library(empty_cache, monkeypatch):
    def missing():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(compiled, "_cache_folder", missing)
    assert compiled.library("float") is None


def test_a_compiler_that_fails_leaves_nothing_behind(empty_cache, tmp_path, monkeypatch, caplog):
    failing = "sys.exit(print('x.h: error: no such instructions', file=sys.stderr) or 1)"
    monkeypatch.setenv("CXX", compiler_that(tmp_path, failing))
    with caplog.at_level(logging.INFO, "kseq"):
        assert compiled.library("float") is None
    assert "no such instructions" in caplog.text
    assert list(empty_cache.iterdir()) == []
    told = compiled.describe()
    assert "could not be built: x.h: error: no such instructions" in told
    assert told.startswith("the engine's operations")


def test_what_was_built_is_told_by_its_compiler():
    assert compiled.library("float") is not None
    assert compiled.describe() == f"C++ by {compiled.find_compiler()}"


def test_a_library_is_compiled_once_and_said_so(empty_cache, tmp_path, monkeypatch, caplog):
    real = DOUBLE._name
    built = str(tmp_path / "built")
    copying = f"import shutil; shutil.copy({real!r}, target); open({built!r}, 'a').write('x')"
    monkeypatch.setenv("CXX", compiler_that(tmp_path, copying))
    with caplog.at_level(logging.WARNING, "kseq"):
        assert compiled.library("double") is not None
    assert "once" in caplog.text
    assert "KSEQ_COMPILED=0" in caplog.text
    compiled._library.cache_clear()
    assert compiled.library("double") is not None
    assert (tmp_path / "built").read_text() == "x"


def test_a_broken_library_is_built_anew(empty_cache, tmp_path, monkeypatch):
    copying = f"import shutil; shutil.copy({DOUBLE._name!r}, target)"
    monkeypatch.setenv("CXX", compiler_that(tmp_path, copying))
    path = compiled._built(compiled.find_compiler(), "double", empty_cache)
    path.write_bytes(b"half of it")
    assert compiled.library("double") is not None
    assert path.stat().st_size > 10_000


def test_a_library_is_on_the_disk_before_it_has_its_name(empty_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", compiler_that(tmp_path, "open(target, 'w').write('x')"))
    done, fsync, replace = [], os.fsync, os.replace

    def forced(handle):
        done.append(os.fstat(handle).st_ino)
        fsync(handle)

    def named(part, path):
        assert os.stat(part).st_ino in done
        replace(part, path)
        done.append(path)

    monkeypatch.setattr(os, "fsync", forced)
    monkeypatch.setattr(os, "replace", named)
    path = compiled._built(compiled.find_compiler(), "double", empty_cache)
    assert path in done


def test_two_that_compile_at_once_both_have_it(empty_cache, tmp_path, monkeypatch):
    real = DOUBLE._name
    slow = f"import shutil, time; time.sleep(0.2); shutil.copy({real!r}, target)"
    monkeypatch.setenv("CXX", compiler_that(tmp_path, slow))
    found = []
    compiler, folder = compiled.find_compiler(), empty_cache
    threads = [
        threading.Thread(target=lambda: found.append(compiled._built(compiler, "double", folder)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert [path.name for path in folder.iterdir()] == [found[0].name]


def test_the_name_of_a_library_knows_its_sources(tmp_path, monkeypatch):
    for path in compiled.SOURCES.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    compiler = compiled.find_compiler()
    before = compiled._fingerprint(compiler)
    monkeypatch.setattr(compiled, "SOURCES", tmp_path)
    assert compiled._fingerprint(compiler) == before
    (tmp_path / "simd.h").write_text("// other")
    assert compiled._fingerprint(compiler) != before
