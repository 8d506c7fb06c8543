"""Rows about embedding: the encoder in bfloat16, the way from file to tensor, forwards an example, and Ray Data."""

import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from training_rows import Row, Settings, by_turns, median_ratio

PHOTO = (500, 375)
"""Width and height of an ordinary photograph of a data set on the web, such as ImageNet's."""
LABELBENCH_FORWARDS = 11
"""One clean, five weak and five strong ones; of CLIP's five weak views all are the same."""
NUM_SMALL_IMAGES = 20_000


def rows(settings: Settings) -> list[Row]:
    """Six figures; those of Ray Data only in the full run, because Ray alone takes as long as the smoke run may."""
    import torch

    torch.set_num_threads(1)
    return [bfloat16_row(settings), pipeline_row(settings), forwards_row(), *ray_data_rows(settings)]


def bfloat16_row(settings: Settings) -> Row:
    """ViT-B/32 with random weights on squares of 224: processor seconds of one batch."""
    import torch

    from labelbench_ray.encoders.open_clip import OpenClip

    size = 2 if settings.smoke else 64
    squares = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (size, 3, 224, 224), dtype=np.uint8))
    full, half = (OpenClip(model="ViT-B-32", compute_dtype=dtype).load() for dtype in ("float32", "bfloat16"))
    taken = by_turns({"full": lambda: full.embed(squares), "half": lambda: half.embed(squares)}, settings.repeats)
    per_image = {name: 1000 * statistics.median(times) / size for name, times in taken.items()}
    return Row(
        key="embed_bf16_ratio",
        what=f"embedding with ViT-B/32, batches of {size}: bfloat16 against float32",
        unit="x",
        value=median_ratio(taken["full"], taken["half"]),
        wanted=3.3,
        details=f"{per_image['full']:.1f} and {per_image['half']:.1f} ms an image",
        more={"embed_bf16_cosine": float(_cosines(full.embed(squares), half.embed(squares)).min())},
    )


def pipeline_row(settings: Settings) -> Row:
    """JPEGs of photographs to what CLIP takes: ours against Pillow with torchvision's transforms on float tensors."""
    from labelbench_ray.datasets.decode import decode_rgb
    from labelbench_ray.encoders.open_clip import OpenClip

    photos = [photograph(seed) for seed in range(8 if settings.smoke else 64)]
    preprocess = OpenClip(model="ViT-B-32")._preprocess()
    works = {
        "ours": lambda: preprocess.apply([decode_rgb(photo) for photo in photos]),
        "float": lambda: _by_float_tensors(photos, preprocess),
        "library": lambda: _by_open_clip(photos, preprocess),
    }
    taken = by_turns(works, settings.repeats)
    per_image = {name: 1000 * statistics.median(times) / len(photos) for name, times in taken.items()}
    return Row(
        key="pipeline_ratio",
        what=f"from JPEGs of {PHOTO[0]} x {PHOTO[1]} to CLIP's input: uint8 against Pillow and float tensors",
        unit="x",
        value=median_ratio(taken["float"], taken["ours"]),
        wanted=3.0,
        details=f"{per_image['ours']:.2f} and {per_image['float']:.2f} ms an image; "
        f"open_clip's own transform of Pillow images {per_image['library']:.2f}",
        more={"pipeline_ratio_open_clip": median_ratio(taken["library"], taken["ours"])},
    )


