"""Line charts: no line is bent, no number lost, nothing that a name says is read as HTML."""

import json
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaegan.report.charts import MAX_POINTS, Series, downsample_series, format_short, line_chart, round_ticks
from vaegan.report.training_charts import metric_charts_html, read_series

finite = st.floats(-1e12, 1e12)


def parts(figure):
    """The SVG, parsed, and the script's data."""
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', figure).group(1))
    return ElementTree.fromstring(re.search(r"<svg.*?</svg>", figure).group(0)), data


@given(st.lists(st.tuples(st.integers(0, 10**9), finite), min_size=1, max_size=600))
def test_every_line_can_be_drawn(points):
    points = sorted(points)
    line = Series("any", [x for x, _ in points], [y for _, y in points])
    svg, data = parts(line_chart("Title", "note", [line]))
    drawn = data["lines"][0]
    assert len(drawn["x"]) == min(len(points), MAX_POINTS) and drawn["value"][-1] == format_short(points[-1][1])
    assert all(0 <= x <= 360 for x in drawn["x"]) and all(0 <= y <= 190 for y in drawn["y"])
    assert svg.find("path") is not None


def test_larger_values_are_higher_up_and_wide_ranges_logarithmic():
    figure = line_chart("KID", "note", [Series("a", [0, 1, 2], [1.0, 10.0, 100.0])])
    low, middle, high = parts(figure)[1]["lines"][0]["y"]
    assert low > middle > high and low - middle == pytest.approx(middle - high, abs=0.2)
    assert "logarithmic" in figure and "logarithmic" not in line_chart("KID", "note", [Series("a", [0, 1], [1.0, 2.0])])


@pytest.mark.parametrize("values", [[5e-324, 1.0], [1e-300, 1.7e308], [5e-324, 1e-322]])
def test_a_logarithmic_axis_ends_where_floats_do(values):
    svg, data = parts(line_chart("KID", "note", [Series("a", [0, 1], values)]))
    assert svg.find("path") is not None and len(data["lines"][0]["y"]) == 2


def test_thinning_keeps_means_and_the_end():
    line = downsample_series(Series("a", list(range(1000)), [float(k % 2) for k in range(1000)]), 11)
    assert len(line.values) == 11 and line.images_seen[-1] == 999 and line.values[-1] == 1
    assert all(0.4 < value < 0.6 for value in line.values[:-1])


@given(finite, st.floats(1e-6, 1e12))
def test_ticks_lie_inside_and_are_not_too_many(low, width):
    high = low + width
    found = round_ticks(low, high)
    assert len(found) <= 9 and all(low - width * 0.01 <= tick <= high + width * 0.01 for tick in found)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "0.0123"), (3, "3"), (1234, "1234"), (12_345, "12.3k"), (1.5e6, "1.5M"), (-2e9, "-2G"), (0, "0")],
)
def test_short_numbers(value, text):
    assert format_short(value) == text


def test_known_metrics_share_panels_and_strange_ones_are_harmless():
    metrics = [
        {"step": 1, "images_seen": 8, "loss_g": 1.0, "loss_d": 2.0, "</script><b>": 3.0, "train_seconds": 5.0},
        {"step": 2, "images_seen": 16, "loss_g": float("nan"), "loss_d": 2.5},
        {"step": 3, "loss_g": 7.0},
    ]
    lines = read_series(metrics)
    assert lines["loss_g"].values == [1.0] and lines["loss_d"].images_seen == [8, 16] and "train_seconds" not in lines
    page = metric_charts_html(lines)
    assert page.count("<figure") == 2 and page.index("<details>") > page.index("Losses")
    assert "<b>" not in re.sub(r"<b>[\d.]+</b>", "", page) and page.count("</script>") == 2
    assert metric_charts_html({}) == ""
