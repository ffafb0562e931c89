const pc = new RTCPeerConnection(settings.rtc);
const channel = pc.createDataChannel('animation', { ordered: false, maxRetransmits: 0 });
await pc.setLocalDescription(await pc.createOffer());
await new Promise((done) => {
  pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
  if (pc.iceGatheringState === 'complete') done();
});
const answer = await fetch('/api/v1/rtc/offer', {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ sdp: pc.localDescription.sdp, type: 'offer' }),
});
const { sdp, type } = await answer.json();
await pc.setRemoteDescription({ sdp, type });
await new Promise((done) => {
  channel.onopen = done;
  if (channel.readyState === 'open') done();
});
setInterval(() => {
  if (channel.bufferedAmount === 0) {
    channel.send(JSON.stringify({
      type: 'arkit_data', subject: settings.subject, blendshapes: { jawOpen: settings.jaw }, timestamp: Date.now(),
    }));
  }
}, 16);
window.pc = () => pc;
