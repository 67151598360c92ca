"""What is measured: one function a row of the table in docs/PERFORMANCE.md, each A B A B with A tapdeck.

A row returns Results; every round's pair of figures is kept, since on a shared machine only their ratio means something.
"""
import re
import statistics
import subprocess
from dataclasses import dataclass, field

import contenders
from contenders import HTTPS, PROBE_PORT, Tapdeck
from lab import LOAD_CORE, ORIGIN, LabError, Process, finish

# On a busy machine mitmdump needs more than a second to shake hands with 32 clients.
MITMDUMP_SECONDS = 4

UNIQUE_PATHS = """
local n = 0
request = function()
  n = n + 1
  return wrk.format("GET", "/2k.bin?n=" .. "SEED-" .. n)
end
"""


@dataclass
class Plan:
    rounds: int
    seconds: int  # of one wrk run
    scale: float  # of everything counted instead of timed

    @staticmethod
    def full():
        return Plan(3, 4, 1.0)

    @staticmethod
    def quick():
        return Plan(1, 1, 0.2)


@dataclass
class Result:
    name: str
    yardstick: str
    unit: str
    goal: float
    # "ratio": tapdeck / yardstick at least goal; "times": the same at most goal; "added": tapdeck - yardstick at most
    # goal; "value": tapdeck at most goal
    better: str
    pairs: list = field(default_factory=list)  # (tapdeck, yardstick) a round
    cpu_us: list = field(default_factory=list)  # (tapdeck, yardstick) server CPU microseconds a request, a round
    note: str = ""

    def figure(self):
        compare = {"ratio": lambda ours, theirs: ours / theirs, "times": lambda ours, theirs: ours / theirs, "added": lambda ours, theirs: ours - theirs,
                   "value": lambda ours, _: ours}[self.better]
        return statistics.median(compare(*pair) for pair in self.pairs)

    def cpu_ratio(self):
        """Yardstick's server CPU a request over ours; None where it was not measured. Noise of other processes hardly
        touches it, while rates follow whoever the scheduler favours."""
        return statistics.median(theirs / ours for ours, theirs in self.cpu_us) if self.cpu_us else None

    def reached(self):
        return self.figure() >= self.goal if self.better == "ratio" else self.figure() <= self.goal


def wrk(lab, contender, scheme, seconds, script=None):
    """One run of 32 keep-alive connections: requests/s and the contender's CPU microseconds a request."""
    argv = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--timeout", "10s"]
    argv += ["-s", script] if script else []
    before = contender.process.cpu_seconds()
    out = finish(Process([*argv, contender.url(scheme)], LOAD_CORE, cgroup=lab.cgroup if contender.captured else None),
                 seconds + 20)
    cpu = contender.process.cpu_seconds() - before
    bad = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", out)
    if bad:
        raise LabError(f"{contender.name}: {bad.group(0)}")
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    if requests == 0:
        raise LabError(f"{contender.name} answered nothing")
    contender.check(requests)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), cpu * 1e6 / requests


def h2load(lab, contender, seconds, options=(), path="/2k.bin", size=2048):
    """The same over HTTP/2: 8 connections of 32 streams. Every answer must have had a body of `size` bytes."""
    before = contender.process.cpu_seconds()
    out = finish(Process(["h2load", "-c8", "-m32", "-D", seconds, *options, contender.url("https", path)], LOAD_CORE,
                         cgroup=lab.cgroup if contender.captured else None), seconds + 20)
    cpu = contender.process.cpu_seconds() - before
    if "Application protocol: h2" not in out:
        raise LabError(f"{contender.name} did not speak h2")
    done, failed = (int(re.search(rf"(\d+) {word}", out).group(1)) for word in ("succeeded", "failed"))
    if done == 0 or failed:
        raise LabError(f"{contender.name}: {done} answers, {failed} failed")
    data = int(re.search(r"\((\d+)\) data", out).group(1))
    if data < done * size:
        raise LabError(f"{contender.name}: {done} answers with {data} bytes, not {size} each")
    contender.check(done)
    return float(re.search(r"([\d.]+) req/s", out).group(1)), cpu * 1e6 / done


def h2load_rounds(lab, plan, result, ours, theirs, **what):
    for contender in (ours, theirs):
        h2load(lab, contender, 1, **what)
    for _ in range(plan.rounds):
        pair = [h2load(lab, contender, plan.seconds, **what) for contender in (ours, theirs)]
        result.pairs.append([rate for rate, _ in pair])
        result.cpu_us.append([cpu for _, cpu in pair])
    return [result]


