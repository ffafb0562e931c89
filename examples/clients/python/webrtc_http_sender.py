"""Sends a face over WebRTC, with one HTTP request to set it up. Needs: pip install aiortc aiohttp"""
import asyncio
import json
import math
import sys
import time

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8765"


async def main():
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    # Unordered and never sent again: a frame that is late is worth nothing.
    channel = pc.createDataChannel("animation", ordered=False, maxRetransmits=0, protocol="animation-data")
    opened = asyncio.Event()
    channel.on("open", opened.set)
    await pc.setLocalDescription(await pc.createOffer())
    offer = {"sdp": pc.localDescription.sdp, "type": "offer"}
    async with aiohttp.ClientSession() as http:
        async with http.post(URL + "/api/v1/rtc/offer", json=offer) as response:
            reply = await response.json()
            if response.status != 200:
                sys.exit(reply["error"]["message"])
    await pc.setRemoteDescription(RTCSessionDescription(reply["sdp"], reply["type"]))
    await opened.wait()
    while channel.readyState == "open":
        now = time.time()
        shapes = {"jawOpen": 0.5 + 0.4 * math.sin(6 * now), "mouthSmileLeft": 0.3, "mouthSmileRight": 0.3}
        # What does not leave at once is left out.
        if channel.bufferedAmount == 0:
            channel.send(json.dumps({"type": "arkit_data", "subject": "Python", "blendshapes": shapes, "timestamp": now}))
        await asyncio.sleep(1 / 60)


asyncio.run(main())
