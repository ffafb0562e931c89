/**
 * A peer by a WebRTC stack of npm's for the tests: sends a face over a data channel, and says in JSON lines what happens.
 *
 *   node node_peer.mjs PACKAGES STACK HOST:PORT WAY
 *
 * PACKAGES is the folder with `node_modules`, STACK `werift` or `node-datachannel`. WAY is how the two find each other:
 *   offer       this side offers by HTTP, with a channel that it opens in-band
 *   negotiated  the same with the channel that both sides know, of id 0
 *   active      as `offer`, and `a=setup:active`
 *   port        as `offer`, and SCTP from another port than 5000
 *   answer      this side asks for an offer and answers it, by a WebSocket
 *   channels    as `offer`, with a channel more than is read, which has to be closed by the other side
 *   close       as `offer`, with a second channel that is closed once both are open
 *   leave       as `offer`, and closes the connection once a hundred frames have left
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [, , packages, stack, host, way] = process.argv;
const require = createRequire(join(packages, 'package.json'));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { RTCPeerConnection } = await load({ werift: 'werift', 'node-datachannel': 'node-datachannel/polyfill' }[stack]);
const say = (value) => console.log(JSON.stringify(value));
const options = { ordered: false, maxRetransmits: 0, protocol: 'animation-data' };

const pc = new RTCPeerConnection({ iceServers: [] });
let sender;
const opened = (channel) =>
  new Promise((resolve) => {
    if (channel.readyState === 'open') resolve();
    channel.onopen = () => resolve();
  });

function perform(channel) {
  let frame = 0;
  sender = setInterval(() => {
    if (channel.readyState !== 'open') return;
    channel.send(JSON.stringify({ type: 'arkit_data', subject: 'Ann', frame, timestamp: Date.now(), blendshapes: { jawOpen: 0.375 } }));
    frame += 1;
    if (way === 'leave' && frame === 100) {
      clearInterval(sender);
      pc.close();
      say({ closed: true });
    }
  }, 16);
}

async function gathered() {
  while (pc.iceGatheringState !== 'complete') await new Promise((resolve) => setTimeout(resolve, 5));
  return pc.localDescription.sdp;
}

async function offer() {
  const description = await pc.createOffer();
  await pc.setLocalDescription(description);
  let sdp = await gathered();
  if (way === 'active') sdp = sdp.replace('a=setup:actpass', 'a=setup:active');
  const response = await fetch(`http://${host}/api/v1/rtc/offer`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sdp, type: 'offer' }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(JSON.stringify(answer));
  say({ setup: /a=setup:(\w+)/.exec(answer.sdp)[1] });
  await pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
}

async function answer() {
  const { default: WebSocket } = await load('ws');
  const socket = new WebSocket(`ws://${host}/`);
  await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
  const early = [];
  let described = false;
  pc.ondatachannel = ({ channel }) => {
    say({ channel: channel.label, ordered: channel.ordered });
    opened(channel).then(() => perform(channel));
    channel.onmessage = () => {};
  };
  socket.onmessage = async ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === 'offer') {
      await pc.setRemoteDescription({ type: 'offer', sdp: message.sdp });
      const description = await pc.createAnswer();
      await pc.setLocalDescription(description);
      const sdp = await gathered();
      socket.send(JSON.stringify({ type: 'answer', sdp }));
      described = true;
      for (const candidate of early) await pc.addIceCandidate(candidate);
    } else if (message.type === 'ice_candidate' && message.candidate) {
      if (described) await pc.addIceCandidate(message.candidate);
      else early.push(message.candidate);
    }
  };
  socket.send(JSON.stringify({ type: 'request_offer' }));
}

pc.onconnectionstatechange = () => say({ state: pc.connectionState });
if (way === 'answer') {
  await answer();
} else {
  const known = way === 'negotiated' ? { negotiated: true, id: 0 } : {};
  const channel = pc.createDataChannel('animation', { ...options, ...known });
  channel.onmessage = () => {};
  pc.ondatachannel = ({ channel: theirs }) => {
    say({ channel: theirs.label });
    theirs.onmessage = () => {};
  };
  const others = { channels: ['control', 'third'], close: ['control'] }[way] ?? [];
  const further = others.map((label) => {
    const other = pc.createDataChannel(label, options);
    other.onclose = () => say({ ended: label });
    return other;
  });
  await offer();
  await opened(channel);
  say({ open: true });
  if (way === 'close') {
    await opened(further[0]);
    further[0].close();
  }
  perform(channel);
}
