"""Wrong commands, flags and values: one line with what is wrong and where to look, on stderr, and exit code 2."""

import pytest
from documentation import COMMANDS
from runs import write_spec

pytestmark = pytest.mark.usefixtures("elsewhere")

NEEDED = {
    "run": "FILE", "plan": "FILE", "embed": "FILE", "tune": "FILE", "sync": "FILE", "stop": "RESULTS",
    "report": "RESULTS", "status": "RESULTS", "logs": "RESULTS", "ui": "WHERE", "show": "KIND", "validate": "KIND",
    "select": "--features", "export": "RESULTS", "compare": "RESULTS", "import": "SOURCE", "publish": "RESULTS",
    "verify": "BUNDLE", "leaderboard": "BUNDLES", "illustrate": "FILE",
}  # fmt: skip
"""What a command cannot do without."""
SEVERAL_SETS = {"features list", "features verify", "features remove"}
MORE_WORDS = {"logs", "leaderboard", *SEVERAL_SETS}
"""Commands that take any number of words: of a trial's name, bundles, stored features."""


def told(call, *words):
    """The one line on stderr, of a command that ends with 2 and prints no data."""
    code, out, err = call(*words)
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1, err
    return err.removeprefix("error: ").rstrip()


def test_a_wrong_command_is_told_the_near_one_and_all_others(call):
    line = told(call, "plann", "x.yaml")
    assert line.startswith("labelbench: unknown command 'plann'. Did you mean: plan? Commands: ")
    assert all(command.split()[0] in line for command in COMMANDS)
    assert line.endswith(". See `labelbench --help`.")
    assert told(call, "--versoin") == (
        "labelbench: unknown option --versoin. Did you mean: --version? See `labelbench --help`."
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_an_option_that_it_does_not_have(call, command):
    line = told(call, *command.split(), "x", "--xyzzy")
    assert line == f"labelbench {command}: unknown option --xyzzy. See `labelbench {command} --help`."
    assert "Did you mean: --debug?" in told(call, *command.split(), "--debgu")


@pytest.mark.parametrize("command", sorted(NEEDED))
def test_every_command_says_what_it_cannot_do_without(call, command):
    line = told(call, command)
    assert line == f"labelbench {command}: {NEEDED[command]} is missing. See `labelbench {command} --help`."


def test_few_commands_need_nothing():
    assert set(COMMANDS) - set(NEEDED) == {"doctor", "list", *SEVERAL_SETS}


def test_a_wrong_command_of_a_group_is_told_those_of_the_group(call):
    assert told(call, "features", "lisst") == (
        "labelbench features: unknown command 'lisst'. Did you mean: list? Commands: list, verify, remove. "
        "See `labelbench features --help`."
    )


@pytest.mark.parametrize("command", sorted({*COMMANDS} - MORE_WORDS))
def test_every_command_refuses_a_word_too_many(call, command):
    word = "labelbench" if command == "import" else "x"  # whose files these are is one of a few names
    assert told(call, command, *[word] * 9) == (
        f"labelbench {command}: {word!r} is one word too many. See `labelbench {command} --help`."
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", "x.yaml", "--executr", "ray"], "unknown option --executr. Did you mean: --executor?"),
        (["run", "x.yaml", "--seeds=3"], "unknown option --seeds. Of the file, it is set by `--set seeds=VALUE`."),
        (["plan", "x.yaml", "--schedule.rounds", "3"], "unknown option --schedule.rounds. Of the file, it is set by"),
        (["run", "x.yaml", "--executor", "slurm"], 'Invalid value "slurm" for --executor. Choose from: "ray", "in_pro'),
        (["run", "x.yaml", "--num-cpus", "0"], 'Invalid value "0" for --num-cpus. Must be >= 1.'),
        (["embed", "x.yaml", "--num-cpus", "two"], 'Invalid value for --num-cpus: unable to convert "two" into int.'),
        (["run", "x.yaml", "--set"], "--set needs a value."),
        (["tune", "x.yaml", "--configurations", "0"], 'Invalid value "0" for --configurations. Must be >= 1.'),
        (["tune", "x.yaml", "--fraction", "much"], "Invalid value for --fraction: unable to convert"),
        (["plan", "x.yaml", "--calibrate-limit-s", "x"], "Invalid value for --calibrate-limit-s: unable to convert"),
        (["status", "x", "--every-s", "0"], 'Invalid value "0.0" for --every-s. Must be > 0.'),
        (["logs", "x", "--level", "inf"], 'Invalid value "inf" for --level. Choose from: "debug", "info", "warning"'),
        (["ui", "x", "--port", "70000"], 'Invalid value "70000" for --port. Must be <= 65535.'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_value_is_named_with_its_flag(call, words, line):
    found = told(call, *words)
    assert found.startswith(f"labelbench {words[0]}: {line}")
    assert found.endswith(f" See `labelbench {words[0]} --help`.")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", "missing.yaml"], "missing.yaml: cannot be read (No such file or directory); give the path of an exp"),
        (["run", "."], ".: cannot be read (Is a directory); give the path of an experiment file"),
        (["sync", "missing.yaml"], "missing.yaml: cannot be read (No such file or directory); give the path of an exp"),
        (["embed", "text.yaml"], "text.yaml: should hold `key: value` lines at the top"),
        (["plan", "broken.yaml"], "broken.yaml: is not YAML: "),
        (["plan", "experiment.yaml", "--set", "seeds"], "--set: expected key=value, got 'seeds'"),
        (["plan", "experiment.yaml", "--set", "seeds=[1"], "--set: the value of 'seeds=[1' is not YAML"),
        (["plan", "experiment.yaml", "--set", "name.x=1"], "experiment: `name` input should be a valid string"),
        (["plan", "experiment.yaml", "--prices", "none.yaml"], "prices none.yaml: cannot be read (No such file or dir"),
        (["plan", "experiment.yaml", "--label-price", "-1"], "--label-price: must not be negative, got -1"),
        (["tune", "experiment.yaml", "--fraction", "2"], "--fraction: should lie in (0, 1], got 2"),
        (["tune", "experiment.yaml", "--seed", "-1"], "--seed: must not be negative, got -1"),
        (["list", "strateg"], "there is no table of 'strateg'. Did you mean: strategy? Kinds: dataset, transform, "),
        (["show", "strateg", "margin"], "there is no table of 'strateg'. Did you mean: strategy? Kinds: dataset, "),
        (["show", "strategy", "margn"], "unknown strategy 'margn'. Did you mean: margin? Run `labelbench list strat"),
        (["show", "metric", "acuracy"], "unknown metric 'acuracy'. Did you mean: "),
        (["validate", "trainer", "linaer"], "unknown trainer 'linaer'. Did you mean: linear? Run `labelbench list tr"),
        (["validate", "experimnt", "x.yaml"], "there is no table of 'experimnt'. Did you mean: experiment? Kinds: "),
        (["validate", "experiment", "missing.yaml"], "missing.yaml: cannot be read (No such file or directory); give"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_name_or_file_that_is_not_there_is_named(call, tmp_path, words, line):
    write_spec(tmp_path, schedule={"initial": 20, "labels_per_round": 15, "rounds": 2})
    (tmp_path / "text.yaml").write_text("hello")
    (tmp_path / "broken.yaml").write_text("a: [1\nb: 2")
    assert told(call, *words).startswith(line)


ASKED_OF_RESULTS = [
    ["report"], ["status"], ["logs"], ["stop"], ["ui"], ["plan", "experiment.yaml", "--history"],
    ["sync", "experiment.yaml", "--set", "tracking.mlflow=auto", "--results"],
]  # fmt: skip


@pytest.mark.parametrize("words", ASKED_OF_RESULTS, ids=" ".join)
def test_results_that_no_run_wrote_are_told_apart_by_what_is_there(call, tmp_path, words):
    write_spec(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "experiment.json").write_text("{}")
    give = "Give the folder that `labelbench run` wrote."
    assert told(call, *words, "digts") == f"results digts: there is no such folder. Did you mean: digits? {give}"
    assert told(call, *words, "empty") == f"results empty: no trials in it. {give}"
    assert told(call, *words, "experiment.yaml") == f"results experiment.yaml: it is a file. {give}"


def test_a_sync_with_tracking_off_says_that_there_is_nowhere_to_write(call, tmp_path):
    write_spec(tmp_path)
    line = "tracking.mlflow: is off, so there is nothing to bring up to date; say where with --set tracking.mlflow="
    assert told(call, "sync", "experiment.yaml") == f"{line}ADDRESS, or auto"


def test_a_preset_that_cannot_be_written_is_told_before_the_search(call, tmp_path):
    write_spec(tmp_path, strategy="random")
    (tmp_path / "taken").write_text("a file")
    code, out, err = call("tune", "experiment.yaml", "--out", "taken/best.yaml", "--executor", "in_process")
    assert (code, out) == (3, "")
    assert err == "error: results taken/best.yaml: cannot be written (File exists); choose another --out\n"


def test_an_address_that_is_none_of_mlflow_is_refused(call):
    line = "labelbench ui: expected an address (http, https, sqlite, postgresql, mysql, mssql, databricks://...), got "
    assert told(call, "ui", "ftp://somewhere") == f"{line}'ftp://somewhere'"


@pytest.mark.parametrize("words", [["run"], ["embed"], ["tune", "--configurations", "1"]], ids=" ".join)
def test_what_would_be_ignored_is_refused(call, tmp_path, words):
    command, *more = words
    write_spec(tmp_path, schedule={"initial": 20, "labels_per_round": 15, "rounds": 2}, strategy="random")
    asked = [command, "experiment.yaml", *more]
    local = "--num-cpus: is of a local Ray cluster, and this run makes none; leave it out"
    assert told(call, *asked, "--executor", "in_process", "--num-cpus", "2") == local
    assert told(call, *asked, "--address", "h:1", "--num-cpus", "2") == local
    assert told(call, *asked, "--executor", "in_process", "--address", "h:1") == (
        "--address: is of a Ray cluster, and `in_process` uses none; leave it out"
    )
