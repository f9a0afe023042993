"""The dynamics by name, each a value with its defaults; ``dataclasses.replace`` changes fields."""

from __future__ import annotations

from typing import Any

from mpo.games.dynamics.adaptive import MPOAdaptive
from mpo.games.dynamics.bond import BOND
from mpo.games.dynamics.comal import COMAL
from mpo.games.dynamics.dno import DNO
from mpo.games.dynamics.egpo import EGPO
from mpo.games.dynamics.inpo import INPO
from mpo.games.dynamics.ipo_md import IPOMD
from mpo.games.dynamics.magnetic import MMD, MPO, MPORT
from mpo.games.dynamics.mirror import MWU, ExtragradientMWU, OptimisticMWU
from mpo.games.dynamics.nash_md import NashMD, NashMDMixture
from mpo.games.dynamics.online_dpo import OnlineDPO
from mpo.games.dynamics.protocol import Dynamic
from mpo.games.dynamics.spo import SPO
from mpo.games.dynamics.sppo import SPPO

DYNAMICS: dict[str, Dynamic[Any]] = {
    "mwu": MWU(),
    "optimistic_mwu": OptimisticMWU(),
    "extragradient_mwu": ExtragradientMWU(),
    "mmd": MMD(),
    "mpo": MPO(),
    "mpo_letter": MPO(opponent="snapshot"),
    "mpo_optimistic": MPO(inner="optimistic"),
    "mpo_extragradient": MPO(alpha=0.02, eta=4.0, magnet_interval=10, inner="extragradient"),
    "mpo_rt": MPORT.equal_to(MPO()),
    "mpo_adaptive": MPOAdaptive(),
    "egpo": EGPO(),
    "nash_md": NashMD(),
    "nash_md_mixture": NashMDMixture(),
    "spo": SPO(),
    "sppo": SPPO(),
    "dno": DNO(),
    "inpo": INPO(),
    "ipo_md": IPOMD(),
    "online_ipo": IPOMD(mixture=0.0),
    "comal": COMAL(),
    "online_dpo": OnlineDPO(),
    "bond": BOND(),
}
"""``mpo_letter`` is Algorithm 1 as written: its opponent is the magnet."""
