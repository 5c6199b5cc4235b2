# SPDX-License-Identifier: Apache-2.0
"""A script that uses the API as training scripts do and says which type everything has. tests/test_stubs.py runs it
and lets mypy --strict read it, with gradstep in PyTorch's place."""

import io
from collections.abc import Iterator

from typing_extensions import assert_type

import gradstep as torch
import gradstep.nn.functional as F
from gradstep import Tensor, nn, optim
from gradstep.amp import GradScaler, autocast
from gradstep.distributions import Categorical, Normal, kl_divergence
from gradstep.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR, ReduceLROnPlateau
from gradstep.utils.checkpoint import checkpoint
from gradstep.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, random_split


def tensors() -> None:
    x = torch.arange(12.0).reshape(3, 4)
    assert_type(x, Tensor)
    assert_type(x.shape, torch.Size)
    assert_type(x.dtype, torch.dtype)
    assert_type(x.device, torch.device)
    assert_type(x.size(0), int)
    assert_type(x.dim(), int)
    assert_type(x.requires_grad, bool)
    rows, columns = x.shape
    assert_type(rows, int)
    assert_type(columns, int)
    # operators and indexing
    for y in (
        x + 1,
        2 - x,
        x * x,
        1 / (x + 1),
        x @ x.T,
        -x,
        x**2,
        x // 2,
        x % 2,
        abs(x),
        x > 1,
        ~(x > 1),
    ):
        assert_type(y, Tensor)
    assert_type(x[0], Tensor)
    assert_type(x[1:, ..., None], Tensor)
    assert_type(x[x > 3], Tensor)
    x[0, 1:3] = 5.0
    x[torch.tensor([0, 2])] += 1
    # methods with their arguments
    assert_type(x.sum(), Tensor)
    assert_type(x.mean(dim=1, keepdim=True), Tensor)
    assert_type(x.std(0, unbiased=False), Tensor)
    assert_type(x.var(dim=(0, 1), correction=0), Tensor)
    assert_type(x.view(4, 3), Tensor)
    assert_type(x.view(-1), Tensor)
    assert_type(x.permute(1, 0).contiguous(), Tensor)
    assert_type(x.transpose(0, 1).flatten(), Tensor)
    assert_type(x.unsqueeze(0).expand(2, -1, -1).squeeze(), Tensor)
    assert_type(x.to("cpu", torch.float64, non_blocking=True), Tensor)
    assert_type(x.to(dtype=torch.float16).float().long(), Tensor)
    assert_type(x.clamp(min=0, max=1.0).mul_(2).add_(1, alpha=2), Tensor)
    assert_type(x.masked_fill(x > 2, float("-inf")), Tensor)
    assert_type(x.gather(1, torch.zeros(3, 1, dtype=torch.long)), Tensor)
    assert_type(x.scatter_(1, torch.zeros(3, 1, dtype=torch.long), 1.0), Tensor)
    assert_type(x.detach().cpu().clone(), Tensor)
    assert_type(x.requires_grad_(False), Tensor)
    assert_type(x.split(2, dim=1), tuple[Tensor, ...])
    assert_type(x.chunk(2), tuple[Tensor, ...])
    assert_type(x.polygamma(1), Tensor)
    values, places = x.topk(2)
    assert_type(values, Tensor)
    assert_type(places, Tensor)
    best, at = x.max(dim=1)
    assert_type(best, Tensor)
    assert_type(at, Tensor)
    assert_type(x.max(), Tensor)
    assert_type(x.argmax(-1), Tensor)
    number = float(x.mean()) + x.sum().item() + int(x[0, 0])
    assert number == number
    # creation
    shape = (2, 3)
    for y in (torch.zeros(2, 3), torch.ones(shape), torch.full((2,), 7), torch.empty(0), torch.eye(3),
              torch.randn(2, 3, generator=torch.Generator()), torch.rand(shape, device="cpu"), torch.randint(0, 9, (4,)),
              torch.randperm(5), torch.linspace(0, 1, 5), torch.tensor([[1, 2], [3, 4]], dtype=torch.float32),
              torch.zeros_like(x), torch.as_tensor([1.0]), torch.from_numpy(x.numpy())):  # fmt: skip
        assert_type(y, Tensor)
    # functions
    assert_type(torch.cat([x, x], dim=0), Tensor)
    assert_type(torch.stack((x, x)), Tensor)
    assert_type(torch.where(x > 0, x, 0.0), Tensor)
    assert_type(torch.einsum("ij,kj->ik", x, x), Tensor)
    assert_type(torch.matmul(x, x.mT, out=torch.empty(0)), Tensor)
    assert_type(torch.sort(x, descending=True)[1], Tensor)
    assert_type(torch.cumsum(x, 0), Tensor)
    assert_type(torch.hann_window(8), Tensor)
    assert_type(torch.isnan(x).any(), Tensor)
    assert_type(torch.linalg.norm(x), Tensor)
    assert_type(torch.allclose(x, x, atol=1e-6), bool)
    assert_type(torch.is_grad_enabled(), bool)
    grid, _ = torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")
    assert_type(grid, Tensor)
    torch.manual_seed(0)
    torch.set_printoptions(precision=3, sci_mode=False)
    torch.set_printoptions(profile="default")