def wrk_rounds(lab, plan, result, ours, theirs, scheme, unique=False, least_seconds=1):
    def script(seed):
        path = lab.dir / "unique.lua"
        path.write_text(UNIQUE_PATHS.replace("SEED", str(seed)))
        return path if unique else None

    for contender in (ours, theirs):
        wrk(lab, contender, scheme, least_seconds, script("warm"))  # caches, pools, handshakes
    for number in range(plan.rounds):
        pair = [wrk(lab, contender, scheme, max(plan.seconds, least_seconds), script(number)) for contender in (ours, theirs)]
        result.pairs.append([rate for rate, _ in pair])
        result.cpu_us.append([cpu for _, cpu in pair])
    return [result]


def replaying(lab, scheme):
    contenders.origin(lab)
    tapdeck = Tapdeck(lab, "record")
    tapdeck.record_once(scheme)
    tapdeck.set_mode("replay")
    return tapdeck


def replay_clear(lab, plan):
    result = Result("replay hit, h1 clear", "nginx static file", "requests/s", 1.0, "ratio")
    return wrk_rounds(lab, plan, result, replaying(lab, "http"), contenders.nginx_yardstick(lab), "http")


def replay_tls(lab, plan):
    result = Result("replay hit, h1 TLS 1.3", "nginx static file", "requests/s", 1.0, "ratio")
    return wrk_rounds(lab, plan, result, replaying(lab, "https"), contenders.nginx_yardstick(lab), "https")


def replay_h2(lab, plan):
    result = Result("replay hit, h2 TLS, 8 x 32 streams", "nginx static file, h2", "requests/s", 0.8, "ratio")
    return h2load_rounds(lab, plan, result, replaying(lab, "https"), contenders.nginx_yardstick(lab))


def record_h2(lab, plan):
    contenders.origin(lab)
    result = Result("record, h2 TLS in and out, wal", "HAProxy, h2 TLS to h1 TLS", "requests/s", 1.0, "ratio")
    return h2load_rounds(lab, plan, result, Tapdeck(lab, "record"), contenders.haproxy(lab))


def forwarding(lab, plan, name, mode, durability, goal, unique=False):
    contenders.origin(lab)
    result = Result(name, "HAProxy, TLS to TLS", "requests/s", goal, "ratio")
    return wrk_rounds(lab, plan, result, Tapdeck(lab, mode, durability), contenders.haproxy(lab), "https", unique)


def record_async(lab, plan):
    return forwarding(lab, plan, "record, TLS in and out, async", "record", "async", 1.0)


def record_wal(lab, plan):
    return forwarding(lab, plan, "record, TLS in and out, wal", "record", "wal", 0.8)


def passthrough(lab, plan):
    return forwarding(lab, plan, "passthrough, TLS in and out", "passthrough", "wal", 1.0)


def hybrid_miss(lab, plan):
    return forwarding(lab, plan, "hybrid miss (forward and record, wal), TLS", "hybrid", "wal", 1.0, unique=True)


def mitmdump_replay(lab, plan):
    result = Result("replay hit, h1 clear", "mitmdump replaying", "requests/s", 50, "ratio")
    return wrk_rounds(lab, plan, result, replaying(lab, "http"), contenders.mitmdump_replaying(lab, "http"), "http",
                      least_seconds=MITMDUMP_SECONDS)


def mitmdump_record(lab, plan):
    contenders.origin(lab)
    result = Result("record, TLS in and out, wal", "mitmdump recording", "requests/s", 50, "ratio")
    return wrk_rounds(lab, plan, result, Tapdeck(lab, "record"), contenders.mitmdump_recording(lab, "https"), "https",
                      least_seconds=MITMDUMP_SECONDS)


def tunnel(lab, plan):
    contenders.probe_origin(lab)
    tapdeck = Tapdeck(lab, "record")
    before = tapdeck.metric("tapdeck_tunnelled_bytes_total")
    bulk = Result("tunnel, bulk download", "direct", "bytes/s", 0.9, "ratio")
    ping = Result("tunnel, ping-pong median", "direct", "µs", 15, "added")
    size, count = int(2 ** 31 * plan.scale), int(20000 * plan.scale)
    for _ in range(plan.rounds):
        bulk.pairs.append([lab.probe_json(["bulk", ORIGIN, PROBE_PORT + 1, size], captured)["bytes_per_s"]
                           for captured in (True, False)])
        ping.pairs.append([lab.probe_json(["pingpong", ORIGIN, PROBE_PORT, count], captured)["median_us"]
                           for captured in (True, False)])
    passed = tapdeck.metric("tapdeck_tunnelled_bytes_total") - before
    if passed < size * plan.rounds:
        raise LabError(f"only {passed:.0f} bytes went through the tunnel")
    return [bulk, ping]


