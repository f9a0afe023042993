"""The texts of `stage --help` and `stage NAME … --dry-run`. Needs no torch for the first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.compose import flatten, read_conf
from benchmarks.settings_docs import Setting, class_settings
from benchmarks.stages.schema import SECTIONS

USAGE = """\
python benchmarks/run.py stage sft [key=value …]          imitate demonstrated responses
python benchmarks/run.py stage reward [key=value …]       a Bradley-Terry reward model
python benchmarks/run.py stage preference [key=value …]   a model of pairs, P(y ≻ y′ | x)
python benchmarks/run.py stage … --dry-run                the config and its records; nothing runs

The folder (out=DIR, default results/stages/NAME) holds config.yaml, result.json, curves.csv,
curve.png, tensorboard/ and model/, which model.path (sft), reward.path, judge.path take. The same
command again does nothing when the stage is finished, and starts over when it was interrupted.
Exit status: 0 there is a result, 1 training failed, 2 nothing was run because something is wrong,
130 interrupted."""

SOURCES = {
    "sft": "chatterbot-corpus",
    "reward": "chitchat-dataset | panel (the model's own samples, compared by a panel)",
    "preference": "chitchat-dataset | panel (the model's own samples, compared by a panel)",
}
"""The names that data.source knows, beside files and data sets by name."""


def help_text(stages: Iterable[str]) -> str:
    """Usage, and every key of the stages with its meaning and its value in conf/stage/."""
    parts = [USAGE]
    shown: set[type[Any]] = set()
    for stage in stages:
        values = read_conf(f"stage/{stage}").values
        parts.append(f"\nstage {stage}: {read_conf(f'stage/{stage}').about.get('title', '')}")
        parts.append(f"  names for data=…: {SOURCES[stage]}")
        for section, schema in SECTIONS[stage].items():
            prefix = f"{section}." if section else ""
            settings = class_settings(schema)
            given = ", ".join(f"{prefix}{s.name}={values[prefix + s.name].value}" for s in settings)
            if schema in shown:
                parts.append(f"  {given}")
            else:
                parts += [_line(prefix, s, values[prefix + s.name].value) for s in settings]
            shown.add(schema)
    return "\n".join(parts)


def dry_run_text(config: dict[str, Any], counts: tuple[int, int] | None, out: object) -> str:
    """The resolved config, how many records there are, and how many steps they make."""
    train = config["train"]
    if counts is None:
        records = "records: sampled and labelled when the stage runs"
    else:
        steps = train["epochs"] * -(-counts[0] // train["batch_size"])
        records = f"records: {counts[0]} train, {counts[1]} are held out; {steps} optimizer steps"
    lines = [f"  {key}={value}" for key, value in flatten(config).items() if key != "stage"]
    return "\n".join([f"stage {config['stage']}, folder {out}", records, *lines])


def _line(prefix: str, setting: Setting, value: object) -> str:
    words = {"int": "integer", "float": "number", "bool": "true/false", "str": "text"}
    kind = words.get(setting.type, setting.type.replace("None", "null"))
    return f"  {prefix + setting.name:<30} {setting.doc} ({kind}) Here {value}."
