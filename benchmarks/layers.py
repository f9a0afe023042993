"""The layers of a config in their order, and what the command line cannot change in them."""

from __future__ import annotations

from benchmarks.choose import Chosen, Variant
from benchmarks.compose import ConfFile, Request, Values, given, has_conf, read_conf
from benchmarks.validate import Known, unknown

KnownByCase = dict[tuple[str, str], Known]
"""Keys that are known, by task and method."""


def layers(request: Request, chosen: Chosen, task: str, variant: Variant) -> list[Values]:
    """The layers of one config, later wins (benchmarks.compose says the order)."""
    return [
        read_conf("base").values,
        read_conf(f"task/{task}").values,
        read_conf(f"method/{variant.method}").values,
        *(file.values for file in _tuned(task, variant.method)),
        *(group.values for group in chosen.groups if task in group.about.get("tasks", [task])),
        *_comparison(chosen, task),
        request.values,
        variant.values,
    ]


def unknown_keys(request: Request, chosen: Chosen, known: KnownByCase) -> list[str]:
    """Keys that no chosen task knows, on the command line and in the files that were chosen."""
    methods = {variant.method for variant in chosen.variants}
    names = [
        key for (_, method), keys in known.items() if method in methods for key in keys.settable()
    ]
    values: Values = {}
    for file in [
        read_conf("base"),
        *(read_conf(f"task/{task}") for task in chosen.tasks),
        *chosen.groups,
    ]:
        # The method's tuning knobs in a file for all methods are for those that have them.
        values |= {
            key: entry for key, entry in _settings(file).items() if not key.startswith("method.")
        }
    values |= request.values
    for task in chosen.tasks:
        for layer in _comparison(chosen, task):
            values |= layer
    for variant in chosen.variants:
        values |= variant.values
    where = " and ".join(f"task={task}" for task in chosen.tasks)
    found = unknown(values, dict.fromkeys(names), where)
    for task, method in known:
        # A method's own files are held to what the method knows, whichever others are compared.
        for file in [read_conf(f"method/{method}"), *_tuned(task, method)]:
            own = known[task, method].settable()
            found += unknown(_settings(file), own, f"method={method}, task={task}")
    return list(dict.fromkeys(found))


def fixed_by_variants(request: Request, chosen: Chosen, known: KnownByCase) -> list[str]:
    """Values of the command line that every variant sets itself, so that they would do nothing."""
    found = []
    for key, entry in request.values.items():
        concerned = [
            variant
            for variant in chosen.variants
            if any(key in known[task, variant.method].settable() for task in variant.tasks)
        ]
        if concerned and all(key in variant.values for variant in concerned):
            found.append(
                f"{key}: got {entry.value!r}, but every variant of {chosen.kind}={chosen.name} "
                "has its own; allowed is another key, or a new file under conf/"
            )
    return found


def _tuned(task: str, method: str) -> list[ConfFile]:
    name = f"tuned/{task}/{method}"
    return [read_conf(name)] if has_conf(name) else []


def _comparison(chosen: Chosen, task: str) -> list[Values]:
    """What an ablation, an experiment or a search sets for all its variants."""
    about, source = chosen.about, chosen.source
    return [
        given(about.get("set") or {}, source),
        given((about.get("task_set") or {}).get(task) or {}, source),
        given((about.get("sizes") or {}).get(chosen.size) or {}, source),
    ]


def _settings(file: ConfFile) -> Values:
    """A file's values but for the names of its task, method or judge, which no key sets."""
    return {key: entry for key, entry in file.values.items() if not key.endswith(".name")}
