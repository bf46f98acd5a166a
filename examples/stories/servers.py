# SPDX-License-Identifier: Apache-2.0
"""Private database servers for the stories: started in a temporary directory on a free port as an unprivileged user, filled, and
stopped. Use as context managers; .address goes into DB_ADDRESS, .pid is the server's (or postmaster's) process."""
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

RECORDS, GROUPS = 10000, 50


class Missing(Exception):
    """The server's program is not installed."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def unprivileged(*names):
    """(uid, gid) to run a server as: the first of the accounts that exists when we are root, else ourselves."""
    if os.getuid() != 0:
        return os.getuid(), os.getgid()
    for n in (*names, "nobody"):
        try:
            p = pwd.getpwnam(n)
            return p.pw_uid, p.pw_gid
        except KeyError:
            continue
    raise Missing("no unprivileged account")


class Server:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="lockstep.db.")
        self.process = None
        self.pid = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def spawn(self, argv, who):
        log = open(os.path.join(self.dir, "log"), "w")
        extra = {"user": who[0], "group": who[1], "extra_groups": []} if os.getuid() == 0 else {}
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir, **extra)
        self.pid = self.process.pid
        log.close()

    def wait_port(self, port, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        with open(os.path.join(self.dir, "log")) as f:
            raise RuntimeError("server did not start: " + f.read()[-500:])


class Postgres(Server):
    def __init__(self, unix=False):
        super().__init__()
        self.unix = unix
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        self.bin = found[-1] if found else None

    def start(self):
        if not self.bin:
            raise Missing("postgresql")
        who = unprivileged("postgres")
        os.chown(self.dir, *who)
        data = os.path.join(self.dir, "data")
        extra = {"user": who[0], "group": who[1], "extra_groups": []} if os.getuid() == 0 else {}
        subprocess.run([f"{self.bin}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "--no-locale", "-E", "UTF8"], check=True,
                       stdout=subprocess.DEVNULL, cwd=self.dir, **extra)
        self.port = free_port()
        self.spawn([f"{self.bin}/postgres", "-D", data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-k", self.dir,
                    "-c", "shared_buffers=32MB", "-c", "max_connections=40"], who)
        self.wait_port(self.port)
        self.address = os.path.join(self.dir, f".s.PGSQL.{self.port}") if self.unix else str(self.port)
        self.sql(f"CREATE TABLE records AS SELECT i AS id, 'body of record ' || i AS body FROM generate_series(0, {RECORDS - 1}) i;"
                 f"ALTER TABLE records ADD PRIMARY KEY (id);"
                 f"CREATE TABLE groups AS SELECT i AS id, 'group ' || i AS name FROM generate_series(0, {GROUPS - 1}) i;"
                 f"ALTER TABLE groups ADD PRIMARY KEY (id); ANALYZE;")

    def sql(self, text):
        p = None
        for _ in range(50):  # the port opens a little before the server takes queries
            p = subprocess.run([f"{self.bin}/psql", "-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres",
                                "-c", text], capture_output=True, text=True)
            if p.returncode == 0:
                return p.stdout
            if "starting up" not in p.stderr:
                break
            time.sleep(0.1)
        raise RuntimeError("psql: " + p.stderr)


class Redis(Server):
    def start(self):
        if not shutil.which("redis-server"):
            raise Missing("redis-server")
        who = unprivileged("redis")
        os.chown(self.dir, *who)
        self.port = free_port()
        self.spawn(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize",
                    "no", "--dir", self.dir], who)
        self.wait_port(self.port)
        self.address = str(self.port)
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            lines = [f"SET record:{i} body-of-record-{i}" for i in range(RECORDS)] + [f"SET group:{i} name-{i}" for i in range(GROUPS)]
            s.sendall("".join(x + "\r\n" for x in lines).encode())
            want, got = len(lines) * len("+OK\r\n"), 0
            while got < want:
                got += len(s.recv(65536))
