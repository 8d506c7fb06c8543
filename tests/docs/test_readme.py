"""The README is true: its commands, files, studies and Python run as printed."""

import re

import numpy as np
import yaml
from documentation import COMMANDS, REPOSITORY, blocks, parse, section, tree_paths
from PIL import Image

from labelbench_ray.api import grid
from labelbench_ray.config import Experiment

README = REPOSITORY / "README.md"


def make_the_readme_s_data(folder):
    rng = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "test"):
        arrays[f"{split}_features"] = rng.normal(size=(1200, 4)).astype(np.float32)
        arrays[f"{split}_labels"] = np.arange(1200) % 3
    np.savez(folder / "my_vectors.npz", **arrays)
    for split in ("train", "val", "test"):
        for name in ("ant", "bee"):
            place = folder / "my_images" / split / name
            place.mkdir(parents=True)
            for number in range(50):
                Image.new("RGB", (8, 8)).save(place / f"{number}.png")


def test_the_studies_plan(tmp_path, monkeypatch):
    make_the_readme_s_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    told = [yaml.safe_load(block) for block in blocks(README, "yaml")]
    studies = [Experiment.from_mapping(spec) for spec in told if "name" in spec]
    assert [len(grid.plan(study).trials) for study in studies] == [2 * 4 * 5, 2 * 3]
    parts = [spec for spec in told if "name" not in spec]
    with_parts = [Experiment.from_mapping({**told[0], **part}) for part in parts]
    assert [one.cluster[0].at_most for one in with_parts] == [16]


def test_the_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (snippet,) = blocks(README, "python")
    exec(compile(snippet, "README.md", "exec"), {})
    assert capsys.readouterr().out == "4 trials ran; report: results/small/report.html\n"
    assert (tmp_path / "results/small/report.html").is_file()


def test_the_table_lists_exactly_the_commands():
    listed = re.findall(r"^\| `labelbench (\w+)[^|]*` \| .+ \|$", section(README, "Commands"), flags=re.MULTILINE)
    results = "report illustrate export compare import publish verify leaderboard sync ui"
    expected = f"run plan embed tune stop select status logs {results} list show validate features doctor"
    assert listed == expected.split()
    assert sorted(listed) == sorted({command.split()[0] for command in COMMANDS})


def test_options_named_in_text_exist():
    named = re.findall(r"`labelbench (\w[^`]*)`", README.read_text())
    assert named
    for words in named:
        filled = [re.sub(r"^\[?(FILE|RESULTS|KIND|NAME|TRIAL)\]?$", "x", word) for word in words.split()]
        parse(filled)


def test_the_tree_names_what_is_there_and_all_of_the_library():
    (tree,) = blocks_in(section(README, "What is where"))
    paths = tree_paths(tree)
    for path, told in paths:
        assert told, f"{path} has no description"
        assert (REPOSITORY / path).exists(), f"{path} is not there"
        assert path.endswith("/") == (REPOSITORY / path).is_dir()
    named = {
        path.removeprefix("labelbench_ray/").rstrip("/") for path, _ in paths if path.startswith("labelbench_ray/")
    }
    entries = [entry for entry in (REPOSITORY / "labelbench_ray").iterdir() if not entry.name.startswith(("__", "."))]
    library = {entry.name for entry in entries if entry.suffix == ".py" or any(entry.glob("*.*"))}
    assert library <= named, f"not in the tree: {library - named}"


def test_the_results_folder_is_as_drawn(tmp_path):
    (drawn,) = blocks_in(section(README, "What a run leaves"))
    study = Experiment.from_mapping({
        "name": "quickstart", "dataset": "digits", "encoder": "pixels", "trainer": "linear", "strategy": "random",
        "schedule": {"initial": 20, "labels_per_round": 20, "rounds": 2}, "seeds": 1, "tracking": {"mlflow": "off"},
        "evaluate": {"trainer": "linear", "at": "last"},
    })  # fmt: skip
    grid.run(study, tmp_path / "results/quickstart", tmp_path / "features", executor="in_process")
    for path, told in tree_paths(drawn):
        if "mlflow" in path:
            continue
        assert told
        assert list(tmp_path.glob(path.replace("ID", "*").rstrip("/"))), f"{path} was not written"


def test_make_targets_exist():
    text = (REPOSITORY / "Makefile").read_text()
    (first, *_) = blocks(README, "bash")
    for target in re.findall(r"^make (\S+)", first, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", text, flags=re.MULTILINE)


def blocks_in(text):
    return re.findall(r"^```text\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
