"""What is measured of exchanges that are more than a request and its answer: gRPC calls, WebSockets, server-sent events.

As in rows.py: one function a row or two, A B A B with A tapdeck, and no figure without the daemon's own word that the
messages passed through it in the mode promised.
"""
import itertools
import re
import time
from dataclasses import dataclass, field

import contenders
from contenders import EVENTS_PORT, GRPC_PATH, HAPROXY_WEBSOCKET_PORT, WEBSOCKET_PORT, Tapdeck
from lab import LOAD_CORE, ORIGIN, SERVER_CORE, LabError, Process, finish, grpc_message
from rows import Result, h2load_rounds

GRPC_ANSWER = 5 + 2048
# A recording of a WebSocket ends at 1,048,576 messages and replays up to 64 MiB: both are far above what one peer says here.
PEERS, DEPTH = 4, 16
EVENTS, PAUSE_US = 2000, 1000


def grew(tapdeck, name, before, least, what, *labels):
    """Raises unless the metric has grown by `least` since it was `before`; messages may be counted a moment later."""
    deadline = time.monotonic() + 5
    while (now := tapdeck.metric(name, *labels)) - before < least and time.monotonic() < deadline:
        time.sleep(0.05)
    if now - before < least:
        raise LabError(f"{least} {what}, but tapdeck counted {now - before:.0f}: {tapdeck.process.tail()}")


def grpc_load(lab):
    """h2load's options for a unary call with a message of 100 bytes."""
    body = lab.dir / "call"
    body.write_bytes(grpc_message(b"q" * 100))
    return {"options": ["-d", body, "-H", "content-type: application/grpc", "-H", "te: trailers"], "path": GRPC_PATH,
            "size": GRPC_ANSWER}


def call_once(lab, contender, status):
    """One call through it, seen whole: the message and, where promised, the status in the trailers."""
    what = grpc_load(lab)
    out = finish(Process(["nghttp", "-v", "-n", *what["options"], contender.url("https", GRPC_PATH)], LOAD_CORE,
                         cgroup=lab.cgroup if contender.captured else None), 20)
    heard = re.findall(r"recv \(stream_id=\d+\) (.*)", out)
    if not {":status: 200", "content-type: application/grpc", status} <= set(heard):
        raise LabError(f"{contender.name} is no gRPC server: {out[-2000:]}")


@dataclass
class Counting:
    """A Tapdeck whose answers must also have been counted as gRPC messages."""

    tapdeck: Tapdeck
    captured: bool = True
    counted: float = field(default=0.0)

    def __post_init__(self):
        self.name, self.process, self.url = self.tapdeck.name, self.tapdeck.process, self.tapdeck.url

    def check(self, requests):
        self.tapdeck.check(requests)
        grew(self.tapdeck, "tapdeck_grpc_messages_total", self.counted, 2 * requests, "gRPC messages")
        self.counted = self.tapdeck.metric("tapdeck_grpc_messages_total")


def grpc_record(lab, plan):
    contenders.grpc_origin(lab)
    tapdeck, haproxy = Tapdeck(lab, "record"), contenders.haproxy(lab, tls=8444)
    for contender in (tapdeck, haproxy):
        call_once(lab, contender, "grpc-status: 0")
    result = Result("gRPC unary, record, h2 TLS in and out, wal", "HAProxy, h2 TLS to h2 TLS", "calls/s", 1.0, "ratio")
    return h2load_rounds(lab, plan, result, Counting(tapdeck), haproxy, **grpc_load(lab))


def grpc_replay(lab, plan):
    contenders.grpc_origin(lab)
    tapdeck = Tapdeck(lab, "record")
    call_once(lab, tapdeck, "grpc-status: 0")
    tapdeck.check(1)
    grew(tapdeck, "tapdeck_grpc_messages_total", 0, 2, "gRPC messages")
    tapdeck.set_mode("replay")
    nginx = contenders.nginx_yardstick(lab)
    call_once(lab, tapdeck, "grpc-status: 0")
    call_once(lab, nginx, ":status: 200")
    result = Result("gRPC unary, replay hit, h2 TLS, 8 x 32 streams", "nginx static file to POST, h2", "calls/s", 0.8, "ratio")
    return h2load_rounds(lab, plan, result, tapdeck, nginx, **grpc_load(lab))


