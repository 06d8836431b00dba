#!/usr/bin/python3
"""A peer's side of the comparison: peers.py execnet|mitogen CONFIG HOST ADDRESS PORT USER KEY

Does what a line on stdin says, and answers with one number, as session.c does:
    warm COUNT PAUSE        64 bytes to a function there and back, with a pause (in microseconds) before each: the median, in microseconds
    pipelined COUNT OPEN    as many under way at once: calls a second
execnet: one remote loop on one channel, which is the fastest that it offers. mitogen: call_async of a function.
"""
import statistics
import sys
import time

PAYLOAD = b"x" * 64


class Execnet:
    def __init__(self, config, host, *_):
        import execnet
        self.gateway = execnet.makegateway("ssh=-F %s %s//python=python3" % (config, host))
        self.channel = self.gateway.remote_exec("for value in channel:\n    channel.send(value)")

    def call(self):
        self.channel.send(PAYLOAD)
        return self.channel.receive()

    def pipelined(self, count, most):
        sent = 0
        for received in range(count):
            while sent < count and sent - received < most:
                self.channel.send(PAYLOAD)
                sent += 1
            assert self.channel.receive() == PAYLOAD

    def close(self):
        self.gateway.exit()


def give_back(value):
    return value


class Mitogen:
    def __init__(self, config, host, address, port, user, key):
        import mitogen.master
        self.broker = mitogen.master.Broker()
        router = mitogen.master.Router(self.broker)
        self.context = router.ssh(hostname=host, identity_file=key, python_path="python3", check_host_keys="ignore", ssh_args=["-F", config])

    def call(self):
        return self.context.call(give_back, PAYLOAD)

    def pipelined(self, count, most):
        under_way = []
        for _ in range(count):
            if len(under_way) == most:
                assert under_way.pop(0).get().unpickle() == PAYLOAD
            under_way.append(self.context.call_async(give_back, PAYLOAD))
        for receiver in under_way:
            assert receiver.get().unpickle() == PAYLOAD

    def close(self):
        self.broker.shutdown()
        self.broker.join()


def warm(peer, count, pause_us):
    took = []
    for _ in range(count):
        if pause_us:
            time.sleep(pause_us / 1e6)
        began = time.perf_counter()
        value = peer.call()
        took.append(time.perf_counter() - began)
        assert value == PAYLOAD
    return statistics.median(took) * 1e6


def pipelined(peer, count, most):
    began = time.perf_counter()
    peer.pipelined(count, most)
    return count / (time.perf_counter() - began)


def main():
    peer = {"execnet": Execnet, "mitogen": Mitogen}[sys.argv[1]](*sys.argv[2:])
    print("ready", flush=True)
    for line in sys.stdin:
        what, *numbers = line.split()
        print("%.3f" % {"warm": warm, "pipelined": pipelined}[what](peer, *map(int, numbers)), flush=True)
    peer.close()


if __name__ == "__main__":
    main()
