"""What kseq is timed against: trainings and generation in bare PyTorch.

The d2l loop is written as the book writes it: one-hot vectors in every step, a plain loop over the
parameters to clip, the loss fetched in every step.  The expert loop is what a person writes who
wants the same mathematics fast.  Batches come as ids (B, T); time goes first inside, as both do.

Source: Dive into Deep Learning 8.5 and 8.6, `RNNModel`, `grad_clipping`, `train_ch8`,
`predict_ch8`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

RECURRENT = {"simple_rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
LEARNING_RATE = 1.0
CLIP = 1.0


class Yardstick(nn.Module):
    """Ids (T, B) and a state of PyTorch's -> logits (T * B, V) and the new state.

    cell, vocab_size, units, num_layers: as in `kseq.LanguageModel`.
    tied: an embedding as wide as the layers, which also gives the logits; otherwise one-hot.
    looked_up: one-hot vectors are rows of an identity matrix made once, not made in every step.
    """

    def __init__(
        self,
        cell: str,
        vocab_size: int,
        units: int,
        num_layers: int,
        tied: bool = False,
        looked_up: bool = False,
    ) -> None:
        super().__init__()
        self.vocab_size, self.tied, self.looked_up = vocab_size, tied, looked_up
        self.embedding = nn.Embedding(vocab_size, units) if tied else None
        self.recurrent = RECURRENT[cell](units if tied else vocab_size, units, num_layers)
        self.readout = nn.Linear(units, vocab_size)
        if self.embedding is not None:
            self.readout.weight = self.embedding.weight
        elif looked_up:
            self.register_buffer("identity", torch.eye(vocab_size), persistent=False)

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return the logits of every step, and the state after the last."""
        outputs, state = self.recurrent(self.vectors(ids), state)
        return self.readout(outputs.reshape(-1, outputs.shape[-1])), state

    def vectors(self, ids: Tensor) -> Tensor:
        """Return what the recurrent layers read, (T, B, D)."""
        if self.embedding is not None:
            return self.embedding(ids)
        if self.looked_up:
            return functional.embedding(ids, self.identity)  # type: ignore[arg-type]
        return functional.one_hot(ids.long(), self.vocab_size).to(torch.float32)


class D2lLoop:
    """Training as in the book; `step` trains on one batch and returns the sum of its losses."""

    def __init__(self, model: Yardstick) -> None:
        self.model = model
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE)
        self.state: Any = None

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        """Train on ids x, y (B, T), the state carried from the step before without gradient."""
        X, Y = torch.from_numpy(x), torch.from_numpy(y)
        self._detach()
        targets = Y.T.reshape(-1)
        logits, self.state = self.model(X.T, self.state)
        loss = self.loss(logits, targets.long()).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self._clip()
        self.optimizer.step()
        return (loss * targets.numel()).item()

    def _detach(self) -> None:
        if isinstance(self.state, tuple):
            for part in self.state:
                part.detach_()
        elif self.state is not None:
            self.state.detach_()

    def _clip(self) -> None:
        params = [p for p in self.model.parameters() if p.requires_grad]
        norm = torch.sqrt(sum(torch.sum(p.grad**2) for p in params))  # type: ignore[arg-type, operator]
        if norm > CLIP:
            for param in params:
                param.grad[:] *= CLIP / norm  # type: ignore[index]


class ExpertLoop:
    """The same training by someone who knows PyTorch; the losses add up unseen on the device."""

    def __init__(self, model: Yardstick, dtype: str = "float32") -> None:
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, foreach=True)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.state: Any = None
        self.total = torch.zeros(())
        self.autocast = _autocast(dtype)

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        """Train on ids x, y (B, T), the state carried from the step before without gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast:
            logits, state = self.model(torch.from_numpy(x).t(), self.state)
        targets = torch.from_numpy(y).t().reshape(-1).long()
        loss = functional.cross_entropy(logits.float(), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP, foreach=True)
        self.optimizer.step()
        self.state = detached(state)
        self.total += loss.detach() * targets.numel()


def detached(state: Any) -> Any:
    """Return a state of PyTorch's, a tensor or a tuple of them, cut off from its graph."""
    return state.detach() if isinstance(state, Tensor) else tuple(s.detach() for s in state)


def _autocast(dtype: str) -> AbstractContextManager[Any]:
    if dtype == "float32":
        return nullcontext()
    return torch.autocast("cpu", dtype=torch.bfloat16)


def d2l_generate(model: Yardstick, prompt: np.ndarray, count: int) -> list[int]:
    """Return prompt (P,) and `count` more ids as `predict_ch8` finds them, one id at a time."""
    state, outputs = None, [int(prompt[0])]

    def get_input() -> Tensor:
        return torch.tensor([outputs[-1]]).reshape((1, 1))

    for token_id in prompt[1:]:
        _, state = model(get_input(), state)
        outputs.append(int(token_id))
    for _ in range(count):
        logits, state = model(get_input(), state)
        outputs.append(int(logits.argmax(dim=1).reshape(1)))
    return outputs


@torch.inference_mode()
def expert_generate(model: Yardstick, prompts: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` likeliest next ids (B, count) after prompts (B, P), read all at once."""
    ids, state = torch.from_numpy(prompts).long().t(), None
    found = torch.empty(count, prompts.shape[0], dtype=torch.long)
    for place in range(count):
        logits, state = model(ids, state)
        ids = torch.argmax(logits[-prompts.shape[0] :], dim=1, out=found[place]).unsqueeze(0)
    return found.t().numpy()


def mlp_step(window: int = 4, units: int = 10) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return step(x (B, window), y (B, 1)) -> loss of the book's perceptron and its Adam.

    Source: Dive into Deep Learning 8.1, `get_net` and `train`.
    """
    net = nn.Sequential(nn.Linear(window, units), nn.ReLU(), nn.Linear(units, 1))
    loss_of, trainer = nn.MSELoss(), torch.optim.Adam(net.parameters(), 0.01)

    def step(x: np.ndarray, y: np.ndarray) -> float:
        trainer.zero_grad()
        loss = loss_of(net(torch.from_numpy(x)), torch.from_numpy(y))
        loss.backward()
        trainer.step()
        return loss.item()

    return step


def forward_backward(layer: Any, x: np.ndarray, **arguments: Any) -> Callable[[], None]:
    """Return a function that runs a Keras layer on x once, forwards and backwards.

    The gradients of weights and input are found and thrown away.
    """
    inputs = torch.from_numpy(x).requires_grad_()
    weights = [variable.value for variable in layer.trainable_variables]

    def run() -> None:
        outputs = layer(inputs, **arguments)
        outputs = outputs[0] if isinstance(outputs, list | tuple) else outputs
        torch.autograd.grad(outputs.float().sum(), [inputs, *weights])

    return run
