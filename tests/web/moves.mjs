// Moves of a 60 Hz stream between WebSocket and data channel, in Chromium against
// a real server. Every frame carries a number; the server's output is checked for
// lost, duplicate and late frames, and the longest gap is printed (it depends on
// the machine, so only counts are asserted).
//
//   CARGO_TARGET_DIR=... node tests/web/moves.mjs [part of a test's name ...]
import {
  assert, Browser, needBrowser, Proxy, Relays, relayHooks, runAll, serveFiles, Server, sleep, startClient, until,
} from './lib.mjs';

needBrowser();

const VERBOSE = Boolean(process.env.VERBOSE);
let page = null;

/** Prints the client's log when a test fails. */
async function printLog() {
  const notes = await page?.run('return test.notes;').catch(() => []);
  for (const note of notes ?? []) console.error(note.join(' '));
}

async function setUp({ relayed = false, options = {}, } = {}) {
  const server = await Server.start();
  const proxy = await Proxy.start(() => server.port);
  const relays = new Relays();
  page = await Browser.open(await serveFiles(relays));
  await page.run(`${relayed ? relayHooks : ''}; ${startClient(`ws://127.0.0.1:${proxy.port}/ws`, options)}`);
  const s = { server, proxy, relays, page };
  s.n = () => page.run('return test.n;');
  s.stats = () => page.run('return { ...test.client.getStats(), left: test.left, n: test.n };');
  s.over = (transport, what = transport) => until(`frames over ${what}`, async () => {
    const at = await s.n();
    await sleep(100);
    return server.frames.some((f) => f.n >= at - 2 && f.source === transport && f.subject === 'Test');
  });
  /** Counts from `from` to the newest frame, once that has arrived. */
  s.count = async (from) => {
    await page.run('test.stopped = true;');
    const to = (await s.n()) - 1;
    await until('the last frames', () => server.frames.some((f) => f.n >= to - 3), 3000).catch(() => {});
    await sleep(300);
    const notes = await page.run('return { moves: test.moves, states: test.states, notes: test.notes, times: test.times, out: test.out };');
    if (VERBOSE) for (const note of notes.notes) console.error(note.join(' '));
    return { ...server.count(from, to, notes.times, notes.out), moves: notes.moves.map((m) => `${m[1]}:${m[2]}`).join(' '), states: notes.states.map((m) => `${m[1]}:${m[2]}`).join(' ') };
  };
  return s;
}

await runAll({
  async channel_closed_moves_frames_without_loss() {
    const s = await setUp();
    await s.over('webrtc');
    const first = { n: await s.n() };
    for (let i = 0; i < Number(process.env.ROUNDS ?? 5); i += 1) {
      // A new channel follows by itself.
      await s.page.run('test.client.dataChannel.close();');
      await s.over('websocket');
      await s.over('webrtc');
    }
    const figures = await s.count(5);
    // Frames that a busy machine drops before they leave are not lost by the move.
    assert(figures.lostInTransit === 0 && figures.late === 0, 'no frame is lost by a move', figures);
    assert(figures.duplicates === 0 && figures.late === 0, 'duplicate or late frames', figures);
    assert(s.server.events.every((e) => e.event !== 'subject_lost'), 'the subject kept its identity', s.server.events);
    return { ...figures, start: first.n, moves: undefined };
  },

  async channel_silent() {
    const s = await setUp({ relayed: true });
    await s.over('webrtc');
    const from = await s.n();
    await sleep(500);
    s.relays.drop = true;
    await s.over('websocket');
    await sleep(1500);
    s.relays.drop = false;
    await s.over('webrtc');
    await sleep(300);
    const figures = await s.count(from);
    assert(figures.duplicates === 0 && figures.late === 0, 'duplicate or late frames', figures);
    assert(figures.longestRun < 60, 'less than a second is lost', figures);
    return figures;
  },

  async channel_lossy_is_kept() {
    // 20 ms and 5 % loss each way: frames stay on the channel and repeat earlier ones.
    const s = await setUp({ relayed: true });
    await s.over('webrtc');
    s.relays.delay = 20;
    s.relays.loss = 0.05;
    await sleep(1000);
    const from = await s.n();
    await sleep(10000);
    const stats = await s.stats();
    const figures = await s.count(from);
    assert(stats.moves === 1 && stats.iceRestarts === 0, 'frames stay on the channel', stats);
    assert(figures.late === 0 && figures.duplicates === 0, 'none late or duplicate', figures);
    assert(figures.lost < 0.04 * figures.sent, 'fewer frames are lost than packets', figures);
    return { ...figures, pingsLost: stats.pingsLost, serverLoss: (await s.page.run('return test.client.requestStats();')).loss };
  },

  async long_round_trip_is_not_silence() {
    const s = await setUp({ relayed: true });
    await s.over('webrtc');
    s.relays.delay = 60;
    await sleep(3000);
    s.relays.delay = 150;
    await sleep(3000);
    const stats = await s.stats();
    const figures = await s.count(60);
    assert(stats.moves === 1 && stats.iceRestarts === 0, 'frames stay on the channel', stats);
    assert(figures.late === 0 && figures.duplicates === 0, 'none late or duplicate', figures);
    return { ...figures, latency: stats.averageLatencyMs };
  },

  async channel_path_gone_gets_new_peer_connection() {
    // The path and the relays' ports die: an ICE restart, then a new peer connection.
    const s = await setUp({ relayed: true });
    await s.over('webrtc');
    const from = await s.n();
    s.relays.drop = true;
    await s.over('websocket');
    await until('the attempt to restart ICE', async () => (await s.stats()).iceRestarts > 0);
    await sleep(4000);
    s.relays.drop = false;
    await s.over('webrtc');
    const figures = await s.count(from);
    assert(figures.duplicates === 0 && figures.late === 0, 'duplicate or late frames', figures);
    assert(figures.longestRun < 60, 'less than a second is lost', figures);
    return { ...figures, restarts: (await s.stats()).iceRestarts };
  },

  async websocket_reset_with_channel_is_resumed() {
    const s = await setUp();
    await s.over('webrtc');
    const from = await s.n();
    s.proxy.mode = 'refuse';
    s.proxy.kill();
    await sleep(1500);
    const during = await s.stats();
    const id = during.connectionId;
    assert(during.transport === 'webrtc' && during.state === 'connected', 'the channel still carries frames', during);
    s.proxy.mode = 'open';
    await until('the WebSocket', async () => (await s.stats()).reconnects === 1);
    assert((await s.stats()).connectionId === id, 'the connection is resumed', id);
    await sleep(500);
    const figures = await s.count(from);
    assert(figures.lostInTransit <= 3 && figures.duplicates === 0, 'the stream is not interrupted', figures);
    assert(s.server.events.every((e) => e.event !== 'subject_lost'), 'the subject kept its identity', s.server.events);
    return figures;
  },

  async channel_path_dies_after_resume() {
    // The WebSocket is resumed; then the channel's path dies, and an ICE restart finds another one.
    const s = await setUp({ relayed: true });
    await s.over('webrtc');
    const from = await s.n();
    const before = (await s.stats()).connectionId;
    s.proxy.kill();
    await until('the WebSocket', async () => (await s.stats()).reconnects === 1);
    assert((await s.stats()).connectionId === before, 'the same connection', before);
    // Each peer connection has a certificate of its own.
    const certificate = () => s.page.run('return /a=fingerprint:.*/.exec(test.client.pc.localDescription.sdp)[0];');
    const first = await certificate();
    s.relays.cutKnown();
    await until('the ICE restart', async () => (await s.stats()).iceRestarts > 0);
    await until('the channel answers again', async () => {
      const { hedging, transport } = await s.stats();
      return transport === 'webrtc' && !hedging;
    });
    await s.over('webrtc');
    assert((await certificate()) === first, 'the same peer connection');
    const figures = await s.count(from);
    const notes = await s.page.run("return test.notes.map((n) => n[2]).filter((n) => n.startsWith('ICE restarted'));");
    assert(figures.duplicates === 0 && figures.late === 0, 'duplicate or late frames', figures);
    assert(figures.longestRun < 60, 'less than a second is lost', figures);
    return { ...figures, notes };
  },

  async websocket_half_dead() {
    // Without WebRTC: the TCP connection takes everything and answers nothing.
    const s = await setUp({ options: { webrtc: false } });
    await s.over('websocket');
    const from = await s.n();
    s.proxy.freeze();
    const frozen = performance.now();
    await until('the client to notice', async () => (await s.stats()).state === 'reconnecting');
    const noticed = performance.now() - frozen;
    await sleep(500);
    s.proxy.thaw();
    const back = performance.now();
    const at = await s.n();
    await until('a fresh frame', () => s.server.frames.find((f) => f.n >= at && f.at >= back));
    const fresh = performance.now() - back;
    await sleep(500);
    const figures = await s.count(from);
    assert(figures.duplicates === 0 && figures.late === 0, 'duplicate or late frames', figures);
    return { ...figures, noticedMs: Math.round(noticed), freshMs: Math.round(fresh) };
  },

  async server_suspended() {
    const s = await setUp();
    await s.over('webrtc');
    const from = await s.n();
    s.server.signal('SIGSTOP');
    await until('the client to notice', async () => (await s.stats()).state === 'reconnecting');
    await sleep(500);
    s.server.signal('SIGCONT');
    const back = performance.now();
    const at = await s.n();
    await until('a fresh frame', () => s.server.frames.find((f) => f.n >= at && f.at >= back));
    const fresh = performance.now() - back;
    await s.over('webrtc');
    const figures = await s.count(from);
    const burst = s.server.frames.filter((f) => f.at >= back && f.n < at).length;
    return { ...figures, freshMs: Math.round(fresh), staleAfter: burst };
  },

  async server_restart() {
    const s = await setUp();
    await s.over('webrtc');
    const from = await s.n();
    await s.server.stop();
    await sleep(1000);
    const states = await s.page.run('return test.states.map((x) => x[2]);');
    await s.server.run(s.server.port);
    const back = performance.now();
    await until('a fresh frame', () => s.server.frames.find((f) => f.at >= back));
    const fresh = performance.now() - back;
    await s.over('webrtc');
    const figures = await s.count(from);
    assert(figures.duplicates === 0 && figures.late === 0, 'duplicate or late frames', figures);
    return { ...figures, freshMs: Math.round(fresh), states };
  },

  async network_changed() {
    const s = await setUp({ relayed: true });
    await s.over('webrtc');
    const from = await s.n();
    s.relays.drop = true;
    s.proxy.freeze();
    const gone = performance.now();
    await until('the client to notice', async () => (await s.stats()).state === 'reconnecting');
    const noticed = performance.now() - gone;
    await sleep(2500);
    const at = await s.n();
    const back = performance.now();
    s.relays.drop = false;
    s.proxy.mode = 'open';
    s.proxy.kill(); // another address: old connections are dead
    await s.page.run("window.dispatchEvent(new Event('online'));");
    await until('a fresh frame', () => s.server.frames.find((f) => f.n >= at && f.at >= back));
    const fresh = performance.now() - back;
    await s.over('webrtc');
    const figures = await s.count(from);
    assert(figures.duplicates === 0 && figures.late === 0, 'duplicate or late frames', figures);
    return { ...figures, noticedMs: Math.round(noticed), freshMs: Math.round(fresh) };
  },
}, printLog);
