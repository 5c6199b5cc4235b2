# SPDX-License-Identifier: Apache-2.0
"""weight_norm, spectral_norm, parametrisations, fusion and functional_call, beside PyTorch."""

import copy

import numpy as np
import pytest
import torch

import gradstep

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.cpu_only]

BOTH = (torch, gradstep)


def flat(x):
    if isinstance(x, (list, tuple)):
        return [z for y in x for z in flat(y)]
    return np.array(x.detach().tolist()).reshape(-1).tolist()


def apply(t, kind, layer):
    utils, new = t.nn.utils, t.nn.utils.parametrizations
    return {
        "weight": utils.weight_norm,
        "spectral": utils.spectral_norm,
        "new weight": new.weight_norm,
        "new spectral": new.spectral_norm,
    }[kind](layer)


def undo(t, kind, layer):
    utils = t.nn.utils
    if kind.startswith("new"):
        return utils.parametrize.remove_parametrizations(layer, "weight")
    return {"weight": utils.remove_weight_norm, "spectral": utils.remove_spectral_norm}[kind](layer)


@pytest.mark.parametrize("kind", ["weight", "spectral", "new weight", "new spectral"])
def test_normalised_weights_train_as_pytorchs(kind):
    def run(t):
        t.manual_seed(0)
        nn = t.nn
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 2, 3), nn.Flatten(), nn.Linear(72, 2)
        )
        for i in (0, 1, 3):
            assert apply(t, kind, net[i]) is net[i]
        optimizer = t.optim.SGD(net.parameters(), lr=0.01)
        x = t.randn(2, 3, 6, 6)
        for _ in range(3):
            optimizer.zero_grad()
            net(x).pow(2).mean().backward()
            optimizer.step()
        state = net.state_dict()
        values = [flat(list(state.values()))]
        shown = repr(net)
        if kind.startswith("new"):  # the others keep a weight with a history, which can't be copied
            values.append(flat(copy.deepcopy(net)(x)))
        net.eval()
        values.append(flat(net(x)))
        for i in (0, 1, 3):
            undo(t, kind, net[i])
        values += [flat(list(net.parameters())), flat(net(x))]
        names = [list(state), [name for name, _ in net.named_parameters()], shown]
        return names, values

    (their_names, theirs), (names, ours) = map(run, BOTH)
    assert names == their_names
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_normalising_twice_and_undoing_nothing_are_errors():
    for t in BOTH:
        layer = t.nn.utils.weight_norm(t.nn.Linear(2, 2))
        with pytest.raises(RuntimeError, match="Cannot register two weight_norm hooks"):
            t.nn.utils.weight_norm(layer)
        with pytest.raises(ValueError, match="weight_norm of 'bias' not found"):
            t.nn.utils.remove_weight_norm(layer, "bias")
        with pytest.raises(ValueError, match="spectral_norm of 'weight' not found"):
            t.nn.utils.remove_spectral_norm(layer)
        with pytest.raises(ValueError, match="does not have a parametrization on weight"):
            t.nn.utils.parametrize.remove_parametrizations(t.nn.Linear(2, 2), "weight")


def test_old_state_dicts_load_into_the_new_weight_norm():
    old = gradstep.nn.utils.weight_norm(gradstep.nn.Linear(3, 2))
    new = gradstep.nn.utils.parametrizations.weight_norm(gradstep.nn.Linear(3, 2))
    new.load_state_dict(old.state_dict())
    x = gradstep.randn(1, 3)
    assert gradstep.allclose(old(x), new(x))


def test_parametrisations_chain_are_cached_and_assigned_through():
    def run(t):
        parametrize = t.nn.utils.parametrize
        calls = []

        class Symmetric(t.nn.Module):
            def forward(self, x):
                calls.append("s")
                return x.triu() + x.triu(1).transpose(0, 1)

            def right_inverse(self, x):
                return x.triu()

        class Double(t.nn.Module):
            def forward(self, x):
                calls.append("d")
                return 2 * x

            def right_inverse(self, x):
                return x / 2

        layer = t.nn.Linear(3, 3)
        original = layer.weight
        with t.no_grad():
            layer.weight.copy_(t.arange(9.0).reshape(3, 3))
        parametrize.register_parametrization(layer, "weight", Symmetric())
        parametrize.register_parametrization(layer, "weight", Double())
        assert layer.parametrizations.weight.original is original
        assert parametrize.is_parametrized(layer, "weight") and not parametrize.is_parametrized(
            layer, "bias"
        )
        assert parametrize.type_before_parametrizations(layer) is t.nn.Linear
        calls.clear()
        with parametrize.cached():
            layer(t.ones(1, 3)), layer(t.ones(1, 3))
        seen = list(calls)
        first = flat(layer.weight)
        layer.weight = t.ones(3, 3) * 4
        second = flat(layer.weight)
        layer.weight.sum().backward()
        grad = flat(original.grad)
        other = parametrize.transfer_parametrizations_and_params(layer, t.nn.Linear(3, 3))
        third = flat(other.weight)
        with pytest.raises(ValueError, match="does not have a parameter"):
            parametrize.register_parametrization(layer, "nothing", Double())
        with pytest.raises(RuntimeError, match="Serialization of parametrized modules"):
            layer.__getstate__()
        with pytest.raises(ValueError, match="may not change the shape"):
            parametrize.register_parametrization(t.nn.Linear(3, 2), "weight", t.nn.Flatten(0))
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        assert type(layer) is t.nn.Linear and layer.weight is original
        return seen, first, second, grad, third, flat(layer.weight)

    theirs, ours = map(run, BOTH)
    assert ours == theirs


