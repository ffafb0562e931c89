/** A face by WebRTC without facelink.js: one HTTP request, then a data channel. */
export async function perform(server, subject, face, configuration = {}) {
  const pc = new RTCPeerConnection(configuration);
  const channel = pc.createDataChannel('animation', { ordered: false, maxRetransmits: 0 });
  // The server speaks on a channel of its own.
  pc.ondatachannel = ({ channel: theirs }) => {
    theirs.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === 'ping') {
        theirs.send(JSON.stringify({ type: 'pong', t: message.t, client_time: Date.now() }));
      }
    };
  };
  await pc.setLocalDescription();
  // Every candidate belongs into the offer.
  while (pc.iceGatheringState !== 'complete') {
    await new Promise((done) => pc.addEventListener('icegatheringstatechange', done, { once: true }));
  }
  const response = await fetch(`${server}/api/v1/rtc/offer`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(pc.localDescription),
  });
  const { type, sdp } = await response.json();
  await pc.setRemoteDescription({ type, sdp });
  const timer = setInterval(() => {
    if (pc.connectionState === 'failed' || pc.connectionState === 'closed') {
      clearInterval(timer);
    } else if (channel.readyState === 'open' && channel.bufferedAmount === 0) {
      // Never queue: a frame that would have to wait is left out, and the next one is fresher.
      const frame = { type: 'arkit_data', subject, blendshapes: face(), timestamp: Date.now() };
      channel.send(JSON.stringify(frame));
    }
  }, 1000 / 60);
  return pc;
}
