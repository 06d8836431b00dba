"""srun as a transport, through a real Slurm: munged, slurmctld and two slurmd of our own on this machine, no systemd. Skipped where Slurm isn't installed (`tools/setup long`)."""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

import processes
from client import SLOW
from sshd import free_port

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = {name: shutil.which(name, path=PATH) for name in ("munged", "slurmctld", "slurmd", "srun", "sinfo", "squeue")}

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not all(PROGRAMS.values()), reason="no Slurm here (tools/setup long installs it)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd has to be root"),
]

CONF = """
ClusterName=ssx
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ctld}
AuthType=auth/munge
AuthInfo=socket={dir}/munge.socket
CredType=cred/munge
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool.%n
SlurmdPidFile={dir}/slurmd.%n.pid
SlurmdLogFile={dir}/slurmd.%n.log
SlurmctldPidFile={dir}/slurmctld.pid
SlurmctldLogFile={dir}/slurmctld.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1} CPUs=8
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2} CPUs=8
PartitionName=all Nodes=n1,n2 Default=YES OverSubscribe=YES State=UP
"""


class Slurm:
    def __init__(self, root):
        self.dir, self.conf, self.children = root, root / "slurm.conf", []
        self.env = dict(os.environ, SLURM_CONF=str(self.conf), PATH=PATH)
        (root / "state").mkdir()
        ports = {name: free_port() for name in ("ctld", "n1", "n2")}
        self.conf.write_text(CONF.format(dir=root, host=socket.gethostname().split(".")[0], **ports))

    def _start(self, program, *options):
        with (self.dir / (program + ".out")).open("ab") as out:
            child = processes.start([PROGRAMS[program], *options], env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        processes.expect(child.pid)
        self.children.append(child)

    def start(self):
        key = self.dir / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        own = ["--%s-file=%s" % (name, self.dir / ("munge." + name)) for name in ("key", "pid", "log", "seed")]
        self._start("munged", "--foreground", "--force", "--socket=%s" % (self.dir / "munge.socket"), *own)
        assert processes.wait_until((self.dir / "munge.socket").exists, 10), self.logs()
        self._start("slurmctld", "-D", "-i")
        for node in ("n1", "n2"):
            self._start("slurmd", "-D", "-N", node)
        assert processes.wait_until(lambda: self.states() == ["idle", "idle"], 60, 0.5), self.logs()
        return self

    def states(self):
        done = subprocess.run([PROGRAMS["sinfo"], "-hN", "-o", "%t"], env=self.env, capture_output=True, text=True)
        return done.stdout.split()

    def jobs(self):
        return subprocess.run([PROGRAMS["squeue"], "-h"], env=self.env, capture_output=True, text=True).stdout

    def logs(self):
        return "\n".join("== %s\n%s" % (path.name, path.read_text(errors="replace")[-3000:]) for path in sorted(self.dir.glob("*.out")) + sorted(self.dir.glob("*.log")))

    def stop(self):
        for child in reversed(self.children):
            for p in processes.tree(child.pid):
                os.kill(p.pid, signal.SIGKILL)
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            processes.unexpect(child.pid)


@pytest.fixture(scope="module")
def slurm():
    root = Path(tempfile.mkdtemp(prefix="sshexec-slurm-"))
    root.chmod(0o755)
    server = Slurm(root)
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(root)


@pytest.fixture
def cluster(slurm, client):
    client.env.update(SLURM_CONF=str(slurm.conf), PATH=PATH)
    path = client.home / ".config" / "sshexec" / "config"
    path.parent.mkdir(parents=True)
    path.write_text("[transport slurm]\ncommand = srun -u -N1 -w %h %c\n")
    yield slurm
    assert processes.wait_until(lambda: not slurm.jobs(), 20 * SLOW, 0.2), slurm.jobs()


def run(client, *words, host="n1", before=(), **how):
    return client.run(["run", "--transport", "slurm", *before, words[0], host, *words[1:]], timeout=60, **how)


@pytest.mark.parametrize("host", ["n1", "n2"])
def test_worker_on_a_node(client, cluster, host):
    done = run(client, "exec", "--", "printenv", "SLURMD_NODENAME", host=host)
    assert done.code == 0 and done.text == host + "\n", done
    done = run(client, "hello", "name=Ada", host=host)
    assert done.code == 0 and "Ada" in done.text, done
    assert run(client, "exec", "--", "sh", "-c", "exit 7", host=host).code == 7


def test_every_byte_arrives(client, cluster):
    data = bytes(range(256)) * 2000 + os.urandom(300_001)
    done = run(client, "exec", "--", "cat", input=data)
    assert done.code == 0 and done.out == data, (done.code, done.err[-500:], len(done.out))


def test_output_without_a_newline_is_not_held_back(client, cluster):
    child = client.popen(["run", "--transport", "slurm", "exec", "n1", "--", "sh", "-c", "printf x; sleep 60"])
    assert child.stdout.read(1) == b"x"
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=20 * SLOW)
    assert child.returncode == 130


def test_srun_that_is_killed_is_lost(client, cluster):
    child = client.popen(["run", "--transport", "slurm", "--json", "exec", "n1", "--", "sh", "-c", "echo up; sleep 60"])
    assert b"up" in child.stdout.readline()
    srun = [p for p in processes.descendants() if p.parent == child.pid and "srun" in p.command]
    assert srun
    os.kill(srun[0].pid, signal.SIGKILL)
    out, _ = child.communicate(timeout=20 * SLOW)
    assert child.returncode == 255 and json.loads(out.splitlines()[-1])["outcome"] == "lost"
    subprocess.run(["scancel", "-u", "root"], env=cluster.env, check=True)


def test_node_that_is_not_there(client, cluster):
    done = run(client, "hello", host="n9")
    assert done.code == 255 and done.err.count(b"\n") == 1 and "srun" in done.error, done
