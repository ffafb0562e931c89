"""A sender by aiortc for the tests, which can be told to go through a TURN server alone.

Says one JSON line when its data channel is open: the kinds of the two candidates that it uses.
"""
import argparse
import asyncio
import json
import time

import aioice.ice
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection

from offer import offer

parser = argparse.ArgumentParser()
parser.add_argument("url", help="http://host:port of the listener")
parser.add_argument("--subject", required=True)
parser.add_argument("--jaw", type=float, required=True)
parser.add_argument("--turn", help="URL, user and password, with commas between")
parser.add_argument("--relay-only", action="store_true")
args = parser.parse_args()

if args.relay_only:
    # Old versions have no policy for it: without addresses of its own, the relay is all there is.
    aioice.ice.get_host_addresses = lambda *_, **__: []


async def main():
    servers = []
    if args.turn:
        url, user, password = args.turn.split(",")
        servers.append(RTCIceServer(urls=[url], username=user, credential=password))
    pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    channel = pc.createDataChannel(
        "animation", ordered=False, maxRetransmits=0, protocol="animation-data", negotiated=True, id=0
    )
    opened = asyncio.Event()
    channel.on("open", opened.set)
    if channel.readyState == "open":
        opened.set()

    @channel.on("message")
    def on_message(message):
        if isinstance(message, str):
            message = json.loads(message)
            if message["type"] == "ping":
                channel.send(json.dumps({"type": "pong", "t": message["t"], "client_time": time.time() * 1000}))

    await offer(pc, args.url)
    await opened.wait()
    told = False
    while True:
        if channel.bufferedAmount == 0:
            frame = {"type": "arkit_data", "subject": args.subject, "timestamp": time.time() * 1000,
                     "blendshapes": {"jawOpen": args.jaw}}
            channel.send(json.dumps(frame))
        if not told:
            told = True
            ice = pc.sctp.transport.transport._connection
            pair = ice._nominated[1]
            print(json.dumps({"local": pair.local_candidate.type, "remote": pair.remote_candidate.type}), flush=True)
        await asyncio.sleep(1 / 60)


asyncio.run(main())
