"""Options, declared once as dataclass fields.

Each field gives the flag, its help text, its checks and its saved value. Uses only the standard library, so that
`vaegan --help` does not import torch.
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
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

from vaegan.errors import UsageError, printable
from vaegan.utils.text import join_names

SettingsT = TypeVar("SettingsT")
MAX_SEED = 2**31 - 1
MAX_COUNT = 10**18
"""Largest count that is accepted: converting text such as 1e999999999 to an int would exhaust the memory."""


@dataclass(frozen=True)
class Option:
    """Describe one option. Its name, type and default are those of its dataclass field.

    Attributes:
        exclusive_min: Bound that the value must exceed.
        choices: Allowed values, or "module:NAME" for a registry that is imported on first use.
        resume_locked: Whether the option defines the run, so that resuming with another value is refused.
        is_count: Whether the value may also be written as "300k" or "1.5M".
        is_name_list: Whether the value is names separated by commas, which Python may also give as a list.
        default_text: Default shown by --help when the actual default is only known later. Without it, --help shows
            the field's default, or nothing when that is None.
        auto_value: Word accepted in place of a number. The caller replaces it before it builds the settings.
        metavar: Name of the value in --help. Without it, one that fits the type.
    """

    help: str
    min: float | None = None
    max: float | None = None
    exclusive_min: float | None = None
    choices: tuple[str, ...] | str | None = None
    resume_locked: bool = True
    is_count: bool = False
    is_name_list: bool = False
    default_text: str | None = None
    auto_value: str | None = None
    metavar: str | None = None

    def allowed_values(self) -> tuple[str, ...] | None:
        """Return the allowed values.

        Returns:
            the values, or None if all are allowed.
        """
        if isinstance(self.choices, str):
            module, _, name = self.choices.partition(":")
            return tuple(getattr(import_module(module), name))
        return self.choices

    def is_in_range(self, value: float) -> bool:
        """Return whether a number is within the bounds.

        Args:
            value: the number.

        Returns:
            whether it is.
        """
        return (
            (self.min is None or value >= self.min)
            and (self.exclusive_min is None or value > self.exclusive_min)
            and (self.max is None or value <= self.max)
        )


def option(default: Any, help: str, **attributes: Any) -> Any:
    """Declare a dataclass field as an option.

    Args:
        default: value if none is given.
        help: help text.
        **attributes: the other attributes of `Option`.

    Returns:
        what the field is assigned to.
    """
    return dataclasses.field(default=default, metadata={"option": Option(help, **attributes)})


runtime_option = partial(option, resume_locked=False)
"""Declare an option that does not define the run or the dataset, so that it may change on resume."""


@dataclass(frozen=True)
class OptionField:
    """Hold one option together with its field: the name, the type without `| None`, and the default."""

    name: str
    type: type
    is_optional: bool
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """Flag, such as "--batch-size"."""
        return flag_name(self.name)


def flag_name(name: str) -> str:
    """Return the flag of an option.

    Args:
        name: name of the field.

    Returns:
        "batch_size" gives "--batch-size", "n" gives "-n".
    """
    return f"-{name}" if len(name) == 1 else "--" + name.replace("_", "-")


def option_fields(settings_class: type) -> dict[str, OptionField]:
    """Return the options of a settings class by name, in the order of their declaration.

    Args:
        settings_class: dataclass whose fields are declared with `option`.

    Returns:
        option by name.
    """
    hints = typing.get_type_hints(settings_class)
    fields = {}
    for field in dataclasses.fields(settings_class):
        hint = hints[field.name]
        is_list = typing.get_origin(hint) is tuple
        union_members = [] if is_list else [part for part in typing.get_args(hint) if part is not types.NoneType]
        is_optional = bool(union_members)
        plain_type = tuple if is_list else union_members[0] if is_optional else hint
        fields[field.name] = OptionField(field.name, plain_type, is_optional, field.default, field.metadata["option"])
    return fields


def parse_count(text: str) -> int:
    """Read a whole number with an optional suffix k or M.

    Args:
        text: such as "300k", which is 300000.

    Returns:
        the number, at most MAX_COUNT.

    Raises:
        ValueError: if it is no such number.
    """
    text = text.strip().replace("_", "").replace(",", "")
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    try:
        value = Decimal(text[:-1] if factor > 1 else text) * factor
    except ArithmeticError:
        value = Decimal("nan")
    if not value.is_finite() or abs(value) > MAX_COUNT or value != int(value):
        raise ValueError(f"{printable(text)!r} is not a whole number")
    return int(value)


def _convert(field: OptionField, value: Any) -> Any:
    """Return a value from a flag, a file or Python as the option's type. Raises ValueError or OverflowError."""
    if field.option.is_count and isinstance(value, str):
        return parse_count(value)
    if field.option.is_name_list and _is_text_list(value):
        return join_names(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if field.type is int:
        is_valid = is_number and value == int(value)
    elif field.type is float:
        is_valid = is_number and math.isfinite(value)
    elif field.type is tuple:  # JSON has lists only
        is_valid = _is_text_list(value)
    else:
        is_valid = isinstance(value, field.type)
    if not is_valid:
        raise ValueError(f"not of type {field.type.__name__}")
    return field.type(value)


def _is_text_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value)