def first_byte(lab, plan):
    contenders.probe_origin(lab)
    tapdeck = Tapdeck(lab, "record")
    median = Result("first byte of a stream while recording, median", "direct", "µs", 1000, "added")
    p99 = Result("first byte of a stream while recording, p99", "direct", "µs", 1000, "added")
    count = int(1000 * plan.scale)
    for _ in range(plan.rounds):
        ours, theirs = (lab.probe_json(["firstbyte", ORIGIN, PROBE_PORT + 2, count], captured) for captured in (True, False))
        median.pairs.append([ours["median_us"], theirs["median_us"]])
        p99.pairs.append([ours["p99_us"], theirs["p99_us"]])
        tapdeck.check(count)
    return [median, p99]


def handshakes(lab, plan):
    """Client and server each have a core, and the client's half costs more: the server's CPU is the fair measure."""
    tapdeck, nginx = replaying(lab, "https"), contenders.nginx_yardstick(lab)
    rate = Result("full TLS 1.3 handshake + 1 request, leaf cached", "nginx, P-256 as ours", "1/s", 0.9, "ratio")
    rate.note = "8 at a time; bounded by the client's core, see the CPU figures"
    count = int(6000 * plan.scale)
    for _ in range(plan.rounds):
        pair, cpu = [], []
        for contender, address, name in ((tapdeck, [ORIGIN, HTTPS], "origin.bench"),
                                         (nginx, ["127.0.0.1", 8443], "yard.bench")):
            before = contender.process.cpu_seconds()
            done = lab.probe_json(["handshakes", *address, name, count, 8, 0, 200], contender.captured)
            contender.check(count)
            cpu.append((contender.process.cpu_seconds() - before) * 1e6 / count)
            pair.append(done["per_s"])
        rate.pairs.append(pair)
        rate.cpu_us.append(cpu)
    return [rate]


def minted(lab, plan):
    """Names never seen before against one name, in replay, which never dials: only the leaf is new. The requests are
    misses (502), both ways."""
    tapdeck = replaying(lab, "https")
    result = Result("TLS handshake, leaf minted", "leaf cached", "µs", 1000, "added", note="one at a time, medians")
    count, first = int(500 * plan.scale), 0
    for _ in range(plan.rounds):
        fresh = lab.probe_json(["handshakes", ORIGIN, HTTPS, "n%.mint.bench", count, 1, first, 502], True)
        known = lab.probe_json(["handshakes", ORIGIN, HTTPS, "known.mint.bench", count, 1, 0, 502], True)
        first += count
        result.pairs.append([fresh["median_us"], known["median_us"]])
    misses = tapdeck.metric("tapdeck_tls_leaf_cache_requests_total", 'result="miss"')
    if misses < first:
        raise LabError(f"{first} new names, but only {misses:.0f} leaves minted")
    return [result]


def idle_memory(lab, plan):
    """Resident growth of the daemon; kernel socket memory is the same for every proxy and not in it."""
    contenders.origin(lab)
    tapdeck = Tapdeck(lab, "record")
    tapdeck.record_once("https")
    count = int(4000 * plan.scale)
    before = tapdeck.process.rss_kib()
    client = lab.start([lab.probe, "idle", ORIGIN, HTTPS, "origin.bench", count], LOAD_CORE, cgroup=lab.cgroup,
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, log=lab.fresh_dir("idle") / "log")
    client.popen.stdout.readline()
    active = tapdeck.metric("tapdeck_active_connections")
    if active < count:
        raise LabError(f"{active:.0f} of {count} connections are open: {client.tail()}")
    grown = (tapdeck.process.rss_kib() - before) / count
    result = Result(f"{count} idle intercepted TLS connections, each", "HAProxy's published 200 KB", "KiB", 60, "value")
    result.pairs.append([grown, 195])
    return [result]


def look_ups(lab, plan):
    """The store alone, asked by one thread, after compactions have ended. The program asks both stores in turns."""
    large = int(1_000_000 * plan.scale)
    names = {"hit and record": "look-up of a recording", "miss": "look-up of none"}
    results = {word: Result(f"{name}, {large:,} stored, p99", "10,000 stored", "µs", 1.5, "times")
               for word, name in names.items()}
    program = lab.build / "store/lookup_bench"
    done = subprocess.run([program, f"10000,{large}", "20000", lab.fresh_dir("lookups"), "settled"],
                          capture_output=True, text=True, timeout=400)
    figures = re.findall(r"^  (hit and record|miss) .* p99 +([0-9.]+) us$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or len(figures) != 4:
        raise LabError(f"lookup_bench: status {done.returncode}: {done.stdout[-300:]}{done.stderr}")
    for (word, small), (_, big) in zip(figures[:2], figures[2:]):
        results[word].pairs.append([float(big), float(small)])
    return list(results.values())


ROWS = [replay_clear, replay_tls, replay_h2, record_async, record_wal, record_h2, passthrough, hybrid_miss, mitmdump_replay, mitmdump_record,
        tunnel, first_byte, handshakes, minted, idle_memory, look_ups]
