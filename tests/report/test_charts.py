"""Charts: every finite value can be drawn, larger values are higher up, and labels are never read as HTML."""

import json
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaegan.report.charts import (
    MAX_POINTS,
    BarSeries,
    LabeledPoint,
    Series,
    bar_chart,
    downsample_series,
    format_short,
    labeled_curve,
    line_chart,
    round_ticks,
)
from vaegan.report.training_charts import metric_charts_html, read_series

finite = st.floats(-1e12, 1e12)


def parse_svg(figure):
    return ElementTree.fromstring(re.search(r"<svg.*?</svg>", figure).group(0))


def parse_line_chart(figure):
    """Return the SVG, parsed, and the data for the script."""
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', figure).group(1))
    return parse_svg(figure), data


@given(st.lists(st.tuples(st.integers(0, 10**9), finite), min_size=1, max_size=600))
def test_every_line_can_be_drawn(points):
    points = sorted(points)
    line = Series("any", [x for x, _ in points], [y for _, y in points])
    svg, data = parse_line_chart(line_chart("Title", "description", [line]))
    drawn = data["lines"][0]
    assert len(drawn["x"]) == min(len(points), MAX_POINTS) and drawn["value"][-1] == format_short(points[-1][1])
    assert all(0 <= x <= 360 for x in drawn["x"]) and all(0 <= y <= 190 for y in drawn["y"])
    assert svg.find("path") is not None


def test_larger_values_are_higher_up_and_wide_ranges_logarithmic():
    figure = line_chart("KID", "description", [Series("a", [0, 1, 2], [1.0, 10.0, 100.0])])
    low, middle, high = parse_line_chart(figure)[1]["lines"][0]["y"]
    assert low > middle > high and low - middle == pytest.approx(middle - high, abs=0.2)
    narrow = line_chart("KID", "description", [Series("a", [0, 1], [1.0, 2.0])])
    assert "logarithmic" in figure and "logarithmic" not in narrow


@pytest.mark.parametrize("values", [[5e-324, 1.0], [1e-300, 1.7e308], [5e-324, 1e-322]])
def test_a_logarithmic_axis_spans_the_range_of_floats(values):
    svg, data = parse_line_chart(line_chart("KID", "description", [Series("a", [0, 1], values)]))
    assert svg.find("path") is not None and len(data["lines"][0]["y"]) == 2


def test_the_unit_of_x_is_shown():
    figure = line_chart("KID", "description", [Series("a", [0, 12_000], [1.0, 2.0])], x_unit="minutes")
    assert parse_line_chart(figure)[1]["lines"][0]["position"] == ["after 0 minutes", "after 12k minutes"]


def test_downsampling_keeps_means_and_the_last_point():
    line = downsample_series(Series("a", list(range(1000)), [float(k % 2) for k in range(1000)]), 11)
    assert len(line.y) == 11 and line.x[-1] == 999 and line.y[-1] == 1
    assert all(0.4 < value < 0.6 for value in line.y[:-1])


@given(finite, st.floats(1e-6, 1e12))
def test_ticks_lie_inside_and_are_not_too_many(low, width):
    high = low + width
    ticks = round_ticks(low, high)
    assert len(ticks) <= 9 and all(low - width * 0.01 <= tick <= high + width * 0.01 for tick in ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "0.0123"), (3, "3"), (1234, "1234"), (12_345, "12.3k"), (1.5e6, "1.5M"), (-2e9, "-2G"), (0, "0")],
)
def test_short_numbers(value, text):
    assert format_short(value) == text


def bars_by_class(figure):
    return {bar.get("class"): (float(bar.get("x")), float(bar.get("width"))) for bar in parse_svg(figure).iter("rect")}


def test_bars_start_at_the_baseline():
    series = [BarSeries("a", [0.25]), BarSeries("b", [4.0]), BarSeries("real", [1.0], is_reference=True)]
    bars = bars_by_class(bar_chart("Title", "description", ["distance"], series, baseline=1.0, is_log=True))
    (below, below_width), (above, above_width) = bars["bar series-0"], bars["bar series-1"]
    assert below + below_width == pytest.approx(above, abs=0.2) and below_width == pytest.approx(above_width, abs=0.2)
    assert bars["bar reference"][1] == 0.0


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=4))
def test_every_bar_can_be_drawn(values):
    categories = [f"{index} & <b>" for index in range(len(values))]
    svg = parse_svg(bar_chart("a < b", "c & d", categories, [BarSeries("<i>", values)]))
    bars = [(float(bar.get("x")), float(bar.get("width"))) for bar in svg.iter("rect")]
    assert len(bars) == len(values) and all(x >= 0 and x + width <= 316 for x, width in bars)
    assert set(categories) <= {text.text for text in svg.iter("text")}


def test_a_labeled_curve_is_a_document_of_its_own():
    document = labeled_curve([LabeledPoint(1, 2, "a"), LabeledPoint(3, 4, "b", True)], "title", "x", "y")
    assert "var(" not in document and "prefers-color-scheme: dark" in document
    assert ElementTree.fromstring(document).tag == "{http://www.w3.org/2000/svg}svg"


def test_known_metrics_share_charts_and_unknown_ones_are_harmless():
    metrics_log = [
        {"step": 1, "images_seen": 8, "loss_g": 1.0, "loss_d": 2.0, "</script><b>": 3.0, "train_seconds": 5.0},
        {"step": 2, "images_seen": 16, "loss_g": float("nan"), "loss_d": 2.5},
        {"step": 3, "loss_g": 7.0},
    ]
    series = read_series(metrics_log)
    assert series["loss_g"].y == [1.0] and series["loss_d"].x == [8, 16] and "train_seconds" not in series
    page = metric_charts_html(series)
    assert page.count("<figure") == 2 and page.index("<details>") > page.index("Losses")
    assert "<b>" not in re.sub(r"<b>[\d.]+</b>", "", page) and page.count("</script>") == 2
    assert metric_charts_html({}) == ""
