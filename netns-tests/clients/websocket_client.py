# Runs the WebSocket cases against one server and prints a line a case: what a client sees of it. Raw sockets and
# frames, no library: the cases are not what a library would send. Usage: websocket_client.py HOST PORT [NAME-PREFIX]
import hashlib
import socket
import struct
import sys
import zlib

from websocket_cases import CASES, close

TIMEOUT = 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class Ended(Exception):
    pass


class Reader:
    def __init__(self, peer):
        self.peer, self.buffer = peer, b""

    def until(self, end):
        while end not in self.buffer:
            self.more()
        piece, self.buffer = self.buffer.split(end, 1)
        return piece

    def exactly(self, size):
        while len(self.buffer) < size:
            self.more()
        piece, self.buffer = self.buffer[:size], self.buffer[size:]
        return piece

    def more(self):
        try:
            data = self.peer.recv(65536)
        except TimeoutError:
            raise Ended("timeout")
        except OSError:
            raise Ended("end")
        if not data:
            raise Ended("end")
        self.buffer += data

    def frame(self):
        first, second = self.exactly(2)
        size = second & 0x7f
        if size == 126:
            size = struct.unpack(">H", self.exactly(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.exactly(8))[0]
        assert not second & 0x80, "a server masks"
        return first, self.exactly(size)


def extensions(head):
    values = [line.split(":", 1)[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-extensions:")]
    return sorted(part.strip() for value in values for part in value.split(";"))


class Conversation:
    """Messages as they come in, joined and inflated; fragments of servers do not show."""

    def __init__(self, reader, agreed):
        self.reader, self.agreed = reader, agreed
        self.inflate = zlib.decompressobj(-15)
        self.message = None

    def next(self):
        while True:
            first, payload = self.reader.frame()
            opcode = first & 0x0f
            if opcode == 8:
                code = struct.unpack(">H", payload[:2])[0] if payload else None
                return f"close {code}"
            if opcode in (9, 10):
                return f"{'ping' if opcode == 9 else 'pong'} {payload!r}"
            if opcode:
                self.message = [opcode, bool(first & 0x40), b""]
            self.message[2] += payload
            if first & 0x80:
                return self.whole()

    def whole(self):
        opcode, compressed, payload = self.message
        if compressed:
            if "server_no_context_takeover" in self.agreed:
                self.inflate = zlib.decompressobj(-15)
            payload = self.inflate.decompress(payload + b"\0\0\xff\xff")
        shown = repr(payload) if len(payload) < 40 else f"{len(payload)} bytes {hashlib.sha1(payload).hexdigest()[:12]}"
        return f"{'text' if opcode == 1 else 'binary'} {shown}"


def connect(host, port, case):
    peer = socket.create_connection((host, port), timeout=TIMEOUT)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    offer = f"Sec-WebSocket-Extensions: {case.offer}\r\n" if case.offer else ""
    peer.sendall((f"GET {case.path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n").encode())
    return peer


def send(peer, data, step):
    try:
        for at in range(0, len(data), step or len(data) or 1):
            peer.sendall(data[at:at + (step or len(data))])
    except OSError:
        pass  # the server has had enough; what it said is read


def run(host, port, case):
    events = []
    with connect(host, port, case) as peer:
        reader = Reader(peer)
        try:
            head = reader.until(b"\r\n\r\n").decode()
            status = head.split(" ")[1]
            if status != "101":
                return f"status {status}"
            agreed = extensions(head)
            events.append(f"open {'ok' if ACCEPT in head else 'wrong accept'} {agreed}")
            conversation = Conversation(reader, agreed)
            for number, part in enumerate(case.sends):
                if number > 0:
                    events.append(conversation.next())
                send(peer, part, case.step)
            wanted = 1 << 30 if case.wait == "close" else case.wait
            while len(events) - 1 < wanted:
                events.append(conversation.next())
                if events[-1].startswith("close"):
                    break
            if not events[-1].startswith("close"):
                send(peer, close(1000, b"done"), 0)
                while not events[-1].startswith("close"):
                    events.append(conversation.next())
            send(peer, close(1000), 0)
            try:
                peer.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            reader.more()
            events.append("bytes after the close")
        except Ended as end:
            events.append(str(end))
    return " | ".join(events)


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    prefix = sys.argv[3] if len(sys.argv) > 3 else ""
    for case in CASES:
        if case.name.startswith(prefix):
            print(f"{case.name}: {run(host, port, case)}", flush=True)


main()
