"""Sends faces to a FaceLink endpoint from Python, over aiortc or aiohttp, for `facelink-lab latency`.

Every message carries the fraction of the second at which it was made as a channel of its own, so that the endpoint can
tell how long it was on its way. Writes JSON lines: {"state": "open"} before the first frame, {"done": frames} at the end.
"""
import argparse
import asyncio
import json
import math
import random
import sys
import time

from aiohttp import ClientSession

SHAPES = (
    "eyeBlinkLeft eyeLookDownLeft eyeLookInLeft eyeLookOutLeft eyeLookUpLeft eyeSquintLeft eyeWideLeft eyeBlinkRight "
    "eyeLookDownRight eyeLookInRight eyeLookOutRight eyeLookUpRight eyeSquintRight eyeWideRight jawForward jawLeft "
    "jawRight jawOpen mouthClose mouthFunnel mouthPucker mouthLeft mouthRight mouthSmileLeft mouthSmileRight "
    "mouthFrownLeft mouthFrownRight mouthDimpleLeft mouthDimpleRight mouthStretchLeft mouthStretchRight mouthRollLower "
    "mouthRollUpper mouthShrugLower mouthShrugUpper mouthPressLeft mouthPressRight mouthLowerDownLeft "
    "mouthLowerDownRight mouthUpperUpLeft mouthUpperUpRight browDownLeft browDownRight browInnerUp browOuterUpLeft "
    "browOuterUpRight cheekPuff cheekSquintLeft cheekSquintRight noseSneerLeft noseSneerRight tongueOut"
).split()


def message(number):
    chance = random.Random(number % 240)
    face = {
        name: round(chance.random() * (0.2 + 0.8 * abs(math.sin(number / 30 + index))), 4)
        for index, name in enumerate(SHAPES)
    }
    now = time.time()
    face["labClock"] = round(now % 1.0, 6)
    return json.dumps({"type": "arkit_data", "timestamp": now * 1000.0, "blendshapes": face})


class Rtc:
    async def open(self, http, to):
        from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = self.peer.createDataChannel("animation", ordered=False, maxRetransmits=0)
        opened = asyncio.Event()
        self.channel.on("open", opened.set)
        self.channel.on("message", lambda _: None)
        await self.peer.setLocalDescription(await self.peer.createOffer())
        offer = {"sdp": self.peer.localDescription.sdp, "type": "offer"}
        async with http.post(f"http://{to}/api/v1/rtc/offer", json=offer) as answer:
            answer = await answer.json()
        await self.peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        await asyncio.wait_for(opened.wait(), 20)

    async def send(self, text):
        self.channel.send(text)

    async def close(self):
        await self.peer.close()


class WebSocket:
    async def open(self, http, to):
        self.socket = await http.ws_connect(f"ws://{to}/", compress=0)
        self.reader = asyncio.ensure_future(self.read())

    async def read(self):
        async for _ in self.socket:
            pass

    async def send(self, text):
        await self.socket.send_str(text)

    async def close(self):
        await self.socket.close()
        await self.reader


async def main(args):
    async with ClientSession() as http:
        senders = [Rtc() if args.transport == "rtc" else WebSocket() for _ in range(args.n)]
        for sender in senders:
            await sender.open(http, args.to)
        await asyncio.sleep(0.5)
        print(json.dumps({"state": "open"}), flush=True)
        frames = int(args.fps * args.secs)

        async def run(index, sender):
            start = time.monotonic() + index / (args.fps * args.n)
            for number in range(frames):
                wait = start + number / args.fps - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                await sender.send(message(number))
                # As many small messages with an answer as the other program asks of its server.
                if number % 6 == 3:
                    await sender.send(json.dumps({"type": "ping", "t": time.time() * 1000.0}))

        await asyncio.gather(*(run(index, sender) for index, sender in enumerate(senders)))
        await asyncio.sleep(1.0)
        print(json.dumps({"done": frames * args.n}), flush=True)
        sys.stdin.readline()
        for sender in senders:
            await sender.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", required=True)
    parser.add_argument("--transport", choices=["rtc", "ws"], default="rtc")
    parser.add_argument("--fps", type=float, default=60)
    parser.add_argument("--secs", type=float, default=15)
    parser.add_argument("--n", type=int, default=1)
    asyncio.run(main(parser.parse_args()))
