// The body of an async function in a page, with `settings` at hand: sends the synthetic
// performer at 60 Hz with facelink.js, and returns the transport once it is the one wanted.
const { FacialAnimationWebRTCClient, FACELINK1_MAGIC, samplePerformance } = await import('/facelink.js');
const lab = { repeats: 0 };
window.lab = lab;

/** Counts the packets that repeat earlier frames: bits 10 and 11 of the first face's flags. */
const counted = (data) => {
  const bytes = data instanceof ArrayBuffer ? new Uint8Array(data)
    : ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : null;
  if (!bytes || bytes[0] !== FACELINK1_MAGIC || settings.options.binary !== 'facelink1') return;
  if ((bytes[3] >> 2) & 3) lab.repeats += 1;
};
for (const way of [RTCDataChannel, WebSocket]) {
  const send = way.prototype.send;
  way.prototype.send = function (data) {
    counted(data);
    return send.call(this, data);
  };
}

const client = new FacialAnimationWebRTCClient(settings.url, settings.options);
// The page's clock in Unix ms. Its origin may be off by some ms, and the time of day comes in whole ones: the latest
// of many readings is the true one.
let zero = -Infinity;
for (const end = performance.now() + 100; performance.now() < end;) zero = Math.max(zero, Date.now() - performance.now());
const wall = () => zero + performance.now();
lab.stats = () => {
  const { framesSent, dropped, thinned, targetFPS, moves } = client.getStats();
  return { t: Math.round(wall() * 1000), sent: framesSent, dropped, thinned, target: targetFPS, moves, repeats: lab.repeats };
};

const start = performance.now();
let due = start;
const send = () => {
  const now = performance.now();
  const { blendshapes, head } = samplePerformance((now - start) / 1000);
  client.sendARKitData(blendshapes, { head, timestamp: wall() });
  due = Math.max(due + 1000 / 60, now - 250);
  setTimeout(send, due - performance.now());
};
send();
await client.connect();
const wanted = settings.options.webrtc ? 'webrtc' : 'websocket';
for (const end = performance.now() + 60000; client.getStats().transport !== wanted;) {
  if (performance.now() > end) throw new Error(`no ${wanted} in 60 s`);
  await new Promise((done) => setTimeout(done, 50));
}
return wanted;
