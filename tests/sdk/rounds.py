"""The command-line clients, headless: each holds a conversation with tools through channels of every protocol.

The user's text orders the fake provider to think and to call the client's own shell tool twice at once. What one command
prints is known to this program alone, so the text that is said last can only come from a command that was really run,
whose result went up through the gateway and came back. A second prompt goes on with the conversation, so that what the
client kept of the first (calls, results, signed thinking) is sent to a provider that looks at it strictly.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from smoke import GATEWAY, check, equal, records, wait_for

PROTOCOLS = ("chat", "responses", "anthropic", "gemini")
SECONDS_MAX = 120
QUOTE = "The tool answered: "


class Client:
    """A program: what it speaks, its shell tool, its settings in a home of its own, and its command line."""

    name = speaks = program = tool = argument = model = user_agent = ""

    def __init__(self, home, key):
        self.home, self.key = Path(home), key
        self.work = self.home / "work"
        self.work.mkdir()
        self.temporary = self.home / "tmp"
        self.temporary.mkdir()
        self.settings()

    def settings(self):
        """Files the client reads."""

    def variables(self):
        return {}

    def command(self, prompt, continued):
        raise NotImplementedError

    def input(self, prompt):
        """What it reads from its standard input."""
        return ""

    def write(self, path, content):
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))

    def say(self, prompt, continued=False):
        """Runs it once, with nothing of the caller's environment; gives its exit code and what it printed."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", "NO_COLOR": "1"}
        # Nothing but loopback can be reached, by whoever obeys these.
        environment |= {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1", "TMPDIR": str(self.temporary)}
        done = subprocess.run(
            self.command(prompt, continued),
            cwd=self.work,
            env=environment | self.variables(),
            input=self.input(prompt).encode(),
            capture_output=True,
            timeout=SECONDS_MAX,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()


class ClaudeCode(Client):
    name, speaks, program, tool, argument = "Claude Code", "anthropic", "claude", "Bash", "command"
    model, user_agent = "claude-opus-4-8", "claude-cli/"

    def variables(self):
        quiet = ("DISABLE_TELEMETRY", "DISABLE_AUTOUPDATER", "DISABLE_ERROR_REPORTING")
        quiet += ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",)
        return {name: "1" for name in quiet} | {"ANTHROPIC_BASE_URL": GATEWAY, "ANTHROPIC_AUTH_TOKEN": self.key}

    def command(self, prompt, continued):
        more = ["--continue"] if continued else []
        return [program(self), "-p", prompt, "--model", self.model, "--allowedTools", "Bash", *more]


class Codex(Client):
    name, speaks, program, tool, argument = "Codex CLI", "responses", "codex", "exec_command", "cmd"
    model, user_agent = "gpt-5.1-codex", "codex_exec/"

    def settings(self):
        self.write(
            ".codex/config.toml",
            f"""model = "{self.model}"
model_provider = "tollgate"
check_for_update_on_startup = false

[model_providers.tollgate]
name = "Tollgate"
base_url = "{GATEWAY}/v1"
env_key = "TOLLGATE_KEY"
wire_api = "responses"

[analytics]
enabled = false
""",
        )

    def variables(self):
        return {"TOLLGATE_KEY": self.key}

    def command(self, prompt, continued):
        more = ["resume", "--last"] if continued else []
        alone = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
        return [program(self), "exec", *alone, *more, prompt]


class Opencode(Client):
    """Through the package for compatible servers, which speaks chat."""

    name, speaks, program, tool, argument = "opencode", "chat", "opencode", "bash", "command"
    model, user_agent, npm = "gpt-4.1", "opencode/", "@ai-sdk/openai-compatible"

    def settings(self):
        options = {"baseURL": f"{GATEWAY}/v1", "apiKey": "{env:TOLLGATE_KEY}"}
        provider = {"npm": self.npm, "name": "Tollgate", "options": options, "models": {self.model: {}}}
        self.write(
            ".config/opencode/opencode.json",
            {
                "$schema": "https://opencode.ai/config.json",
                "provider": {"tollgate": provider},
                "model": f"tollgate/{self.model}",
                "autoupdate": False,
                "share": "disabled",
                "permission": {"bash": "allow"},
            },
        )

    def variables(self):
        quiet = ("OPENCODE_DISABLE_AUTOUPDATE", "OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_LSP_DOWNLOAD")
        return {name: "1" for name in quiet} | {"TOLLGATE_KEY": self.key}

    def command(self, prompt, continued):
        return [program(self), "run", *(["--continue"] if continued else [])]

    def input(self, prompt):
        """As an argument it would be quoted once more."""
        return prompt


class GeminiCli(Client):
    name, speaks, program, tool, argument = "Gemini CLI", "gemini", "gemini", "run_shell_command", "command"
    model, user_agent = "gemini-2.5-pro", "GeminiCLI-"

    def settings(self):
        self.write(
            ".gemini/settings.json",
            {
                "security": {"auth": {"selectedType": "gemini-api-key"}},
                "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
                "privacy": {"usageStatisticsEnabled": False},
                "telemetry": {"enabled": False},
            },
        )

    def variables(self):
        return {"GOOGLE_GEMINI_BASE_URL": GATEWAY, "GEMINI_API_KEY": self.key, "GEMINI_CLI_TRUST_WORKSPACE": "true"}

    def command(self, prompt, continued):
        more = ["--resume", "latest"] if continued else []
        return [program(self), "-m", self.model, "--approval-mode", "yolo", *more, "-p", prompt]


def program(client):
    return os.environ["SMOKE_CLI_" + client.program.upper()]


def run_round(kind, protocol):
    with tempfile.TemporaryDirectory(prefix="smoke-cli-") as home:
        client = kind(home, os.environ["SMOKE_CLI_KEY_" + protocol.upper()])
        secret = secrets.token_hex(8)
        (client.work / "secret.txt").write_text(secret + "\n")
        before = len(records())
        orders = ("cat secret.txt", "tr a-z A-Z <secret.txt | tee proof.txt")
        calls = [f"[[call {client.tool} {json.dumps(arguments(client, order))}]]" for order in orders]
        code, said, errors = client.say("[[think]] Please do " + " and ".join(calls))
        proof = client.work / "proof.txt"
        assert code == 0 and proof.exists(), f"{code}, proof {proof.exists()}: {said[-300:]} {errors[:1500]}"
        equal(proof.read_text().strip(), secret.upper())
        assert QUOTE in said and secret in said and secret.upper() in said, f"{said[-300:]} {errors[-300:]}"
        lines = wait_for(lambda: mine(before, 2))
        code, said, errors = client.say("Thank you. [[think]]", continued=True)
        assert code == 0 and "世界" in said, f"{code}: {said[-300:]} {errors[:1500]}"
        judge(client, protocol, wait_for(lambda: mine(before, len(lines) + 1)))


def arguments(client, order):
    more = {"description": "Runs a command"} if client.tool != "exec_command" else {}
    return {client.argument: order} | more


def mine(before, count):
    """The lines since then, once there are so many of them that answer with text or calls."""
    lines = records()[before:]
    return lines if len(lines) >= count else None


def judge(client, protocol, lines):
    """No exchange failed, and each was translated where the client does not speak the channel's protocol."""
    for line in lines:
        where = f"{line['api']} {line['model_requested']}: {json.dumps(line)[:600]}"
        assert (line["status"], line["end"], line["code"]) == (200, "ok", None), where
        equal(line["translated"], None if protocol == client.speaks else protocol)
        assert line["user_agent"].startswith(client.user_agent), line["user_agent"]


CLIENTS = (ClaudeCode, Codex, Opencode, GeminiCli)

for kind in CLIENTS:
    if sys.argv[1:] and kind.program not in sys.argv[1:]:
        continue
    for protocol in PROTOCOLS:
        check(f"{kind.name} calls tools at a channel of {protocol}", lambda: run_round(kind, protocol))