def talk(lab, where, process, captured, count, size, seed):
    """Messages there and back a second, and the CPU microseconds of the server for each; what they say is by `seed`."""
    before = process.cpu_seconds()
    done = lab.probe_json(["websocket", *where, PEERS, count, size, DEPTH, seed], captured, 120)
    return done["per_s"], (process.cpu_seconds() - before) * 1e6 / done["messages"]


def websocket_rounds(lab, plan, result, tapdeck, yardstick, count, size, after, seeds):
    """`yardstick`: address, port and process. `after` judges a round of ours; `seeds`: one a round."""
    *where, process = yardstick
    ours, theirs = ([ORIGIN, WEBSOCKET_PORT], tapdeck.process, True), (where, process, False)
    for _, seed in zip(range(plan.rounds), seeds):
        before = tapdeck.metric("tapdeck_websocket_messages_total")
        pair = [talk(lab, *ours, count, size, seed)]
        grew(tapdeck, "tapdeck_websocket_messages_total", before, 2 * PEERS * count, "WebSocket messages there and back")
        tapdeck.check(PEERS)
        after()
        pair.append(talk(lab, *theirs, count, size, seed))
        result.pairs.append([rate for rate, _ in pair])
        result.cpu_us.append([cpu for _, cpu in pair])
    return result


def websocket_record(lab, plan):
    contenders.probe_origin(lab)
    tapdeck, haproxy = Tapdeck(lab, "record"), contenders.haproxy(lab)
    results = []
    for size, shown, count in ((125, "125 B", 40000), (4096, "4 KiB", 10000)):
        result = Result(f"WebSocket echo, {shown}, recording, wal", "HAProxy", "messages/s", 0.8, "ratio")
        result.note = f"{PEERS} connections, {DEPTH} messages under way; HAProxy passes bytes, tapdeck keeps messages"
        results.append(websocket_rounds(lab, plan, result, tapdeck, ("127.0.0.1", HAPROXY_WEBSOCKET_PORT, haproxy.process),
                                        int(count * plan.scale), size, tapdeck.check_whole, itertools.count(1)))
    return results


def websocket_replay(lab, plan):
    """The yardstick is the origin itself on the server's core: a thread a connection that unmasks and echoes."""
    origin = contenders.probe_origin(lab)
    tapdeck, count, size = Tapdeck(lab, "record"), int(20000 * plan.scale), 125
    talk(lab, [ORIGIN, WEBSOCKET_PORT], tapdeck.process, True, count, size, 0)
    tapdeck.check(PEERS)
    tapdeck.check_whole()
    tapdeck.set_mode("replay")
    origin.stop()
    direct = contenders.probe_origin(lab, SERVER_CORE, "127.0.0.1")
    result = Result("WebSocket echo, 125 B, replayed", "the origin on that core", "messages/s", 0.8, "ratio")
    return [websocket_rounds(lab, plan, result, tapdeck, ("127.0.0.1", WEBSOCKET_PORT, direct), count, size, lambda: None,
                             itertools.repeat(0))]


def events(lab, plan):
    """The same stream through tapdeck, recording, and past it."""
    contenders.probe_origin(lab)
    tapdeck = Tapdeck(lab, "record")
    rate = f"{1_000_000 // PAUSE_US} a second"
    median = Result(f"server-sent event while recording, {rate}, median", "direct", "µs", 1000, "added")
    p99 = Result(f"server-sent event while recording, {rate}, p99", "direct", "µs", 1000, "added")
    count = max(1000, int(EVENTS * plan.scale))
    for _ in range(plan.rounds):
        before = tapdeck.metric("tapdeck_bytes_total", 'direction="down"')
        ours, theirs = (lab.probe_json(["events", ORIGIN, EVENTS_PORT, count, PAUSE_US], captured)
                        for captured in (True, False))
        median.pairs.append([ours["median_us"], theirs["median_us"]])
        p99.pairs.append([ours["p99_us"], theirs["p99_us"]])
        tapdeck.check(1)
        tapdeck.check_whole()
        grew(tapdeck, "tapdeck_bytes_total", before, count * len("data: 1\n\n"), "bytes of events", 'direction="down"')
    return [median, p99]


ROWS = [grpc_record, grpc_replay, websocket_record, websocket_replay, events]
