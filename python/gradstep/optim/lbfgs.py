# SPDX-License-Identifier: Apache-2.0
"""L-BFGS (Nocedal and Wright, Numerical Optimization, algorithms 7.4, 3.5 and 3.6).

optimizer = LBFGS(model.parameters(), line_search_fn="strong_wolfe")
optimizer.step(closure)        # closure() zeroes the gradients, computes the loss and its gradients
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd.grad_mode import enable_grad, no_grad
from gradstep.optim.optimizer import Optimizer, ParamsT

__all__ = ["LBFGS"]

_DECREASE = 1e-4  # c1 of the Wolfe conditions
_CURVATURE = 0.9  # c2
_MOST_TRIALS = 25


class _Point(NamedTuple):
    """A place along the direction: step, loss, gradient, and its slope along the direction."""

    t: float
    loss: float
    grad: Tensor
    slope: float


def _cubic_minimum(a: _Point, b: _Point, low: float, high: float) -> float:
    """Where the cubic with the losses and slopes of two points is smallest between low and high."""
    if a.t > b.t:
        a, b = b, a
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    divisor = b.slope - a.slope + 2 * d2
    if divisor == 0:
        return (low + high) / 2
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / divisor)
    return min(max(t, low), high)


class _Search:
    """A step along a direction that satisfies the strong Wolfe conditions."""

    def __init__(
        self, evaluate: Callable[[float], _Point], start: _Point, longest: float, tolerance: float
    ) -> None:
        self.evaluate = evaluate
        self.start = start
        self.longest = longest  # the largest element of the direction
        self.tolerance = tolerance
        self.evaluations = 0
        self.trials = 0

    def _at(self, t: float) -> _Point:
        self.evaluations += 1
        return self.evaluate(t)

    def _too_high(self, p: _Point) -> bool:
        return p.loss > self.start.loss + _DECREASE * p.t * self.start.slope

    def _flat(self, p: _Point) -> bool:
        return abs(p.slope) <= -_CURVATURE * self.start.slope

    def run(self, t: float) -> _Point:
        """Enlarges the step until a good one lies in between, then narrows that down."""
        before, now = self.start, self._at(t)
        while self.trials < _MOST_TRIALS:
            if self._too_high(now) or (self.trials > 1 and now.loss >= before.loss):
                return self._narrow(before, now)
            if self._flat(now):
                return now
            if now.slope >= 0:
                return self._narrow(before, now)
            t = _cubic_minimum(before, now, now.t + 0.01 * (now.t - before.t), now.t * 10)
            before, now = now, self._at(t)
            self.trials += 1
        return self.start if self.start.loss <= now.loss else now

    def _narrow(self, a: _Point, b: _Point) -> _Point:
        low, high = (a, b) if a.loss <= b.loss else (b, a)
        stuck = False
        while self.trials < _MOST_TRIALS:
            left, right = min(low.t, high.t), max(low.t, high.t)
            if (right - left) * self.longest < self.tolerance:
                break
            t = _cubic_minimum(low, high, left, right)
            # A minimum near a border twice in a row, or on it: a tenth away from it.
            border = 0.1 * (right - left)
            if min(right - t, t - left) < border:
                if stuck or t >= right or t <= left:
                    t = right - border if abs(t - right) < abs(t - left) else left + border
                    stuck = False
                else:
                    stuck = True
            else:
                stuck = False
            now = self._at(t)
            self.trials += 1
            if self._too_high(now) or now.loss >= low.loss:
                low, high = (low, now) if low.loss <= now.loss else (now, low)
                continue
            if self._flat(now):
                return now
            if now.slope * (high.t - low.t) >= 0:
                high = low
            low = now
        return low


class LBFGS(Optimizer):
    """LBFGS(params, lr=1, max_iter=20, history_size=100, line_search_fn=None)

    One parameter group. step(closure) makes up to `max_iter` iterations and `max_eval` (default
    max_iter * 5 / 4) evaluations; it ends early where the largest gradient is at most
    `tolerance_grad` or loss and parameters change by less than `tolerance_change`.
    line_search_fn: "strong_wolfe" or None, which takes steps of length lr.

    Raises: ValueError for negative lr, eps or weight_decay, or numbers outside of their range.
    Source: Nocedal, Updating Quasi-Newton Matrices with Limited Storage, 1980.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not 0.0 <= lr:
            raise ValueError(f"Invalid learning rate: {lr}")
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    # ---- parameters as one vector ----

    def _gradient(self) -> Tensor:
        return _C.cat(
            [
                _C.zeros(p.numel(), dtype=p.dtype, device=p.device)
                if p.grad is None
                else p.grad.reshape(-1)
                for p in self._params
            ]
        )

    def _move(self, t: float, direction: Tensor) -> None:
        at = 0
        for p in self._params:
            p.add_(direction[at : at + p.numel()].view_as(p), alpha=t)
            at += p.numel()

    # ---- a step ----

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Up to max_iter iterations; the loss before the first of them."""
        _C._refuse_capture("LBFGS decides by the values of losses and gradients; call it outside")
        closure = enable_grad()(closure)
        group = self.param_groups[0]
        lr = float(group["lr"])
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = closure()
        loss = float(first)
        evaluations = 1
        state["func_evals"] += 1
        grad = self._gradient()
        if float(grad.abs().max()) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, grad, group["history_size"])
            state["prev_flat_grad"], state["prev_loss"] = grad.clone(), loss
            t = min(1.0, 1.0 / float(grad.abs().sum())) * lr if state["n_iter"] == 1 else lr
            state["t"] = t
            slope = float(grad.dot(direction))
            if slope > -group["tolerance_change"]:
                break
            used = 0
            if group["line_search_fn"] is not None:
                if group["line_search_fn"] != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                start = _Point(0.0, loss, grad, slope)
                found, used = self._search(closure, start, direction, t, group["tolerance_change"])
                state["t"] = t = found.t
                loss, grad = found.loss, found.grad
                self._move(t, direction)
            else:
                self._move(t, direction)
                if iteration != group["max_iter"]:
                    loss, grad, used = float(closure()), self._gradient(), 1
            evaluations += used
            state["func_evals"] += used
            if (
                iteration == group["max_iter"]
                or evaluations >= group["max_eval"]
                or (used and float(grad.abs().max()) <= group["tolerance_grad"])
                or float((direction * t).abs().max()) <= group["tolerance_change"]
                or abs(loss - state["prev_loss"]) < group["tolerance_change"]
            ):
                break
        return first

    def _search(
        self,
        closure: Callable[[], Any],
        start: _Point,
        direction: Tensor,
        t: float,
        tolerance: float,
    ) -> tuple[_Point, int]:
        before = [p.clone() for p in self._params]

        def restore() -> None:
            for p, value in zip(self._params, before, strict=True):
                p.copy_(value)

        def evaluate(at: float) -> _Point:
            self._move(at, direction)
            loss = float(closure())
            grad = self._gradient()
            restore()
            return _Point(at, loss, grad, float(grad.dot(direction)))

        search = _Search(evaluate, start, float(direction.abs().max()), tolerance)
        return search.run(t), search.evaluations

    def _direction(self, state: dict[str, Any], grad: Tensor, most: int) -> Tensor:
        """-H g by the two loops over the pairs of steps and changes of the gradient."""
        if state["n_iter"] == 1:
            state.update(d=grad.neg(), old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return state["d"]  # type: ignore[no-any-return]
        changes, steps, inverse = state["old_dirs"], state["old_stps"], state["ro"]
        change = grad - state["prev_flat_grad"]
        taken = state["d"] * state["t"]
        product = change.dot(taken)
        if float(product) > 1e-10:
            if len(changes) == most:
                for history in (changes, steps, inverse):
                    history.pop(0)
            changes.append(change)
            steps.append(taken)
            inverse.append(1.0 / product)
            state["H_diag"] = product / change.dot(change)
        weights: list[Any] = [None] * most
        q = grad.neg()
        for i in reversed(range(len(changes))):
            weights[i] = steps[i].dot(q) * inverse[i]
            q = q - changes[i] * weights[i]
        direction = q * state["H_diag"]
        for i in range(len(changes)):
            direction = direction + steps[i] * (weights[i] - changes[i].dot(direction) * inverse[i])
        state["d"], state["al"] = direction, weights
        return direction
