"""What every Python part of the smoke test shares: where things are, and one line per check.

The parts talk to the gateway with an official SDK only; the provider behind it is asked directly for one thing, the
text its answers have, so that no part repeats it.
"""

import json
import os
import time
import traceback
import urllib.request

GATEWAY = os.environ["SMOKE_GATEWAY"]
PROVIDER = os.environ["SMOKE_PROVIDER"]
KEY = os.environ["SMOKE_KEY"]
ACCESS_LOG = os.environ["SMOKE_ACCESS_LOG"]
WRONG_KEY = "sk-smoke-nobody-has-this-key"
LINE_SECONDS_MAX = 10


def check(name, body):
    """Runs one check and says how it went; a failure never stops the ones after it."""
    try:
        body()
    except Exception as error:  # every SDK has its own; all of them are findings
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = " ".join(str(error).split())[:400]
        print(f"FAILED {name}: {type(error).__name__}: {reason} ({os.path.basename(where.filename)}:{where.lineno})", flush=True)
    else:
        print(f"ok {name}", flush=True)


def equal(found, expected):
    assert found == expected, f"{found!r} instead of {expected!r}"


def raises(kind, call):
    """The error of this kind, and of no other, that a call must end with."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def tight_key(part):
    """A key of this part's own that one request a minute exhausts."""
    return os.environ["SMOKE_TIGHT_KEY_" + part.upper().replace("-", "_")]


def fail_once(channel):
    """The next request that reaches this channel gets a 500."""
    order = {"selector": {"credential": f"upstream-{channel}"}, "faults": [{"status": {"status": 500}}]}
    post(f"{PROVIDER}/__fake/script", order)


def record(request_id):
    """The access line of an exchange."""
    return wait_for(lambda: next((line for line in records() if line["request_id"] == request_id), None))


def wait_for(find):
    """What is found in the access log, where a line is written just after its answer has ended."""
    deadline = time.monotonic() + LINE_SECONDS_MAX
    while not (found := find()):
        assert time.monotonic() < deadline, "no such access line"
        time.sleep(0.02)
    return found


def records():
    with open(ACCESS_LOG, encoding="utf-8") as log:
        return [json.loads(line) for line in log if line.endswith("\n")]


def check_failover(request_id, channel):
    """The first channel failed, its twin answered, and the access line tells both."""
    attempts = record(request_id)["attempts"]
    equal([attempt["channel"] for attempt in attempts], [channel, f"{channel}-twin"])
    equal([attempt["status"] for attempt in attempts], [500, 200])


def post(url, body):
    data = json.dumps(body).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer smoke"}
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(urllib.request.Request(url, data, headers), timeout=10) as answer:
        return json.load(answer)


def provider_text():
    """The text of every answer of the provider, asked without the gateway."""
    body = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hi"}]}
    return post(f"{PROVIDER}/v1/chat/completions", body)["choices"][0]["message"]["content"]
