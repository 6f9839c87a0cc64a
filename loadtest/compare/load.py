"""The load: oha on core 1, connections that are idle, and what the processes paid for it."""
import asyncio
import json
import re
import subprocess
import time
import typing

from targets import KEY, pinned

EVENTS = 100


def body(size, stream=False, first=False):
    """A chat as a coding agent sends it: escaped text, the model as the last key or the first."""
    line = 'fn main() {\\n    println!(\\"a \\\\\\"quoted\\\\\\" line\\");\\n}\\n'
    flag, model = '"stream":true,' if stream else "", '"model":"gpt-4.1"'
    text = line * max(1, (size - 80) // len(line))
    messages = '"messages":[{"role":"user","content":"%s"}]' % text
    return "{%s,%s%s}" % ((model, flag, messages) if first else (messages, flag, model))


def message(stream):
    """What Claude Code's dialect asks, for a model whose provider speaks chat."""
    return body(600, stream)[:-1] + ',"max_tokens":1000}'


class Workload(typing.NamedTuple):
    """What is asked in a closed loop."""

    title: str
    text: str
    connections: int
    # How many an answer has; 0: it is no stream.
    events: int = 0
    # So long apart; 0: each follows the one before at once, and a slow reader finds several in one read.
    pace_ms: int = 0


WORKLOADS = {
    "small": Workload("small chat, 600 B in, 1 KiB out", body(600), 64),
    "256k": Workload("256 KiB, model last", body(256 << 10), 16),
    "2m-last": Workload("2 MiB, model last", body(2 << 20), 8),
    "2m-first": Workload("2 MiB, model first", body(2 << 20, first=True), 8),
    "stream": Workload(f"stream of {EVENTS} events at once, per event", body(600, stream=True), 64, EVENTS),
    "paced": Workload("stream of 50 events, 10 ms apart, per event", body(600, stream=True), 128, 50, 10),
}


def headers(target):
    words = ["-H", f"Authorization: Bearer {KEY}"]
    if target.name == "portkey":
        words += ["-H", "x-portkey-provider: openai", "-H", f"x-portkey-custom-host: {target.upstream.url}/v1"]
    return words


def oha(args, target, path, connections, seconds=None, rate=None, url=None, words=()):
    command = pinned(1) + [
        args.oha, "--no-tui", "--output-format", "json", "-z", f"{seconds or args.seconds}s", "-w", "-c", str(connections),
        "-m", "POST", "-T", "application/json", *headers(target), *words, "-D", path, url or f"{target.url}/v1/chat/completions",
    ]
    if rate:
        command[-1:-1] = ["-q", str(rate), "--latency-correction"]
    return command


def run(args, target, path, connections, events=0, **more):
    """One measurement."""
    before = target.cpu()
    done = subprocess.run(oha(args, target, path, connections, **more), capture_output=True, timeout=(more.get("seconds") or args.seconds) + 120)
    spent = target.cpu() - before
    if done.returncode:
        raise OSError(done.stderr.decode()[-500:])
    return summary(json.loads(done.stdout), spent, events)


def summary(report, cpu, events=0):
    statuses = report["statusCodeDistribution"]
    good = statuses.get("200", 0)
    lost = {kind: count for kind, count in report.get("errorDistribution", {}).items() if "deadline" not in kind}
    failed = sum(count for status, count in statuses.items() if status != "200") + sum(lost.values())
    percentiles = report["latencyPercentiles"]
    first = report.get("firstBytePercentiles") or {}
    ms = lambda value: (value or 0) * 1000
    return {
        "requests_per_second": report["summary"]["requestsPerSec"] or 0,
        "p50_ms": ms(percentiles["p50"]), "p99_ms": ms(percentiles["p99"]), "first_byte_p50_ms": ms(first.get("p50")),
        "cpu_us": cpu / max(good * max(events, 1), 1) * 1e6, "answers": good, "failed": failed,
    }


async def idle(target, count):
    """Bytes of memory for each connection that has asked once and is idle now, and what is left three seconds after they are gone."""
    before = target.resident()
    extra = ""
    if target.name == "portkey":
        extra = f"x-portkey-provider: openai\r\nx-portkey-custom-host: {target.upstream.url}/v1\r\n"
    small = body(600).encode()
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n{extra}"
        f"content-type: application/json\r\ncontent-length: {len(small)}\r\n\r\n"
    ).encode() + small
    gate, open_ones = asyncio.Semaphore(64), []

    async def one():
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.I)
            if length:
                await reader.readexactly(int(length.group(1)))
            open_ones.append(writer)

    await asyncio.gather(*(one() for _ in range(count)))
    await asyncio.sleep(1.5)
    held = target.resident()
    for writer in open_ones:
        writer.close()
    await asyncio.sleep(3)
    return {"idle_bytes": max(0, held - before) / count, "at_rest": before, "after": target.resident()}


def reload_while(args, target, path, seconds, change):
    """Answers and latency while `change` is called ten times a second."""
    load = subprocess.Popen(oha(args, target, path, 16, seconds=seconds), stdout=subprocess.PIPE)
    end, turn = time.time() + seconds, 0
    while time.time() < end:
        change(turn)
        turn += 1
        time.sleep(0.1)
    return summary(json.loads(load.communicate(timeout=60)[0]), 0), turn
