// What a TypeScript program sees of the package; compiled only.
import Default, {
  ARKIT_NAMES, FacialAnimationWebRTCClient, decodeFacelink1, encodeFacelink1, headAngles, headQuaternion, samplePerformance,
} from './facelink.js';
import type { Blendshapes, ClientError, ClientOptions, ClientStats, Head } from './facelink.js';

const options: ClientOptions = { subject: 'Ann', webrtc: true };
const client: Default = new FacialAnimationWebRTCClient('ws://192.168.68.132:8765', options);
client.onBlendshapeUpdate = (blendshapes: Blendshapes, arkitRaw: Blendshapes) => console.log(blendshapes.jawOpen + arkitRaw.jawOpen);
client.onError = (error: ClientError) => console.warn(error.code, error.message);
client.pc?.addEventListener('iceconnectionstatechange', () => console.log(client.pc?.iceConnectionState));
const head: Head = { rotation: headQuaternion(0.1, 0, 0) };
const left: boolean = client.sendARKitData({ jawOpen: 0.5 }, { head, timestamp: Date.now() });
const stats: ClientStats = client.getStats();
const names: readonly string[] = ARKIT_NAMES;
const packet: Uint8Array = encodeFacelink1([{ sequence: 1, blendshapes: samplePerformance(1).blendshapes }]);
console.log(left, stats.signalling === 'http', names.length, decodeFacelink1(packet)[0].subject, headAngles(head.rotation ?? []));
// @ts-expect-error a state that there is not
const wrong: boolean = client.state === 'open';
