"""The texts of `experiment=NAME --help` and `--dry-run`. Needs no torch for the first."""

from __future__ import annotations

from pathlib import Path

from benchmarks.compose import PLAN_KEYS, flatten, read_conf
from benchmarks.settings_docs import Setting, class_settings
from benchmarks.theory.experiments import EXPERIMENTS, Config

USAGE = """\
python benchmarks/run.py experiment={name} [key=value …]   run it
python benchmarks/run.py experiment={name} … --dry-run     the config; nothing runs

The folder (out=DIR, default results/{name}) holds config.yaml, result.json, the tables, figures/
and report.md. The same command again does nothing when the experiment is finished. Exit status:
0 there is a result, 2 nothing was run because something is wrong, 130 interrupted."""


def help_text(name: str) -> str:
    """Usage, and every key of the experiment with its meaning and its value in its file."""
    file = read_conf(f"experiment/{name}")
    parts = [USAGE.format(name=name), f"\n{file.about['title']}: {file.about['question']}\n"]
    if "methods" in file.about:
        listed = ", ".join(file.about["methods"])
        parts += [
            _line("methods", "The methods, a list.", f"[{listed}]"),
            _line("METHOD.FIELD", "A setting of a method, such as mpo.alpha.", "the method's own"),
        ]
    if "seeds" in file.values:
        parts.append(_line("seeds", f"The {PLAN_KEYS['seeds']}.", file.values["seeds"].value))
    if "sizes" in file.about:
        offered = ", ".join(["full", *file.about["sizes"]])
        parts.append(_line("size", f"One of {offered}: how much is run.", "full"))
    from benchmarks.theory.resolve import sections_of

    for section, schemas in sections_of(EXPERIMENTS[name]).items():
        prefix = f"{section}." if section else ""
        for schema in schemas:
            for setting in class_settings(schema):
                key = prefix + setting.name
                parts.append(_setting_line(key, setting, file.values[key].value))
    return "\n".join(parts)


def config_text(config: Config, out: Path) -> str:
    """The resolved config."""
    lines = [f"  {key}={value}" for key, value in flatten(config).items() if key != "experiment"]
    return "\n".join([f"experiment {config['experiment']}, folder {out}", *lines])


def _setting_line(key: str, setting: Setting, value: object) -> str:
    words = {"int": "integer", "float": "number", "bool": "true/false", "str": "text"}
    kind = words.get(setting.type, setting.type.replace("None", "null"))
    return _line(key, f"{setting.doc} ({kind})", value)


def _line(key: str, words: str, value: object) -> str:
    return f"  {key:<24} {words} Here {value}."
