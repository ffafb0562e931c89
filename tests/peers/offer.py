"""How the peers by aiortc connect: an offer by HTTP, and its answer."""
import aiohttp
from aiortc import RTCSessionDescription


async def offer(pc, url):
    """Offers what `pc` has to the endpoint at `url`, and takes its answer."""
    await pc.setLocalDescription(await pc.createOffer())
    async with aiohttp.ClientSession() as http:
        offer = {"sdp": pc.localDescription.sdp, "type": "offer"}
        async with http.post(url + "/api/v1/rtc/offer", json=offer) as response:
            response.raise_for_status()
            answer = await response.json()
    await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
