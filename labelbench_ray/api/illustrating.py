"""Pictures for a report: the pool as a map, and small images of what each strategy bought."""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from labelbench_ray.api.planning import DEFAULT_FEATURES, default_results
from labelbench_ray.benchmark.finding import check_results
from labelbench_ray.benchmark.loop import TrialInputs
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.config import Experiment, Trial, label
from labelbench_ray.datasets.base import DATASETS, Dataset
from labelbench_ray.errors import LedgerError, SpecError
from labelbench_ray.execution.inputs import Reader, read_inputs
from labelbench_ray.kernels.plane import lay_out
from labelbench_ray.reporting.measures import count, listed
from labelbench_ray.reporting.pictures import Picture, pool_of, write_picture
from labelbench_ray.reporting.write import ReportFiles, write_report
from labelbench_ray.seeding import stream
from labelbench_ray.shards import spread_locally
from labelbench_ray.storage.place import Place, Where, place_at
from labelbench_ray.trainers.launch import launch_inline
from labelbench_ray.types import Floats, Ids, Image, Images

LANDMARKS = 1500
"""Rows that stand for the pool: t-SNE of them takes about ten seconds."""
MOST_NAMED = 20
"""Classes whose names fit on a map."""
MOST_SHOWN = 100
"""Rows of a batch: a page with all rows of large batches would be slow, and a map of them a blot."""
SIDE, QUALITY = 48, 70
"""Pixels of an image's longer side at most, and WebP's setting: 450 bytes of an image of CIFAR-10."""
IMAGE_BYTES = 4_000_000
"""Of all pools together, so that a report stays below 15 MB."""


class Drawn(NamedTuple):
    """What was drawn of one pool."""

    title: str
    num_places: int
    num_images: int


