# SPDX-License-Identifier: Apache-2.0
"""The quick set: that a build works at all. Needs numpy only, so it also tests a wheel where there is no PyTorch.

pytest tests/test_smoke.py
"""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import gradstep as gs
from gradstep import nn

pytestmark = pytest.mark.smoke


def test_arithmetic_broadcasts_and_promotes_like_numpy():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    b = np.array([[10.0], [20.0]], dtype=np.float32)
    x, y = gs.tensor(a), gs.tensor(b)
    np.testing.assert_array_equal((x * 2 + y).cpu().numpy(), a * 2 + b)
    assert (gs.tensor([1, 2]) / gs.tensor(2)).tolist() == [0.5, 1.0]
    assert (gs.tensor([1, 2]) + 0.5).dtype is gs.float32
    assert (gs.tensor([7, -7]) // 2).tolist() == [3, -4]


@pytest.mark.parametrize("n", [1, 7, 16, 64, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matrix_product_equals_numpy(n, dtype):
    rng = np.random.default_rng(n)
    a, b = rng.standard_normal((n, n + 3)), rng.standard_normal((n + 3, 5))
    got = gs.tensor(a.astype(dtype)) @ gs.tensor(b.astype(dtype))
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(got.cpu().numpy(), a @ b, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        (gs.tensor(b.astype(dtype)).t() @ gs.tensor(a.astype(dtype)).t()).cpu().numpy(),
        (a @ b).T,
        rtol=tolerance,
        atol=tolerance,
    )


def test_convolution_equals_its_definition():
    rng = np.random.default_rng(0)
    x, w = (
        rng.standard_normal((2, 3, 6, 7)).astype("f4"),
        rng.standard_normal((4, 3, 3, 2)).astype("f4"),
    )
    got = nn.functional.conv2d(gs.tensor(x), gs.tensor(w), stride=(2, 1)).cpu().numpy()
    expected = np.zeros_like(got)
    for i in range(got.shape[2]):
        for j in range(got.shape[3]):
            patch = x[:, :, 2 * i : 2 * i + 3, j : j + 2]
            expected[:, :, i, j] = np.einsum("ncij,ocij->no", patch, w)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x.exp() * x.sigmoid()).sum(),
        lambda x: (x @ x.t()).tanh().mean(),
        lambda x: gs.log_softmax(x, 1)[:, 0].sum(),
        lambda x: nn.functional.layer_norm(x, (3,)).pow(3).sum(),
        lambda x: nn.functional.conv1d(x[None], x[:, :2].reshape(1, 4, 2)).square().sum(),
        lambda x: nn.functional.gelu(x).max(0).values.sum(),
    ],
)
def test_gradients_equal_finite_differences(function):
    x = gs.tensor(np.random.default_rng(1).standard_normal((4, 3)), requires_grad=True)
    assert gs.autograd.gradcheck(function, (x,))
    assert gs.autograd.gradgradcheck(function, (x,))


def test_backward_accumulates_and_zero_grad_resets():
    w = gs.ones(3, requires_grad=True)
    optimizer = gs.optim.SGD([w], lr=0.5, momentum=0.9)
    for _ in range(2):
        (w * 2).sum().backward()
    assert w.grad.tolist() == [4.0, 4.0, 4.0]
    optimizer.step()
    assert w.tolist() == [-1.0, -1.0, -1.0]
    optimizer.zero_grad()
    assert w.grad is None


def test_a_net_learns_and_survives_copy_pickle_and_save(tmp_path):
    gs.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    criterion = nn.CrossEntropyLoss()
    optimizer = gs.optim.Adam(model.parameters(), lr=0.02)
    points = gs.randn(256, 2)
    labels = (points.square().sum(1) > 1.4).long()
    first = criterion(model(points), labels).item()
    for _ in range(150):
        optimizer.zero_grad()
        loss = criterion(model(points), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 * first
    gs.save(model.state_dict(), tmp_path / "model.pt")
    fresh = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    fresh.load_state_dict(gs.load(tmp_path / "model.pt"))
    for other in (fresh, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(
            other(points).detach().cpu().numpy(), model(points).detach().cpu().numpy()
        )


@pytest.mark.cpu_only
def test_data_loader_gives_every_sample_once():
    data = gs.utils.data.TensorDataset(gs.arange(10), gs.arange(10) * 2)
    seen = []
    for a, b in gs.utils.data.DataLoader(data, batch_size=3, shuffle=True):
        assert (a * 2 == b).all()
        seen += a.tolist()
    assert sorted(seen) == list(range(10))


def test_mistakes_raise_and_nothing_aborts():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        gs.ones(2, 3) @ gs.ones(4, 5)
    with pytest.raises(IndexError):
        gs.ones(3)[5]
    with pytest.raises(RuntimeError, match="leaf Variable"):
        gs.ones(2, requires_grad=True).add_(1)
    with pytest.raises(RuntimeError):
        gs.empty(1 << 50)
    with pytest.raises(TypeError):
        gs.sum("text")


def test_importing_does_not_import_what_it_does_not_need():
    code = "import sys, gradstep; print([m for m in ('torch', 'multiprocessing', 'tqdm', 'matplotlib', 'argparse') if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "[]"
