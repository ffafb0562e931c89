"""A face by WebSocket. Comes back by itself when the connection is lost.

python websocket_sender.py [URL [SUBJECT [TOKEN]]]      (pip install websockets, 10 or newer)
"""
import asyncio
import json
import math
import sys
import time

import websockets

url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765"
subject = sys.argv[2] if len(sys.argv) > 2 else "Python"
token = sys.argv[3] if len(sys.argv) > 3 else None

session = {"fps": 60, "resume": None}


def frame():
    jaw = 0.5 + 0.5 * math.sin(4 * time.time())
    blendshapes = {"jawOpen": jaw, "mouthClose": 1 - jaw}
    return {"type": "arkit_data", "timestamp": time.time() * 1000, "blendshapes": blendshapes}


async def listen(ws):
    async for text in ws:
        if not isinstance(text, str):
            continue
        message = json.loads(text)
        if message["type"] == "welcome":
            session["resume"] = message.get("resume_token")
        elif message["type"] == "ping":
            pong = {"type": "pong", "t": message["t"], "client_time": time.time() * 1000}
            await ws.send(json.dumps(pong))
        elif message["type"] == "set_rate":
            session["fps"] = message["fps"]
        elif message["type"] == "error":
            print(message["message"], file=sys.stderr)


async def perform(ws):
    while True:
        # Never queue: a frame that would have to wait is left out, and the next one is fresher.
        if ws.transport.get_write_buffer_size() == 0:
            await ws.send(json.dumps(frame()))
        await asyncio.sleep(1 / session["fps"])


async def main():
    delay = 0.25
    while True:
        try:
            async with websockets.connect(url) as ws:
                hello = {"type": "hello", "subject": subject, "client": "websocket_sender.py"}
                hello |= {"token": token} if token else {}
                hello |= {"resume": session["resume"]} if session["resume"] else {}
                await ws.send(json.dumps(hello))
                delay = 0.25
                sending = asyncio.ensure_future(perform(ws))
                try:
                    await listen(ws)
                finally:
                    sending.cancel()
        except (OSError, websockets.exceptions.WebSocketException, asyncio.TimeoutError) as error:
            print(error, file=sys.stderr)
        await asyncio.sleep(delay)
        delay = min(2 * delay, 5)


asyncio.run(main())
