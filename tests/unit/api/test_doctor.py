"""Doctor: each problem it knows is found, and each finding says what to do."""

import importlib.metadata
import socket

import pytest

from labelbench_ray.api import doctor


def found(name):
    (check,) = [check for check in doctor.doctor() if check.name == name]
    return check


def pretend_installed(monkeypatch, *packages):
    real = importlib.metadata.version

    def version(name):
        if not name.startswith("faiss"):
            return real(name)
        if name not in packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_every_check_has_a_name_of_its_own_and_something_to_tell():
    checks = doctor.doctor()
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.told for check in checks)


@pytest.mark.parametrize(
    ("packages", "verdict"),
    [(["faiss-cpu", "faiss-gpu"], "problem"), (["faiss-cpu"], "ok"), (["faiss-gpu"], "ok"), ([], "warning")],
)
def test_exactly_one_faiss(monkeypatch, packages, verdict):
    pretend_installed(monkeypatch, *packages)
    check = found("faiss")
    assert check.verdict == verdict
    assert verdict != "problem" or "uninstall both" in check.told


def leave_marker(tmp_path, monkeypatch, address):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    marker = tmp_path / "ray" / "ray_current_cluster"
    marker.write_text(f"{address}\n")
    return marker


def test_a_cluster_that_is_gone_is_a_problem_naming_the_file(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    marker = leave_marker(tmp_path, monkeypatch, f"127.0.0.1:{port}")
    check = found("ray leftovers")
    assert check.verdict == "problem"
    assert str(marker) in check.told
    assert "delete it" in check.told


def test_a_cluster_that_answers_is_fine(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        leave_marker(tmp_path, monkeypatch, f"127.0.0.1:{server.getsockname()[1]}")
        assert found("ray leftovers").verdict == "ok"


def test_no_leftovers(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert found("ray leftovers").verdict == "ok"


@pytest.mark.parametrize("value", ["", "not an address"])
def test_a_broken_marker_is_a_problem_not_a_crash(tmp_path, monkeypatch, value):
    leave_marker(tmp_path, monkeypatch, value)
    assert found("ray leftovers").verdict == "problem"


@pytest.mark.parametrize(("value", "verdict"), [("1", "warning"), ("", "ok")])
def test_bytecode(monkeypatch, value, verdict):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", value)
    assert found("bytecode").verdict == verdict
