# SPDX-License-Identifier: Apache-2.0
"""The training steps of workloads.py in JAX: one jitted function holds the whole step.

    step = TWINS["mlp64"]()   # step() trains once and waits for the result

Same shapes, same arithmetic (not the same initial weights); SGD with momentum, Adam and AdamW by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Params = Any
Loss = Callable[[Params, Any, Any], Any]


# ---- optimizers ----


def sgd(params: Params, grads: Params, state: Params) -> tuple[Params, Params]:
    state = jax.tree.map(lambda m, g: 0.9 * m + g, state, grads)
    return jax.tree.map(lambda p, m: p - 1e-3 * m, params, state), state


def adam(decay: float) -> Callable[[Params, Params, Any], tuple[Params, Any]]:
    def update(params: Params, grads: Params, state: Any) -> tuple[Params, Any]:
        m, v, t = state
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        c1, c2 = 1 - 0.9**t, 1 - 0.999**t
        return jax.tree.map(
            lambda p, m, v: p * (1 - 1e-4 * decay) - 1e-4 * (m / c1) / (jnp.sqrt(v / c2) + 1e-8),
            params, m, v,
        ), (m, v, t)  # fmt: skip

    return update


def stepper(params: Params, loss: Loss, x: Any, y: Any, how: str, n: int = 1) -> Callable[[], Any]:
    zeros = jax.tree.map(jnp.zeros_like, params)
    state: Any = zeros if how == "SGD" else (zeros, zeros, jnp.float32(0))
    update = {"SGD": sgd, "Adam": adam(0.0), "AdamW": adam(0.01)}[how]
    gradient = jax.value_and_grad(loss)

    def train(params: Params, state: Any, x: Any, y: Any) -> tuple[Params, Any, Any]:
        value, grads = gradient(params, x, y)
        if n > 1:  # the other micro-batches, one after the other

            def more(total: Any, _: Any) -> tuple[Any, Any]:
                value, grads = gradient(params, x + 0 * total[0], y)
                return (value, jax.tree.map(jnp.add, total[1], grads)), None

            (value, grads), _ = lax.scan(more, (value, grads), None, length=n - 1)
        params, state = update(params, grads, state)
        return params, state, value

    jitted = jax.jit(train, donate_argnums=(0, 1))
    now = [jax.tree.map(jnp.array, params), jax.tree.map(jnp.array, state)]

    def step() -> Any:
        now[0], now[1], value = jitted(now[0], now[1], x, y)
        return value.block_until_ready()

    return step


# ---- nets ----


def weights(rng: np.random.Generator, *shape: int) -> Any:
    bound = 1 / math.sqrt(math.prod(shape[:-1]))
    return jnp.asarray(rng.uniform(-bound, bound, shape).astype(np.float32))


def dense(rng: np.random.Generator, n_in: int, n_out: int) -> Any:
    return weights(rng, n_in, n_out), jnp.zeros(n_out)


def cross_entropy(logits: Any, target: Any) -> Any:
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], 1)
    return -picked.mean()


def data(shape: tuple[int, ...], n_classes: int) -> tuple[Any, Any]:
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    y = np.random.default_rng(1).integers(0, n_classes, shape[0])
    return jnp.asarray(x), jnp.asarray(y)


def mlp(sizes: list[int], batch: int, activation: Any, how: str, n: int = 1) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    params = [dense(rng, a, b) for a, b in zip(sizes, sizes[1:], strict=False)]

    def loss(params: Params, x: Any, y: Any) -> Any:
        for w, b in params[:-1]:
            x = activation(x @ w + b)
        return cross_entropy(x @ params[-1][0] + params[-1][1], y)

    return stepper(params, loss, *data((batch, sizes[0]), sizes[-1]), how, n)


def lenet() -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    params = [
        (weights(rng, 5, 5, 1, 6), jnp.zeros(6)), (weights(rng, 5, 5, 6, 16), jnp.zeros(16)),
        dense(rng, 400, 120), dense(rng, 120, 84), dense(rng, 84, 10),
    ]  # fmt: skip

    def conv(x: Any, p: Any, padding: str) -> Any:
        y = lax.conv_general_dilated(
            x, p[0], (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        y = jax.nn.relu(y + p[1])
        return lax.reduce_window(y, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def loss(params: Params, x: Any, y: Any) -> Any:
        x = conv(conv(x, params[0], "SAME"), params[1], "VALID").reshape(x.shape[0], -1)
        for w, b in params[2:-1]:
            x = jax.nn.relu(x @ w + b)
        return cross_entropy(x @ params[-1][0] + params[-1][1], y)

    return stepper(params, loss, *data((64, 28, 28, 1), 10), "SGD")


def gpt(n_layer: int, n_embd: int, n_head: int, block: int, batch: int) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    ids = np.random.default_rng(1).integers(0, 65, (batch, block))

    def norm() -> Any:
        return jnp.ones(n_embd), jnp.zeros(n_embd)

    params = {
        "tokens": weights(rng, 65, n_embd), "positions": weights(rng, block, n_embd), "ln": norm(),
        "head": weights(rng, n_embd, 65),
        "layers": [
            {"ln_1": norm(), "qkv": dense(rng, n_embd, 3 * n_embd), "proj": dense(rng, n_embd, n_embd),
             "ln_2": norm(), "up": dense(rng, n_embd, 4 * n_embd), "down": dense(rng, 4 * n_embd, n_embd)}
            for _ in range(n_layer)
        ],
    }  # fmt: skip

    def layer_norm(x: Any, p: Any) -> Any:
        mean = x.mean(-1, keepdims=True)
        return (x - mean) * lax.rsqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5) * p[0] + p[
            1
        ]

    def linear(x: Any, p: Any) -> Any:
        return x @ p[0] + p[1]

    mask = jnp.tril(jnp.ones((block, block), bool))

    def attention(x: Any, p: Any) -> Any:
        qkv = linear(x, p["qkv"]).reshape(batch, block, 3, n_head, -1).transpose(2, 0, 3, 1, 4)
        scores = qkv[0] @ qkv[1].swapaxes(-1, -2) / math.sqrt(n_embd // n_head)
        y = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf)) @ qkv[2]
        return linear(y.transpose(0, 2, 1, 3).reshape(batch, block, n_embd), p["proj"])

    def loss(params: Params, ids: Any, target: Any) -> Any:
        x = params["tokens"][ids] + params["positions"]
        for p in params["layers"]:
            x = x + attention(layer_norm(x, p["ln_1"]), p)
            hidden = jax.nn.gelu(linear(layer_norm(x, p["ln_2"]), p["up"]), approximate=False)
            x = x + linear(hidden, p["down"])
        logits = layer_norm(x, params["ln"]) @ params["head"]
        return cross_entropy(logits.reshape(-1, 65), target)

    return stepper(
        params, loss, jnp.asarray(ids), jnp.asarray(np.roll(ids, -1, 1).reshape(-1)), "AdamW"
    )


def lstm(hidden: int = 256, block: int = 64, batch: int = 32) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    ids = np.random.default_rng(1).integers(0, 65, (batch, block))
    params = {
        "embedding": weights(rng, 65, hidden), "x": dense(rng, hidden, 4 * hidden),
        "h": dense(rng, hidden, 4 * hidden), "head": dense(rng, hidden, 65),
    }  # fmt: skip

    def loss(params: Params, ids: Any, target: Any) -> Any:
        x = params["embedding"][ids] @ params["x"][0] + params["x"][1]

        def cell(state: Any, x: Any) -> tuple[Any, Any]:
            h, c = state
            i, f, g, o = jnp.split(x + h @ params["h"][0] + params["h"][1], 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zero = jnp.zeros((batch, hidden))
        _, y = lax.scan(cell, (zero, zero), x.swapaxes(0, 1))
        logits = y.swapaxes(0, 1).reshape(-1, hidden) @ params["head"][0] + params["head"][1]
        return cross_entropy(logits, target)

    return stepper(
        params, loss, jnp.asarray(ids), jnp.asarray(np.roll(ids, -1, 1).reshape(-1)), "Adam"
    )


def pinn() -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    params = [dense(rng, a, b) for a, b in ((2, 50), (50, 50), (50, 50), (50, 1))]
    nu = 0.01 / math.pi

    def u(params: Params, x: Any) -> Any:
        for w, b in params[:-1]:
            x = jnp.tanh(x @ w + b)
        return x @ params[-1][0] + params[-1][1]

    def loss(params: Params, points: Any, _: Any) -> Any:
        def u_x(p: Any) -> Any:
            return jax.grad(lambda q: u(params, q).sum())(p)

        value, du = u(params, points), u_x(points)
        du_x = jax.grad(lambda p: u_x(p)[:, 0].sum())(points)
        residual = du[:, 1:2] + value * du[:, 0:1] - nu * du_x[:, 0:1]
        return (residual**2).mean()

    points, _ = data((256, 2), 2)
    return stepper(params, loss, points, jnp.zeros(1), "Adam")


TWINS: dict[str, Callable[[], Callable[[], Any]]] = {
    "tiny": lambda: mlp([4, 64, 64, 2], 32, jnp.tanh, "Adam"),
    "mlp64": lambda: mlp([784, 256, 128, 10], 64, jax.nn.relu, "SGD"),
    "mlp512": lambda: mlp([784, 256, 128, 10], 512, jax.nn.relu, "SGD"),
    "accumulate": lambda: mlp([784, 256, 128, 10], 64, jax.nn.relu, "SGD", 8),
    "lenet": lenet,
    "char": lambda: gpt(4, 128, 4, 64, 12),
    "mid": lambda: gpt(6, 384, 6, 256, 4),
    "lstm": lstm,
    "pinn": pinn,
}
