"""Sends a face over the WebSocket at once, and over WebRTC as soon as it is open. Needs: pip install aiortc websockets"""
import asyncio
import json
import math
import struct
import sys
import time

import websockets
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

URL = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765"
JAW_OPEN = 17  # its place among the 52 shapes of a binary frame


class Sender:
    pc = channel = None
    fps = 60.0

    async def connect(self, servers, socket):
        servers = [RTCIceServer(s["urls"], s.get("username"), s.get("credential")) for s in servers]
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        # Negotiated with id 0 by both sides: it opens a round trip sooner, and everything can go both ways on it.
        self.channel = self.pc.createDataChannel(
            "animation", ordered=False, maxRetransmits=0, protocol="animation-data", negotiated=True, id=0
        )
        self.channel.on("message", lambda text: self.answer(text, self.channel.send))
        await self.pc.setLocalDescription(await self.pc.createOffer())
        await socket.send(json.dumps({"type": "offer", "sdp": self.pc.localDescription.sdp}))

    def answer(self, text, send):
        message = json.loads(text)
        if message["type"] == "ping":
            send(json.dumps({"type": "pong", "t": message["t"], "client_time": time.time() * 1000}))
        elif message["type"] == "set_rate":
            self.fps = message["fps"]
        return message

    async def listen(self, socket):
        async for text in socket:
            message = self.answer(text, lambda reply: asyncio.ensure_future(socket.send(reply)))
            if message["type"] == "welcome":
                await self.connect(message["ice_servers"], socket)
            elif message["type"] == "answer":
                await self.pc.setRemoteDescription(RTCSessionDescription(message["sdp"], "answer"))
            elif message["type"] == "ice_candidate" and message["candidate"]:
                candidate = candidate_from_sdp(message["candidate"]["candidate"].split(":", 1)[1])
                candidate.sdpMid = message["candidate"]["sdpMid"]
                await self.pc.addIceCandidate(candidate)

    async def run(self):
        async with websockets.connect(URL) as socket:
            await socket.send(json.dumps({"type": "hello", "subject": "Python", "client": "webrtc_ws_sender.py"}))
            listening = asyncio.ensure_future(self.listen(socket))
            while not listening.done():
                weights = [0.0] * 52
                weights[JAW_OPEN] = 0.5 + 0.4 * math.sin(6 * time.time())
                frame = struct.pack("<52f", *weights)
                if self.channel is None or self.channel.readyState != "open":
                    await socket.send(frame)
                elif self.channel.bufferedAmount == 0:
                    self.channel.send(frame)
                await asyncio.sleep(1 / self.fps)


asyncio.run(Sender().run())
