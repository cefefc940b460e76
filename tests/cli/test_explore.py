"""vaegan explore, from the command line: the port, the extra, and a stop by a signal."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.util import find_spec

import pytest

from vaegan.cli import main
from vaegan.explore import serve

HAS_EXTRA = all(find_spec(name) for name in serve.EXPLORE_PACKAGES)
needs_extra = pytest.mark.skipif(not HAS_EXTRA, reason="needs vaegan[explore]")


def test_without_the_extra_it_shows_how_to_install_it(vae_run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["explore", str(vae_run), "--no-browser"]) == 1
    stderr = capsys.readouterr().err
    assert "pip install 'vaegan[explore]'" in stderr and stderr.count("\n") == 1


@needs_extra
def test_a_used_port_is_an_error_or_skipped_if_no_port_is_given(vae_run, capsys, monkeypatch):
    with serve.open_listening_socket(None) as used:
        port = used.getsockname()[1]
        assert used.getsockname()[0] == "127.0.0.1"
        assert main(["explore", str(vae_run), "--no-browser", "--port", str(port)]) == 1
        assert f"--port {port} cannot be used" in capsys.readouterr().err
        with serve.open_listening_socket(None) as other:
            assert other.getsockname()[1] != port
        monkeypatch.setattr(serve, "DEFAULT_PORT", port)
        monkeypatch.setattr(serve, "NUM_PORTS_TRIED", 1)
        assert main(["explore", str(vae_run), "--no-browser"]) == 1
        assert "choose one with --port" in capsys.readouterr().err


@needs_extra
def test_errors_are_reported_before_the_server_starts(here, capsys):
    assert main(["explore", "--no-browser"]) == 1
    assert "no trained run under runs/" in capsys.readouterr().err
    assert main(["explore", "--port", "70000"]) == 2
    assert main(["explore", "nowhere", "--no-browser"]) == 1


@needs_extra
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_it_serves_until_ctrl_c(vae_run):
    with socket.socket() as free_socket:
        free_socket.bind(("127.0.0.1", 0))
        port = free_socket.getsockname()[1]
    options = ["--no-browser", "--port", str(port), "--json", "-q"]
    command = [sys.executable, "-m", "vaegan", "explore", str(vae_run), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            url = json.loads(server.stdout.readline())["page"]
            assert url == f"http://127.0.0.1:{port}/"
            assert b"<main>" in urllib.request.urlopen(url).read()
            request = urllib.request.Request(url, headers={"Host": "evil.example"})
            with pytest.raises(urllib.error.HTTPError) as error_info:
                urllib.request.urlopen(request)
            assert error_info.value.code == 403
            server.send_signal(signal.SIGINT)
            _, stderr = server.communicate()
        finally:
            server.kill()
    assert server.returncode == 130 and "Traceback" not in stderr


def test_the_browser_is_opened_only_with_a_display(monkeypatch):
    opened = []
    monkeypatch.setattr(serve.webbrowser, "open", opened.append)
    monkeypatch.setattr(
        serve.threading, "Thread", lambda target, args, daemon: type("T", (), {"start": lambda _: target(*args)})()
    )
    monkeypatch.setattr(serve.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if os.name == "posix":
        serve.open_browser("page")
        assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    serve.open_browser("page")
    assert opened == ["page"]
