# The cases of the WebSocket conformance test: name, path, offered extensions, the bytes to send, how many messages to
# wait for before saying Close ("close": until the server does). None among the bytes waits for one message, where a
# server may or may not answer it when the connection fails right behind. Used by websocket_client.py.
import struct
import zlib

MASK = b"\x37\xfa\x21\x3d"


def frame(first, payload=b"", masked=True):
    size = len(payload)
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes([first, bit | size])
    elif size < 65536:
        head = bytes([first, bit | 126]) + struct.pack(">H", size)
    else:
        head = bytes([first, bit | 127]) + struct.pack(">Q", size)
    if not masked:
        return head + payload
    mask = int.from_bytes((MASK * (size // 4 + 1))[:size], "big")
    return head + MASK + (int.from_bytes(payload, "big") ^ mask).to_bytes(size, "big")


def close(code=None, reason=b""):
    return frame(0x88, b"" if code is None else struct.pack(">H", code) + reason)


class Deflate:
    def __init__(self, keep=True, bits=15):
        self.keep, self.bits, self.state = keep, bits, None

    def __call__(self, payload):
        if self.state is None or not self.keep:
            self.state = zlib.compressobj(6, zlib.DEFLATED, -self.bits)
        return (self.state.compress(payload) + self.state.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Case:
    def __init__(self, name, sends, wait, path="/echo", offer="", step=0):
        self.name, self.path, self.offer, self.wait, self.step = name, f"{path}/{name}", offer, wait, step
        self.sends = [b""]
        for part in sends if isinstance(sends, list) else [sends]:
            if part is None:
                self.sends.append(b"")
            else:
                self.sends[-1] += part


def text(value):
    return value if isinstance(value, bytes) else value.encode()


def framing():
    for kind, first in (("text", 0x81), ("binary", 0x82)):
        for size in (0, 1, 2, 124, 125, 126, 127, 128, 1000, 65535, 65536, 100000):
            yield Case(f"{kind}-{size}", frame(first, b"x" * size), 1)
        for size in (0, 1, 125, 126, 300):
            yield Case(f"{kind}-bytewise-{size}", frame(first, b"y" * size), 1, step=1)
        for step in (2, 3, 7, 64, 1460):
            yield Case(f"{kind}-by-{step}", frame(first, b"z" * 3000), 1, step=max(step, 64) if step > 7 else step * 50)
    yield Case("many", [frame(0x81, b"m%d" % i) for i in range(50)], 50)
    yield Case("unmasked", frame(0x81, b"x", masked=False), "close")
    yield Case("unmasked-ping", frame(0x89, b"x", masked=False), "close")
    yield Case("good-then-unmasked", [frame(0x81, b"ok"), None, frame(0x82, b"x", masked=False)], "close")


def reserved():
    for bits in range(1, 8):
        for name, opcode in (("text", 1), ("binary", 2), ("close", 8), ("ping", 9), ("pong", 10)):
            yield Case(f"rsv-{bits}-{name}", frame(0x80 | bits << 4 | opcode, b""), "close", path="/plain")
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield Case(f"opcode-{opcode}", frame(0x80 | opcode), "close")
        yield Case(f"opcode-{opcode}-payload", [frame(0x81, b"first"), None, frame(0x80 | opcode, b"payload")], "close")
    yield Case("rsv-on-continuation", [frame(0x01, b"a"), frame(0xc0, b"b")], "close", path="/plain")


def fragments():
    for kind, first in (("text", 1), ("binary", 2)):
        for count in (2, 3, 5, 10, 40):
            parts = [frame(first, b"p0")] + [frame(0, b"p%d" % i) for i in range(1, count - 1)] + [frame(0x80, b"end")]
            yield Case(f"{kind}-fragments-{count}", parts, 1)
        yield Case(f"{kind}-empty-fragments", [frame(first), frame(0), frame(0x80)], 1)
        yield Case(f"{kind}-ping-between", [frame(first, b"a"), frame(0x89, b"p"), frame(0x80, b"b")], 2)
        yield Case(f"{kind}-pong-between", [frame(first, b"a"), frame(0x8a, b"p"), frame(0x80, b"b")], 1)
        yield Case(f"{kind}-close-between", [frame(first, b"a"), close(1000)], "close")
        yield Case(f"{kind}-fragments-bytewise", [frame(first, b"ab"), frame(0, b"cd"), frame(0x80, b"ef")], 1, step=1)
        yield Case(f"{kind}-nested", [frame(first, b"a"), frame(0x80 | first, b"b")], "close")
        yield Case(f"{kind}-big-fragments", [frame(first, b"q" * 40000), frame(0x80, b"r" * 40000)], 1)
    yield Case("continuation-alone", frame(0x80, b"x"), "close")
    yield Case("continuation-open", frame(0x00, b"x"), "close")
    yield Case("continuation-after-end", [frame(0x01, b"a"), frame(0x80, b"b"), None, frame(0x80, b"c")], "close")


def control():
    for size in (0, 1, 124, 125):
        yield Case(f"ping-{size}", frame(0x89, b"p" * size), 1)
        yield Case(f"pong-{size}", [frame(0x8a, b"p" * size), frame(0x81, b"still here")], 1)
    for name, opcode in (("ping", 9), ("pong", 10), ("close", 8)):
        yield Case(f"{name}-too-long", frame(0x80 | opcode, b"\x03\xe8" + b"p" * 124), "close")
        yield Case(f"{name}-fragmented", [frame(opcode, b"\x03\xe8"), frame(0x80, b"x")], "close")
    yield Case("pings", [frame(0x89, b"%d" % i) for i in range(10)], 10)
    yield Case("ping-binary", frame(0x89, bytes(range(100, 220))), 1)
    yield Case("ping-bytewise", frame(0x89, b"drip"), 1, step=1)


GOOD = ["κόσμε", "\x7f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "日本語",
        "\ufeffbom", "a\u0301", "\0"]
BAD = [b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc3", b"\xc3(", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xe2\x82",
       b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80",
       b"\xfe", b"\xff", b"ok\xffok", b"\xf0\x9f\x98", b"\xf8\x88\x80\x80\x80"]


def utf8():
    for i, value in enumerate(GOOD):
        data = text(value)
        yield Case(f"utf8-good-{i}", frame(0x81, data), 1)
        for cut in range(1, len(data)) if len(data) < 5 else ():
            yield Case(f"utf8-good-{i}-cut-{cut}", [frame(0x01, data[:cut]), frame(0x80, data[cut:])], 1)
    for i, data in enumerate(BAD):
        yield Case(f"utf8-bad-{i}", frame(0x81, data), "close")
        yield Case(f"utf8-bad-{i}-binary", frame(0x82, data), 1)
        yield Case(f"utf8-bad-{i}-fragments", [frame(0x01, b"fine"), frame(0x00, data), frame(0x80, b"")], "close")


def closes():
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
        yield Case(f"close-{code}", close(code), "close")
        yield Case(f"server-closes-{code}", frame(0x81, b"go"), "close", path=f"/close-{code}"
                   ) if code in (1000, 1001, 1011, 3000, 4999) else Case(f"close-{code}-reason", close(code, b"why"), "close")
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield Case(f"close-bad-{code}", close(code), "close")
    yield Case("close-empty", close(), "close")
    yield Case("close-half-code", frame(0x88, b"\x03"), "close")
    yield Case("close-long-reason", close(1000, b"r" * 123), "close")
    yield Case("close-bad-reason", close(1000, b"\xff"), "close")
    yield Case("close-then-data", [close(1000), frame(0x81, b"late")], "close")
    yield Case("data-then-close", [frame(0x81, b"one"), None, frame(0x82, b"two"), None, close(1001, b"bye")], "close")


def limits():
    yield Case("limit-at", frame(0x82, b"l" * 4096), 1, path="/small")
    yield Case("limit-over", frame(0x82, b"l" * 4097), "close", path="/small")
    yield Case("limit-far-over", frame(0x81, b"l" * 60000), "close", path="/small")
    yield Case("limit-fragments", [frame(0x02, b"l" * 4000), frame(0x80, b"l" * 97)], "close", path="/small")
    yield Case("limit-fragments-at", [frame(0x02, b"l" * 4000), frame(0x80, b"l" * 96)], 1, path="/small")
    bomb = Deflate()(b"\0" * 100000)
    yield Case("limit-bomb", frame(0xc2, bomb), "close", path="/small", offer="permessage-deflate")
    yield Case("pushed", frame(0x81, b"and asked"), 6, path="/push")


def deflate():
    plain = "permessage-deflate"
    offers = [plain, plain + "; client_max_window_bits", plain + "; server_no_context_takeover",
              plain + "; client_no_context_takeover", plain + "; server_max_window_bits=10",
              plain + "; client_max_window_bits=11; server_no_context_takeover; client_no_context_takeover",
              plain + "; nonsense", plain + "; nonsense, " + plain, "x-unknown, " + plain, "x-unknown"]
    for i, offer in enumerate(offers):
        yield Case(f"offer-{i}", [frame(0x81, b"offered"), frame(0x82, b"offered")], 2, offer=offer)
    yield Case("offer-to-plain", frame(0x81, b"x"), 1, path="/plain", offer=plain)
    for size in (0, 1, 100, 1000, 65536, 300000):
        yield Case(f"deflate-{size}", frame(0xc1, Deflate()(b"d" * size)), 1, offer=plain)
    state = Deflate()
    yield Case("deflate-context", [frame(0xc1, state(b"the same again and again")) for _ in range(10)], 10, offer=plain)
    state = Deflate(keep=False)
    yield Case("deflate-no-context", [frame(0xc1, state(b"the same again and again")) for _ in range(5)], 5,
               offer=plain + "; client_no_context_takeover; server_no_context_takeover")
    state = Deflate()
    yield Case("deflate-mixed", [frame(0xc1, state(b"zipped")), frame(0x81, b"plain"), frame(0xc2, state(b"zipped"))], 3,
               offer=plain)
    whole = Deflate()(b"in pieces, " * 50)
    for cut in (1, 5, len(whole) - 1):
        yield Case(f"deflate-cut-{cut}", [frame(0x41, whole[:cut]), frame(0x89, b"p"), frame(0x80, whole[cut:])], 2,
                   offer=plain)
    yield Case("deflate-bytewise", frame(0xc1, whole), 1, offer=plain, step=1)
    yield Case("deflate-garbage", frame(0xc2, b"\xff\xff\xff\xff\xff"), "close", offer=plain)
    yield Case("deflate-bad-utf8", frame(0xc1, Deflate()(b"\xff\xfe")), "close", offer=plain)
    yield Case("deflate-unasked", frame(0xc1, whole), "close")
    yield Case("deflate-rsv1-continues", [frame(0x41, whole[:5]), frame(0xc0, whole[5:])], "close", offer=plain)
    yield Case("deflate-rsv1-ping", frame(0xc9, b"p"), "close", offer=plain)


CASES = [case for group in (framing, reserved, fragments, control, utf8, closes, limits, deflate) for case in group()]
assert len({case.path for case in CASES}) == len(CASES)
