"""Hops whose round trip is as long as one likes, for a bench in a network namespace of its own.

A TUN device has the address LOCAL; whatever goes to an address of hop K, `10.77.K.2`, comes back to LOCAL after a delay,
its two addresses exchanged. So a server that listens at LOCAL is reached through any hop at that
hop's address, answers go the same way, and the kernel's TCP sees a round trip of twice the delay as it
would see it on a wire. Exchanging both addresses leaves the checksums right.

(tc's netem would do the same, but many kernels are built without it.)
"""
import fcntl
import heapq
import itertools
import os
import select
import struct
import subprocess
import sys
import time

LOCAL = "10.77.0.1"
DEVICE = "hops"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PACKET_MAX = 65536


def address(hop):
    return f"10.77.{hop}.2"


class SlowLink:
    """The process that keeps the packets; set() changes a hop's round trip."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        if self.process.stdout.readline() != b"up\n":
            raise SystemExit("no TUN device can be made here")

    def set(self, hop, round_trip_ms):
        self.process.stdin.write(f"{hop} {round_trip_ms}\n".encode())
        self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def open_device():
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    for words in (["addr", "add", f"{LOCAL}/16", "dev", DEVICE],
                  ["link", "set", DEVICE, "txqueuelen", "10000", "up"]):
        subprocess.run(["ip", *words], check=True)
    return device


def write(device, packet):
    try:
        os.write(device, packet)
    except (BlockingIOError, OSError):
        pass  # lost, as a packet may be


def carry(device):
    """Until the standard input ends."""
    delays, late, order = {}, [], itertools.count()
    poll = select.poll()
    poll.register(device, select.POLLIN)
    poll.register(0, select.POLLIN)
    told = b""
    while True:
        wait = max(0, (late[0][0] - time.monotonic()) * 1000) if late else None
        ready = dict(poll.poll(wait))
        if 0 in ready:
            more = os.read(0, 4096)
            if not more:
                return
            *lines, told = (told + more).split(b"\n")
            for line in lines:
                hop, round_trip = line.split()
                delays[int(hop)] = float(round_trip) / 2000
        now = time.monotonic()
        for _ in range(64 if device in ready else 0):
            try:
                packet = os.read(device, PACKET_MAX)
            except BlockingIOError:
                break
            if packet[0] >> 4 != 4:
                continue  # IPv6 looks for neighbours
            turned = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
            delay = delays.get(packet[18], 0)
            if delay > 0:
                heapq.heappush(late, (now + delay, next(order), turned))
            else:
                write(device, turned)
        while late and late[0][0] <= now:
            write(device, heapq.heappop(late)[2])


def main():
    device = open_device()
    print("up", flush=True)
    carry(device)


if __name__ == "__main__":
    main()
