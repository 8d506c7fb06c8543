import socket
import sys
import threading

import pytest

from labelbench_ray.errors import PlatformError
from labelbench_ray.tracking import ui


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
    assert ui.page("http://h:1/", "7") == "http://h:1/#/experiments/7/runs?workflowType=machine_learning"
    assert ui.page("http://h:1") == "http://h:1/#/experiments?workflowType=machine_learning"


def test_a_folder_without_a_database_says_what_to_do(tmp_path):
    with pytest.raises(PlatformError, match="labelbench sync"):
        ui.serve_ui(tmp_path)


def test_a_port_in_use_is_one_line(results):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PlatformError, match=rf"^port {port} of 127.0.0.1 cannot be used \(Address already in use\)"):
            ui.serve_ui(results, port=port)


def test_a_running_server_is_only_linked_to():
    said = []
    ui.serve_ui("https://ann:secret@example.org:5000", say=said.append)
    assert said == ["https://example.org:5000/#/experiments?workflowType=machine_learning"]


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
    assert links == [f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning"]
    assert servers[0].poll() is not None
    assert threading.current_thread() is threading.main_thread()


def recording(make, made):
    def popen(*arguments, **options):
        made.append(make(*arguments, **options))
        return made[-1]

    return popen
