"""Pictures of a real study: digits, their images, and vectors with images from elsewhere."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from runs import spec

from labelbench_ray.api import grid
from labelbench_ray.api.illustrating import MOST_SHOWN, SIDE, illustrate, images_named
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.cli.app import app
from labelbench_ray.config import Experiment
from labelbench_ray.datasets.digits import Digits
from labelbench_ray.errors import LabelBenchError, LedgerError, NoResultsError, SpecError
from labelbench_ray.reporting.pictures import read_pictures

SCHEDULE = {"initial": 20, "labels_per_round": 120, "rounds": 2}


def study(**changes):
    return Experiment.from_mapping(
        spec(**{"strategy": ["random", "margin"], "schedule": SCHEDULE, "seeds": 2, **changes})
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    grid.run(study(), folder / "results", folder / "features", executor="in_process")
    return folder


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """The same digits as a file of vectors, and a study of it."""
    folder = tmp_path_factory.mktemp("vectors")
    opened = Digits().open()
    arrays = {}
    for split in ("train", "val", "test"):
        images = opened.images(split).read(np.arange(len(opened.labels(split))))
        arrays[f"{split}_features"] = np.stack(images)[:, ::4, ::4, 0].reshape(len(images), -1).astype(np.float32)
        arrays[f"{split}_labels"] = opened.labels(split)
    np.savez(folder / "digits.npz", **arrays)
    experiment = study(dataset={"name": "features", "path": str(folder / "digits.npz")}, encoder="vectors", seeds=1)
    grid.run(experiment, folder / "results", folder / "features", executor="in_process")
    return folder, experiment


def bought(results, seed):
    trials = [trial for trial in Ledger(results).trials() if trial.description()["seed"] == seed]
    return [ids for trial in trials for ids, _ in trial.batches()]


def test_all_that_one_seed_bought_is_drawn_with_its_images(folder):
    told = []
    ((title, num_places, num_images),), files = illustrate(
        study(), folder / "results", folder / "features", seed=1, tell=told.append
    )
    (picture,) = read_pictures(folder / "results").values()
    shown = {int(id_) for ids in bought(folder / "results", 1) for id_ in ids[:MOST_SHOWN]}
    assert picture.seed == 1
    assert shown <= set(picture.ids.tolist())
    assert picture.ids.tolist() == list(range(1200)), "a pool of fewer rows than landmarks is drawn whole"
    assert set(picture.images) == shown
    assert (title, num_places, num_images) == ("digits through pixels", 1200, len(shown))
    assert told == [f"digits through pixels: 1,200 rows on the map, {len(shown)} images"]
    original = Digits().open().images("train").read(np.array(sorted(shown)))[0]
    small = Image.open(io.BytesIO(picture.images[min(shown)]))
    assert max(small.size) == min(SIDE, max(original.shape[:2]))
    resized = np.asarray(Image.fromarray(original).resize(small.size), float)
    assert np.abs(np.asarray(small.convert("RGB"), float) - resized).mean() < 12
    assert [name for name, *_ in picture.anchors] == [str(digit) for digit in range(10)]
    assert '<input type="range"' in files.html.read_text()


def test_digits_of_a_class_lie_together(folder):
    illustrate(study(), folder / "results", folder / "features")
    (picture,) = read_pictures(folder / "results").values()
    assert picture.seed == 0, "the lowest"
    labels = Digits().open().labels("train")[picture.ids]
    distances = np.linalg.norm(picture.places[:, None] - picture.places, axis=2) + 9 * np.eye(len(labels))
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.9


def test_vectors_have_a_map_and_images_where_they_are_named(vectors):
    folder, experiment = vectors
    ((_, num_places, num_images),), files = illustrate(experiment, folder / "results", folder / "features")
    assert (num_places, num_images) == (1200, 0)
    assert '<input type="range"' in files.html.read_text()
    digits = images_named("{name: digits}")
    ((_, _, num_images),), _ = illustrate(experiment, folder / "results", folder / "features", images=digits)
    (picture,) = read_pictures(folder / "results").values()
    assert num_images == len(picture.images) > 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{name: transformed, of: digits, by: [{name: subsample, train: 600}]}", "has 600 rows, the pool has 1,200"),
        ("{name: near_duplicates, of: digits, rows: 10}", "the pool has 1,200"),
        ("digitz", "Did you mean: digits"),
        ("{name: digits", "is no data set, such as"),
    ],
)
def test_images_that_are_not_those_of_the_rows_are_refused(vectors, text, told):
    folder, experiment = vectors
    with pytest.raises(LabelBenchError, match=told):
        illustrate(experiment, folder / "results", folder / "features", images=images_named(text))


def test_images_of_other_rows_are_refused_by_their_labels(vectors, tmp_path):
    folder, experiment = vectors
    opened = Digits().open()
    for split in ("train", "val", "test"):
        labels = opened.labels(split)
        for row, image in enumerate(opened.images(split).read(np.arange(len(labels)))):
            of_class = tmp_path / split / str(labels[row])
            of_class.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(of_class / f"{row:05d}.png")
    other_order = images_named(f"{{name: image_folder, path: {tmp_path}}}")
    with pytest.raises(SpecError, match=r"labels of \d,?\d+ rows differ"):
        illustrate(experiment, folder / "results", folder / "features", images=other_order)


def test_nothing_to_draw_is_told(folder, tmp_path):
    with pytest.raises(SpecError, match=r"no trial of seed 9 has a finished round; there are 0 and 1"):
        illustrate(study(), folder / "results", folder / "features", seed=9)
    with pytest.raises(LedgerError, match="no trial of this file has a finished round there"):
        illustrate(study(strategy="badge"), folder / "results", folder / "features")
    with pytest.raises(NoResultsError):
        illustrate(study(), tmp_path / "nothing", folder / "features")


def test_vectors_are_no_images(vectors, folder):
    file, _ = vectors
    of_vectors = images_named(f"{{name: features, path: {file / 'digits.npz'}}}")
    with pytest.raises(SpecError, match="holds vectors; name one that holds images"):
        illustrate(study(), folder / "results", folder / "features", images=of_vectors)


def test_the_command_prints_where_the_report_is(folder, tmp_path, capsys):
    import yaml

    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(spec(strategy=["random", "margin"], schedule=SCHEDULE, seeds=2)))
    words = ["illustrate", str(file), "--results", str(folder / "results"), "--features", str(folder / "features")]
    assert app([*words, "--json"], result_action="return_value") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pools"][0]["title"] == "digits through pixels"
    assert told["report"].endswith("report.html")
