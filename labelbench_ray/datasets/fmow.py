"""Functional Map of the World, what satellites see, as WILDS publishes it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.datasets.base import DatasetCard
from labelbench_ray.datasets.image_folder import image_files
from labelbench_ray.datasets.opened import OpenedSplits, existing
from labelbench_ray.datasets.wilds import TestSplit, open_wilds, read_table, split_rule
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import content_fingerprint, images_by_size
from labelbench_ray.identity import content_path
from labelbench_ray.types import Labels

_CLASSES = """
airport airport_hangar airport_terminal amusement_park aquaculture archaeological_site barn border_checkpoint
burial_site car_dealership construction_site crop_field dam debris_or_rubble educational_institution electric_substation
factory_or_powerplant fire_station flooded_road fountain gas_station golf_course ground_transportation_station helipad
hospital impoverished_settlement interchange lake_or_pond lighthouse military_facility multi-unit_residential
nuclear_powerplant office_building oil_or_gas_facility park parking_lot_or_garage place_of_worship police_station port
prison race_track railway_bridge recreational_facility road_bridge runway shipyard shopping_mall single-unit_residential
smokestack solar_farm space_facility stadium storage_tank surface_mine swimming_pool toll_booth tower tunnel_opening
waste_disposal water_treatment_facility wind_farm zoo
"""
CLASSES = tuple(_CLASSES.split())

# LabelBench's prompts. Its two with "a" or "an" as the name asks for are left out: ours have no grammar.
_TEMPLATES = (
    *(
        f"{view} photo of a {{}}{where}."
        for where in ("", " in asia", " in africa", " in the americas", " in europe", " in oceania")
        for view in ("satellite", "aerial")
    ),
    *("a photo of a {}.", "{}."),
)

TABLE = "rgb_metadata.csv"
FIRST_YEAR_OF_VAL, FIRST_YEAR_OF_TEST = 2013, 2016
"""Images from these years on are out of the pool's distribution."""


def table_and_images(root: Path) -> Iterator[Path | str]:
    """What counts of the folder."""
    yield root / TABLE
    yield from image_files(root / "images")


@dataclass(frozen=True, kw_only=True)
class Fmow:
    """141,696 satellite images, 224 x 224 pixels, 62 kinds of buildings and land use: Functional Map of the World.

    ``path`` is the folder fmow_v1.1/ of WILDS with rgb_metadata.csv and the images in images/. The pool is train before
    2013. By default val and test are WILDS's id_val and id_test, of the same years; ``test_split: test`` takes the
    22,108 images of 2016 and later as test instead. Of the images, names and sizes are the identity.
    """

    name: ClassVar[str] = "fmow"
    layout: ClassVar[str] = "WILDS's folder fmow_v1.1 with rgb_metadata.csv and images/rgb_img_<row of the table>.png"
    default_encoder: ClassVar[str | None] = None
    card: ClassVar[DatasetCard] = DatasetCard(
        name="fmow",
        title="Functional Map of the World (WILDS 1.1)",
        revision="fmow_v1.1 of WILDS",
        class_names=tuple(name.replace("_", " ") for name in CLASSES),
        # As the WILDS paper counts them (not counted here): with the 19,915 and 22,108 of 2013 and later, 141,696.
        num_examples={"train": 76_863, "val": 11_483, "test": 11_327},
        split_rule=split_rule("id_test"),
        licence="FMoW Challenge Public License",
        citation="Christie et al., 2018, Functional Map of the World; splits of Koh et al., 2021, WILDS",
        approximate_size="50 GiB",
        templates=_TEMPLATES,
    )
    path: Path = content_path(files=table_and_images, told_by=images_by_size)
    test_split: TestSplit = "id_test"
    on_undecodable: Literal["refuse", "skip"] = "refuse"

    def open(self) -> OpenedSplits:
        """Read the table. Raises DataError naming the file, row or class that is wrong."""
        root = existing(self.name, self.path, self.layout)
        table = read_table(self.name, root / TABLE, ("split", "timestamp", "category"), self.layout)
        card = replace(self.card, revision=content_fingerprint(root, table_and_images, images_by_size))
        files_N = np.array([f"images/rgb_img_{row}.png" for row in range(len(table["split"]))], object)
        splits_N = wilds_splits(table["split"], years(table["timestamp"]))
        return open_wilds(card, root / TABLE, splits_N, files_N, numbers_of(table["category"]), self.test_split)


def wilds_splits(official_N: NDArray[Any], years_N: NDArray[np.integer[Any]]) -> NDArray[Any]:
    """(N,) WILDS splits, or None where it uses a row for nothing, from FMoW's own splits and the years."""
    old_N, new_N = years_N < FIRST_YEAR_OF_VAL, years_N >= FIRST_YEAR_OF_TEST
    splits_N = np.full(len(official_N), None, object)
    splits_N[(official_N == "train") & old_N] = "train"
    splits_N[(official_N == "val") & old_N] = "id_val"
    splits_N[(official_N == "test") & old_N] = "id_test"
    splits_N[(official_N == "val") & ~old_N & ~new_N] = "val"
    splits_N[(official_N == "test") & new_N] = "test"
    return splits_N


def years(timestamps_N: NDArray[Any]) -> NDArray[np.integer[Any]]:
    """(N,) years in UTC. Raises DataError naming the first row whose time cannot be read."""
    import pandas as pd

    times_N = pd.to_datetime(pd.Series(timestamps_N), utc=True, format="ISO8601", errors="coerce")
    if times_N.isna().any():
        row = int(times_N.isna().to_numpy().argmax())
        told = f"`timestamp` of row {row} of {TABLE} is {timestamps_N[row]!r}, not a time such as 2016-01-31T12:00:00Z"
        raise DataError(Fmow.name, told)
    found: NDArray[np.integer[Any]] = times_N.dt.year.to_numpy()
    return found


def numbers_of(categories_N: NDArray[Any]) -> Labels:
    """(N,) class numbers. Raises DataError naming the first row of an unknown class."""
    number_of = {name: number for number, name in enumerate(CLASSES)}
    numbers_N = np.array([number_of.get(name, -1) for name in categories_N], np.int64)
    if (numbers_N < 0).any():
        row = int((numbers_N < 0).argmax())
        raise DataError(
            Fmow.name, f"`category` of row {row} of {TABLE} is {categories_N[row]!r}, none of the 62 classes"
        )
    return numbers_N
