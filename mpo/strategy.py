"""One factory for where and how a run is trained: a single device or DeepSpeed."""

from __future__ import annotations

from typing import Any

import deepspeed
import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.seed import reset_seed
from lightning.pytorch.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    SingleDeviceStrategy,
    Strategy,
)
from typing_extensions import override

from mpo.optimization import current_optimizer, current_schedule

STRATEGIES = ("single", "deepspeed")


def build_strategy(name: str, zero_stage: int, clip_norm: float, device: str) -> Strategy:
    """The Lightning strategy of a run; `device` is cpu or cuda.

    Raises ValueError for an unknown name.
    """
    if name == "single":
        return SingleDeviceStrategy(device=torch.device("cuda:0" if device == "cuda" else "cpu"))
    if name == "deepspeed":
        config = deepspeed_config(zero_stage, clip_norm)
        return (CPUDeepSpeedStrategy if device == "cpu" else AlignmentDeepSpeedStrategy)(
            config=config
        )
    raise ValueError(f"strategy.name: got {name!r}, allowed is {' | '.join(STRATEGIES)}")


def deepspeed_config(zero_stage: int, clip_norm: float) -> dict[str, Any]:
    """DeepSpeed's configuration for manual optimization with torch's own AdamW."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_clipping": clip_norm,
        "zero_allow_untested_optimizer": True,
        # Torch's AdamW on the CPU needs no just-in-time compiled optimizer.
        "zero_force_ds_cpu_optimizer": False,
        # Several backward passes add up to one step under our control.
        "managed_gradient_accumulation": False,
        "zero_optimization": {
            "stage": zero_stage,
            "contiguous_gradients": False,
            "overlap_comm": False,
        },
    }


class AlignmentDeepSpeedStrategy(DeepSpeedStrategy):
    """DeepSpeed whose gradients are not rescaled behind the engine's back.

    The losses of micro-batches already carry the weight of their part.
    """

    @override
    def backward(self, closure_loss: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Backward through the engine without its division by accumulation steps."""
        kwargs.setdefault("scale_wrt_gas", False)
        return super().backward(closure_loss, *args, **kwargs)


class CPUDeepSpeedStrategy(AlignmentDeepSpeedStrategy):
    """DeepSpeed on CPU ranks over gloo, which Lightning's own strategy refuses."""

    def __init__(self, config: dict[str, Any]):
        super().__init__(
            config=config,
            process_group_backend="gloo",
            cluster_environment=LightningEnvironment(),
            parallel_devices=[torch.device("cpu", 0)],
        )

    @property
    @override
    def root_device(self) -> torch.device:
        return torch.device("cpu", 0)

    @override
    def setup_environment(self) -> None:
        # Lightning's DeepSpeed strategy checks for CUDA here; its parent does the work.
        DDPStrategy.setup_environment(self)

    @override
    def setup_distributed(self) -> None:
        # The shared-memory extension would be compiled for two minutes; gloo does not need it.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        reset_seed()
        self.set_world_ranks()
        self._init_deepspeed_distributed()


def clip_and_step(module: L.LightningModule, clip_norm: float) -> float:
    """Clip the gradient norm, step the optimizer and its schedule; the norm before clipping."""
    optimizer = current_optimizer(module)
    if isinstance(module.trainer.strategy, DeepSpeedStrategy):
        optimizer.step()
        norm = float(module.trainer.strategy.deepspeed_engine.get_global_grad_norm())
    else:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, clip_norm))
        optimizer.step()
        optimizer.zero_grad()
    current_schedule(module).step()
    return norm
