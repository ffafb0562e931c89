"""A face by WebSocket at once, and by WebRTC as soon as its data channel answers. Comes back by itself.

python webrtc_ws_sender.py [URL [SUBJECT [TOKEN]]]      (pip install aiortc websockets)
"""
import asyncio
import json
import math
import sys
import time

import websockets
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765"
subject = sys.argv[2] if len(sys.argv) > 2 else "Python"
token = sys.argv[3] if len(sys.argv) > 3 else None


def frame():
    jaw = 0.5 + 0.5 * math.sin(4 * time.time())
    blendshapes = {"jawOpen": jaw, "mouthClose": 1 - jaw}
    return {"type": "arkit_data", "timestamp": time.time() * 1000, "blendshapes": blendshapes}


class Sender:
    fps = 60
    resume = None
    ws = pc = channel = None
    heard = 0.0  # when the data channel answered last

    async def run(self):
        delay = 0.25
        while True:
            try:
                async with websockets.connect(url) as self.ws:
                    hello = {"type": "hello", "subject": subject, "client": "webrtc_ws_sender.py"}
                    hello |= {"token": token} if token else {}
                    hello |= {"resume": self.resume} if self.resume else {}
                    await self.say(hello)
                    delay = 0.25
                    async for text in self.ws:
                        if isinstance(text, str):
                            await self.on_signal(json.loads(text))
            except (OSError, websockets.exceptions.WebSocketException, asyncio.TimeoutError) as error:
                print(error, file=sys.stderr)
            self.ws = None
            await asyncio.sleep(delay)
            delay = min(2 * delay, 5)

    async def say(self, message):
        await self.ws.send(json.dumps(message))

    async def on_signal(self, message):
        kind = message["type"]
        if kind == "welcome":
            self.resume = message.get("resume_token")
            # A connection that was resumed keeps its data channel.
            if not (message.get("resumed") and self.channel_answers()):
                self.offering = asyncio.ensure_future(self.offer(message.get("ice_servers", [])))
        elif kind == "answer":
            await self.pc.setRemoteDescription(RTCSessionDescription(message["sdp"], "answer"))
        elif kind == "ice_candidate" and message["candidate"]:
            candidate = candidate_from_sdp(message["candidate"]["candidate"].split(":", 1)[1])
            candidate.sdpMid = message["candidate"].get("sdpMid") or "0"
            await self.pc.addIceCandidate(candidate)
        elif kind == "ping":
            await self.say({"type": "pong", "t": message["t"], "client_time": time.time() * 1000})
        elif kind == "set_rate":
            self.fps = message["fps"]
        elif kind == "error":
            print(message["message"], file=sys.stderr)

    async def offer(self, servers):
        if self.pc:
            await self.pc.close()
        servers = [RTCIceServer(s["urls"], s.get("username"), s.get("credential")) for s in servers]
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self.channel = channel = self.pc.createDataChannel(
            "animation", ordered=False, maxRetransmits=0, protocol="animation-data", negotiated=True, id=0
        )

        @channel.on("message")
        def on_message(text):
            self.heard = time.monotonic()
            message = json.loads(text) if isinstance(text, str) else {"type": "binary"}
            if message["type"] == "ping":
                pong = {"type": "pong", "t": message["t"], "client_time": time.time() * 1000}
                channel.send(json.dumps(pong))
            elif message["type"] == "set_rate":
                self.fps = message["fps"]

        await self.pc.setLocalDescription(await self.pc.createOffer())
        await self.say({"type": "offer", "sdp": self.pc.localDescription.sdp})

    def channel_answers(self):
        return self.channel and self.channel.readyState == "open" and time.monotonic() < self.heard + 1

    async def perform(self):
        pinged = 0.0
        while True:
            await asyncio.sleep(1 / self.fps)
            if self.channel and self.channel.readyState == "open" and time.monotonic() > pinged + 0.25:
                pinged = time.monotonic()
                self.channel.send(json.dumps({"type": "ping", "t": time.time() * 1000}))
            # Never queue: a frame that would have to wait is left out, and the next one is fresher.
            if self.channel_answers():
                if self.channel.bufferedAmount == 0:
                    self.channel.send(json.dumps(frame()))
            elif self.resume and self.ws and self.ws.transport.get_write_buffer_size() == 0:
                try:
                    await self.say(frame())
                except websockets.exceptions.ConnectionClosed:
                    pass  # `run` is about to notice


async def main():
    sender = Sender()
    await asyncio.gather(sender.run(), sender.perform())


asyncio.run(main())
