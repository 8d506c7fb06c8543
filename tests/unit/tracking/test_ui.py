import socket
import sys

import pytest

from labelbench_ray.errors import PlatformError
from labelbench_ray.tracking import ui
from labelbench_ray.tracking.mlflow import Place

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def test_the_command_names_database_and_artifacts(tmp_path):
    command = ui.ui_command(f"sqlite:///{tmp_path}/mlflow.db", "127.0.0.1", 5001)
    assert command[:4] == [sys.executable, "-m", "mlflow", "server"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options == {
        "--backend-store-uri": f"sqlite:///{tmp_path}/mlflow.db",
        "--default-artifact-root": f"file://{tmp_path}/mlflow-artifacts",
        "--host": "127.0.0.1",
        "--port": "5001",
        "--workers": "1",
    }
    assert "--default-artifact-root" not in ui.ui_command("postgresql://host/db", "127.0.0.1", 5001)


def test_links_open_the_pages_for_training():
    training = "workflowType=machine_learning"
    view = f"http://h:1/#/experiments/7/runs?{training}&viewStateShareKey=labelbench&compareRunsMode=CHART"
    assert ui.runs_page("http://h:1/", Place("7", True, "abc")) == view
    by_name = f"{training}&orderByKey=tags.%60mlflow.runName%60&orderByAsc=true&compareRunsMode=CHART"
    assert ui.runs_page("http://h:1", Place("7", False, None)) == f"http://h:1/#/experiments/7/runs?{by_name}"
    assert ui.runs_page("http://h:1", None) == f"http://h:1/#/experiments?{training}"
    report = f"http://h:1/#/experiments/7/runs/abc/artifacts/report.html?{training}"
    assert ui.report_page("http://h:1", "7", "abc") == report


def test_a_folder_without_a_database_says_what_to_do(tmp_path):
    (tmp_path / "trials").mkdir()
    with pytest.raises(PlatformError, match="labelbench sync"):
        ui.serve_ui(tmp_path)


def test_a_port_in_use_is_one_line(results):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PlatformError, match=rf"^port {port} of 127.0.0.1 cannot be used \(Address"):
            ui.serve_ui(results, port=port)


def test_a_running_server_is_only_linked_to(monkeypatch):
    monkeypatch.setattr(ui.view_of_ledger, "find_place", lambda *_: Place("3", False, "abc"))
    said = []
    ui.serve_ui("https://ann:secret@example.org:5000", say=said.append)
    assert [line.split()[0] for line in said] == ["runs", "report"]
    assert all("  https://example.org:5000/#/experiments/3/runs" in line for line in said)


def test_a_server_that_ends_at_once_says_its_last_words(monkeypatch):
    command = [sys.executable, "-c", "print('noise'); raise SystemExit('no such store')"]
    monkeypatch.setattr(ui, "ui_command", lambda *_: command)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        pytest.raises(PlatformError, match="no such store"),
        ui.running_server("sqlite://", "127.0.0.1", port),
    ):
        pass


def test_the_server_ends_with_the_command(monkeypatch, results):
    script = (
        "import http.server, sys; from http.server import *\n"
        "class H(BaseHTTPRequestHandler):\n"
        "  def do_GET(self): self.send_response(200); self.end_headers()\n"
        "HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()"
    )
    monkeypatch.setattr(ui, "ui_command", lambda uri, host, port: [sys.executable, "-c", script, str(port)])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    links, servers = [], []

    def interrupt(link):
        links.append(link)
        raise KeyboardInterrupt

    monkeypatch.setattr(ui.subprocess, "Popen", recording(ui.subprocess.Popen, servers))
    with pytest.raises(KeyboardInterrupt):
        ui.serve_ui(results, port=port, say=interrupt)
    assert links[0].startswith(f"runs    http://127.0.0.1:{port}/#/experiments/")
    assert servers[0].poll() is not None


def recording(make, made):
    def popen(*arguments, **options):
        made.append(make(*arguments, **options))
        return made[-1]

    return popen
