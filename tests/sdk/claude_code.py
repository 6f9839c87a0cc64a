"""Claude Code itself, headless, and what the gateway wrote down about it."""

import json
import os
import subprocess
import tempfile

from smoke import GATEWAY, KEY, WRONG_KEY, check, equal, fail_once, provider_text, records, wait_for

CLAUDE = os.environ["SMOKE_CLAUDE"]
SECONDS_MAX = 60
TEXT = provider_text().strip()
QUIET = (
    "DISABLE_TELEMETRY",
    "DISABLE_AUTOUPDATER",
    "DISABLE_ERROR_REPORTING",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
)


def claude(base, *more, home=None, **variables):
    """Runs it once, with nothing of the caller's environment, and gives its exit code and what it prints as JSON.

    Without a home that already exists it gets one of its own."""
    if home is None:
        with tempfile.TemporaryDirectory(prefix="smoke-claude-") as home:
            return claude(base, *more, home=home, **variables)
    environment = {"PATH": os.environ["PATH"], "HOME": home, "ANTHROPIC_BASE_URL": GATEWAY + base}
    environment |= {name: "1" for name in QUIET}
    environment |= variables or {"ANTHROPIC_AUTH_TOKEN": KEY}
    command = [CLAUDE, "-p", "hi", "--output-format", "json", *more]
    done = subprocess.run(
        command, cwd=home, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS_MAX
    )
    said = done.stdout.decode() or done.stderr.decode()
    return done.returncode, json.loads(said) if said.startswith("{") else {"result": said}


def answers_and_is_one_trace(base, **variables):
    code, said = claude(base, **variables)
    equal((code, said["result"].strip()), (0, TEXT))
    lines = wait_for(lambda: trace(said["session_id"]))
    for line in lines:
        equal((line["status"], line["end"], line["entry"], line["key"]), (200, "ok", "anthropic", "smoke"))
        assert line["user_agent"].startswith("claude-cli/"), line["user_agent"]
    return lines


def trace(session):
    """The exchanges of a session, once the streamed answer is among them."""
    lines = [line for line in records() if line["trace_id"] == session]
    return lines if any(line["stream"] and line["tokens"]["output"] == 17 for line in lines) else None


def second_turn():
    with tempfile.TemporaryDirectory(prefix="smoke-claude-") as home:
        _, first = claude("", home=home)
        code, second = claude("", "--continue", home=home)
    equal((code, second["result"].strip(), second["session_id"]), (0, TEXT, first["session_id"]))
    streams = wait_for(lambda: len(trace(first["session_id"]) or []) >= 2 and trace(first["session_id"]))
    assert streams[-1]["bytes_in"] > streams[0]["bytes_in"], "the second turn brings the first one along"


def wrong_key():
    def refused():
        return [line for line in records() if line["code"] == "invalid_api_key" and "claude-cli" in line["user_agent"]]

    code, said = claude("", ANTHROPIC_AUTH_TOKEN=WRONG_KEY)
    assert code != 0 and "401" in said["result"], said
    equal(len(wait_for(refused)), 1)


def failover():
    fail_once("anthropic")
    attempts = [[attempt["status"] for attempt in line["attempts"]] for line in answers_and_is_one_trace("")]
    assert [500, 200] in attempts, attempts


for base in ("", "/", "/anthropic", "/anthropic/", "/api"):
    check(f"claude code '{base}' answers, one session is one trace", lambda: answers_and_is_one_trace(base))
check("claude code with ANTHROPIC_API_KEY", lambda: answers_and_is_one_trace("", ANTHROPIC_API_KEY=KEY))
check("claude code second turn of a session is in its trace", second_turn)
check("claude code wrong key is told at once", wrong_key)
check("claude code failover", failover)