def photograph(seed: int) -> bytes:
    """A JPEG of soft shapes with a little noise: about as many bytes as a photograph of that size."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    width, height = PHOTO
    shapes = Image.fromarray(rng.integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8))
    soft = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int64)
    noisy = (soft + rng.integers(-8, 9, soft.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=90)
    return file.getvalue()


def _by_float_tensors(photos: list[bytes], preprocess: Any) -> Any:
    """Decode by Pillow, make a float tensor, then resize, cut out and normalise it."""
    import torch
    from PIL import Image
    from torchvision.transforms import InterpolationMode, functional

    def one(photo: bytes) -> Any:
        image = functional.to_tensor(Image.open(io.BytesIO(photo)).convert("RGB"))
        image = functional.resize(image, [preprocess.size], interpolation=InterpolationMode.BICUBIC, antialias=True)
        return functional.normalize(functional.center_crop(image, [preprocess.size]), preprocess.mean, preprocess.std)

    return torch.stack([one(photo) for photo in photos])


def _by_open_clip(photos: list[bytes], preprocess: Any) -> Any:
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    asked = PreprocessCfg(size=preprocess.size, mean=preprocess.mean, std=preprocess.std)
    transform = image_transform_v2(asked, is_train=False)
    return torch.stack([transform(Image.open(io.BytesIO(photo))) for photo in photos])


def forwards_row() -> Row:
    """Counted at the encoder, while all views are embedded that FlexMatch on features reads with five strong ones."""
    return Row(
        key="forwards",
        what=f"forwards an example of the pool for five strong views, where LabelBench does {LABELBENCH_FORWARDS}",
        unit="",
        value=forwards_per_example(num_strong_views=5),
        wanted=6,
        details="clean serves as weak; one decoding and one resizing for all",
    )


def forwards_per_example(num_strong_views: int) -> float:
    """Batches that pass through the encoder, for each batch of the pool."""
    from unittest import mock

    from labelbench_ray.config import Experiment
    from labelbench_ray.encoders.loaded import LoadedImageEncoder
    from labelbench_ray.execution.inputs import embed_tasks
    from labelbench_ray.features.embedding import embed_missing

    algorithm = {"name": "flexmatch", "num_strong_views": num_strong_views}
    experiment = Experiment.from_mapping(
        {
            "name": "forwards",
            "dataset": "digits",
            "encoder": "pixels",
            "trainer": {"name": "linear", "algorithm": algorithm},
            "strategy": "margin",
            "schedule": {"initial": 100, "labels_per_round": 100, "rounds": 2},
            "seeds": 1,
        }
    )
    sizes: list[int] = []
    embed = LoadedImageEncoder.embed

    def counted(self: Any, squares: Any) -> Any:
        sizes.append(len(squares))
        return embed(self, squares)

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(LoadedImageEncoder, "embed", counted):
        (pool,) = (t for t in embed_tasks(experiment.trials(), Path(folder), "cpu") if t.keys[0].split == "train")
        embed_missing(pool)
    return len(sizes) / -(-pool.num_rows // pool.keys[0].encode_batch_size)


def ray_data_rows(settings: Settings) -> list[Row]:
    """Wall seconds of whole processes, taking turns; small images through MobileNetV2 at 96 pixels."""
    told = {
        "excluded": ("from the first shard's end to the last's", 0.95),
        "included": ("imports, weights and Ray's start included", 0.8),
    }
    what = f"embedding {NUM_SMALL_IMAGES} small images through Ray Data, as a share of the bare loop's rate"
    if settings.smoke:
        return [
            Row(
                key=f"ray_data_rate_{name}",
                what=f"{what}, {clock}",
                unit="share",
                skipped="minutes: not in the smoke run",
            )
            for name, (clock, _) in told.items()
        ]
    table = small_images(settings.folder)
    taken: dict[str, list[dict[str, float]]] = {"bare": [], "ray": []}
    for _ in range(min(settings.repeats, 3)):
        for name, times in taken.items():
            times.append(_process(name, table))
    medians = {
        name: {clock: statistics.median(one[clock] for one in times) for clock in told} for name, times in taken.items()
    }
    return [
        Row(
            key=f"ray_data_rate_{name}",
            what=f"{what}, {clock}",
            unit="share",
            value=medians["bare"][name] / medians["ray"][name],
            wanted=wanted,
            details=f"{medians['bare'][name]:.1f} s bare, {medians['ray'][name]:.1f} s through Ray Data, one actor",
        )
        for name, (clock, wanted) in told.items()
    ]


def small_images(folder: Path) -> Path:
    """A Parquet file of JPEGs of 32 x 32, made once."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet
    from PIL import Image

    path = folder / f"small-images-{NUM_SMALL_IMAGES}.parquet"
    if path.is_file():
        return path
    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(NUM_SMALL_IMAGES + 4):
        file = io.BytesIO()
        shapes = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        shapes.resize((32, 32), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        encoded.append(file.getvalue())
    split = ["train"] * NUM_SMALL_IMAGES + ["val", "val", "test", "test"]
    label = [number % 2 for number in range(len(split))]
    draft = path.with_suffix(".draft")
    parquet.write_table(arrow.table({"image": encoded, "label": label, "split": split}), draft, row_group_size=1000)
    draft.replace(path)
    return path


def _process(name: str, table: Path) -> dict[str, float]:
    """Wall seconds of a fresh process that embeds the pool of a table, and of what it did between its first shards."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, name, str(table)], capture_output=True, text=True, check=False, timeout=1800
    )
    included = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no word"])[-1])
    return {"excluded": json.loads(done.stdout)["excluded"], "included": included}


def _embed(name: str, table: Path) -> None:
    """The body of such a process."""
    with tempfile.TemporaryDirectory() as folder:
        ended = _bare(table) if name == "bare" else _through_ray_data(table, Path(folder))
    print(json.dumps({"excluded": ended[-1] - ended[0]}))


SHARD_ROWS = 1024
ENCODER = {"model": "mobilenetv2_100", "input_size": 96}


def _bare(table: Path) -> list[float]:
    """A plain loop over the same images and encoder. When each 1024 rows were done."""
    import torch

    from labelbench_ray.datasets.parquet import ParquetImages
    from labelbench_ray.encoders.timm import Timm

    torch.set_num_threads(1)
    images = ParquetImages(path=table).open().images("train")
    encoder = Timm(**ENCODER).load()
    embeddings, ended = [], []
    for first in range(0, len(images), 64):
        embeddings.append(encoder.encode(images.read(np.arange(first, min(first + 64, len(images))))))
        if len(embeddings) % (SHARD_ROWS // 64) == 0 or first + 64 >= len(images):
            ended.append(time.time())
    assert np.isfinite(np.concatenate(embeddings)).all()
    return ended


def _through_ray_data(table: Path, folder: Path) -> list[float]:
    """As `labelbench embed` does it on two processors. When each shard was done."""
    from labelbench_ray.datasets.parquet import ParquetImages
    from labelbench_ray.encoders.timm import Timm
    from labelbench_ray.execution.on_ray.embedding import embed_on_ray
    from labelbench_ray.execution.on_ray.session import nodes, session
    from labelbench_ray.features.embedding import EmbedTask, finish
    from labelbench_ray.features.key import FeatureKey

    key = FeatureKey(dataset=ParquetImages(path=table), encoder=Timm(**ENCODER), split="train", shard_rows=SHARD_ROWS)
    task = EmbedTask(keys=(key,), num_rows=NUM_SMALL_IMAGES, store_root=folder)
    with session(num_cpus=2):
        embed_on_ray([task], nodes(), num_actors=1)
    (rows,) = finish(task)
    return sorted((rows.place.scratch / f"shard-{entry.index:05d}.npy").stat().st_mtime for entry in rows.entries)


def _cosines(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray((left * right).sum(axis=1) / lengths)


if __name__ == "__main__":
    _embed(sys.argv[1], Path(sys.argv[2]))
