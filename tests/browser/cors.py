#!/usr/bin/env python3
"""A real browser calls the gateway, and talks to it over WebSockets, from an allowed origin and from a forbidden one.

Starts the fake provider, the gateway and a headless Chromium; the page of each origin is served on a port of its own (another
port is another origin). What the page sees it tells the server it came from. Ends with 0, with 1 and the reason, or with 77
where there is no Chromium.
"""

import argparse
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

KEY = "sk-browser-0123456789"
PAGE = pathlib.Path(__file__).with_name("cors.html")
WAIT = 90
TLS = pathlib.Path(__file__).parents[2] / "src" / "tls" / "tests"
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]


class Site:
    """An origin that serves the page and waits for what it reports."""

    def __init__(self):
        self.reported, self.report = threading.Event(), None
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                text = PAGE.read_bytes() if self.path.split("?")[0] == "/" else b""
                self.send_response(200 if text else 404)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_POST(self):
                site.report = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(204)
                self.end_headers()
                site.reported.set()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Program:
    """A program of which a line says that it is ready."""

    def __init__(self, arguments, pattern):
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.seen, self.found, self.lines = threading.Event(), None, []

        def read():
            for line in self.process.stdout:
                self.lines.append(line)
                match = re.search(pattern, line) if pattern and not self.found else None
                if match:
                    self.found = match.group(1)
                    self.seen.set()
            self.seen.set()

        threading.Thread(target=read, daemon=True).start()

    def ready(self):
        self.seen.wait(WAIT)
        if not self.found:
            raise Failed("it does not start:\n" + "".join(self.lines))
        return self.found

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Failed(Exception):
    """A promise that was not kept."""


def expect(what, found, expected):
    if found != expected:
        raise Failed(f"{what}: {found!r}, expected {expected!r}")


def check_allowed(report):
    for talk in report.pop("talks"):
        expect("talk: is open", (talk["opened"], talk.get("protocol"), talk.get("extensions")), (True, "realtime", ""))
        expect("talk: begins", talk["types"][0], "session.created")
        expect("talk: is answered", talk["types"][-1], "response.done")
        expect("talk: ends", (talk["code"], talk["wasClean"]), (1000, True))
    models = report["models"]
    expect("models: status", models["status"], 200)
    expect("models: names", "gpt-4.1" in models["text"], True)
    stream = report["stream"]
    expect("stream: status", stream["status"], 200)
    expect("stream: type", stream["headers"]["content-type"].split(";")[0], "text/event-stream")
    expect("stream: is whole", stream["text"].rstrip().endswith("data: [DONE]"), True)
    expect("stream: comes in pieces", stream["pieces"] > 1, True)
    expect("messages: status", report["messages"]["status"], 200)
    for name, answer in report.items():
        for header in ["x-request-id", "request-id"]:
            expect(f"{name}: {header} is readable", bool(answer["headers"].get(header)), True)
    refused = report["refused"]
    expect("refused: status", refused["status"], 401)
    expect("refused: code", json.loads(refused["text"])["error"]["code"], "invalid_api_key")
    expect("refused: x-should-retry is readable", refused["headers"].get("x-should-retry"), "false")
    expect("limited: status", report["limited"]["status"], 429)
    for header in ["retry-after", "retry-after-ms", "x-ratelimit-limit-requests"]:
        expect(f"limited: {header} is readable", bool(report["limited"]["headers"].get(header)), True)


def check_forbidden(report):
    for talk in report.pop("talks"):
        expect("talk: from a forbidden origin", (talk["opened"], talk["types"], talk["code"]), (False, [], 1006))
    for name, answer in report.items():
        expect(f"{name}: from a forbidden origin", answer.get("error"), "TypeError")


def configuration(folder, provider, origin):
    path = folder / "tollgate.toml"
    path.write_text(
        f"""
[server]
listen = ["127.0.0.1:0"]
admin = "127.0.0.1:0"
cors_origins = ["{origin}"]
[[server.tls]]
listen = "127.0.0.1:0"
cert = "{TLS / 'rsa.cert.pem'}"
key = "{TLS / 'rsa.key.pem'}"
[log]
access = "{folder / 'access.log'}"
[[channel]]
name = "openai"
type = "openai"
base_url = "{provider}"
api_keys = ["sk-upstream-0123456789"]
models = ["gpt-4.1", "gpt-realtime"]
[[channel]]
name = "anthropic"
type = "anthropic"
base_url = "{provider}"
api_keys = ["sk-upstream-0123456789"]
models = ["claude-sonnet-4-5"]
[[key]]
name = "browser"
secret = "{KEY}"
[[key]]
name = "limited"
secret = "{KEY}-limited"
limits = {{ rpm = 1 }}
"""
    )
    return path


def visit(browser, folder, site, gateway):
    plain, secured = gateway
    url = f"{site.origin}/?gateway=http://{plain}&secured=wss://{secured}&key={KEY}"
    # Root has no sandbox of Chromium's; the pages are our own.
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    # The certificate is the tests' own.
    flags.append("--ignore-certificate-errors")
    profile = f"--user-data-dir={folder / 'profile'}"
    chromium = Program([browser, *flags, "--disable-background-networking", profile, url], None)
    try:
        if not site.reported.wait(WAIT):
            raise Failed("the page reports nothing:\n" + "".join(chromium.lines[-20:]))
    finally:
        chromium.stop()
    return site.report


def listeners(gateway):
    up = "".join(gateway.lines)
    secured = re.search(r'\btls="?([0-9.:]+)', up)
    if not secured:
        raise Failed("it does not say where it listens with TLS:\n" + up)
    return gateway.found, secured.group(1)


def lines(folder, count):
    """The access log, once it has so many lines."""
    end = time.monotonic() + WAIT
    while True:
        found = [json.loads(line) for line in (folder / "access.log").read_text().splitlines()]
        if len(found) >= count:
            return found
        if time.monotonic() > end:
            raise Failed(f"{len(found)} lines in the access log, expected {count}")
        time.sleep(0.05)


def run(binary, browser):
    allowed, forbidden = Site(), Site()
    started = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = pathlib.Path(name)
        try:
            provider = Program([binary, "mock", "--listen", "127.0.0.1:0", "--pace", "20ms"], r"(http://127\.0\.0\.1:\d+)")
            started.append(provider)
            config = configuration(folder, provider.ready(), allowed.origin)
            gateway = Program([binary, "run", "-c", str(config)], r'tollgate is up.*listen="?([0-9.:]+)')
            started.append(gateway)
            gateway.ready()
            # Both listeners are up by then.
            addresses = listeners(gateway)
            check_allowed(visit(browser, folder, allowed, addresses))
            before = lines(folder, 8)
            check_forbidden(visit(browser, folder, forbidden, addresses))
            # A browser asks nobody before it opens a WebSocket; everything else it keeps to itself.
            after = lines(folder, len(before) + 2)[len(before) :]
            expect("what a forbidden origin asks", [line["code"] for line in after], ["origin_not_allowed"] * 2)
            expect("what a forbidden origin asks reaches nobody", [line["attempts"] for line in after], [[], []])
        finally:
            for program in reversed(started):
                program.stop()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary", required=True, help="the program to test")
    binary = arguments.parse_args().binary
    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if not browser:
        print("skipped: there is no Chromium")
        return 77
    try:
        run(binary, browser)
    except Failed as why:
        print(f"cors: {why}", file=sys.stderr)
        return 1
    print("cors: an allowed origin reads answers, streams and their headers, and talks; a forbidden one reads and asks nothing")
    return 0


if __name__ == "__main__":
    sys.exit(main())
