"""A face by WebRTC alone: one HTTP request, then a data channel.

python webrtc_http_sender.py [URL [SUBJECT [TOKEN]]]      (pip install aiortc, 1.4 or newer)
"""
import asyncio
import json
import math
import sys
import time
import urllib.request

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8765"
subject = sys.argv[2] if len(sys.argv) > 2 else "Python"
token = sys.argv[3] if len(sys.argv) > 3 else None


def post(offer):
    request = urllib.request.Request(url + "/api/v1/rtc/offer", json.dumps(offer).encode())
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", "Bearer " + token)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


async def main():
    # Name STUN and TURN servers here; on one network none is needed.
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = pc.createDataChannel(
        "animation", ordered=False, maxRetransmits=0, protocol="animation-data", negotiated=True, id=0
    )
    fps = 60

    @channel.on("message")
    def on_message(text):
        nonlocal fps
        message = json.loads(text) if isinstance(text, str) else {"type": "binary"}
        if message["type"] == "ping":
            pong = {"type": "pong", "t": message["t"], "client_time": time.time() * 1000}
            channel.send(json.dumps(pong))
        elif message["type"] == "set_rate":
            fps = message["fps"]

    # aiortc gathers every candidate before this returns: they are all in the offer.
    await pc.setLocalDescription(await pc.createOffer())
    offer = {"sdp": pc.localDescription.sdp, "type": pc.localDescription.type}
    answer = await asyncio.to_thread(post, offer)
    await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))

    while pc.connectionState not in ("failed", "closed"):
        # Never queue: a frame that would have to wait is left out, and the next one is fresher.
        if channel.readyState == "open" and channel.bufferedAmount == 0:
            jaw = 0.5 + 0.5 * math.sin(4 * time.time())
            frame = {
                "type": "arkit_data",
                "subject": subject,
                "timestamp": time.time() * 1000,
                "blendshapes": {"jawOpen": jaw, "mouthClose": 1 - jaw},
            }
            channel.send(json.dumps(frame))
        await asyncio.sleep(1 / fps)


asyncio.run(main())
