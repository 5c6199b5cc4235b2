# SPDX-License-Identifier: Apache-2.0
"""linalg beyond the table of ops: what is told of a matrix that has no factor."""

import numpy as np
import pytest
import torch

import gradstep


def test_cholesky_ex_tells_the_minor():
    good, second, third = np.eye(3), np.diag([1.0, -1.0, 1.0]), np.diag([1.0, 1.0, 0.0])
    for a in (np.stack([good, second, third]), good, third):
        theirs = torch.linalg.cholesky_ex(torch.tensor(a))
        ours = gradstep.linalg.cholesky_ex(gradstep.tensor(a))
        assert ours.info.tolist() == theirs.info.tolist() and ours.info.dtype == gradstep.int32
        ok = np.asarray(theirs.info.numpy() == 0)
        np.testing.assert_allclose(ours.L.cpu().numpy()[ok], theirs.L.numpy()[ok])
        assert np.isnan(ours.L.cpu().numpy()[~ok]).all()
    with pytest.raises(gradstep.linalg.LinAlgError):
        gradstep.linalg.cholesky_ex(gradstep.tensor(third), check_errors=True)


def test_triangular_shapes_that_do_not_fit():
    for lib in (torch, gradstep):
        with pytest.raises(
            RuntimeError, match="Incompatible shapes of A and B for the equation AX = B"
        ):
            lib.linalg.solve_triangular(lib.eye(3), lib.ones(2, 2), upper=False)


def test_solutions_by_a_factor():
    a = np.cov(np.random.RandomState(0).randn(4, 9))
    b = np.random.RandomState(1).randn(4, 2)
    for upper in (False, True):
        factor = gradstep.linalg.cholesky(gradstep.tensor(a), upper=upper)
        x = gradstep.linalg.cholesky_solve(gradstep.tensor(b), factor, upper)
        np.testing.assert_allclose(x.cpu().numpy(), np.linalg.solve(a, b))
        inverse = gradstep.linalg.cholesky_inverse(factor, upper)
        np.testing.assert_allclose(inverse.cpu().numpy(), np.linalg.inv(a), rtol=1e-6)
