// facelink.js held to the table of faults and outcomes that the Rust connection is held to: the real module in Node, over
// an emulated network in virtual time. Rows, faults and outcomes: crates/facelink/tests/connection/main.rs.
//
//   node tests/web/connection.mjs [part of a row's name ...]
//
// SEEDS=10 runs of each row; VERBOSE=1 prints the events of the first and of every failed one. Node 20.19 or newer.

import { readFileSync } from 'node:fs';
import { Endpoint, FRAME_STEP, Seen } from './endpoint.mjs';
import { install, Network, Time } from './virtual.mjs';

/** MODULE=dist/facelink.min.js: the build instead of the source. */
const module = new URL(process.env.MODULE ?? 'facelink.js', new URL('../../crates/facelink-net/web/', import.meta.url));
const { ARKIT_NAMES, FacialAnimationWebRTCClient } = await import(module);

const FRAME_MS = 1000 / 60;
/** The client sees another network so much later. */
const NETWORK_SEEN_MS = 50;
const SEEDS = Number(process.env.SEEDS ?? 10);
const print = console.log;

const read = (file) => JSON.parse(readFileSync(new URL(file, import.meta.url), 'utf8')).rows;
/** The rows that both clients are held to, and those of what only browsers do. */
const table = { rows: [...read('../../crates/facelink/tests/connection/faults.json'), ...read('browser_faults.json')] };

// What a row may say. Anything else is an error, so that no misspelt outcome goes unjudged.
const FIELDS = {
  row: ['name', 'run_ms', 'link', 'webrtc', 'numbered', 'token', 'answer_delay_ms', 'faults', 'outcome'],
  link: ['delay_ms', 'jitter_ms', 'loss', 'burst'],
  fault: ['at_ms', 'kind', 'for_ms', 'by_ms'],
  outcome: ['up', 'down', 'first_frame_ms_max', 'transport', 'connection', 'faces', 'moves_max', 'face_gone_ms_max'],
  stream: ['lost_max', 'gap_ms_max', 'return_ms_max'],
};

function check(kind, object, where) {
  for (const field of Object.keys(object)) {
    if (!FIELDS[kind].includes(field)) throw new Error(`${where}: ${kind} has an unknown field "${field}"`);
  }
}

for (const row of table.rows) {
  check('row', row, row.name);
  check('link', row.link ?? {}, row.name);
  check('outcome', row.outcome, row.name);
  for (const fault of row.faults ?? []) check('fault', fault, row.name);
  for (const way of ['up', 'down']) check('stream', row.outcome[way] ?? {}, row.name);
}

/** Few enough for 16 bits each, where the client has packets of its own; enough for a whole face of floats elsewhere. */
const face = (number, count) => {
  const shapes = {};
  for (const name of ARKIT_NAMES.slice(0, count)) shapes[name] = name === 'jawOpen' ? number * FRAME_STEP : 0.25;
  return shapes;
};

