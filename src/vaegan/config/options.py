"""Options, declared once: a field of a frozen dataclass is the flag, its help, its check and its saved form.

Standard library only, so that `vaegan --help` can build every command line without importing torch.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from importlib import import_module
from typing import Any, TypeVar

from vaegan.errors import UsageError, printable

SettingsT = TypeVar("SettingsT")
MAX_COUNT = 10**18
"""No count is larger; a power like 1e999999999 would take the memory."""


@dataclass(frozen=True)
class Option:
    """What is known of one option beside its name, type and default.

    `choices` is a tuple of names, or "module:NAME", a registry read when it is needed; `fixed` options decide
    what a run is and cannot change when it is resumed; `count` options also take "300k" and "1.5M"; `shown`
    is what help says of a default that is worked out later; `word` is one that may stand for a number, which whoever
    takes it replaces before the options are built.
    """

    help: str
    min: float | None = None
    max: float | None = None
    exclusive_min: float | None = None
    choices: tuple[str, ...] | str | None = None
    resume_locked: bool = True
    is_count: bool = False
    default_text: str | None = None
    auto_value: str | None = None

    def allowed_values(self) -> tuple[str, ...] | None:
        """Return the allowed names, or None where any value of the type will do."""
        if isinstance(self.choices, str):
            module, _, name = self.choices.partition(":")
            return tuple(getattr(import_module(module), name))
        return self.choices


def option(default: Any, help: str, **attributes: Any) -> Any:
    """Declare an option: the default, one sentence of help, and the limits of `Option`."""
    return dataclasses.field(default=default, metadata={"option": Option(help, **attributes)})


@dataclass(frozen=True)
class OptionField:
    """An option as the command line needs it: its name, its plain type and its declaration."""

    name: str
    type: type
    is_optional: bool
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """The option as typed by a user, e.g. --batch-size."""
        return flag_name(self.name)


def flag_name(name: str) -> str:
    """Return how an option is typed: "batch_size" is --batch-size, "n" is -n."""
    return f"-{name}" if len(name) == 1 else "--" + name.replace("_", "-")


def option_fields(settings_class: type) -> dict[str, OptionField]:
    """Return the options of a settings class by name, in the order of declaration."""
    hints = typing.get_type_hints(settings_class)
    found = {}
    for field in dataclasses.fields(settings_class):
        parts = [part for part in typing.get_args(hints[field.name]) if part is not types.NoneType]
        optional = bool(parts)
        plain = parts[0] if parts else hints[field.name]
        found[field.name] = OptionField(field.name, plain, optional, field.default, field.metadata["option"])
    return found


def parse_count(text: str) -> int:
    """Read a whole number with an optional k or M: "300k" is 300000. Raises ValueError."""
    text = text.strip().replace("_", "").replace(",", "")
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    try:
        value = Decimal(text[:-1] if factor > 1 else text) * factor
    except ArithmeticError:
        value = Decimal("nan")
    if not value.is_finite() or abs(value) > MAX_COUNT or value != int(value):
        raise ValueError(f"{printable(text)!r} is not a whole number")
    return int(value)


def _describe_expected(field: OptionField) -> str:
    words = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}[field.type]
    limits = []
    if field.option.min is not None:
        limits.append(f"at least {field.option.min:g}")
    if field.option.exclusive_min is not None:
        limits.append(f"above {field.option.exclusive_min:g}")
    if field.option.max is not None:
        limits.append(f"at most {field.option.max:g}")
    return (
        words
        + (f", {' and '.join(limits)}" if limits else "")
        + (f", or {field.option.auto_value}" if field.option.auto_value else "")
    )


def _convert(field: OptionField, value: Any) -> Any:
    """Turn a value from a flag, a file or Python into the field's type. Raises ValueError or TypeError."""
    if field.type is bool or isinstance(value, bool):
        if field.type is not bool or not isinstance(value, bool):
            raise TypeError
        return value
    if field.option.is_count and isinstance(value, str):
        return parse_count(value)
    if field.type is int and (not isinstance(value, (int, float)) or value != int(value)):
        raise TypeError
    if field.type is float and (not isinstance(value, (int, float)) or not math.isfinite(value)):
        raise TypeError
    if field.type is str and not isinstance(value, str):
        raise TypeError
    return field.type(value)


def check_option(field: OptionField, value: Any) -> Any:
    """Return `value` as the option's type. Raises UsageError naming the flag, the value and what it takes."""
    if value is None and field.is_optional:
        return None
    try:
        value = _convert(field, value)
    except (ValueError, TypeError, OverflowError):
        raise UsageError(f"{field.flag} {printable(value)}: expected {_describe_expected(field)}") from None
    names = field.option.allowed_values()
    if names is not None and value not in names:
        near = get_close_matches(printable(value), names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"{field.flag} {printable(value)}: expected one of {', '.join(names)}{hint}")
    if names is None and field.type in (int, float):
        limits = field.option
        low = limits.min is not None and value < limits.min
        low = low or (limits.exclusive_min is not None and value <= limits.exclusive_min)
        if low or (limits.max is not None and value > limits.max):
            raise UsageError(f"{field.flag} {printable(value)}: expected {_describe_expected(field)}")
    return value


def build_settings(settings_class: type[SettingsT], *layers: Mapping[str, Any]) -> SettingsT:
    """Make settings from layers of values, the later ones winning. Raises UsageError for what cannot be."""
    fields = option_fields(settings_class)
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name not in fields:
                near = get_close_matches(printable(name), fields, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise UsageError(f"unknown option {printable(name)!r}{hint}")
            values[name] = check_option(fields[name], value)
    return settings_class(**values)


def fill_missing(settings: SettingsT, values: Mapping[str, Any]) -> SettingsT:
    """Return `settings` with the options that are still None taken from `values`."""
    empty = {name: value for name, value in values.items() if getattr(settings, name) is None}
    return build_settings(type(settings), dataclasses.asdict(settings), empty)  # type: ignore[call-overload]


def changed_locked_options(settings_class: type, saved: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Return the flags given now whose fixed options were saved with another value."""
    fields = option_fields(settings_class)
    return [
        name
        for name, value in given.items()
        if fields[name].option.resume_locked and name in saved and check_option(fields[name], value) != saved[name]
    ]


def require_int(values: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Return a count, 0 to 10^15, that a file says. Raises ValueError where it is missing or anything else."""
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**15:
        raise ValueError(f"{name} {printable(value)!r}, expected a whole number")
    return value


def require_at_most_one(values: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise UsageError when more than one of the options `names` was given."""
    given = [flag_name(name) for name in names if values.get(name) is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} contradict each other: give one of them")
