"""Ratings of metrics beside those of real images."""

import pytest

from vaegan.evaluation.metric_specs import METRIC_SPECS
from vaegan.evaluation.ratings import FAIR, GOOD, POOR, Rating, rate_metric
from vaegan.evaluation.results import metric_table


@pytest.mark.parametrize(
    ("name", "value", "real", "expected"),
    [
        ("frechet_mean", 12.0, 10.0, Rating("1.20x", GOOD)),
        ("frechet_mean", 15.0, 10.0, Rating("1.50x", FAIR)),
        ("frechet_mean", 25.0, 10.0, Rating("2.50x", POOR)),
        ("coverage", 0.9, 0.95, Rating("0.95x", GOOD)),
        ("coverage", 0.5, 1.0, Rating("0.50x", POOR)),
        ("density", 1.1, 1.0, Rating("1.10x", GOOD)),  # a density above that of real images is no better
        ("density", 3.0, 1.0, Rating("3.00x", POOR)),
        ("power_high", 0.0, 1.0, Rating("0.00x", POOR)),
        ("kid_mean", 0.005, -0.001, Rating("as real", GOOD)),
        ("kid_mean", 0.015, -0.001, Rating("close", GOOD)),
        ("kid_mean", 0.05, 0.0, Rating("off", FAIR)),
        ("kid_mean", 0.5, 0.0, Rating("far off", POOR)),
        ("memorized_fraction", 0.1, 0.3, Rating("as real", GOOD)),
        ("memorized_fraction", 0.6, 0.3, Rating("copies", POOR)),
        ("birthday_support", float("inf"), 100.0, Rating()),
        ("sliced_wasserstein", 3.0, 0.0, Rating()),
        ("recall", None, 0.9, Rating()),
    ],
)
def test_a_metric_is_rated_beside_that_of_real_images(name, value, real, expected):
    assert rate_metric(METRIC_SPECS[name], {name: value}, {name: real}) == expected


def test_a_kid_that_may_be_chance_counts_as_real():
    samples = {"kid_fine": 0.05, "kid_fine_stderr": 0.03}
    assert rate_metric(METRIC_SPECS["kid_fine"], samples, {"kid_fine": 0.0}).grade == GOOD


def test_an_indented_row_has_its_whole_name_where_the_row_above_is_missing():
    samples = {"density": 0.9, "coverage_fine": 0.8, "kid_mean": 0.1, "kid_fine": 0.2}
    columns = {"samples": samples, "real": dict.fromkeys(samples, 1.0)}
    assert [row[0] for row in metric_table(columns).rows] == [
        "KID x 1000, mean of the three scales",
        "  fine texture",
        "density",
        "coverage in fine features",
    ]
    others = metric_table(columns, is_leading=False)
    assert [row[0] for row in others.rows] == ["KID x 1000 fine texture", "density"]


def test_an_evaluation_has_real_images_beside_samples_and_a_comparison_has_them_last():
    columns = {
        "samples": {"kid_mean": 0.05, "kid_mean_stderr": 0.001},
        "VAE": {"kid_mean": 0.2},
        "real": {"kid_mean": 0},
    }
    table = metric_table(columns, max_stderr_columns=0)
    assert table.header == ("metric", "better", "samples", "real", "vs real", "VAE")
    assert table.rows == [("KID x 1000, mean of the three scales", "lower", "50.00", "0.00", "off", "200.00")]
    assert table.grades == [("", "", "", "", FAIR, "")]
    table = metric_table({"a": columns["samples"], "b": columns["VAE"], "real": columns["real"]})
    assert table.header == ("metric", "better", "a", "b", "real")
    assert table.rows[0][2:] == ("50.00 ±1.00", "200.00", "0.00") and table.grades == [("", "", FAIR, POOR, "")]
