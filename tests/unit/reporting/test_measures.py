import pytest

from labelbench_ray.reporting.measures import ABSENT, Measure, count, listed


@pytest.mark.parametrize(
    ("split", "metric", "title", "fraction", "lower"),
    [
        ("test", "accuracy", "Test accuracy", True, False),
        ("val", "macro_f1", "Validation macro F1", True, False),
        ("pool", "annotation_balanced_accuracy", "Pool annotation balanced accuracy", True, False),
        ("test", "ece", "Test calibration error (ECE)", True, True),
        ("test", "log_loss", "Test log loss", False, True),
    ],
)
def test_names_and_directions(split, metric, title, fraction, lower):
    measure = Measure(split, metric)
    assert (measure.title, measure.is_fraction, measure.lower_is_better) == (title, fraction, lower)


def test_numbers_as_text():
    nan = float("nan")
    accuracy, loss = Measure("test", "accuracy"), Measure("test", "log_loss")
    assert accuracy.write_with_error(0.84321, 0.0021) == "84.32 ± 0.21"
    assert accuracy.write_with_error(0.84321, nan) == "84.32"
    assert accuracy.write(nan) == ABSENT
    assert loss.write(1.23456) == "1.235"
    assert accuracy.write_difference(0.018, -0.002, 0.038) == "+1.80 [\N{MINUS SIGN}0.20, +3.80]"
    assert accuracy.write_difference(-0.018, nan, nan) == "\N{MINUS SIGN}1.80"


def test_words():
    assert (count(1, "seed"), count(1200, "label"), count(2, "strategy", "strategies")) == (
        "1 seed",
        "1,200 labels",
        "2 strategies",
    )
    assert (listed([]), listed(["a"]), listed(["a", "b", "c"])) == ("none", "a", "a, b and c")


def test_reading_order():
    measures = [Measure("pool", "annotation_accuracy"), Measure("pool", "ece"), Measure("val", "accuracy")]
    measures += [Measure("test", "log_loss"), Measure("test", "accuracy"), Measure("pool", "accuracy")]
    ordered = [(measure.split, measure.metric) for measure in sorted(measures, key=Measure.sort_key)]
    assert ordered == [
        ("test", "accuracy"),
        ("test", "log_loss"),
        ("val", "accuracy"),
        ("pool", "accuracy"),
        ("pool", "ece"),
        ("pool", "annotation_accuracy"),
    ]
