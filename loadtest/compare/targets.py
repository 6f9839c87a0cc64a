"""What is measured: the provider alone, Tollgate, and what stands beside it, each with one worker on core 0."""
import argparse
import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

KEY = "sk-load-0123456789abcdef"
TICKS = os.sysconf("SC_CLK_TCK")


def pinned(core):
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 and shutil.which("taskset") else []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A process with its children, and where it listens."""

    def __init__(self, name, words, folder, core=0, port=None, says=None, environment=None, wait=20):
        self.name, self.log = name, os.path.join(folder, f"{name}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                pinned(core) + words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder,
                env={**os.environ, **(environment or {})}, start_new_session=True,
            )
        atexit.register(self.stop)
        self.port = port
        for _ in range(int(wait * 20)):
            if self.process.poll() is not None:
                break
            if says and (found := re.search(says, self.text())):
                self.port = int(found.group(1))
                return
            if not says and answers(port):
                return
            time.sleep(0.05)
        self.stop()
        raise OSError(f"{name} does not come up:\n{self.text()[-2000:]}")

    def text(self):
        return re.sub(r"\x1b\[[0-9;]*m", "", open(self.log, errors="replace").read())

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def processes(self):
        found, more = [], [self.process.pid]
        while more:
            pid = more.pop()
            found.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    more += [int(child) for child in open(f"/proc/{pid}/task/{task}/children").read().split()]
            except OSError:
                pass
        return found

    def cpu(self):
        """Seconds, user and system together."""
        seconds = 0
        for pid in self.processes():
            try:
                fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            seconds += (int(fields[11]) + int(fields[12])) / TICKS
        return seconds

    def resident(self):
        total = 0
        for pid in self.processes():
            try:
                found = re.search(r"^Rss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M)
            except OSError:
                continue
            total += int(found.group(1)) * 1024 if found else 0
        return total

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if self.name.startswith("tollgate") else signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
        return True
    except OSError:
        return False


def provider(args, folder, name="provider", events=100, wait_ms=0, pace_ms=0):
    words = [os.path.join(args.examples, "provider"), "127.0.0.1:0", *map(str, (events, wait_ms, pace_ms))]
    return Server(name, words, folder, core=1, says=r"listen=[\d.]+:(\d+)")


def tollgate(args, folder, upstream, name="tollgate", keys=1, before=(), more="", threads=1):
    """Everything on: a key with limits, an alias, metrics, the access log in a file; and what else the configuration shall say."""
    home = os.path.join(folder, name)
    # The log in a folder of its own, as it would be: the configuration's is watched.
    os.makedirs(os.path.join(home, "log"), exist_ok=True)
    config = os.path.join(home, "tollgate.toml")
    with open(config, "w") as file:
        file.write(configuration(upstream, keys, threads=threads) + more)
    server = Server(name, [*before, args.binary, "run", "-c", config], home, says=r"listen=\"?\[?\"?127\.0\.0\.1:(\d+)", wait=60)
    server.config = config
    return server


def configuration(upstream, keys=1, channels=1, threads=1):
    text = f"""
[server]
listen = ["127.0.0.1:0"]
admin = "127.0.0.1:0"
threads = {threads}
[server.limits]
connections = 20000
connections_per_ip = 20000
[log]
access = "log/access.log"
"""
    for channel in range(channels):
        text += f"""