def test_fused_batch_norm():
    def run(t):
        t.manual_seed(0)
        nn, utils = t.nn, t.nn.utils
        out = []
        x = t.randn(4, 3, 5, 5)
        for layer, transpose in (
            (nn.Conv2d(3, 4, 3, bias=False), False),
            (nn.ConvTranspose2d(3, 4, 3), True),
        ):
            bn = nn.BatchNorm2d(4)
            bn(layer(x))
            layer.eval(), bn.eval()
            fused = utils.fuse_conv_bn_eval(layer, bn, transpose)
            assert t.allclose(fused(x), bn(layer(x)), atol=1e-5)
            out.append(flat(fused(x)))
        linear, bn = nn.Linear(5, 4).eval(), nn.BatchNorm1d(4).eval()
        fused = utils.fuse_linear_bn_eval(linear, bn)
        out.append(flat(fused(x[0, 0])))
        return out

    for a, b in zip(*map(run, BOTH), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_skip_init_draws_nothing():
    gradstep.manual_seed(1)
    layer = gradstep.nn.utils.skip_init(gradstep.nn.Linear, 3, 2)
    first = gradstep.rand(1).item()
    gradstep.manual_seed(1)
    assert layer.weight.shape == (2, 3) and gradstep.rand(1).item() == first


def test_transforms_of_functions_are_pytorchs():
    import torch.func

    import gradstep.func

    def run(t):
        func = t.func
        layer = t.nn.Linear(3, 2)
        with t.no_grad():
            layer.weight.copy_(t.arange(6.0).reshape(2, 3) / 10)
            layer.bias.zero_()
        params = {k: v.detach() for k, v in layer.named_parameters()}
        x, y = t.arange(12.0).reshape(4, 3) / 7, t.arange(8.0).reshape(4, 2)

        def loss(p, x, y):
            return ((func.functional_call(layer, p, (x,)) - y).tanh() ** 2).sum()

        each = func.vmap(func.grad(loss), in_dims=(None, 0, 0))(params, x, y)
        out = [each["weight"], each["bias"]]
        out += [func.jacrev(t.sin)(x[0]), func.hessian(lambda a: (a**3).sum())(x[0])]
        out += func.jacfwd(lambda a: (a**2, a.sum()))(x[1])
        value, pull = func.vjp(lambda a, b: a * b + a, x, y[:, :1])
        out += [value, *pull(t.ones_like(value))]
        out += func.vjp(t.sin, x)[1](t.ones_like(x))
        out += func.jvp(lambda a: a.exp(), (x,), (t.ones_like(x),))
        out.append(func.grad(func.grad(lambda a: a**4))(t.tensor(2.0)))
        gradients, value = func.grad_and_value(lambda a, b: (a * b).sum(), argnums=(0, 1))(x, x + 1)
        gradient, (value2, aux) = func.grad_and_value(lambda a: (a.sum(), a * 2), has_aux=True)(x)
        out += [*gradients, value, gradient, value2, aux]
        out.append(t.vmap(lambda a, b: a.dot(b), in_dims=(1, None))(x, x[:, 0]))
        out += t.vmap(lambda a: (a, a.sum()), out_dims=(1, 0))(x)
        out.append(t.vmap(t.vmap(lambda a: a * a))(x))
        stacked, _ = func.stack_module_state([layer, layer])
        out.append(stacked["weight"])
        weight = t.ones(2, 3, requires_grad=True)
        func.functional_call(layer, {"weight": weight}, x).sum().backward()
        out.append(weight.grad)
        for bad in (
            lambda: func.grad(lambda a: a)(x),
            lambda: func.functional_call(layer, {"weight": weight}, x, strict=True),
        ):
            with pytest.raises(RuntimeError):
                bad()
        with pytest.raises(ValueError):
            t.vmap(t.sin, in_dims=3)(x)
        with pytest.raises(ValueError):
            t.vmap(t.add)(x, t.ones(3))
        return out

    for i, (ours, theirs) in enumerate(zip(run(gradstep), run(torch), strict=True)):
        assert tuple(ours.shape) == tuple(theirs.shape), i
        np.testing.assert_allclose(flat(ours), flat(theirs), atol=1e-5, err_msg=str(i))
