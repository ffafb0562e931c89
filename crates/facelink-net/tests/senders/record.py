#!/usr/bin/env python3
"""Records what senders send to a UDP port, in the format of README.md: `record.py live_link_face 11111 5 > name.txt`.

The arguments are the purpose of the port, its number, and for how many seconds to record after the first datagram.
"""
import socket
import sys
import time


def literal(data):
    """Bytes as text where all of them are, else in hexadecimal."""
    text = data.decode("ascii", "replace")
    if data and all(" " <= c <= "~" for c in text):
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return data.hex() or "''"


def difference(before, data):
    """`= offset:bytes ...` where that is shorter than the bytes."""
    if before is None or len(before) != len(data):
        return literal(data)
    patches, at = [], 0
    while at < len(data):
        if before[at] == data[at]:
            at += 1
            continue
        end = at + 1
        # A short equal stretch costs less than a new patch.
        while any(before[i] != data[i] for i in range(end, min(end + 3, len(data)))):
            end += 1
        patches.append(f"{at}:{data[at:end].hex()}")
        at = end
    short, long = " ".join(["=", *patches]), literal(data)
    return short if len(short) < len(long) else long


class Recording:
    """Lines of datagrams, for what arrives and for programs that make recordings."""

    def __init__(self, out=sys.stdout):
        self.out, self.before = out, None

    def add(self, ms, sender, data):
        """`sender` is a port, or an address with one."""
        self.out.write(f"{ms:.1f} {sender} {difference(self.before, data)}\n".replace(".0 ", " ", 1))
        self.before = data


def main():
    purpose, number, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("0.0.0.0", number))
    print(f"# Who sends this, and what is unusual about it.\nport {purpose}\nexpect subjects NAME\n")
    recording, begun = Recording(), None
    while begun is None or time.monotonic() - begun < seconds:
        data, (address, port) = receiver.recvfrom(65536)
        begun = begun or time.monotonic()
        recording.add((time.monotonic() - begun) * 1000, f"{address}:{port}", data)


if __name__ == "__main__":
    main()
