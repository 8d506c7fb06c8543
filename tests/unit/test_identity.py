import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelbench_ray.errors import SpecError
from labelbench_ray.identity import content_path, content_told_by, describe, digest, placement


@dataclass(frozen=True, kw_only=True)
class Part:
    name: ClassVar[str] = "part"
    size: int = 1
    names: tuple[str, ...] = ("a",)
    threads: int = placement(4)


@dataclass(frozen=True, kw_only=True)
class OnFile:
    name: ClassVar[str] = "on_file"
    path: Path = content_path()
    weights: Path | None = content_path(None)


def test_name_and_fields_tell_without_where_it_runs():
    assert describe(Part()) == {"name": "part", "size": 1, "names": ["a"]}
    assert describe(Part(threads=8)) == describe(Part())
    assert describe(Part(size=2)) != describe(Part())


def test_the_record_of_what_was_asked_keeps_placement_and_paths():
    assert describe(Part(threads=8), resolve_paths=False)["threads"] == 8
    assert describe(OnFile(path=Path("/x")), resolve_paths=False) == {"name": "on_file", "path": "/x", "weights": None}


def test_nested_things_are_described(tmp_path):
    told = describe({"parts": [Part(), None], "where": tmp_path, 3: 4.5})
    assert told == {"parts": [describe(Part()), None], "where": str(tmp_path), "3": 4.5}
    assert json.loads(json.dumps(told)) == told


def test_a_path_counts_by_what_it_holds(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data").write_bytes(b"same")
    first, second = (OnFile(path=tmp_path / folder / "data") for folder in "ab")
    assert describe(first) == describe(second)
    assert describe(first)["weights"] is None
    (tmp_path / "b" / "data").write_bytes(b"another")
    assert describe(first) != describe(second)


def test_a_path_with_nothing_there_is_named(tmp_path):
    with pytest.raises(SpecError, match=f"^on_file: `path`: nothing at {tmp_path / 'gone'}; give the path"):
        describe(OnFile(path=tmp_path / "gone"))


def test_digest_is_the_same_on_every_machine():
    # printf '{"a":[1,2.5,null],"b":"\\u00fc"}' | b2sum -l 64
    assert digest({"b": "ü", "a": [1, 2.5, None]}) == "d0728251a9fe525c"
    assert len(digest({}, length=32)) == 32


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="JSON compliant"):
        digest(float("nan"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60)
@given(VALUES, VALUES)
def test_digests_are_equal_exactly_when_the_data_are(first, second):
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (digest(first) == digest(second)) == same


def test_a_folder_where_a_file_is_needed_is_told(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class OnTable:
        name: ClassVar[str] = "on_table"
        path: Path = content_told_by(lambda thing: thing.path.read_text())

    with pytest.raises(SpecError, match=f"^on_table: `path`: {tmp_path} is a folder; give the path of a file"):
        describe(OnTable(path=tmp_path))


def test_a_part_whose_numbers_changed_is_another():
    @dataclass(frozen=True)
    class Before:
        name: ClassVar[str] = "part"
        field: int = 1

    @dataclass(frozen=True)
    class After(Before):
        recipe: ClassVar[int] = 2

    assert describe(Before()) == {"name": "part", "field": 1}
    assert describe(After()) == {"name": "part", "field": 1, "recipe": 2}
    assert describe(After(), resolve_paths=False) == describe(Before()), "what was asked names parameters alone"


def test_a_folder_that_may_not_be_read_is_told_and_not_left_out(tmp_path, monkeypatch):
    (tmp_path / "images" / "locked").mkdir(parents=True)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SpecError, match="locked may not be read; ask whoever owns it"):
        describe(OnFile(path=tmp_path / "images"))
