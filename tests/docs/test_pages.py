"""Promises of every page: links lead somewhere, commands exist, and nothing is true of one machine only."""

import re

import pytest
from documentation import REPOSITORY, anchors, commands, pages, parse

PAGES = pages()


def test_the_pages_are_found():
    names = {page.relative_to(REPOSITORY).as_posix() for page in PAGES}
    assert {"README.md", "CHANGELOG.md", "labelbench_ray/README.md", "experiments/README.md"} <= names
    assert "labelbench_ray/decisions/tiles.md" in names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(file), f"no heading for {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_commands_parse_and_their_files_exist(page):
    for words in commands(page):
        parse(words)
        for word in words:
            assert not word.startswith("experiments/") or (REPOSITORY / word).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_nothing_holds_on_one_machine_only(page):
    found = re.findall(r"/(?:work|home|root|tmp|Users)/\S*|\.\./shared\S*|file://\S+", page.read_text())
    assert not found


def test_every_decision_is_listed_and_has_its_parts():
    folder = REPOSITORY / "labelbench_ray" / "decisions"
    listed = set(re.findall(r"\]\((\w+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {page.name for page in folder.glob("*.md")} - {"README.md"}
    for name in listed:
        parts = re.findall(r"^\*\*([\w ]+)\.\*\*", (folder / name).read_text(), flags=re.MULTILINE)
        assert parts == ["Why", "Options", "Choice", "What would change it"], name


@pytest.mark.parametrize("kind", ["datasets", "encoders", "trainers", "strategies"])
def test_each_kind_is_added_in_the_same_four_steps(kind):
    text = (REPOSITORY / "labelbench_ray" / kind / "README.md").read_text()
    steps = text.split("## Add one in four steps")[1].split("\n## ")[0]
    titles = re.findall(r"^(\d)\. \*\*(.+?)\*\*", steps, flags=re.MULTILINE)
    assert [number for number, _ in titles] == ["1", "2", "3", "4"]
    assert [title for _, title in titles] == ["Write the file", "Add the line", "Run", "Add a number with its source"]


@pytest.mark.parametrize("kind", ["dataset", "encoder", "trainer", "algorithm", "strategy", "oracle"])
def test_every_plug_in_has_a_row_in_the_page_of_its_kind(kind):
    from labelbench_ray.api.catalogue import list_names

    folder = {"algorithm": "trainers", "strategy": "strategies"}.get(kind, f"{kind}s")
    text = (REPOSITORY / "labelbench_ray" / folder / "README.md").read_text()
    for name in list_names(kind)[kind]:
        assert f"| `{name}` |" in text, f"{name} has no row"