def _unexpected_value(field: OptionField, value: Any) -> UsageError:
    kinds = {int: "a whole number", float: "a number", str: "text", bool: "true or false", tuple: "a list of texts"}
    kind = kinds[field.type]
    bounds = {"at least": field.option.min, "above": field.option.exclusive_min, "at most": field.option.max}
    limits = " and ".join(f"{words} {bound:,.12g}" for words, bound in bounds.items() if bound is not None)
    parts = [kind, limits, f"or {field.option.auto_value}" if field.option.auto_value else ""]
    return UsageError(f"{field.flag} {printable(value)}: expected {', '.join(part for part in parts if part)}")


def _suggestion(name: object, known: Iterable[str]) -> str:
    matches = get_close_matches(printable(name), known, n=1)
    return f"; did you mean {matches[0]}?" if matches else ""


def check_option(field: OptionField, value: Any) -> Any:
    """Check a value of an option.

    Args:
        field: the option.
        value: from a flag, a file or Python.

    Returns:
        the value as the option's type.

    Raises:
        UsageError: if it is not allowed; the message names the flag, the value and what is expected.
    """
    if value is None and field.is_optional:
        return None
    try:
        value = _convert(field, value)
    except (ValueError, OverflowError):
        raise _unexpected_value(field, value) from None
    choices = field.option.allowed_values()
    if choices is not None and value not in choices:
        hint = _suggestion(value, choices)
        raise UsageError(f"{field.flag} {printable(value)}: expected one of {', '.join(choices)}{hint}")
    if field.type in (int, float) and not field.option.is_in_range(value):
        raise _unexpected_value(field, value)
    return value


def build_settings(settings_class: type[SettingsT], *layers: Mapping[str, Any]) -> SettingsT:
    """Build settings from layers of option values, where a later layer overrides an earlier one.

    Args:
        settings_class: dataclass of options.
        *layers: option values by name.

    Returns:
        the settings.

    Raises:
        UsageError: for an unknown option or a value that is not allowed.
    """
    fields = option_fields(settings_class)
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name not in fields:
                raise UsageError(f"unknown option {printable(name)!r}{_suggestion(name, fields)}")
            values[name] = check_option(fields[name], value)
    return settings_class(**values)


def changed_locked_options(settings_class: type, saved: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Return the locked options that were given with another value than they were saved with.

    Args:
        settings_class: dataclass of options.
        saved: values of the run.
        given: values given now.

    Returns:
        names of options.

    Raises:
        UsageError: if a given value is not allowed.
    """
    fields = option_fields(settings_class)
    return [
        name
        for name, value in given.items()
        if fields[name].option.resume_locked and name in saved and check_option(fields[name], value) != saved[name]
    ]


def require_int(values: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Return an integer out of a file's values.

    Args:
        values: values by name.
        name: which one.
        default: value if it is missing; None requires it.

    Returns:
        from 0 to 10^15.

    Raises:
        ValueError: if it is missing or invalid.
    """
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**15:
        raise ValueError(f"{name} {printable(value)!r}, expected a whole number")
    return value


def require_at_most_one(values: Mapping[str, Any], names: Iterable[str]) -> None:
    """Check that at most one of several options was given.

    Args:
        values: option values by name.
        names: options that exclude each other.

    Raises:
        UsageError: if more than one was given.
    """
    given = [flag_name(name) for name in names if values.get(name) is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} contradict each other: give only one of them")
