"""The hyper-parameters of methods on games as settings: NAME.FIELD, with the value's own default.

A method on games is a frozen dataclass with `problems()`. Its numbers and words can be set; a
field that holds anything else, such as another method, stays as the registry has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from types import NoneType
from typing import Any, get_args, get_type_hints

Methods = Mapping[str, Any]
"""Name to a method with its defaults."""


def settings(method: Any) -> dict[str, Any]:
    """The fields that can be set, with their values."""
    found = {field.name: getattr(method, field.name) for field in fields(method)}
    return {name: value for name, value in found.items() if _is_plain(value)}


def setting_keys(methods: Methods) -> list[str]:
    """Every NAME.FIELD."""
    return [f"{name}.{field}" for name, method in methods.items() for field in settings(method)]


def changed(name: str, method: Any, values: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """The method with other values, and everything that is wrong with them.

    A value of the wrong type is reported and the method's own kept.
    """
    kept: dict[str, Any] = {}
    problems = []
    for field, value in values.items():
        try:
            kept[field] = _converted(method, field, value)
        except ValueError as error:
            problems.append(f"{name}.{field}: {error}")
    new = replace(method, **kept)
    return new, problems + [f"{name}.{problem}" for problem in new.problems()]


def chosen_methods(methods: Methods, config: dict[str, Any]) -> dict[str, Any]:
    """The methods of a resolved config, with its values."""
    # A method without settings has no section.
    return {name: replace(methods[name], **config.get(name, {})) for name in config["methods"]}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _converted(method: Any, field: str, value: Any) -> Any:
    default = getattr(method, field)
    hint = get_type_hints(type(method))[field]
    allows = {hint, *get_args(hint)}
    if value is None and NoneType in allows:
        return None
    whole = isinstance(value, int) and not isinstance(value, bool)
    if float in allows and (whole or isinstance(value, float)):
        return float(value)
    if int in allows and whole:
        return value
    if bool in allows and isinstance(value, bool):
        return value
    if isinstance(default, str) and isinstance(value, str):
        return value
    words = {float: "a number", int: "an integer", bool: "true or false", NoneType: "null"}
    named = [word for kind, word in words.items() if kind in allows] or ["text"]
    raise ValueError(f"got {value!r}, allowed is {' or '.join(named)}")
