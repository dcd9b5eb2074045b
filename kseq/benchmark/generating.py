"""Contenders in generation: the next tokens after a prompt, the likeliest each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kseq.backend import engine
from kseq.benchmark.cases import Case
from kseq.benchmark.measuring import Contender, Repeated
from kseq.benchmark.training import keras_model, language_model, yardstick
from kseq.generation import Sampling, generate_ids

PROMPT = 16  # tokens
TOKENS = 64  # to be added by one call
FEW_TOKENS = 2  # for what takes a tenth of a second each


def generation_contenders(case: Case) -> dict[str, Callable[[], Contender]]:
    """Return those of the engine in use by name, each as a function that makes it ready."""
    found: dict[str, Callable[[], Contender]] = {"kseq": lambda: kseq_generate(case)}
    if engine() != "torch" and case.batch_size == 1 and case.unit != "ms":
        found["kseq, eager"] = lambda: kseq_eager(case)
    if engine() == "torch" and case.batch_size == 1:
        found["d2l loop"] = lambda: d2l_way(case)
    if engine() == "torch":
        found["expert loop"] = lambda: expert_way(case)
    if case.unit != "ms":
        found["keras"] = lambda: keras_way(case)
    return found


def kseq_generate(case: Case) -> Contender:
    """Token by token as `LanguageModel.generate` does, text and all."""
    model, count = language_model(case), _count(case)
    texts = ["".join(model.vocab.to_tokens(row)) for row in prompts_of(case)]
    prompt = texts if case.batch_size > 1 else texts[0]
    return Repeated(lambda: model.generate(prompt, count), count * case.batch_size)


def kseq_eager(case: Case) -> Contender:
    """The same by calls of the model that nothing compiles."""
    model = language_model(case)
    prompts = prompts_of(case)

    def step(ids: Any, state: Any) -> tuple[np.ndarray, Any]:
        logits, state = model(ids, initial_state=state, return_state=True)
        return np.asarray(logits), state

    def run() -> None:
        for _ in generate_ids(step, list(prompts[:, :1]), FEW_TOKENS, Sampling()):
            pass

    return Repeated(run, FEW_TOKENS * case.batch_size)


def d2l_way(case: Case) -> Contender:
    """The book's `predict_ch8`."""
    from kseq.backend.yardsticks import d2l_generate

    model, prompt, count = yardstick(case), prompts_of(case)[0], _count(case)
    return Repeated(lambda: d2l_generate(model, prompt, count), count)


def expert_way(case: Case) -> Contender:
    """Bare PyTorch in inference mode, the prompt read at once."""
    from kseq.backend.yardsticks import expert_generate

    model, prompts, count = yardstick(case, looked_up=True), prompts_of(case), _count(case)
    return Repeated(lambda: expert_generate(model, prompts, count), count * case.batch_size)


def keras_way(case: Case) -> Contender:
    """`predict_on_batch` of the last 35 tokens for each new one, as Keras's examples do."""
    model, window = keras_model(case), prompts_of(case, case.num_steps)

    def run() -> None:
        model.predict_on_batch(window)[:, -1].argmax(-1)

    return Repeated(run, case.batch_size)


def prompts_of(case: Case, length: int = PROMPT) -> np.ndarray:
    """Return token ids (B, P), one prompt a row; `<unk>` is not among them."""
    rng = np.random.default_rng(1)
    return rng.integers(1, case.vocab_size, (case.batch_size, length)).astype("int32")


def _count(case: Case) -> int:
    return 1 if case.unit == "ms" else TOKENS
