"""The table on stdout and bench.json."""
import json
import os
import platform
import statistics
import time


def _number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _cpu(result, side):
    return statistics.median(pair[side] for pair in result.cpu_us) if result.cpu_us else None


def _row(result):
    ours = statistics.median(pair[0] for pair in result.pairs)
    theirs = statistics.median(pair[1] for pair in result.pairs)
    figure = result.figure()
    shown = {"ratio": f"{figure:.2f} x", "times": f"{figure:.2f} x", "added": f"{figure:+,.0f} {result.unit}", "value": f"{figure:.1f} {result.unit}"}
    goal = {"ratio": f">= {result.goal:g} x", "times": f"<= {result.goal:g} x", "added": f"<= +{result.goal:g} {result.unit}",
            "value": f"<= {result.goal:g} {result.unit}"}
    cpu = f"{_cpu(result, 0):.1f} / {_cpu(result, 1):.1f} = {result.cpu_ratio():.2f} x" if result.cpu_us else ""
    return [result.name, result.yardstick, f"{_number(ours)} {result.unit}", f"{_number(theirs)} {result.unit}",
            shown[result.better], goal[result.better], "yes" if result.reached() else "NO", cpu]


def table(results, quick, congestion):
    lines = [["work (2 KiB body, keep-alive, 32 connections unless said)", "yardstick", "tapdeck", "yardstick",
              "median of rounds", "goal", "reached", "server CPU µs/request, ratio"]]
    lines += [_row(result) for result in results]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines]
    text += [f"{result.name}: {result.note}" for result in results if result.note]
    text.append("One server core (tapdeck with all its threads, or one nginx, HAProxy or mitmdump), one core for load and "
                f"origin; loopback, {congestion}. Medians of paired rounds A B A B; ratios say something, absolute figures do not. The last column is the "
                "CPU of the server process: on a busy machine believe it rather than rates (above 1 x: tapdeck needs less).")
    if quick:
        text.append("--quick: one short round. Good for finding out whether it runs, not for comparing.")
    return "\n".join(text)


def write_json(path, results, quick, broken):
    items = [{"name": result.name, "yardstick": result.yardstick, "unit": result.unit, "compare": result.better,
              "figure": result.figure(), "goal": result.goal, "reached": result.reached(), "rounds": result.pairs, "cpu_ratio": result.cpu_ratio(),
              "server_cpu_us_per_request": result.cpu_us} for result in results]
    content = {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": platform.machine(),
               "kernel": platform.release(), "cores": os.cpu_count(), "load": os.getloadavg()[0], "quick": quick,
               "rows": items, "not_measured": broken}
    path.write_text(json.dumps(content, indent=2) + "\n")
