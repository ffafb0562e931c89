"""A peer by aiortc for the tests, with what networks and other stacks do: it loses packets, counts from elsewhere, leaves.

Offers by HTTP a channel that it opens in-band, and says in JSON lines what happens.
"""
import argparse
import asyncio
import json
import random
import time

import aioice
from aiortc import RTCPeerConnection
from aiortc.rtcsctptransport import RTCSctpTransport

from offer import offer

parser = argparse.ArgumentParser()
parser.add_argument("url", help="http://host:port of the listener")
parser.add_argument("--subject", default="Ann")
parser.add_argument("--tsn", type=int, help="the first TSN")
parser.add_argument("--sctp-port", type=int)
parser.add_argument("--frames", type=int, default=0, help="send so many, and close the connection; all the time if 0")
parser.add_argument("--silent", action="store_true", help="say nothing once the channel is open")
parser.add_argument("--freeze", type=int, help="after so many frames nothing leaves any more, by any protocol")
parser.add_argument("--watch", type=float, help="subscribe for so many seconds and say how it fared")
parser.add_argument("--binary", help="format to subscribe to")
parser.add_argument("--loss", type=float, default=0, help="share of the packets lost in each direction, once open")
parser.add_argument("--delay", type=float, default=0, help="seconds that its packets take")
parser.add_argument("--channels", type=int, default=0, help="open so many channels more")
parser.add_argument("--stuff", type=int, default=0, help="messages of 60 kB that each of those sends")
parser.add_argument("--label", type=int, default=0, help="length of their labels")
parser.add_argument("--churn", action="store_true", help="open one channel after the other, closing each when it is open")
parser.add_argument("--even", action="store_true", help="take even ids, as the DTLS client should (RFC 8832, 6)")
args = parser.parse_args()

chance = random.Random(7)
losing = False
frozen = False


def say(**what):
    print(json.dumps(what), flush=True)


send, receive = aioice.Connection.send, aioice.Connection.recv


async def lossy_send(self, data):
    if losing and chance.random() < args.loss:
        return
    if args.delay:
        asyncio.get_running_loop().call_later(args.delay, lambda: asyncio.ensure_future(send(self, data)))
        return
    await send(self, data)


async def lossy_receive(self):
    while True:
        data = await receive(self)
        if losing and chance.random() < args.loss:
            continue
        return data


aioice.Connection.send, aioice.Connection.recv = lossy_send, lossy_receive

made = RTCSctpTransport.__init__


def make(self, transport, port=5000):
    made(self, transport, args.sctp_port or port)
    if args.tsn is not None:
        self._local_tsn = args.tsn
        self._last_sacked_tsn = self._advanced_peer_ack_tsn = (args.tsn - 1) % 2**32
        self._reconfig_request_seq = args.tsn


RTCSctpTransport.__init__ = make
started = RTCSctpTransport.start


async def start(self, *parameters):
    await started(self, *parameters)
    if args.even:
        self._data_channel_id = 0


RTCSctpTransport.start = start
options = {"ordered": False, "maxRetransmits": 0, "protocol": "animation-data"}


async def main():
    global losing
    pc = RTCPeerConnection()
    pc._sctpLegacySdp = False
    channel = pc.createDataChannel("animation", **options)
    opened = asyncio.Event()
    channel.on("open", opened.set)
    seen = {"updates": 0, "facelink1": 0, "small": 0, "frames": [], "latency": []}

    def on_message(message):
        if isinstance(message, bytes):
            seen["facelink1"] += 1
            return
        event = json.loads(message)
        if event["type"] == "blendshape_update":
            seen["updates"] += 1
            seen["small"] += len(message) <= 1160
            seen["latency"].append(time.time() * 1000 - event["timestamp"])
            seen["frames"].append(event["frame"])

    @pc.on("datachannel")
    def on_channel(theirs):
        say(channel=theirs.label)
        theirs.on("message", on_message)

    channel.on("message", on_message)
    more = []
    for i in range(args.channels):
        other = pc.createDataChannel(f"{i:x<{max(args.label, 1)}}"[: max(args.label, 8)], **options)
        other.on("close", lambda i=i: say(ended=i))
        more.append(other)
    await offer(pc, args.url)

    @pc.on("connectionstatechange")
    def on_state():
        say(state=pc.connectionState)

    await opened.wait()
    say(open=True)
    losing = True
    churned = 0
    while args.churn and pc.connectionState == "connected":
        other, open, closed = pc.createDataChannel("another", **options), asyncio.Event(), asyncio.Event()
        other.on("open", open.set)
        other.on("close", closed.set)
        await open.wait()
        other.close()
        await closed.wait()
        churned += 1
        if churned % 100 == 0:
            say(churned=churned)
    for other in more:
        for _ in range(args.stuff):
            if other.readyState == "open":
                other.send("x" * 60_000)
    if args.watch:
        ask = {"type": "subscribe"}
        if args.binary:
            ask["binary"] = args.binary
        for _ in range(10):
            # It may be lost.
            channel.send(json.dumps(ask))
            await asyncio.sleep(0.05)
        seen.update(updates=0, facelink1=0, small=0, frames=[], latency=[])
        await asyncio.sleep(args.watch)
        latency = sorted(seen["latency"]) or [0]
        span = max(seen["frames"], default=0) - min(seen["frames"], default=0) + 1
        say(updates=seen["updates"], facelink1=seen["facelink1"], small=seen["small"], span=span,
            p50=latency[len(latency) // 2], p95=latency[len(latency) * 95 // 100])
    number = 0
    while not args.watch and (number < args.frames or not args.frames):
        if number == args.freeze:
            say(frozen=True)
            time.sleep(3600)
        if channel.bufferedAmount == 0 and not (args.silent and number):
            frame = {"type": "arkit_data", "subject": args.subject, "frame": number, "blendshapes": {"jawOpen": 0.375}}
            channel.send(json.dumps(frame))
            number += 1
        await asyncio.sleep(1 / 60)
    await pc.close()
    say(closed=True)


asyncio.run(main())
