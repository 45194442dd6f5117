"""A headless Chrome or Chromium, driven through its debugging protocol: no driver and no package of its own is needed."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Browser:
    """One tab: `complaints` gathers errors of scripts, of the console and of loading, `asked` every address."""

    def __init__(self, address: str) -> None:
        from websocket import create_connection  # comes with JupyterLab

        self.socket = create_connection(address, timeout=60, suppress_origin=True)
        self.number = 0
        self.complaints: list[str] = []
        self.asked: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: object) -> dict:
        """Call a method of the protocol and return its result; events that arrive meanwhile are noted."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while (message := json.loads(self.socket.recv())).get("id") != self.number:
            self._note(message.get("method", ""), message.get("params", {}))
        assert "error" not in message, message
        return message["result"]

    def _note(self, method: str, event: dict) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.complaints.append(event["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {event['message']}")
        elif method == "Network.requestWillBeSent":
            self.asked.append(event["request"]["url"])

    def run(self, code: str) -> object:
        """The value of an expression in the page."""
        result = self.send("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, address: str) -> None:
        self.send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + seconds
        while not self.run(f"!!({condition})"):
            assert time.monotonic() < end, f"{condition} did not come true"
            time.sleep(0.1)

    def click(self, selector: str) -> None:
        """Press the mouse on the middle of an element, as a user does."""
        place = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.run(f"(() => {{ const at = {place}; return [at.x + at.width / 2, at.y + at.height / 2]; }})()")
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, selector: str, value: str) -> None:
        """Enter a value into a field as a user does, as far as scripts can tell."""
        self.run(
            f"(() => {{ const field = document.querySelector({json.dumps(selector)}); field.value = {json.dumps(value)};"
            " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    def picture(self, path: Path) -> None:
        import base64

        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


@contextmanager
def browser(folder: Path, size: str = "1400,1000") -> Iterator[Browser]:
    """A tab of a browser that keeps its files below `folder`; the test skips where no browser is installed."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chrome or Chromium is installed")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--remote-debugging-port=0", f"--user-data-dir={folder}", f"--window-size={size}", "about:blank"]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Browser(_address(folder))
    finally:
        process.terminate()
        process.wait(timeout=30)


def _address(folder: Path) -> str:
    """The websocket of the browser's first tab, once it is up."""
    from urllib.request import urlopen

    end, port = time.monotonic() + 60, folder / "DevToolsActivePort"
    while not (port.exists() and port.read_text().count("\n")):
        assert time.monotonic() < end, "the browser did not start"
        time.sleep(0.1)
    with urlopen(f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json/list", timeout=30) as answer:
        return next(tab["webSocketDebuggerUrl"] for tab in json.load(answer) if tab["type"] == "page")
