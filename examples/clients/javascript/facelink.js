import { FacialAnimationWebRTCClient } from '/facelink.js';

/** A face by the client that every FaceLink server hands out: WebSocket at once, WebRTC when it answers. */
export async function perform(server, subject, face) {
  const client = new FacialAnimationWebRTCClient(server, { subject });
  client.onTransportChange = (transport) => console.log(`frames travel over ${transport}`);
  client.onError = (error) => console.warn(error.message);
  await client.connect();
  setInterval(() => client.sendARKitData(face()), 1000 / 60);
  return client;
}
