"""What was measured, as a table, raw figures and a plot."""
import datetime
import json
import os
import platform
import statistics
import subprocess

from load import WORKLOADS

COLOURS = {
    "tollgate": "#0b7285", "tollgate-plain": "#66d9e8", "pingora": "#868e96", "nginx": "#2b8a3e", "haproxy": "#5c940d", "litellm": "#e67700", "portkey": "#c92a2a",
}


def revision():
    run = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return run.stdout.strip() or "unknown"


def median(rounds, field):
    return statistics.median(one[field] for one in rounds)


def short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def answered(rounds):
    """Whether there was an answer at all to count by."""
    return any(one["answers"] for one in rounds)


def cpu_rows(samples, targets):
    """CPU per answer or event, and in brackets how many times that of bare Pingora."""
    lines = ["| CPU µs (× bare Pingora) | " + " | ".join(targets) + " |", "|---|" + "--:|" * len(targets)]
    ratios = {}
    for key, workload in WORKLOADS.items():
        floor = samples.get((key, "pingora"))
        cells = []
        for target in targets:
            rounds = samples.get((key, target))
            if not rounds or not answered(rounds):
                cells.append("–")
                continue
            cpu = median(rounds, "cpu_us")
            cells.append(short(cpu))
            if floor:
                # Round by round: what the machine did in between is the same for both.
                pairs = [one["cpu_us"] / base["cpu_us"] for one, base in zip(rounds, floor) if base["cpu_us"]]
                if pairs:
                    ratios[key, target] = statistics.median(pairs)
                    cells[-1] += f" ({ratios[key, target]:.2f})"
        if any(cell != "–" for cell in cells):
            lines.append(f"| {workload.title} | " + " | ".join(cells) + " |")
    return lines, ratios


def all_rows(samples, direct="direct"):
    lines = ["| workload | | answers/s | p50 ms | p99 ms | first byte p50 ms | CPU µs | failed |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    for (key, target), rounds in samples.items():
        name = WORKLOADS[key].title if key in WORKLOADS else key
        cpu = "" if target == direct or not answered(rounds) else short(median(rounds, "cpu_us"))
        lines.append(
            f"| {name} | {target} | {short(median(rounds, 'requests_per_second'))} | {median(rounds, 'p50_ms'):.2f} |"
            f" {median(rounds, 'p99_ms'):.2f} | {median(rounds, 'first_byte_p50_ms'):.2f} | {cpu} | {sum(one['failed'] for one in rounds)} |"
        )
    return lines


def plot(ratios, targets):
    """Bars of CPU beside bare Pingora, on a logarithmic scale: every line of the grid is twice the one before."""
    import math

    keys = [key for key in WORKLOADS if any(found == key for found, _ in ratios)]
    shown = [target for target in targets if any(found == target for _, found in ratios)]
    bar, gap, left, width, top = 15, 22, 250, 620, 56
    height = top + len(keys) * (len(shown) * bar + gap) + 20
    most = max([2.0, *ratios.values()])
    low, high = -3, math.ceil(math.log2(most))
    at = lambda value: left + (math.log2(max(value, 2.0**low)) - low) / (high - low) * width
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="18" font-size="14" font-weight="bold">CPU per answer, times that of a bare Pingora pass-through (less is better)</text>',
    ]
    for power in range(low, high + 1):
        x, name = at(2.0**power), f"{2**power}" if power >= 0 else f"1/{2**-power}"
        stroke = "#495057" if power == 0 else "#dee2e6"
        out.append(f'<line x1="{x:.0f}" y1="{top - 10}" x2="{x:.0f}" y2="{height - 16}" stroke="{stroke}"/>')
        out.append(f'<text x="{x:.0f}" y="{top - 16}" text-anchor="middle" fill="#495057">{name}</text>')
    y = top
    for key in keys:
        out.append(f'<text x="10" y="{y + 12}">{WORKLOADS[key].title}</text>')
        for target in shown:
            if (key, target) in ratios:
                ratio = ratios[key, target]
                out.append(f'<rect x="{left}" y="{y}" width="{at(ratio) - left:.1f}" height="{bar - 3}" fill="{COLOURS.get(target, "#666")}"/>')
                out.append(f'<text x="{at(ratio) + 5:.1f}" y="{y + 10}" font-size="11">{target} {ratio:.2f}</text>')
            y += bar
        y += gap
    return "\n".join([*out, "</svg>"]) + "\n"


def write(args, samples, extra, missing):
    base = os.path.join(args.out, f"{datetime.date.today().isoformat()}-{platform.machine()}-{os.cpu_count()}cores")
    # Before the first file is written, which would make the tree another one.
    commit = revision()
    targets = [target for target in COLOURS if any(found == target for _, found in samples)]
    ratios_table, ratios = cpu_rows(samples, targets)
    lines = [
        f"# Load test, {datetime.date.today().isoformat()}",
        "",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores; {args.rounds} interleaved rounds of {args.seconds} s, medians;"
        f" commit `{commit}`; command `{args.words}`. Load average before: {args.load_before:.2f}. One worker on core 0; provider"
        " (`examples/provider.rs`) and oha on core 1. Tollgate checks the key and its limits, finds the model and sends another name, counts"
        " tokens and cost, and writes metrics and its access log; the others do none of it, but LiteLLM and Portkey. HTTP/1.1 on both sides"
        " and no TLS, where a row does not say otherwise. CPU is user and system time of the process named, with its children, per answer (of streams per event).",
        "",
        *ratios_table,
        "",
        f"![CPU beside bare Pingora]({os.path.basename(base)}.svg)",
        "",
        *all_rows(samples),
    ]
    if extra:
        lines += ["", "| also | figure |", "|---|---|", *(f"| {name} | {text} |" for name, text in extra)]
    if missing:
        lines += ["", "Not measured: " + "; ".join(missing) + "."]
    text = "\n".join(lines) + "\n"
    os.makedirs(args.out, exist_ok=True)
    open(f"{base}.md", "w").write(text)
    open(f"{base}.svg", "w").write(plot(ratios, targets))
    raw = [{"workload": key, "target": target, "rounds": rounds} for (key, target), rounds in samples.items()]
    json.dump({"commit": commit, "samples": raw, "also": extra, "not_measured": missing}, open(f"{base}.json", "w"), indent=1)
    print(text)