[[channel]]
name = "c{channel}"
type = "openai"
base_url = "{upstream.url}/v1"
api_keys = ["sk-upstream-{channel:06}-0123456789"]
models = ["{'gpt-4.1' if channel == 0 else f'model-{channel}'}"]
model_map = {{ "gpt-4.1" = "gpt-4.1-2025-04-14" }}
"""
    secrets = [KEY] + [f"sk-client-{key:06}-0123456789abcdef" for key in range(1, keys)]
    for number, secret in enumerate(secrets):
        text += f'[[key]]\nname = "k{number}"\nsecret = "{secret}"\nlimits = {{ rpm = 100000000, concurrency = 10000 }}\n'
    return text


def plain(args, folder, upstream):
    """The same program from a plain build, where one is given."""
    if not args.plain:
        raise OSError("no --plain")
    return tollgate(argparse.Namespace(binary=args.plain), folder, upstream, "tollgate-plain")


def certificate(folder):
    """One for loopback, for whoever asks without checking it."""
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost", "-days", "2", "-keyout", key, "-out", cert]
    subprocess.run(["openssl", "req", "-x509", "-nodes", *words], check=True, capture_output=True)
    return cert, key


def pingora(args, folder, upstream):
    port = free_port()
    words = [os.path.join(args.examples, "passthrough"), f"127.0.0.1:{port}", f"127.0.0.1:{upstream.port}"]
    return Server("pingora", words, folder, port=port)


def nginx(args, folder, upstream):
    port, config = free_port(), os.path.join(folder, "nginx.conf")
    open(config, "w").write(f"""
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr; worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{
  access_log off; keepalive_requests 1000000; client_max_body_size 0; client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream provider {{ server 127.0.0.1:{upstream.port}; keepalive 256; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off;
    }}
  }}
}}
""")
    binary = shutil.which("nginx", path=SYSTEM_PATH)
    if not binary:
        raise OSError("nginx is not installed (Debian: apt-get install nginx-light)")
    return Server("nginx", [binary, "-e", "stderr", "-c", config], folder, port=port)


def haproxy(args, folder, upstream):
    port, config = free_port(), os.path.join(folder, "haproxy.cfg")
    open(config, "w").write(f"""
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 600s
  option http-keep-alive
  http-reuse always
frontend clients
  bind 127.0.0.1:{port}
  default_backend provider
backend provider
  server one 127.0.0.1:{upstream.port}
""")
    binary = shutil.which("haproxy", path=SYSTEM_PATH)
    if not binary:
        raise OSError("haproxy is not installed (Debian: apt-get install haproxy)")
    return Server("haproxy", [binary, "-db", "-f", config], folder, port=port)


def litellm(args, folder, upstream):
    port, config = free_port(), os.path.join(folder, "litellm.yaml")
    open(config, "w").write(f"""
model_list:
  - model_name: gpt-4.1
    litellm_params: {{ model: openai/gpt-4.1-2025-04-14, api_base: "{upstream.url}/v1", api_key: sk-upstream }}
general_settings: {{ master_key: {KEY} }}
""")
    binary = brought(args, "litellm", "venv/bin/litellm")
    words = [binary, "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return Server("litellm", words, folder, port=port, wait=120, environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True"})


def portkey(args, folder, upstream):
    port = free_port()
    script = os.path.join(args.tools, "node_modules/@portkey-ai/gateway/build/start-server.js")
    if not os.path.exists(script):
        raise OSError(f"it is not in {args.tools} (--bring installs it)")
    return Server("portkey", ["node", script, "--headless", f"--port={port}"], folder, port=port, wait=60)


def brought(args, word, place):
    path = os.path.join(args.tools, place)
    found = path if os.access(path, os.X_OK) else shutil.which(word)
    if not found:
        raise OSError(f"it is not in {args.tools} (--bring installs it)")
    return found


def bring(args):
    """LiteLLM by pip, Portkey by npm, into a folder of their own; what cannot be had is not measured."""
    os.makedirs(args.tools, exist_ok=True)
    venv = os.path.join(args.tools, "venv")
    for what, commands in {
        "litellm": [[sys.executable, "-m", "venv", venv], [f"{venv}/bin/pip", "install", "-q", "litellm[proxy]"]],
        "portkey": [["npm", "install", "--silent", "--prefix", args.tools, "@portkey-ai/gateway"]],
    }.items():
        try:
            for command in commands:
                subprocess.run(command, check=True, timeout=600, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError) as problem:
            print(f"loadtest: {what} could not be brought: {problem}", file=sys.stderr)


# Debian keeps servers where only administrators look.
SYSTEM_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
STARTERS = {
    "pingora": pingora, "tollgate": tollgate, "tollgate-plain": plain, "nginx": nginx, "haproxy": haproxy, "litellm": litellm, "portkey": portkey,
}
