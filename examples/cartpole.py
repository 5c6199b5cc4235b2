# SPDX-License-Identifier: Apache-2.0
"""Policy gradient with a learned baseline (Williams, 1992) balances the pole of gymnasium's CartPole-v1.

pip install 'gradstep[examples]'
gradstep run examples/cartpole.py [--episodes 300]
python examples/cartpole.py                           # the same, and the same episodes, under PyTorch
"""

import argparse
import time

import gymnasium
import torch
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--episodes", type=int, default=300)
options = parser.parse_args()

DISCOUNT = 0.99


class Policy(nn.Module):
    """What to do (logits of two actions) and what it will bring."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 128), nn.ReLU())
        self.actions, self.value = nn.Linear(128, 2), nn.Linear(128, 1)

    def forward(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.body(state)
        return self.actions(h), self.value(h)


def main() -> None:
    torch.manual_seed(0)
    environment = gymnasium.make("CartPole-v1")
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)

    recent = 10.0
    start = time.perf_counter()
    for episode in range(options.episodes):
        state, _ = environment.reset(seed=episode)
        log_probabilities, values, rewards = [], [], []
        done = False
        while not done:
            logits, value = policy(torch.from_numpy(state))
            choice = Categorical(logits=logits)
            action = choice.sample()
            state, reward, terminated, truncated, _ = environment.step(int(action))
            done = terminated or truncated
            log_probabilities.append(choice.log_prob(action))
            values.append(value[0])
            rewards.append(float(reward))
        returns: list[float] = []
        rest = 0.0
        for reward_then in reversed(rewards):
            rest = reward_then + DISCOUNT * rest
            returns.insert(0, rest)
        target, value_of = torch.tensor(returns), torch.stack(values)
        target = (target - target.mean()) / (target.std() + 1e-6)
        advantage = target - value_of.detach()
        loss = -(torch.stack(log_probabilities) * advantage).sum()
        loss = loss + F.smooth_l1_loss(value_of, target, reduction="sum")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recent = 0.95 * recent + 0.05 * len(rewards)
        if episode % 50 == 0 or episode == options.episodes - 1:
            print(f"episode {episode:4} loss {loss.item():.4f}, recent return {recent:.1f}")
    print(f"recent return {recent:.1f}, {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
