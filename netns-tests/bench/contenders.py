"""Who is measured: the origin, nginx, HAProxy, mitmdump and tapdeck, each one process pinned to the server core."""
import json
import socket
import time

from lab import LOAD_CORE, ORIGIN, SERVER_CORE, LabError, accepts, run

HTTP, HTTPS = 80, 443  # the origin's ports
PROBE_PORT = 7001  # bench_probe origin: echo, then bulk, then streamed responses, WebSocket echo, server-sent events
WEBSOCKET_PORT, EVENTS_PORT = PROBE_PORT + 3, PROBE_PORT + 4
HAPROXY_WEBSOCKET_PORT = 8081
GRPC_PATH = "/bench.Echo/Unary.grpc"  # nghttpd takes the type of an answer from what follows a dot

NGINX = """
user root; daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log stderr crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 9500; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 600s;
  open_file_cache max=100 inactive=600s;
  client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
  server {{
    listen {address}:{http} backlog=4096; listen {address}:{https} ssl http2 backlog=4096;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {cert}; ssl_certificate_key {key};
    root {www};
    # Static files are for GET: a POST gets the same file, its body read and dropped. Without trailers, which nginx has none of.
    location = {grpc} {{ default_type application/grpc; error_page 405 =200 {grpc}; }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 5m
  timeout server 5m
  http-reuse always
frontend clear
  bind 127.0.0.1:8080
  default_backend clear
backend clear
  server origin {origin}:80
frontend tls
  bind 127.0.0.1:8443 ssl crt {pem} alpn h2,http/1.1
  default_backend tls
backend tls
  server origin {origin}:443 ssl verify required ca-file {ca} sni str(origin.bench) alpn http/1.1
frontend grpc
  bind 127.0.0.1:8444 ssl crt {pem} alpn h2
  default_backend grpc
backend grpc
  server origin {origin}:443 ssl verify required ca-file {ca} sni str(origin.bench) alpn h2
frontend websocket
  bind 127.0.0.1:{websocket}
  default_backend websocket
backend websocket
  timeout tunnel 5m
  server origin {origin}:{websocket_origin}
"""

TAPDECK = """
[proxy]
mode = "record"
[capture]
workers = 1
[storage]
path = "{dir}/state"
durability = "{durability}"
[tls]
upstream_ca = ["{ca}"]
[admin]
listen = "off"
socket = "{dir}/admin.sock"
token_file = "{dir}/admin.token"
[log]
level = "warn"
access = false
format = "pretty"
"""


def nginx(lab, core, address, http, https):
    directory = lab.fresh_dir("nginx")
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(dir=directory, address=address, http=http, https=https, cert=lab.cert, key=lab.key,
                                   www=lab.dir / "www", grpc=GRPC_PATH))
    process = lab.start(["nginx", "-p", directory, "-c", config, "-e", "stderr"], core, log=directory / "log")
    process.until(lambda: accepts(address, http), "listening")
    return process


def origin(lab):
    """nginx on the load core: the same for every contender that forwards."""
    return nginx(lab, LOAD_CORE, ORIGIN, HTTP, HTTPS)


def probe_origin(lab, core=LOAD_CORE, address=ORIGIN):
    process = lab.start([lab.probe, "origin", address, PROBE_PORT], core, log=lab.fresh_dir("origin") / "log")
    process.until(lambda: accepts(address, PROBE_PORT), "listening")
    return process


def grpc_origin(lab):
    """nghttpd on the load core: one unary method, answered with the lab's message and trailers once its request has ended."""
    directory = lab.fresh_dir("nghttpd")
    types = directory / "mime.types"
    types.write_text("application/grpc grpc\n")
    process = lab.start(["nghttpd", "-n1", "-a", ORIGIN, "-d", lab.dir / "www", "--mime-types-file", types,
                         "--no-content-length", "--trailer", "grpc-status: 0", HTTPS, lab.key, lab.cert], LOAD_CORE, log=directory / "log")
    process.until(lambda: accepts(ORIGIN, HTTPS), "listening")
    return process


class Yardstick:
    """A server that clients outside the captured cgroup talk to directly."""

    captured = False

    def __init__(self, name, process, clear, tls):
        self.name, self.process, self._ports = name, process, {"http": clear, "https": tls}

    def url(self, scheme, path="/2k.bin"):
        return f"{scheme}://yard.bench:{self._ports[scheme]}{path}"

    def check(self, requests):
        pass


def nginx_yardstick(lab):
    return Yardstick("nginx", nginx(lab, SERVER_CORE, "127.0.0.1", 8080, 8443), 8080, 8443)


