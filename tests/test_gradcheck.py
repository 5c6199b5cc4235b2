# SPDX-License-Identifier: Apache-2.0
"""What gradcheck itself finds, refuses and lets pass."""

import pytest

import gradstep as torch
from gradstep.autograd import gradcheck, gradgradcheck

pytestmark = pytest.mark.cpu_only


class WrongCube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.saved_tensors[0] ** 2 * 3.1


def number():
    return torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("fast", [False, True])
def test_a_wrong_derivative_is_found(fast):
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradcheck(WrongCube.apply, (number(),), fast_mode=fast)
    assert not gradcheck(WrongCube.apply, (number(),), fast_mode=fast, raise_exception=False)
    assert gradcheck(lambda x: x**3, (number(),), fast_mode=fast)
    assert gradgradcheck(lambda x: x**3, (number(),), fast_mode=fast)


@pytest.mark.parametrize("fast", [False, True])
def test_the_input_keeps_its_values(fast):
    x = number()
    gradcheck(torch.sin, (x,), fast_mode=fast)
    assert x.tolist() == [0.5, 2.0]


def test_forward_mode_is_refused():
    with pytest.raises(NotImplementedError, match="check_forward_ad"):
        gradcheck(torch.sin, (number(),), check_forward_ad=True)
    with pytest.raises(NotImplementedError, match="check_fwd_over_rev"):
        gradgradcheck(torch.sin, (number(),), check_fwd_over_rev=True)
    with pytest.raises(AssertionError):
        gradcheck(torch.sin, (number(),), check_backward_ad=False)
    with pytest.raises(NotImplementedError, match="forward_ad"):
        torch.autograd.forward_ad.dual_level()