/** One run of a row. */
async function run(row, seed) {
  const time = new Time();
  const network = new Network(time, row.link ?? {}, seed);
  const endpoint = new Endpoint(network, { token: row.token, answerDelay: row.answer_delay_ms });
  const page = install(network);
  const numbered = row.numbered ?? true;

  const result = { network, endpoint, up: endpoint.up, down: endpoint.downwards, moves: 0, ids: [], dialsAfterRefusal: 0, sendsBoth: 0, errors: [] };
  const client = new FacialAnimationWebRTCClient('ws://endpoint.test:8765', {
    subject: 'Test', token: 'token', webrtc: row.webrtc ?? true, binary: numbered ? 'facelink1' : 'float32',
  });
  client.debug = Boolean(process.env.VERBOSE);
  console.debug = console.info = console.warn = () => {};
  client.onLog = (level, text) => endpoint.log.push(`${time.now.toFixed(0).padStart(6)} client ${text}`);
  client.onError = (error) => result.errors.push(error.code);
  let last = null;
  client.onTransportChange = (transport) => {
    if (transport === 'none') return;
    result.moves += last !== null && last !== transport ? 1 : 0;
    last = transport;
  };
  client.onMessage = (message) => {
    if (message.type === 'welcome' && result.ids.at(-1) !== message.connection_id) result.ids.push(message.connection_id);
  };
  client.onBlendshapeUpdate = (data, arkit, message) => result.down.show(message.frame, time.now);
  client.subscribe();

  const carried = { websocket: 0, webrtc: 0 };
  const write = network.write.bind(network);
  network.write = (stream, up, message) => {
    carried.websocket += up && isFrame(message.data) ? 1 : 0;
    write(stream, up, message);
  };
  const datagram = network.datagram.bind(network);
  network.datagram = (peer, up, data) => {
    carried.webrtc += up && isFrame(data) ? 1 : 0;
    datagram(peer, up, data);
  };
  const dial = network.dial.bind(network);
  network.dial = (socket) => {
    if (client.state === 'failed') result.dialsAfterRefusal += 1;
    return dial(socket);
  };

  const frames = () => {
    time.after(FRAME_MS, frames);
    if (!network.asleep && !network.killed && client.state !== 'closed') {
      const number = result.up.make(time.now);
      [carried.websocket, carried.webrtc] = [0, 0];
      client.sendARKitData(face(number, numbered ? 24 : 52));
      result.sendsBoth += carried.websocket && carried.webrtc ? 1 : 0;
    }
    endpoint.sendFrame(numbered);
  };
  // Not in step with anything that happens at a round time.
  time.at(3 + (seed % 16), frames);
  for (const fault of row.faults ?? []) time.at(fault.at_ms, () => begin(fault, { network, endpoint, client, page, seed }));
  time.at(0, () => void client.connect().catch(() => {}));
  await time.run(row.run_ms ?? 20000);

  result.transport = network.killed ? 'none' : client.transport;
  result.state = client.state;
  // Nothing of this run may go on in the next one.
  network.killed = false;
  client.close();
  return result;
}

const isFrame = (data) => data !== undefined && (typeof data !== 'string' || data.includes('"arkit_data"'));

/** A fault begins, and ends after `for_ms` where it can. */
function begin({ kind, for_ms: length, by_ms: by }, { network, endpoint, client, page, seed }) {
  const { time } = network;
  endpoint.note(`fault ${kind}${length === undefined ? '' : ` for ${length} ms`}`);
  const until = (end) => {
    if (length !== undefined) {
      time.after(length, () => {
        endpoint.note(`fault ${kind} ends`);
        end();
      });
    }
  };
  const block = (transports, directions) => {
    network.block(transports, directions, true);
    until(() => network.block(transports, directions, false));
  };
  const stream = network.current?.opened ? network.current : null;
  const peer = network.currentPeer;
  switch (kind) {
    case 'udp_dropped': block(['udp'], [0, 1]); break;
    case 'channel_half_dead_up': block(['udp'], [0]); break;
    case 'channel_half_dead_down': block(['udp'], [1]); break;
    case 'tcp_dropped': block(['tcp'], [0, 1]); break;
    case 'both_lost': block(['udp', 'tcp'], [0, 1]); break;
    case 'websocket_reset': network.reset(stream); break;
    case 'websocket_silent': stream.silent = true; break;
    case 'endpoint_restarted':
    case 'endpoint_stops':
      endpoint.stop(kind === 'endpoint_stops');
      until(() => endpoint.start());
      break;
    case 'client_killed':
      if (stream) network.closeStream(stream, true, null);
      network.killed = true;
      break;
    case 'network_changed':
      block(['udp', 'tcp'], [0, 1]);
      until(() => {
        network.address += 1;
        // Browsers say it in one of these ways.
        network.clientAfter(NETWORK_SEEN_MS, () => {
          if (seed % 2) page.window.dispatchEvent(new Event('online'));
          else {
            page.connection.type = 'cellular';
            page.connection.dispatchEvent(new Event('change'));
          }
        });
      });
      break;
    case 'channel_closed':
      network.channelCloses(peer, true);
      network.channelCloses(peer, false);
      break;
    case 'peer_failed':
      peer.dead = true;
      network.peerState(peer, 0, 'failed');
      break;
    case 'sleep': network.asleepUntil = time.now + length; break;
    case 'clock_step': network.clockStep += by; break;
    case 'websocket_refused':
      endpoint.refusesSockets = true;
      until(() => {
        endpoint.refusesSockets = false;
      });
      break;
    case 'goodbye': client.close(); break;
    default: throw new Error(`unknown fault "${kind}"`);
  }
}