class Block(nn.Module):
    scale: Tensor

    def __init__(self, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.dropout = nn.Dropout(p=dropout)
        self.weight = nn.Parameter(torch.ones(width))
        self.layers = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(2)])
        self.heads = nn.ModuleDict({"a": nn.Linear(width, 3)})
        self.register_buffer("scale", torch.tensor(1.0))
        nn.init.kaiming_normal_(self.weight.view(1, -1), nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        x = self.norm(x + self.dropout(self.body(x)) * self.weight * self.scale)
        return F.softmax(x, dim=-1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, kernel_size=3, stride=(1, 1), padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.rnn = nn.LSTM(4, 8, num_layers=1, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.embedding = nn.Embedding(10, 8, padding_idx=0)
        self.block = Block(8)

    def forward(self, image: Tensor, words: Tensor) -> Tensor:
        x = self.pool(F.relu(self.bn(self.conv(image)), inplace=True))
        y, _ = self.rnn(x.flatten(2).transpose(1, 2))
        z, _ = self.attention(y, self.embedding(words), self.embedding(words))
        out: Tensor = self.block(F.dropout(z, 0.1, self.training)).mean(1)
        return out


class Squares(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.full((1, 4, 4), float(index)), index % 3


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        yield from torch.ones(3, 2)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return 2 * x

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        return 2 * grads[0]


def training() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Net().to(device).train()
    optimizer = optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-2)
    groups = [{"params": model.conv.parameters(), "lr": 0.1}, {"params": model.block.parameters()}]
    sgd = optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True)
    lbfgs = optim.LBFGS(model.block.parameters(), max_iter=2)
    cosine = CosineAnnealingLR(optimizer, T_max=10)
    LambdaLR(sgd, lr_lambda=lambda epoch: 0.95**epoch)
    OneCycleLR(sgd, max_lr=0.1, total_steps=10)
    plateau = ReduceLROnPlateau(optimizer, mode="min", patience=2)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    scaler = GradScaler(enabled=False)
    train, _ = random_split(Squares(), [6, 2], generator=torch.Generator().manual_seed(1))
    loader = DataLoader(train, batch_size=3, shuffle=True, num_workers=0, drop_last=True)
    words = torch.randint(1, 10, (3, 5), device=device)
    for image, label in loader:
        optimizer.zero_grad(set_to_none=True)
        with autocast("cpu", enabled=False):
            out = model(image.to(device), words)
            loss = criterion(out, label.to(device)) + F.mse_loss(
                out, torch.zeros_like(out), reduction="sum"
            )
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        assert_type(nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0), Tensor)
        scaler.step(optimizer)
        scaler.update()
        cosine.step()
        plateau.step(loss.item())
    for group in optimizer.param_groups:
        group["lr"] *= 0.5
    for name, parameter in model.named_parameters():
        assert_type(name, str)
        assert_type(parameter, nn.Parameter)
        assert parameter.grad is None or parameter.grad.shape == parameter.shape

    def closure() -> Tensor:
        lbfgs.zero_grad()
        loss: Tensor = model.block(torch.ones(2, 8)).square().sum()
        loss.backward()
        return loss

    lbfgs.step(closure)
    model.eval()
    with torch.no_grad():
        assert_type(model.training, bool)
        prediction = model(torch.zeros(3, 1, 4, 4, device=device), words).argmax(1)
        assert int((prediction == 0).sum()) >= 0
    print(sum(p.numel() for p in model.parameters() if p.requires_grad))


def files(model: nn.Module, optimizer: optim.Optimizer) -> None:
    buffer = io.BytesIO()
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1}, buffer
    )
    buffer.seek(0)
    state = torch.load(buffer, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"], strict=True)
    optimizer.load_state_dict(state["optimizer"])


def the_rest() -> None:
    x = torch.randn(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(Double.apply(x).sum(), x, create_graph=True)
    assert_type(gradient, Tensor)
    y = checkpoint(torch.sin, x, use_reentrant=False)
    y.sum().backward()
    handle = x.register_hook(lambda g: g * 2)
    handle.remove()
    assert x.grad is not None
    normal = Normal(torch.zeros(3), torch.ones(3))
    assert_type(normal.rsample((2,)), Tensor)
    assert_type(normal.log_prob(x), Tensor)
    assert_type(kl_divergence(normal, Normal(0.0, 2.0)), Tensor)
    assert_type(Categorical(logits=x.detach()).sample(), Tensor)
    for (row,) in DataLoader(TensorDataset(torch.ones(2, 2)), batch_size=2):
        assert row.shape == (2, 2)
    assert len(list(DataLoader(Stream(), batch_size=None))) == 3
    layer = nn.Linear(2, 2)
    files(layer, optim.Adam(layer.parameters()))

    @torch.no_grad()
    def evaluate(t: Tensor) -> Tensor:
        out: Tensor = layer(t).relu()
        return out

    assert_type(evaluate(torch.ones(1, 2)), Tensor)
    step = torch.compile(evaluate)
    for _ in range(3):
        step(torch.ones(1, 2))


def main() -> None:
    tensors()
    training()
    the_rest()


if __name__ == "__main__":
    main()
