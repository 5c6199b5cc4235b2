# SPDX-License-Identifier: Apache-2.0
"""Views: values, strides, shared memory, gradients, writing through them, history in place, and errors."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradstep as gs  # noqa: E402
from against_torch import check, numbers  # noqa: E402

# name -> (shape of the input, the view)
VIEWS = {
    "view": ((2, 6), lambda x: x.view(3, 4)),
    "view -1": ((2, 6), lambda x: x.view(-1, 2)),
    "view of a permuted tensor": ((2, 3, 4), lambda x: x.permute(1, 0, 2).view(3, 2, 2, 2)),
    "reshape": ((2, 6), lambda x: x.reshape(4, 3)),
    "reshape of a slice": ((4, 6), lambda x: x[:, ::2].reshape(4, 3, 1)),
    "permute": ((2, 3, 4), lambda x: x.permute(2, 0, 1)),
    "transpose": ((2, 3, 4), lambda x: x.transpose(0, -1)),
    "t": ((2, 3), lambda x: x.t()),
    "T": ((2, 3), lambda x: x.T),
    "mT": ((2, 3, 4), lambda x: x.mT),
    "movedim": ((2, 3, 4), lambda x: x.movedim(0, -1)),
    "expand": ((2, 1, 3), lambda x: x.expand(4, 2, 5, 3)),
    "expand -1": ((2, 1), lambda x: x.expand(-1, 4)),
    "squeeze": ((1, 2, 1), lambda x: x.squeeze()),
    "squeeze dim": ((1, 2, 1), lambda x: x.squeeze(0)),
    "unsqueeze": ((2, 3), lambda x: x.unsqueeze(1)),
    "flatten": ((2, 3, 4), lambda x: x.flatten(1)),
    "unflatten": ((2, 6), lambda x: x.unflatten(1, (2, 3))),
    "select": ((3, 4), lambda x: x.select(1, -1)),
    "x[1]": ((3, 4), lambda x: x[1]),
    "x[:, 1]": ((3, 4), lambda x: x[:, 1]),
    "x[1:3]": ((5, 4), lambda x: x[1:3]),
    "x[::2, 1:]": ((5, 4), lambda x: x[::2, 1:]),
    "x[None, ..., 0]": ((5, 4), lambda x: x[None, ..., 0]),
    "narrow": ((3, 4), lambda x: x.narrow(1, 1, 2)),
    "chunk": ((5, 2), lambda x: x.chunk(2)[1]),
    "split": ((5, 2), lambda x: x.split([1, 3, 1])[1]),
    "unbind": ((3, 4), lambda x: x.unbind(1)[2]),
    "diagonal": ((3, 4), lambda x: x.diagonal(1)),
    "unfold": ((7,), lambda x: x.unfold(0, 3, 2)),
    "unfold of a matrix": ((3, 6), lambda x: x.unfold(1, 2, 2)),
    "as_strided": ((3, 4), lambda x: x.as_strided((2, 2), (4, 1), 1)),
    "as_strided with overlap": ((6,), lambda x: x.as_strided((4, 3), (1, 1))),
    "view_as": ((2, 6), lambda x: x.view_as(x.new_zeros(4, 3))),
    "detach": ((2, 3), lambda x: x.detach()),
    "a chain": ((4, 6), lambda x: x[1:, ::2].t().unsqueeze(0)[:, :, -2:]),
}
PARAMETERS = pytest.mark.parametrize("name", VIEWS, ids=list(VIEWS))


def start(lib, shape, grad=False):
    n = int(np.prod(shape))
    return lib.arange(n, dtype=lib.float64).reshape(shape).clone().requires_grad_(grad)


@PARAMETERS
def test_values_strides_and_offset_equal_pytorch(name):
    shape, fn = VIEWS[name]
    mine, theirs = fn(start(gs, shape)), fn(start(torch, shape))
    assert tuple(mine.shape) == tuple(theirs.shape)
    assert mine.stride() == theirs.stride()
    assert mine.storage_offset() == theirs.storage_offset()
    assert mine.is_contiguous() == theirs.is_contiguous()
    np.testing.assert_array_equal(mine.cpu().numpy(), theirs.numpy())


@PARAMETERS
def test_memory_is_shared(name):
    shape, fn = VIEWS[name]
    x = start(gs, shape)
    v = fn(x)
    version = x._version
    x.fill_(7)
    assert (v == 7).all()
    assert x._version == version + 1
    if name != "detach":
        assert v._version == x._version


@PARAMETERS
def test_gradient_equals_pytorch(name):
    if name == "detach":
        return
    shape, fn = VIEWS[name]
    results = []
    for lib in (gs, torch):
        x = start(lib, shape, grad=True)
        v = fn(x)
        (v * v * start(lib, tuple(v.shape))).sum().backward()
        results.append(x.grad.cpu().numpy())
    np.testing.assert_array_equal(*results)


# PyTorch refuses writes around the several outputs of one call; here they are views like any other.
SEVERAL = ("chunk", "split", "unbind")


@PARAMETERS
def test_writing_through_a_view_is_differentiated(name):
    """x = leaf * 1; view(x) *= w; the loss reads x, so that the history of the base must contain the write."""
    if name in SEVERAL or name in (
        "detach",
        "expand",
        "expand -1",
        "unfold",
        "as_strided with overlap",
    ):
        return
    shape, fn = VIEWS[name]
    results = []
    for lib in (gs, torch):
        leaf = start(lib, shape, grad=True)
        w = lib.tensor(3.0, dtype=lib.float64, requires_grad=True)
        x = leaf * 1
        v = fn(x)
        v.mul_(w)
        loss = (x * x).sum() + v.sum()
        loss.backward()
        results.append((x.detach().cpu().numpy(), leaf.grad.cpu().numpy(), w.grad.cpu().numpy()))
    for mine, theirs in zip(*results):
        np.testing.assert_array_equal(mine, theirs)


@PARAMETERS
def test_writing_to_the_base_reaches_the_view(name):
    if name in SEVERAL or name == "detach":
        return
    shape, fn = VIEWS[name]
    results = []
    for lib in (gs, torch):
        leaf = start(lib, shape, grad=True)
        x = leaf * 1
        v = fn(x)
        x.mul_(2)
        (v * v).sum().backward()
        results.append((v.detach().cpu().numpy(), leaf.grad.cpu().numpy()))
    for mine, theirs in zip(*results):
        np.testing.assert_array_equal(mine, theirs)


def test_two_views_of_one_base_see_each_others_writes():
    results = []
    for lib in (gs, torch):
        leaf = start(lib, (4, 4), grad=True)
        x = leaf * 1
        a, b = x[:2], x[1:]
        a.mul_(2)
        b.add_(a.sum())
        (x * start(lib, (4, 4))).sum().backward()
        results.append((x.detach().cpu().numpy(), leaf.grad.cpu().numpy()))
    for mine, theirs in zip(*results):
        np.testing.assert_array_equal(mine, theirs)


def test_setitem_through_a_chain_of_views():
    results = []
    for lib in (gs, torch):
        leaf = start(lib, (4, 5), grad=True)
        value = start(lib, (2,), grad=True)
        x = leaf * 2
        x[1:3].t()[0] = value
        x.view(-1)[::7] = 1.0
        (x * x).sum().backward()
        results.append(
            (x.detach().cpu().numpy(), leaf.grad.cpu().numpy(), value.grad.cpu().numpy())
        )
    for mine, theirs in zip(*results):
        np.testing.assert_array_equal(mine, theirs)


def same_error(fn, kind=RuntimeError):
    texts = []
    for lib in (gs, torch):
        with pytest.raises(kind) as info:
            fn(lib)
        texts.append(str(info.value).partition("\n")[0])
    assert texts[0] == texts[1]


ERRORS = [
    (RuntimeError, lambda lib: lib.ones(2, 3).view(4)),
    (RuntimeError, lambda lib: lib.ones(2, 3).view(-1, -1)),
    (RuntimeError, lambda lib: lib.ones(2, 3).view(-1, 4)),
    (RuntimeError, lambda lib: lib.ones(2, 3).view(-2, 3)),
    (RuntimeError, lambda lib: lib.ones(2, 3).t().view(6)),
    (RuntimeError, lambda lib: lib.ones(2, 3).reshape(5)),
    (RuntimeError, lambda lib: lib.ones(2, 3).expand(3, 3)),
    (RuntimeError, lambda lib: lib.ones(2, 3).expand(3)),
    (RuntimeError, lambda lib: lib.ones(2, 3).expand(-1, 2, 3)),
    (RuntimeError, lambda lib: lib.ones(2, 3).permute(0, 0)),
    (RuntimeError, lambda lib: lib.ones(2, 3).permute(0)),
    (IndexError, lambda lib: lib.ones(2, 3).permute(0, 2)),
    (IndexError, lambda lib: lib.ones(2, 3).transpose(0, 2)),
    (IndexError, lambda lib: lib.ones(2, 3).unsqueeze(4)),
    (IndexError, lambda lib: lib.ones(2, 3).squeeze(2)),
    (IndexError, lambda lib: lib.ones(2, 3).select(0, 2)),
    (IndexError, lambda lib: lib.ones(2, 3)[2]),
    (IndexError, lambda lib: lib.ones(2, 3)[0, 0, 0]),
    (RuntimeError, lambda lib: lib.ones(2, 3).narrow(1, 2, 2)),
    (RuntimeError, lambda lib: lib.ones(2, 3).narrow(1, 0, -1)),
    (RuntimeError, lambda lib: lib.ones(2, 3).unfold(1, 4, 1)),
    (RuntimeError, lambda lib: lib.ones(2, 3).unfold(1, 2, 0)),
    (RuntimeError, lambda lib: lib.ones(2, 3, 4).t()),
    (RuntimeError, lambda lib: lib.ones(2, 3).flatten(1, 0)),
    (RuntimeError, lambda lib: lib.ones(2, 3).unflatten(1, (2, 2))),
    (RuntimeError, lambda lib: lib.ones(2, 3).diagonal(0, 1, 1)),
    (RuntimeError, lambda lib: lib.ones(2, 3).split([1, 2])),
    (RuntimeError, lambda lib: lib.ones(2, 3).chunk(0)),
    (RuntimeError, lambda lib: lib.ones(2, 3).as_strided((4, 4), (4, 1))),
    (RuntimeError, lambda lib: lib.ones(3).expand(2, 3).add_(1)),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors_equal_pytorch(case):
    same_error(ERRORS[case][1], ERRORS[case][0])


def test_in_place_on_a_view_of_a_leaf_is_refused():
    same_error(lambda lib: lib.ones(3, requires_grad=True)[:2].add_(1))
    same_error(lambda lib: lib.ones(3, requires_grad=True).add_(1))
    same_error(lambda lib: lib.ones(3, requires_grad=True).view(3).mul_(2))


def test_overwritten_values_that_backward_needs_are_an_error():
    for lib in (gs, torch):
        x = lib.ones(3, requires_grad=True)
        y = x.exp()
        y[0] = 5
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_writing_through_an_output_of_unbind_equals_writing_through_a_selection():
    grads = []
    for pick in (
        lambda x: x.unbind()[0],
        lambda x: x.chunk(2)[0],
        lambda x: x.split(1)[0],
        lambda x: x[0:1],
    ):
        leaf = start(gs, (2, 3), grad=True)
        x = leaf * 1
        pick(x).mul_(3)
        (x * x).sum().backward()
        grads.append(leaf.grad.tolist())
    assert all(g == grads[-1] for g in grads)


def test_view_as_another_dtype():
    for name, size in (
        ("int32", (2, 4)),
        ("int16", (2, 8)),
        ("uint8", (2, 16)),
        ("float64", (2, 2)),
    ):
        mine = gs.arange(8, dtype=gs.float32).reshape(2, 4).view(getattr(gs, name))
        theirs = torch.arange(8, dtype=torch.float32).reshape(2, 4).view(getattr(torch, name))
        assert tuple(mine.shape) == size == tuple(theirs.shape)
        np.testing.assert_array_equal(mine.cpu().numpy(), theirs.numpy())


def test_contiguous_and_clone():
    x = gs.arange(6.0).reshape(2, 3)
    assert x.contiguous() is x or x.contiguous().data_ptr() == x.data_ptr()
    y = x.t()
    assert not y.is_contiguous() and y.contiguous().is_contiguous()
    assert y.contiguous().data_ptr() != x.data_ptr()
    assert y.clone().stride() == torch.arange(6.0).reshape(2, 3).t().clone().stride()
    assert x.view(-1).data_ptr() == x.data_ptr() and x.reshape(3, 2).data_ptr() == x.data_ptr()


def test_in_place_forms_change_the_geometry():
    for lib in (gs, torch):
        x = lib.arange(6.0).reshape(1, 2, 3)
        assert tuple(x.squeeze_(0).shape) == (2, 3)
        assert tuple(x.t_().shape) == (3, 2) and x.stride() == (1, 3)
        assert tuple(x.transpose_(0, 1).shape) == (2, 3)
        assert tuple(x.swapaxes_(0, 1).shape) == (3, 2)
        assert tuple(x.swapdims_(-1, -2).shape) == (2, 3)
        assert tuple(x.unsqueeze_(-1).shape) == (2, 3, 1)
        assert x.tolist() == [[[0.0], [1.0], [2.0]], [[3.0], [4.0], [5.0]]]


def test_base_of_a_view():
    x = gs.ones(2, 3)
    assert x._base is None
    assert x[0]._base is x and x[0].view(3)._base is x
    assert x[0].is_leaf and not (x * 1).requires_grad


def test_views_made_without_grad_have_no_history():
    x = gs.ones(3, requires_grad=True)
    with gs.no_grad():
        v = x[:2]
        v.add_(1)
    assert v.grad_fn is None and not v.requires_grad
    assert x.tolist() == [2.0, 2.0, 1.0]


def test_a_view_of_an_empty_tensor():
    for lib in (gs, torch):
        x = lib.zeros(0, 3)
        assert tuple(x.view(3, 0).shape) == (3, 0)
        assert tuple(x[:0].shape) == (0, 3)
        assert tuple(x.expand(2, 0, 3).shape) == (2, 0, 3)
        with pytest.raises(RuntimeError, match="cannot reshape tensor of 0 elements"):
            x.view(-1, 0)


# ---- all parts of a tensor ----


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("used", [(0, 1, 2), (2, 0), (1,)])
@pytest.mark.parametrize("call", ["split", "chunk", "unbind", "uneven"])
def test_parts_have_torchs_gradients(call, used, dim):
    def parts(lib, x):
        if call == "uneven":
            return x.split([1, 2, 0, 3], dim)
        if call == "unbind":
            return x.narrow(dim, 0, 3).unbind(dim)
        return x.split(2, dim) if call == "split" else x.chunk(3, dim)

    def function(lib, x):
        p = parts(lib, x)
        return sum((p[k] * p[k]).sum() * (k + 1) for k in used)

    check(function, numbers(6, 6, 6, dtype=np.float64))


def test_gradients_that_lie_side_by_side_are_not_copied():
    for cut, join in (
        (lambda x: x.split(2, 1), lambda g: g.chunk(3, 1)),
        (lambda x: x.unbind(1), lambda g: g.unbind(1)),
    ):
        x = gs.randn(4, 6, requires_grad=True)
        whole = gs.randn(4, 6)
        seen = []
        mid = x * 1
        mid.register_hook(seen.append)
        gs.autograd.backward(cut(mid), join(whole))
        assert seen[0].data_ptr() == whole.data_ptr()
        assert seen[0].tolist() == whole.tolist()
        # Parts in another order are another tensor.
        seen.clear()
        mid = x * 1
        mid.register_hook(seen.append)
        gs.autograd.backward(cut(mid), join(whole)[::-1])
        assert seen[0].data_ptr() != whole.data_ptr()


def test_a_part_can_be_written_in_place():
    x = gs.ones(6, requires_grad=True)
    y = x * 2
    a, b, c = y.split(2)
    b.mul_(10)
    (y.sum() + (a * c).sum()).backward()
    assert x.grad.tolist() == [6.0, 6.0, 20.0, 20.0, 6.0, 6.0]


def test_split_of_the_largest_size_is_one_part():
    (part,) = gs.ones(5, 2).split(2**63 - 1)
    assert part.shape == (5, 2)
