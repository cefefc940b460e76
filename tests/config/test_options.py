from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaegan.config.model_config import ModelConfig
from vaegan.config.option_types import EvaluateOptions, GANOptions, PreprocessOptions, TimelapseOptions, VAEOptions
from vaegan.config.options import (
    build_settings,
    changed_locked_options,
    option,
    option_fields,
    parse_count,
    require_at_most_one,
)
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.config.tool_settings import EvaluateSettings, PreprocessSettings, SampleSettings, TimelapseSettings
from vaegan.errors import UsageError
from vaegan.utils.text import join_names, split_names


@dataclass(frozen=True, kw_only=True)
class Example:
    size: int = option(4, "A size.", min=1, max=9)
    rate: float = option(0.5, "A rate.", exclusive_min=0)
    word: str = option("a", "A word.", choices=("a", "bee"))
    flag: bool = option(True, "A flag.", resume_locked=False)
    count: int | None = option(None, "A count.", is_count=True, min=1)
    names: str | None = option(None, "Names.", is_name_list=True)


def test_a_later_layer_overrides_an_earlier_one():
    settings = build_settings(Example, {"size": 2, "rate": 1}, {"size": 3})
    assert settings == Example(size=3, rate=1.0)
    assert isinstance(settings.rate, float)


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"size": 0}, ("--size 0", "at least 1", "at most 9")),
        ({"size": 2.5}, ("--size 2.5", "whole number")),
        ({"size": True}, ("--size True", "whole number")),
        ({"rate": 0}, ("--rate 0", "above 0")),
        ({"rate": float("nan")}, ("--rate nan",)),
        ({"rate": "x"}, ("--rate x", "a number")),
        ({"word": "be"}, ("--word be", "a, bee", "did you mean bee")),
        ({"flag": 1}, ("--flag 1", "true or false")),
        ({"count": "1.5"}, ("--count 1.5",)),
        ({"names": 3}, ("--names 3", "text")),
        ({"names": ["a", 3]}, ("--names", "text")),
        ({"sise": 3}, ("sise", "did you mean size")),
        ({"size": 10**400}, ("--size",)),
    ],
)
def test_an_invalid_value_is_refused_with_the_name_of_its_option(values, parts):
    with pytest.raises(UsageError) as caught:
        build_settings(Example, values)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


@given(st.integers(0, 10**9))
def test_parse_count_reads_numbers_and_thousands(number):
    assert parse_count(str(number)) == number
    assert parse_count(f"{number}k") == number * 1000


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("300k", 300_000), ("1.5M", 1_500_000), (" 2_000 ", 2000), ("1e3", 1000)),
        *(("16.1k", 16_100), ("2.01M", 2_010_000)),
    ],
)
def test_parse_count_reads_suffixes_and_separators(text, number):
    assert parse_count(text) == number


@pytest.mark.parametrize("text", ["", "k", "1.2", "nan", "inf", "3 apples", "1e99999999", "1.2345k"])
def test_parse_count_refuses_what_is_not_a_whole_number(text):
    with pytest.raises(ValueError):
        parse_count(text)


def test_changed_locked_options_leaves_out_unlocked_options():
    saved = {"size": 4, "flag": True}
    assert changed_locked_options(Example, saved, {"size": 5, "flag": False, "rate": 2}) == ["size"]
    assert changed_locked_options(Example, saved, {"size": 4}) == []


def test_names_may_be_a_list_in_python():
    for value in ("a,b", ["a", "b"], ("a", "b")):
        assert build_settings(Example, {"names": value}).names == "a,b"
    assert build_settings(Example, {"names": []}).names == ""


@given(st.lists(st.text(), min_size=1))
def test_names_can_be_joined_and_split(names):
    assert split_names(join_names(names)) == [name.strip() for name in names]


def test_at_most_one_of_several_options_may_be_given():
    with pytest.raises(UsageError, match="--steps and --minutes"):
        require_at_most_one({"steps": 3, "minutes": 2.0, "images": None}, ("steps", "images", "minutes"))


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (VAEOptions, VAESettings),
        (GANOptions, GANSettings),
        (PreprocessOptions, PreprocessSettings),
        (EvaluateOptions, EvaluateSettings),
        (TimelapseOptions, TimelapseSettings),
    ],
)
def test_the_options_that_editors_know_are_those_of_the_settings(options, settings):
    known = get_type_hints(options)
    assert list(known) == list(option_fields(settings))
    for field in option_fields(settings).values():
        expected = field.type | str if field.option.is_count or field.option.auto_value else field.type
        expected = expected | Sequence[str] if field.option.is_name_list else expected
        assert known[field.name] == (expected | None if field.is_optional else expected), field.name


@pytest.mark.parametrize("settings", [GANSettings, VAESettings, ModelConfig, PreprocessSettings, SampleSettings])
def test_every_default_passes_its_own_check(settings):
    fields = option_fields(settings)
    defaults = {name: field.default for name, field in fields.items()}
    assert build_settings(settings, defaults) == settings()
    for field in fields.values():
        assert field.option.help.endswith(".")