def illustrate(
    experiment: Experiment,
    results: Where | None = None,
    features: Where = DEFAULT_FEATURES,
    *,
    seed: int | None = None,
    images: Dataset | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[list[Drawn], ReportFiles]:
    """Draw every pool of a grid that has finished rounds, then write the report, which shows them.

    Of the trials of one ``seed``, by default the lowest. ``images`` is a data set with the images of the same rows in
    the same order, for a study of vectors. Raises SpecError or LedgerError where there is nothing to draw, DataError or
    FeatureStoreError where the pool cannot be read.
    """
    place = place_at(results or default_results(experiment))
    check_results(place)
    pools = list(_pools(_of_seed(experiment, place, seed)).items())
    if images is not None and len(pools) > 1:
        raise SpecError(
            "--images", f"the file has {len(pools)} pools; choose one with --set dataset=... or encoder=..."
        )
    drawn = []
    for pool, trials in pools:
        picture = _picture(experiment, trials, place, features, images, IMAGE_BYTES // len(pools))
        write_picture(place, pool, picture)
        title = f"{label(trials[0].dataset)} through {label(trials[0].encoder)}"
        drawn.append(Drawn(title, 0 if picture.places is None else len(picture.ids), len(picture.images)))
        tell(f"{title}: {count(drawn[-1].num_places, 'row')} on the map, {count(drawn[-1].num_images, 'image')}")
    return drawn, write_report(place)


def images_named(text: str) -> Dataset:
    """The data set that is written as in an experiment file. Raises what is wrong with it."""
    import yaml

    try:
        spec = yaml.safe_load(text)
    except yaml.YAMLError:
        raise SpecError("--images", f"is no data set, such as '{{name: parquet, path: FILE}}': {text}") from None
    return DATASETS.build(spec, "--images")


def _of_seed(experiment: Experiment, results: Place, seed: int | None) -> list[Trial]:
    """Trials that have bought something."""
    ledger = Ledger(results).now()
    begun = [trial for trial in experiment.trials() if ledger.trial(trial.id).finished_rounds()]
    if not begun:
        told = "no trial of this file has a finished round there"
        raise LedgerError(results.where, told, "run `labelbench run FILE` first, or give the file of these results")
    seeds = sorted({trial.seed for trial in begun})
    if seed is not None and seed not in seeds:
        raise SpecError(
            "--seed", f"no trial of seed {seed} has a finished round; there are {listed([str(one) for one in seeds])}"
        )
    return [trial for trial in begun if trial.seed == (seeds[0] if seed is None else seed)]


def _pools(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(pool_of(trial.identity()), []).append(trial)
    return found


def _picture(
    experiment: Experiment,
    trials: Sequence[Trial],
    results: Place,
    features: Where,
    images: Dataset | None,
    image_bytes: int,
) -> Picture:
    first = trials[0]
    reader = Reader(first.dataset, first.encoder, first.features, first.trainer)
    inputs = read_inputs(
        reader, features, experiment.resources, experiment.selection, launch_inline, spread_locally, splits=("train",)
    )
    ledger = Ledger(results).now()
    batches = [ids for trial in trials for ids, _ in ledger.trial(trial.id).batches()]
    source, class_names = _source(first.dataset if images is None else images, inputs, given=images is not None)
    small = {} if source is None else _small_images(batches, source, image_bytes)
    bought = np.unique(np.concatenate([ids[:MOST_SHOWN] for ids in batches]))
    sellable = np.setdiff1d(np.arange(inputs.num_rows), inputs.evaluator.excluded["train"])
    landmarks = np.sort(stream(0, "landmarks").permutation(sellable)[:LANDMARKS])
    ids, places = np.union1d(landmarks, bought), None
    rows = inputs.features.get("train")
    if rows is not None:
        others = np.setdiff1d(bought, landmarks)
        plane = lay_out(rows.take(landmarks), rows.take(others))
        places = np.empty((len(ids), 2))
        places[np.searchsorted(ids, landmarks)] = plane.landmarks_S2
        places[np.searchsorted(ids, others)] = plane.rows_M2
    is_landmark = np.isin(ids, landmarks)
    return Picture(
        seed=first.seed,
        class_names=class_names,
        anchors=() if places is None else tuple(_anchors(inputs, class_names, landmarks, places[is_landmark])),
        ids=ids,
        places=places,
        is_landmark=is_landmark,
        images=small,
    )


def _anchors(
    inputs: TrialInputs, class_names: Sequence[str], landmarks: Ids, places_S2: Floats
) -> Iterator[tuple[str, float, float]]:
    """Where classes are: the median of their landmarks, which a few far ones do not move."""
    if inputs.task != "multi_class" or len(class_names) > MOST_NAMED:
        return
    labels_S = inputs.evaluator.truth["train"][landmarks]
    for index, name in enumerate(class_names):
        if (labels_S == index).any():
            x, y = np.median(places_S2[labels_S == index], axis=0)
            yield name, float(x), float(y)


def _source(dataset: Dataset, inputs: TrialInputs, *, given: bool) -> tuple[Images | None, tuple[str, ...]]:
    """Images of the pool's rows, None for vectors that nobody gave images of; and the names of the classes, which a
    file of vectors may number only."""
    opened = dataset.open()
    if opened.card.modality != "image":
        if given:
            raise SpecError("--images", f"dataset {dataset.name} holds vectors; name one that holds images")
        return None, inputs.class_names
    labels, truth = opened.labels("train"), inputs.evaluator.truth["train"]
    if labels.shape != truth.shape:
        raise SpecError("--images", f"dataset {dataset.name} has {len(labels):,} rows, the pool has {len(truth):,}")
    if not np.array_equal(labels, truth):
        differ = int((labels != truth).reshape(len(truth), -1).any(axis=1).sum())
        raise SpecError(
            "--images", f"labels of {differ:,} rows differ from the pool's: these are not images of its rows"
        )
    return opened.images("train"), opened.card.class_names


def _small_images(batches: Sequence[Ids], source: Images, most_bytes: int) -> dict[int, bytes]:
    """As many of each batch, first bought first, as fit into ``most_bytes``: the same number of every batch."""
    found: dict[int, bytes] = {}
    for rank in range(MOST_SHOWN):
        wanted = np.array(sorted({int(ids[rank]) for ids in batches if rank < len(ids)} - set(found)), np.int64)
        if not len(wanted):
            continue
        encoded = dict(zip(wanted.tolist(), map(_small, source.read(wanted)), strict=True))
        if sum(map(len, (*found.values(), *encoded.values()))) > most_bytes:
            break
        found |= encoded
    return found


def _small(image: Image) -> bytes:
    """A WebP file of at most ``SIDE`` pixels a side; what is smaller is not enlarged."""
    from PIL import Image as Pillow

    picture = Pillow.fromarray(image)
    picture.thumbnail((SIDE, SIDE))
    encoded = io.BytesIO()
    picture.save(encoded, "WEBP", quality=QUALITY)
    return encoded.getvalue()
