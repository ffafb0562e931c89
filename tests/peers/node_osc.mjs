/**
 * OSC by npm's node-osc, for the tests: a VMC or Face Cap sender, or a receiver.
 *
 *   node node_osc.mjs PACKAGES send HOST:PORT WAY
 *   node node_osc.mjs PACKAGES receive
 *
 * PACKAGES is the folder with `node_modules`. WAY is `bundle`, `single`, `bones`, `change`, `face-cap` or `trackers`, as in
 * python_osc.py. JavaScript has one kind of numbers: whole ones leave as integers.
 */
import { createRequire } from 'node:module';
import { createSocket } from 'node:dgram';
import { join } from 'node:path';

const [, , packages, what, host, way] = process.argv;
const { Bundle, Client, Server } = createRequire(join(packages, 'package.json'))('node-osc');
const say = (value) => console.log(JSON.stringify(value));

/** The messages of a frame: a jaw between 0 and 1, and a head that turns by up to 0.5 to the left. */
function frame(index) {
  const now = index / 60;
  const jaw = 0.5 - 0.5 * Math.cos(3 * now);
  const yaw = 0.5 * jaw;
  // Unity's axes: positive y turns to the right.
  const head = ['/VMC/Ext/Bone/Pos', 'Head', 0, 0, 0, 0, -Math.sin(yaw / 2), 0, Math.cos(yaw / 2)];
  const values = [
    ['/VMC/Ext/Blend/Val', 'JawOpen', jaw],
    ['/VMC/Ext/Blend/Val', 'MouthClose', 1 - jaw],
  ];
  const [ok, began, apply] = [['/VMC/Ext/OK', 1], ['/VMC/Ext/T', now], ['/VMC/Ext/Blend/Apply']];
  switch (way) {
    case 'bundle':
      return [new Bundle(ok, began, head, ...values, apply)];
    case 'single':
      return [...values, head];
    case 'bones':
      return [new Bundle(began, ok, head)];
    case 'change':
      return [new Bundle(...(index === 0 ? [['/VMC/Ext/Blend/Val', 'Joy', 1]] : []), ...values, apply)];
    case 'trackers':
      return [
        ['/jawOpen', jaw],
        ['/mouthClose', 1 - jaw],
        ['/avatar/parameters/LeftEyeLidExpandedSqueeze', 0.8 * (1 - jaw)],
        ['/avatar/parameters/LeftEyeX', 0.5],
        ['/avatar/parameters/RightEyeX', 0.5],
        ['/avatar/parameters/EyesY', 0.25],
      ];
    default:
      return [new Bundle(['/HR', 0, (yaw * 180) / Math.PI, 0], ['/W', 24, jaw], ['/W', 36, 1 - jaw])];
  }
}

if (what === 'send') {
  const [, address, port] = host.match(/^(.*):(\d+)$/);
  const client = new Client(address, Number(port));
  const start = performance.now();
  for (let index = 0; ; index += 1) {
    for (const part of frame(index)) {
      if (Array.isArray(part)) await client.send(...part);
      else await client.send(part);
    }
    await new Promise((done) => setTimeout(done, Math.max(0, start + ((index + 1) * 1000) / 60 - performance.now())));
  }
} else {
  // It opens no free port by itself.
  const socket = createSocket('udp4');
  await new Promise((done) => socket.bind(0, '127.0.0.1', done));
  const { port } = socket.address();
  await new Promise((done) => socket.close(done));
  const server = new Server(port, '127.0.0.1', () => say({ port }));
  server.on('message', ([address, ...values]) => say({ address, values }));
  server.on('bundle', (bundle) => {
    for (const [address, ...values] of bundle.elements) say({ address, values });
  });
}
