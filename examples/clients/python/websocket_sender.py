"""Sends a face over a WebSocket. Needs: pip install websockets"""
import asyncio
import json
import math
import sys
import time

import websockets

URL = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765"
fps = 60.0


async def answer(socket):
    global fps
    async for text in socket:
        message = json.loads(text)
        if message["type"] == "ping":
            pong = {"type": "pong", "t": message["t"], "client_time": time.time() * 1000}
            await socket.send(json.dumps(pong))
        elif message["type"] == "set_rate":
            fps = message["fps"]
        elif message["type"] == "error":
            print(message["code"], message["message"], file=sys.stderr)


async def main():
    async with websockets.connect(URL) as socket:
        await socket.send(json.dumps({"type": "hello", "subject": "Python", "client": "websocket_sender.py"}))
        answers = asyncio.ensure_future(answer(socket))
        while not answers.done():
            now = time.time()
            shapes = {"jawOpen": 0.5 + 0.4 * math.sin(6 * now), "mouthSmileLeft": 0.3, "mouthSmileRight": 0.3}
            # Waits where the network is slow, so that frames are left out rather than queued.
            await socket.send(json.dumps({"type": "arkit_data", "blendshapes": shapes, "timestamp": now}))
            await asyncio.sleep(1 / fps)


asyncio.run(main())
