"""Caltech-256 in the folder that torchvision (and the authors' archive) makes."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.checks import checked_splits
from labelbench_ray.datasets.fetching import Remote, fetch_missing, require_files
from labelbench_ray.datasets.image_list import open_image_list
from labelbench_ray.datasets.opened import OpenedSplits, folder_inside
from labelbench_ray.datasets.splits import EIGHTY_TEN_TEN, eighty_ten_ten
from labelbench_ray.fingerprint import images_by_size
from labelbench_ray.identity import content_path, placement
from labelbench_ray.types import SPLITS

_PARTS = ("caltech256", "256_ObjectCategories")
_URL = "https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar"
_MD5 = "67b4f42ca05d46448c6bb8ecd2220f6d"
_LAYOUT = (
    "the folder that holds caltech256/256_ObjectCategories/ (or the latter itself) with 001.ak47/001_0001.jpg .. "
    f"257.clutter/, as unpacked from 256_ObjectCategories.tar, md5 {_MD5}"
)
_CLASSES = """
ak47 american-flag backpack baseball-bat baseball-glove basketball-hoop bat bathtub bear beer-mug billiards binoculars
birdbath blimp bonsai-101 boom-box bowling-ball bowling-pin boxing-glove brain-101 breadmaker buddha-101 bulldozer
butterfly cactus cake calculator camel cannon canoe car-tire cartman cd centipede cereal-box chandelier-101 chess-board
chimp chopsticks cockroach coffee-mug coffin coin comet computer-keyboard computer-monitor computer-mouse conch
cormorant covered-wagon cowboy-hat crab-101 desk-globe diamond-ring dice dog dolphin-101 doorknob drinking-straw duck
dumb-bell eiffel-tower electric-guitar-101 elephant-101 elk ewer-101 eyeglasses fern fighter-jet fire-extinguisher
fire-hydrant fire-truck fireworks flashlight floppy-disk football-helmet french-horn fried-egg frisbee frog frying-pan
galaxy gas-pump giraffe goat golden-gate-bridge goldfish golf-ball goose gorilla grand-piano-101 grapes grasshopper
guitar-pick hamburger hammock harmonica harp harpsichord hawksbill-101 head-phones helicopter-101 hibiscus
homer-simpson horse horseshoe-crab hot-air-balloon hot-dog hot-tub hourglass house-fly human-skeleton hummingbird
ibis-101 ice-cream-cone iguana ipod iris jesus-christ joy-stick kangaroo-101 kayak ketch-101 killer-whale knife ladder
laptop-101 lathe leopards-101 license-plate lightbulb light-house lightning llama-101 mailbox mandolin mars mattress
megaphone menorah-101 microscope microwave minaret minotaur motorbikes-101 mountain-bike mushroom mussels necktie
octopus ostrich owl palm-pilot palm-tree paperclip paper-shredder pci-card penguin people pez-dispenser photocopier
picnic-table playing-card porcupine pram praying-mantis pyramid raccoon radio-telescope rainbow refrigerator
revolver-101 rifle rotary-phone roulette-wheel saddle saturn school-bus scorpion-101 screwdriver segway
self-propelled-lawn-mower sextant sheet-music skateboard skunk skyscraper smokestack snail snake sneaker snowmobile
soccer-ball socks soda-can spaghetti speed-boat spider spoon stained-glass starfish-101 steering-wheel stirrups
sunflower-101 superman sushi swan swiss-army-knife sword syringe tambourine teapot teddy-bear teepee telephone-box
tennis-ball tennis-court tennis-racket theodolite toaster tomato tombstone top-hat touring-bike tower-pisa
traffic-light treadmill triceratops tricycle trilobite-101 tripod t-shirt tuning-fork tweezer umbrella-101 unicorn vcr
video-projector washing-machine watch-101 waterfall watermelon welding-mask wheelbarrow windmill wine-bottle xylophone
yarmulke yo-yo zebra airplanes-101 car-side-101 faces-easy-101 greyhound tennis-shoes toad
"""
_CLASS_NAMES = tuple(_CLASSES.split())
_CLUTTER = "clutter"
FOLDERS = tuple(f"{number:03d}.{name}" for number, name in enumerate((*_CLASS_NAMES, _CLUTTER), start=1))
"""The folders of the classes in the archive, clutter last."""


def _own_images(root: Path) -> Iterator[Path]:
    """The images of the archive's folders; those of other names (a script, a nested folder) are none of them."""
    for folder in FOLDERS:
        yield from sorted((root / folder).glob("*.jpg"))


@dataclass(frozen=True, kw_only=True)
class Caltech256:
    """30,607 photographs, of which 29,780 in 256 classes; those of clutter take part in the split and are left out.

    LabelBench's published code takes clutter for its first class, ak47. The other images are in the same splits here.
    ``path`` is the folder that holds ``caltech256/256_ObjectCategories`` (torchvision's ``root``), or the latter.
    """

    name: ClassVar[str] = "caltech256"
    layout: ClassVar[str] = _LAYOUT
    default_encoder: ClassVar[str | None] = None
    card: ClassVar[DatasetCard] = DatasetCard(
        name="caltech256",
        title="Caltech-256",
        revision=f"256_ObjectCategories.tar, md5 {_MD5}",
        class_names=_CLASS_NAMES,
        num_examples={"train": 23_833, "val": 2_982, "test": 2_965},
        split_rule=f"{EIGHTY_TEN_TEN}; then without clutter",
        licence="CC BY 4.0",
        citation="Griffin, Holub and Perona, 2007, Caltech-256 Object Category Dataset",
        approximate_size="1.1 GiB",
    )
    path: Path = content_path(files=_own_images, told_by=images_by_size)
    download: bool = placement(False)
    on_undecodable: Literal["refuse", "skip"] = "refuse"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", folder_inside(self.path, *_PARTS))

    def open(self) -> OpenedSplits:
        """List the files. Raises DataError naming the folder that is missing or the class without an image in train."""
        root = self.path.expanduser().resolve()
        require_files(self.name, root, FOLDERS, _LAYOUT, functools.partial(_fetch, root) if self.download else None)
        files = [file.relative_to(root).as_posix() for file in _own_images(root)]
        numbers = np.array([int(file[:3]) - 1 for file in files], np.int64)
        known = {split: rows[numbers[rows] < len(_CLASS_NAMES)] for split, rows in eighty_ten_ten(len(files)).items()}
        labels = checked_splits(self.name, {split: numbers[known[split]] for split in SPLITS}, _CLASS_NAMES)
        named = {split: [files[row] for row in known[split]] for split in SPLITS}
        return open_image_list(self.card, root, _own_images, named, labels)


def _fetch(root: Path) -> None:
    gives = tuple(f"{root.name}/{folder}" for folder in FOLDERS)
    fetch_missing([Remote(url=_URL, md5=_MD5, gives=gives)], root.parent)