/** What a run was to meet and did not. */
function judge(row, result) {
  const failures = [];
  const most = (what, is, limit) => {
    if (limit !== undefined && !(is <= limit)) failures.push(`${what}: ${Math.round(is)} instead of at most ${limit}`);
  };
  const equal = (what, is, wanted) => {
    if (is !== wanted) failures.push(`${what}: ${is} instead of ${wanted}`);
  };
  const { outcome } = row;
  for (const way of ['up', 'down']) {
    const limits = outcome[way] ?? {};
    equal(`${way} shown twice or late`, result[way].wrong, 0);
    most(`${way} lost`, figures(row, result[way]).lost, limits.lost_max);
    most(`${way} gap ms`, figures(row, result[way]).gap, limits.gap_ms_max);
    most(`${way} return ms`, figures(row, result[way]).returned, limits.return_ms_max);
  }
  const wanted = outcome.connection ?? 'same';
  if (wanted !== 'refused') most('first frame ms', result.up.shown[0]?.[1] ?? Infinity, outcome.first_frame_ms_max ?? 200);
  equal('transport', result.transport, outcome.transport ?? 'webrtc');
  const refused = result.state === 'failed' && result.errors.includes('unauthorized');
  equal('connection', refused ? 'refused' : result.state === 'closed' ? 'closed' : result.ids.length === 1 ? 'same' : 'new', wanted);
  equal('dials after the refusal', result.dialsAfterRefusal, 0);
  equal('faces', result.endpoint.faces, outcome.faces ?? 1);
  most('moves', result.moves, outcome.moves_max);
  if (outcome.face_gone_ms_max !== undefined) {
    most('face gone ms', (result.endpoint.faceGone ?? Infinity) - row.faults.at(-1).at_ms, outcome.face_gone_ms_max);
  }
  // Numbered frames alone may go by both transports.
  if (row.numbered === false) equal('frames by both transports', result.sendsBoth, 0);
  most('timers', result.network.timersFired, (row.run_ms ?? 20000) / 10);
  return failures;
}

/** What is still on its way at the end is not lost. */
function figures(row, seen) {
  const end = row.run_ms ?? 20000;
  const ends = (row.faults ?? []).filter((fault) => fault.for_ms !== undefined).map((fault) => fault.at_ms + fault.for_ms);
  return { lost: seen.lost(end - 1000), gap: seen.gap(end), returned: Math.max(-1, ...ends.map((at) => seen.returned(at))) };
}

const only = process.argv.slice(2);
const rows = table.rows.filter((row) => !only.length || only.some((part) => row.name.includes(part)));
if (!rows.length) throw new Error(`no row is called ${only.join(' or ')}`);
let failed = 0;
for (const row of rows) {
  const failures = [];
  const worst = { up: {}, down: {} };
  let moves = 0;
  for (let seed = 0; seed < SEEDS; seed += 1) {
    const result = await run(row, seed);
    for (const way of ['up', 'down']) {
      for (const [name, value] of Object.entries(figures(row, result[way]))) worst[way][name] = Math.max(worst[way][name] ?? -1, Math.round(value));
    }
    moves = Math.max(moves, result.moves);
    const missed = judge(row, result);
    failures.push(...missed.map((what) => `seed ${seed}: ${what}`));
    if (process.env.VERBOSE && (missed.length || seed === 0)) for (const line of result.endpoint.log) print(line);
  }
  const line = (way) => `${way} lost ${worst[way].lost} gap ${worst[way].gap} return ${worst[way].returned}`;
  print(`${failures.length ? 'FAILED' : 'ok    '} ${row.name.padEnd(40)} ${line('up')} | ${line('down')} | moves ${moves}`);
  for (const failure of failures) print(`         ${failure}`);
  failed += failures.length ? 1 : 0;
}
print(`${rows.length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
