"""The methods that MPO is compared with: each a value of the Objective protocol."""

from baselines.iterative_dpo import IterativeDPO
from baselines.ppo import PPO

__all__ = ["PPO", "IterativeDPO"]
