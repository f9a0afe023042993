"""The records of a stage that are known before work: read, split and checked without a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mpo.training.data import Parts, load_comparisons, load_examples

Config = dict[str, Any]

PANEL = "panel"
"""The data source that samples from the model and asks the panel of annotators."""


def known_records(config: Config) -> Parts[Any] | None:
    """The records of a config; None when they are to be sampled. Raises DataError."""
    return _LOADERS[config["stage"]](config)


def at_most(parts: Parts[Any], config: Config) -> Parts[Any]:
    """At most as many records as the config allows, drawn by the seed, in their order."""
    kept = []
    for number, (records, most) in enumerate(
        zip(parts, (config["data"]["max_records"], config["data"]["max_held_out"]), strict=True)
    ):
        order = np.random.default_rng([config["seed"], number]).permutation(len(records))
        kept.append([records[place] for place in sorted(order[:most].tolist())])
    return Parts(*kept)


def _examples(config: Config) -> Parts[Any] | None:
    """Examples of the config's source."""
    return at_most(load_examples(config["data"]["source"], config["data"]["held_out"]), config)


def _comparisons(config: Config) -> Parts[Any] | None:
    """Comparisons of the config's source; None for the panel's."""
    source = config["data"]["source"]
    if source == PANEL:
        return None
    return at_most(load_comparisons(source, config["data"]["held_out"]), config)


_LOADERS: dict[str, Callable[[Config], Parts[Any] | None]] = {
    "sft": _examples,
    "reward": _comparisons,
    "preference": _comparisons,
}
"""Name of a stage to its kind of records."""
