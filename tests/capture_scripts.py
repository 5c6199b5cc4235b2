# SPDX-License-Identifier: Apache-2.0
"""Small scripts that are run twice, eagerly and with their functions captured, and what they are made of.

SCRIPTS = Scripts()

@SCRIPTS.case            # or .refused
def a_name(wrap): ..     # calls wrap(f) in place of f; returns what it has seen
"""

from collections.abc import Callable
from typing import Any

import pytest

import gradstep as torch
import gradstep.nn as nn
from capture_worlds import bytes_of, random_state

# ruff: noqa: B020, E741


class Scripts:
    """Those of one file: what is to be equal, and what is to be refused."""

    def __init__(self) -> None:
        self.equal: dict[str, Callable[..., Any]] = {}
        self.refused_ones: dict[str, Callable[..., Any]] = {}

    def case(self, f: Callable[..., Any]) -> Callable[..., Any]:
        self.equal[f.__name__] = f
        return f

    def refused(self, f: Callable[..., Any]) -> Callable[..., Any]:
        self.refused_ones[f.__name__] = f
        return f

    def test_equal(self) -> Callable[..., None]:
        """The test that each script sees the same when captured; called below the last script."""

        @pytest.mark.parametrize("name", self.equal)
        @pytest.mark.cpu_only
        def test(name: str) -> None:
            try:
                eager = self.equal[name](lambda f: f)
                torch.set_grad_enabled(True)
                assert self.equal[name](torch.capture) == eager
            finally:
                torch.set_grad_enabled(True)

        return test

    def test_refused(self) -> Callable[..., None]:
        """The test that capture refuses each of those, naming the line."""

        @pytest.mark.parametrize("name", self.refused_ones)
        @pytest.mark.cpu_only
        def test(name: str) -> None:
            try:
                with pytest.raises(torch.CaptureError, match=r"\.py:\d+"):
                    self.refused_ones[name](torch.capture)
            finally:
                torch.set_grad_enabled(True)

        return test


def net(seed=0, **k):
    torch.manual_seed(seed)
    m = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    return m


def xs(n, *s, seed=3):
    g = torch.Generator()
    g.manual_seed(seed)
    return [torch.randn(*s, generator=g) for _ in range(n)]


def train(wrap, extra, n=5, opt=None, x=None, after=lambda k: None, obs=lambda: None, **kw):
    m = net()
    o = (opt or (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)))(m.parameters())

    def step(x):
        o.zero_grad()
        l = m(x).square().mean()
        r = extra(m, o, l, x)
        l.backward()
        o.step()
        return l if r is None else r

    f = wrap(step)
    out = []
    for k, x in enumerate(x or xs(n, 6, 4)):
        out.append(bytes_of(f(x)))
        after(k)
        out.append(obs())
    return out + [bytes_of([p, p.grad]) for p in m.parameters()] + random_state()