def haproxy(lab, tls=8443):
    """Port 8443 forwards by HTTP/1.1, 8444 by HTTP/2, HAPROXY_WEBSOCKET_PORT in clear to the WebSocket origin."""
    directory = lab.fresh_dir("haproxy")
    config = directory / "haproxy.cfg"
    config.write_text(HAPROXY.format(origin=ORIGIN, pem=lab.pem, ca=lab.ca, websocket=HAPROXY_WEBSOCKET_PORT,
                                     websocket_origin=WEBSOCKET_PORT))
    process = lab.start(["haproxy", "-db", "-q", "-f", config], SERVER_CORE, log=directory / "log")
    process.until(lambda: accepts("127.0.0.1", 8080), "listening")
    return Yardstick("HAProxy", process, 8080, tls)


def _mitmdump(lab, scheme, *options):
    directory = lab.fresh_dir("mitmdump")
    port = 9101
    process = lab.start(
        ["mitmdump", "-q", "--set", f"confdir={directory}", "--set", f"ssl_verify_upstream_trusted_ca={lab.ca}",
         "--mode", f"reverse:{scheme}://origin.bench", "--listen-host", "127.0.0.1", "--listen-port", port, *options],
        SERVER_CORE, log=directory / "log")
    process.until(lambda: accepts("127.0.0.1", port), "listening", 30)
    return Yardstick("mitmdump", process, port, port)


def mitmdump_recording(lab, scheme):
    return _mitmdump(lab, scheme, "-w", lab.fresh_dir("flows") / "flows")


def mitmdump_replaying(lab, scheme):
    flows = lab.fresh_dir("flows") / "flows"
    recorder = _mitmdump(lab, scheme, "-w", flows)
    run(["curl", "-ksSf", "-o", "/dev/null", recorder.url(scheme)])
    recorder.process.stop()
    return _mitmdump(lab, scheme, "--server-replay", flows, "--set", "server_replay_nopop=true", "--server-replay-kill-extra")


class Tapdeck:
    """tapdeck serve with one worker; the lab's cgroup is its target, so that clients in there are captured."""

    captured = True

    def __init__(self, lab, mode, durability="wal"):
        self.name = "tapdeck"
        self._lab, self._dir = lab, lab.fresh_dir("tapdeck")
        self._config = self._dir / "tapdeck.toml"
        self._config.write_text(TAPDECK.format(dir=self._dir, durability=durability, ca=lab.ca))
        self.process = lab.start([lab.tapdeck, "serve", "--config", self._config], SERVER_CORE, log=self._dir / "log")
        self.process.until(lambda: self._ask("/readyz")[0] == 200, "readiness")
        self.target = str(json.loads(self._cli("attach", "--json", "--cgroup", lab.cgroup, "--session", "bench"))["id"])
        self._counted = 0.0
        self.set_mode(mode)

    def set_mode(self, mode):
        self.mode = mode
        self._cli("mode", "set", mode, "--target", self.target)
        self._counted = self.requests()

    def _cli(self, *words):
        return run([self._lab.tapdeck, *words, "--config", self._config])

    def _ask(self, path):
        with socket.socket(socket.AF_UNIX) as peer:
            try:
                peer.settimeout(5)
                peer.connect(str(self._dir / "admin.sock"))
                peer.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                answer = b"".join(iter(lambda: peer.recv(65536), b""))
            except OSError:
                return 0, ""
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head else 0, body.decode()

    def metric(self, name, *labels):
        status, text = self._ask("/metrics")
        if status != 200:
            raise LabError(f"tapdeck's metrics: status {status}: {self.process.tail()}")
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith((name + "{", name + " ")) and all(label in line for label in labels))

    def requests(self):
        outcome = {"record": "recorded", "replay": "replayed", "hybrid": "recorded", "passthrough": "forwarded"}[self.mode]
        return self.metric("tapdeck_requests_total", f'outcome="{outcome}"')

    def check(self, requests):
        """The requests since the last call must have passed through it in the way its mode promises."""
        before, deadline = self._counted, time.monotonic() + 3
        while (now := self.requests()) - before < requests and time.monotonic() < deadline:
            time.sleep(0.05)
        self._counted = now
        if now - before < requests:
            raise LabError(f"{requests} answers, but tapdeck counted {now - before:.0f} as {self.mode}: {self.process.tail()}")
        lost = self.metric("tapdeck_recordings_total", 'result="dropped"')
        if lost:
            raise LabError(f"tapdeck reported {lost:.0f} recordings lost")

    def check_whole(self):
        """No recording ended before its exchange did."""
        cut = self.metric("tapdeck_recordings_total", 'result="incomplete"') + self.metric("tapdeck_recordings_incomplete_total")
        if cut:
            raise LabError(f"tapdeck cut {cut:.0f} recordings short: {self.process.tail()}")

    @staticmethod
    def url(scheme, path="/2k.bin"):
        return f"{scheme}://origin.bench{path}"

    def record_once(self, scheme):
        """What replay will answer with."""
        before = self.requests()
        command = ["sh", "-c", 'echo $$ >"$1/cgroup.procs"; exec curl -ksSf -o /dev/null "$2"', "sh", self._lab.cgroup,
                   self.url(scheme)]
        run(command)
        if self.requests() - before < 1:
            raise LabError(f"tapdeck did not record {self.url(scheme)}: {self.process.tail()}")
