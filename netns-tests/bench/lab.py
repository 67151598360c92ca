"""Where the bench runs: a network namespace with loopback only, a cgroup to capture, certificates, pinned processes.

Everything is on loopback of that namespace: the origin at ORIGIN, the yardsticks at 127.0.0.1. SERVER_CORE carries the
contender being measured with all its threads, LOAD_CORE the load generator and, for rows that forward, the origin.
"""
import atexit
import ctypes
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1
ORIGIN = "10.77.2.2"
HOSTS = {"origin.bench": ORIGIN, "yard.bench": "127.0.0.1"}
_INSIDE = "TAPDECK_BENCH_INSIDE"


class LabError(Exception):
    """Something could not be started or measured; a number would be a lie."""


def enter_namespace():
    """Starts this program again in a network and mount namespace of its own."""
    if os.environ.get(_INSIDE) == "yes":
        return
    if os.geteuid() != 0:
        sys.exit("bench: needs root (network namespaces, cgroups and BPF); run: sudo make bench")
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: needs two cores, one for the server and one for the load")
    os.environ[_INSIDE] = "yes"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, "-B", *sys.argv])


def run(argv, **options):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=60, **options)
    if done.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv))}: status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def _cgroup2_mount():
    for line in Path("/proc/self/mounts").read_text().splitlines():
        fields = line.split()
        if fields[2] == "cgroup2":
            return Path(fields[1])
    raise LabError("no cgroup2 mount in /proc/self/mounts")


class Process:
    """A pinned child; dies with the bench."""

    def __init__(self, argv, core, cgroup=None, log=None, stdin=subprocess.DEVNULL, stdout=None):
        libc = ctypes.CDLL(None)

        def prepare():
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            os.sched_setaffinity(0, {core})
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            if cgroup is not None:
                (cgroup / "cgroup.procs").write_text(str(os.getpid()))

        self.name = Path(str(argv[0])).name
        self.log = log
        sink = open(log, "ab") if log else subprocess.PIPE
        try:
            self.popen = subprocess.Popen([str(word) for word in argv], stdin=stdin, stdout=stdout or sink, stderr=sink,
                                          preexec_fn=prepare)
        except FileNotFoundError as error:
            raise LabError(f"{argv[0]} is not installed (see .ci/packages)") from error

    def tail(self):
        return self.log.read_text(errors="replace")[-2000:] if self.log else ""

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_kib(self):
        for line in Path(f"/proc/{self.popen.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise LabError(f"{self.name} has no resident memory: it ended")

    def until(self, ready, what, seconds=20):
        end = time.monotonic() + seconds
        while not ready():
            if self.popen.poll() is not None or time.monotonic() > end:
                raise LabError(f"{self.name}: {what} did not happen: {self.tail()}")
            time.sleep(0.02)

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(5)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


def grpc_message(payload):
    """With gRPC's prefix: not compressed, and the length."""
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def accepts(address, port):
    try:
        socket.create_connection((address, port), 1).close()
        return True
    except OSError:
        return False


class Lab:
    """The place; a context manager that leaves nothing behind."""

    def __init__(self, build):
        self.build = build
        self.tapdeck = build / "tapdeck"
        self.probe = build / "netns-tests/bench/bench_probe"
        for program in (self.tapdeck, self.probe):
            if not program.exists():
                raise LabError(f"{program} is not there; run: make build")
        self.processes = []
        self.count = 0

    def __enter__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="tapdeck-bench."))
        self.cgroup = _cgroup2_mount() / f"td-bench-{os.getpid()}"
        atexit.register(self.remove)
        self.cgroup.mkdir()
        self._network()
        self._certificates()
        (self.dir / "www").mkdir()
        (self.dir / "www/2k.bin").write_bytes(b"0123456789abcdef" * 128)
        (self.dir / "www/bench.Echo").mkdir()
        (self.dir / "www/bench.Echo/Unary.grpc").write_bytes(grpc_message(b"0123456789abcdef" * 128))
        return self

    def __exit__(self, *_):
        self.remove()

    def _network(self):
        # Not the host's bbr: it paces loopback, which would measure the pacing. Where cubic is not among the host's
        # tcp_allowed_congestion_control, reno always is.
        congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control")
        try:
            congestion.write_text("cubic")
        except OSError:
            congestion.write_text("reno")
        self.congestion = congestion.read_text().strip()
        Path("/proc/sys/net/core/somaxconn").write_text("4096")
        run(["ip", "link", "set", "lo", "up"])
        run(["ip", "addr", "add", f"{ORIGIN}/32", "dev", "lo"])
        hosts = self.dir / "hosts"
        hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{ip} {name}\n" for name, ip in HOSTS.items()))
        run(["mount", "--bind", hosts, "/etc/hosts"])
        # A run directory of our own: another tapdeck on this host is neither seen nor disturbed.
        Path("/run/tapdeck").mkdir(exist_ok=True)
        run(["mount", "-t", "tmpfs", "tmpfs", "/run/tapdeck"])

    def _certificates(self):
        self.ca, self.cert, self.key = self.dir / "ca.crt", self.dir / "leaf.crt", self.dir / "leaf.key"
        self.pem = self.dir / "leaf.pem"  # HAProxy wants both in one file
        names = ",".join(f"DNS:{name}" for name in (*HOSTS, "*.mint.bench"))
        (self.dir / "ext").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:false\n")
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        run(["openssl", "req", "-x509", *ec, "-days", "2", "-subj", "/CN=bench CA", "-keyout", self.dir / "ca.key", "-out",
             self.ca])
        run(["openssl", "req", *ec, "-subj", "/CN=origin.bench", "-keyout", self.key, "-out", self.dir / "leaf.csr"])
        run(["openssl", "x509", "-req", "-in", self.dir / "leaf.csr", "-CA", self.ca, "-CAkey", self.dir / "ca.key",
             "-CAcreateserial", "-days", "2", "-extfile", self.dir / "ext", "-out", self.cert])
        self.pem.write_text(self.cert.read_text() + self.key.read_text())

    def fresh_dir(self, name):
        self.count += 1
        path = self.dir / f"{name}-{self.count}"
        path.mkdir()
        return path

    def start(self, argv, core, **options):
        process = Process(argv, core, **options)
        self.processes.append(process)
        return process

    def probe_json(self, arguments, captured=False, seconds=60, core=LOAD_CORE):
        """Runs bench_probe to its end, inside the captured cgroup or not; its JSON."""
        process = Process([self.probe, *arguments], core, cgroup=self.cgroup if captured else None)
        return json.loads(finish(process, seconds))

    def stop_all(self):
        for process in reversed(self.processes):
            process.stop()
        self.processes.clear()

    def remove(self):
        atexit.unregister(self.remove)
        self.stop_all()
        if self.cgroup.exists():
            (self.cgroup / "cgroup.kill").write_text("1")
            for _ in range(250):
                try:
                    self.cgroup.rmdir()
                    break
                except OSError:
                    time.sleep(0.02)
        shutil.rmtree(self.dir, ignore_errors=True)


def finish(process, seconds):
    """Output of a process that ends by itself."""
    try:
        out, err = process.popen.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.popen.kill()
        process.popen.communicate()
        raise LabError(f"{process.name} did not end within {seconds} s") from None
    except BaseException:
        process.popen.kill()
        raise
    if process.popen.returncode != 0:
        raise LabError(f"{process.name}: status {process.popen.returncode}: {out.decode()}{err.decode()}")
    return out.decode()
