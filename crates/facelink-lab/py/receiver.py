"""Takes faces in Python, over aiortc, aiohttp or asyncio's datagrams, for `facelink-lab capacity`.

Reads the time at which a packet was made out of its bytes and nothing else. Writes JSON lines: {"listening": address} at the
start; {"begun": true} after the command `begin`; {"ages": {"count", "median_ms", "p99_ms"}} after the command `end`.
"""
import argparse
import asyncio
import json
import struct
import sys
import time

ages = []


def packet(data):
    """A `facelink1` packet with one face of the connection's own subject: its capture time is the ninth byte and on."""
    if len(data) >= 16 and data[0] == 0xF1:
        ages.append(time.time() * 1000.0 - struct.unpack_from("<Q", data, 8)[0] / 1000.0)


class Datagrams(asyncio.DatagramProtocol):
    """Live Link Face: the fraction of the second stands in `tongueOut`, the tenth curve from the end."""

    def datagram_received(self, data, _):
        sent = struct.unpack_from(">f", data, len(data) - 40)[0]
        ages.append((time.time() - sent) % 1.0 * 1000.0)


async def websocket(request):
    from aiohttp import WSMsgType, web

    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.BINARY:
            packet(message.data)
    return socket


peers = set()


async def offer(request):
    from aiohttp import web
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peers.add(peer)
    channel = peer.createDataChannel(
        "animation", ordered=False, maxRetransmits=0, negotiated=True, id=0, protocol="animation-data"
    )
    channel.on("message", lambda data: packet(data) if isinstance(data, bytes) else None)
    text = await request.json()
    await peer.setRemoteDescription(RTCSessionDescription(text["sdp"], text["type"]))
    await peer.setLocalDescription(await peer.createAnswer())
    return web.json_response({"sdp": peer.localDescription.sdp, "type": peer.localDescription.type})


def quantile(values, share):
    return values[round(share * (len(values) - 1))] if values else None


async def main(args):
    loop = asyncio.get_running_loop()
    if args.carrier == "udp":
        transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
        address = transport.get_extra_info("sockname")
    else:
        from aiohttp import web

        app = web.Application()
        app.router.add_get("/", websocket)
        app.router.add_post("/api/v1/rtc/offer", offer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = runner.addresses[0]
    print(json.dumps({"listening": f"{address[0]}:{address[1]}"}), flush=True)

    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = line.decode().strip()
        if command == "begin":
            ages.clear()
            print(json.dumps({"begun": True}), flush=True)
        elif command == "end":
            taken = sorted(ages)
            told = {"count": len(taken), "median_ms": quantile(taken, 0.5), "p99_ms": quantile(taken, 0.99)}
            print(json.dumps({"ages": told}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--carrier", choices=["udp", "websocket", "webrtc"], required=True)
    asyncio.run(main(parser.parse_args()))
