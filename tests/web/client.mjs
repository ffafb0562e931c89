// The JavaScript client apart from moves: faces of others in the same shape by
// every format, options, stats, and the reconnection of a subscriber.
//
//   CARGO_TARGET_DIR=... node tests/web/client.mjs [part of a test's name ...]
import {
  assert, Browser, needBrowser, Proxy, Relays, runAll, serveFiles, Server, sleep, startClient, until,
} from './lib.mjs';

needBrowser();

async function setUp(options, proxied = true) {
  const server = await Server.start();
  const proxy = await Proxy.start(() => server.port);
  const page = await Browser.open(await serveFiles(new Relays()));
  const url = `ws://127.0.0.1:${proxied ? proxy.port : server.port}/ws`;
  await page.run(startClient(url, options));
  return { server, proxy, page, url, stats: () => page.run('return test.client.getStats();') };
}

/** A second client in the page that subscribes and keeps the newest message. */
const watcher = (url, options, subscription) => `
  const { FacialAnimationWebRTCClient } = await import('/facelink.js');
  const client = new FacialAnimationWebRTCClient(${JSON.stringify(url)}, ${JSON.stringify(options)});
  const seen = { client, count: 0, older: 0, frame: -1 };
  client.onBlendshapeUpdate = (data, arkit, message) => {
    if (message.subject !== ${JSON.stringify(subscription.subject)}) return;
    seen.count += 1;
    if (message.frame <= seen.frame) seen.older += 1;
    Object.assign(seen, { data, arkit, message, frame: message.frame });
  };
  client.subscribe(${JSON.stringify(subscription)});
  await client.connect();
  (window.watchers ??= []).push(seen);
`;

await runAll({
  async subscription_facelink1_equals_json() {
    const s = await setUp({});
    await s.page.run(`
      test.stopped = true;
      const { FacialAnimationWebRTCClient, headQuaternion } = await import('/facelink.js');
      const ann = new FacialAnimationWebRTCClient(${JSON.stringify(s.url)}, { subject: 'Ann' });
      await ann.connect();
      window.ann = ann;
      const head = { rotation: headQuaternion(0.3, -0.2, 0.1), position: [0.1, 0.2, -0.4] };
      setInterval(() => ann.sendARKitData({ jawOpen: 0.3, eyeBlinkLeft: 1, tail: 0.25, ears: -0.5 }, { head }), 16);
    `);
    const listed = await until('the subject', async () => (await s.server.get('/api/v1/subjects')).subjects.find((f) => f.name === 'Ann'));
    assert(Math.abs(listed.blendshapes.jawOpen - 0.3) < 1e-4 && Math.abs(listed.blendshapes.tail - 0.25) < 1e-4, 'a few shapes are precise', listed);
    for (const binary of ['facelink1', 'json']) await s.page.run(watcher(s.url, { binary }, { subject: 'Ann' }));
    const both = await until('both watchers over WebRTC', async () => {
      const seen = await s.page.run('return watchers.map(({ client, ...rest }) => ({ ...rest, transport: client.transport }));');
      return seen.every((w) => w.count > 60 && w.transport === 'webrtc') ? seen : null;
    });
    const [compact, json] = both;
    assert(compact.older === 0 && json.older === 0, 'no duplicate or late frame', both.map((w) => w.older));
    assert(Object.keys(compact.message).sort().join() === Object.keys(json.message).sort().join(), 'the same fields', both.map((w) => Object.keys(w.message).sort()));
    assert(Object.keys(compact.data).sort().join() === Object.keys(json.data).sort().join(), 'the same names', both.map((w) => Object.keys(w.data)));
    assert(Object.keys(compact.arkit).length === 52 && !('tail' in compact.arkit), 'arkit holds the 52 shapes', compact.arkit);
    for (const seen of both) {
      for (const [name, value] of Object.entries({ jawOpen: 0.3, eyeBlinkLeft: 1, tail: 0.25, ears: -0.5, mouthPucker: 0 })) {
        assert(Math.abs(seen.data[name] - value) < 0.005, `${name} arrives`, seen.data);
      }
      assert(seen.message.tracked === true && seen.message.subject === 'Ann', 'subject and tracked', seen.message);
      assert(Math.abs(seen.message.timestamp - Date.now()) < 60000, 'Unix ms', seen.message.timestamp);
      const { rotation, position } = seen.message.head;
      assert(rotation.length === 4 && Math.abs(position[2] + 0.4) < 0.002, 'the head', seen.message.head);
    }
    const near = compact.message.head.rotation.every((x, i) => Math.abs(x - json.message.head.rotation[i]) < 0.001);
    assert(near, 'the same head', both.map((w) => w.message.head));
    return {};
  },

  async subscription_delta_equals_facelink1_and_recovers_from_loss() {
    // Ten faces on a data channel that loses 5 % each way, watched by what changed and whole.
    const server = await Server.start();
    const relays = new Relays();
    const page = await Browser.open(await serveFiles(relays));
    const url = `ws://127.0.0.1:${server.port}/ws`;
    await page.run(startClient(url, { subject: 'Test' }));
    await page.run(`
      test.stopped = true;
      const { samplePerformance } = await import('/facelink.js');
      let n = 0;
      setInterval(() => {
        n += 1;
        const at = performance.now() / 1000;
        for (let i = 0; i < 10; i += 5) {
          test.client.sendFaces([0, 1, 2, 3, 4].map((k) => {
            const { blendshapes, head } = samplePerformance(at + 7 * (i + k));
            return { subject: 'face-' + (i + k), blendshapes, options: { head } };
          }));
        }
      }, 16);`);
    relays.loss = 0.05;
    for (const delta of [true, false]) {
      await page.run(`
        const { FacialAnimationWebRTCClient } = await import('/facelink.js');
        const client = new FacialAnimationWebRTCClient(${JSON.stringify(url)}, { delta: ${delta} });
        const seen = { client, kinds: {}, count: 0, older: 0, times: {}, faces: {} };
        client.onBlendshapeUpdate = (data, arkit, message) => {
          const time = Math.round(message.timestamp);
          if (time <= (seen.times[message.subject] ?? 0)) seen.older += 1;
          seen.times[message.subject] = time;
          seen.count += 1;
          const face = (seen.faces[message.subject] ??= new Map());
          face.set(time, message);
          if (face.size > 400) face.delete(face.keys().next().value);
        };
        client.subscribe({ subject: 'face-*' });
        await client.connect();
        const watched = new WeakSet();
        setInterval(() => {
          if (!client.dataChannel || watched.has(client.dataChannel)) return;
          watched.add(client.dataChannel);
          client.dataChannel.addEventListener('message', ({ data }) => {
            const kind = typeof data === 'string' ? 'text' : new Uint8Array(data)[0].toString(16);
            const [packets, bytes] = seen.kinds[kind] ?? [0, 0];
            seen.kinds[kind] = [packets + 1, bytes + (data.byteLength ?? data.length)];
          });
        }, 10);
        (window.watchers ??= []).push(seen);`);
    }
    const result = await until('both watchers', () => page.run(`
      const [delta, whole] = watchers;
      if (!watchers.every((w) => w.count > 1500 && w.client.transport === 'webrtc')) return null;
      // The same frames, by their times, which compact bundles have in steps of 128 us.
      let [both, near, turned] = [0, 0, 0];
      for (const [name, frames] of Object.entries(delta.faces)) {
        for (const [time, message] of frames) {
          const other = [time, time - 1, time + 1].map((at) => whole.faces[name]?.get(at)).find(Boolean);
          if (!other) continue;
          both += 1;
          near += Object.keys(message.arkit).every((shape) => Math.abs(message.arkit[shape] - other.arkit[shape]) < 0.003) ? 1 : 0;
          for (let i = 0; i < 4; i += 1) turned = Math.max(turned, Math.abs(message.head.rotation[i] - other.head.rotation[i]));
        }
      }
      return { both, near, turned, seen: watchers.map(({ kinds, count, older }) => ({ kinds, count, older })) };`), 120000);
    const [delta, whole] = result.seen;
    assert(result.both > 500, 'the same frames', result);
    // Where the two are in different layers, the shapes of one have peaks that the other has not; the head has none.
    assert(result.near > result.both / 2 && result.turned < 0.001, 'within a step of the wire', result);
    assert(delta.older === 0 && whole.older === 0, 'none twice and none late', result);
    assert(delta.kinds.f3?.[0] > 100 && !whole.kinds.f3 && whole.kinds.f1?.[0] > 100, 'by compact bundles, and whole', result);
    const stats = await server.get('/api/v1/stats');
    assert(stats.connections.every((c) => c.refused === 0), 'acknowledgements are read', stats.connections);
    const size = (of, kind) => of.kinds[kind][1] / of.count;
    const figures = { delta: Math.round(size(delta, 'f3')), whole: Math.round(size(whole, 'f1')) };
    assert(figures.delta < 0.7 * figures.whole, 'fewer bytes a face', figures);
    return figures;
  },

  async subscription_follows_the_handler() {
    // As in the migration guide: a handler, `connect`, and no `subscribe`.
    const s = await setUp({});
    const made = (body) => `
      const { FacialAnimationWebRTCClient } = await import('/facelink.js');
      const client = new FacialAnimationWebRTCClient(${JSON.stringify(s.url)});
      const seen = { count: 0 };
      ${body}
      (window.watchers ??= []).push(seen);`;
    const handler = 'client.onBlendshapeUpdate = (data, arkit) => { seen.count += 1; Object.assign(seen, { data, arkit }); };';
    await s.page.run(made(`${handler} await client.connect();`));
    await s.page.run(made(`await client.connect(); ${handler}`));
    await s.page.run(made(`${handler} client.unsubscribe(); await client.connect();`));
    const seen = () => s.page.run('return watchers;');
    await until('faces by both', async () => (await seen()).slice(0, 2).every((w) => w.count > 20));
    const [first, , none] = await seen();
    assert(none.count === 0, 'unsubscribe() holds', none);
    assert(Object.keys(first.arkit).length === 52, 'the raw shapes', first.arkit);
    return {};
  },

  async emotion_is_sent() {
    const s = await setUp({ subject: 'Moody' });
    const sent = await until('an emotion that leaves', () => s.page.run(
      "return test.client.setEmotion('happy', 0.5, { fadeMs: 100, durationMs: 1000, subject: 'Npc' });",
    ));
    assert(sent === true, 'it returns that it was sent', sent);
    // A face with an emotion alone is listed, at rest.
    const npc = await until('the subject', async () => (await s.server.get('/api/v1/subjects')).subjects.find((f) => f.name === 'Npc'));
    assert(npc.blendshapes.jawOpen === undefined || npc.blendshapes.jawOpen === 0, 'at rest', npc);
    assert((await s.server.get('/api/v1/stats')).refused === 0, 'nothing was refused');
    const error = await s.page.run("try { test.client.setEmotion('sad', 'very'); return ''; } catch (error) { return String(error); }");
    assert(error.includes('intensity'), 'a wrong intensity is an error', error);
    return {};
  },

  async subscription_survives_websocket_reset_and_server_restart() {
    const s = await setUp({});
    await s.page.run(watcher(s.url, {}, { subject: 'Test', maxFps: 30 }));
    const count = () => s.page.run('return watchers[0].count;');
    await until('frames', async () => (await count()) > 20);
    s.proxy.kill();
    await until('the WebSocket again', async () => (await s.page.run('return watchers[0].client.getStats().reconnects;')) === 1);
    const before = await count();
    await until('frames after the socket was lost', async () => (await count()) > before + 20);
    await s.server.stop();
    await s.server.run();
    await until('a new server knows the watcher', async () => (await s.page.run('return watchers[0].client.getStats().reconnects;')) === 2);
    const again = await count();
    await until('frames of the new server', async () => (await count()) > again + 20);
    await s.page.run('watchers[0].client.unsubscribe();');
    await sleep(500);
    const ended = await count();
    await sleep(500);
    assert((await count()) === ended, 'unsubscribe ends it');
    return { older: await s.page.run('return watchers[0].older;') };
  },

  async ice_policy_relay_without_turn_uses_websocket() {
    const s = await setUp({ iceTransportPolicy: 'relay' });
    await until('frames', () => s.server.frames.length > 120);
    const { stats, info, policy } = await s.page.run('return { stats: test.client.getStats(), info: await test.client.getConnectionInfo(), policy: test.client.pc?.getConfiguration().iceTransportPolicy };');
    assert(policy === 'relay', 'the policy reaches the browser', policy);
    assert(stats.transport === 'websocket' && info.transport === 'websocket' && info.relayed === false && info.protocol === null, 'the WebSocket carries', { stats, info });
    assert(s.server.frames.every((f) => f.source === 'websocket'), 'over the WebSocket');
    return {};
  },

  async frame_formats_arrive() {
    const figures = {};
    for (const binary of ['facelink1', 'float32', 'json']) {
      const s = await setUp({ binary, subject: `As ${binary}` });
      await until(`${binary} over WebRTC`, () => s.server.frames.filter((f) => f.source === 'webrtc').length > 60);
      const { bytesPerSecond } = await s.stats();
      figures[binary] = Math.round(bytesPerSecond);
      const health = await s.server.get('/api/v1/stats');
      assert(health.connections.every((c) => c.refused === 0), 'nothing is refused', health);
    }
    assert(figures.facelink1 < figures.float32 && figures.float32 < figures.json, 'each format is smaller than the next', figures);
    return figures;
  },

  async stats_have_the_names_of_the_guide() {
    const s = await setUp({ webrtc: true });
    await until('frames over WebRTC', () => s.server.frames.filter((f) => f.source === 'webrtc').length > 60);
    const { stats, server, info, notes } = await s.page.run(`
      const server = await test.client.requestStats();
      return { server, stats: test.client.getStats(), info: await test.client.getConnectionInfo(), notes: test.notes.map((n) => n[2]) };`);
    for (const name of ['connectionId', 'state', 'averageLatencyMs', 'messageCount', 'dataChannelState', 'bufferedAmount', 'transport', 'loss', 'jitterMs']) {
      assert(stats[name] !== undefined && stats[name] !== null, `getStats has ${name}`, stats);
    }
    assert(stats.state === 'connected' && stats.dataChannelState === 'open' && stats.averageLatencyMs > 0, 'live', stats);
    assert(stats.connectionId === server.connection_id, 'the server has the same id', { stats, server });
    assert(info.transport === 'webrtc' && info.protocol === 'udp' && info.local && info.remote && !info.relayed, 'the path', info);
    for (const part of ['state: ', 'transport: ', 'own candidate: ', "server's candidate: ", 'ICE ', 'path: ']) {
      assert(notes.some((n) => n.startsWith(part)), `debug logs "${part}"`, notes);
    }
    return {};
  },

  async faces_share_a_packet_and_reports_arrive() {
    const s = await setUp({});
    await s.page.run(`
      test.stopped = true;
      test.pair = setInterval(() => {
        const at = performance.now() / 1000;
        test.client.sendFaces([
          { subject: 'left', blendshapes: { jawOpen: 0.25 + 0.2 * Math.sin(at) } },
          { subject: 'right', blendshapes: { jawOpen: 0.75 + 0.2 * Math.sin(at) } },
        ]);
      }, 16);
    `);
    const of = (name) => s.server.frames.filter((f) => f.subject === name);
    await until('both faces over WebRTC', () => ['left', 'right'].every((name) => of(name).some((f) => f.source === 'webrtc')));
    await s.page.run(`
      // A packet over both transports, while the channel is suspect, counts once.
      window.packets = 0;
      let last = null;
      for (const kind of [RTCDataChannel, WebSocket]) {
        const { send } = kind.prototype;
        kind.prototype.send = function (data) {
          if (typeof data !== 'string' && data !== last) window.packets += 1;
          last = data;
          return send.call(this, data);
        };
      }
      window.framesBefore = test.client.getStats().framesSent;
    `);
    const from = of('right').length;
    await until('more of them', () => of('right').length > from + 60);
    const [packets, frames] = await s.page.run('return [window.packets, test.client.getStats().framesSent - window.framesBefore];');
    assert(packets > 20 && frames > 1.8 * packets, 'two faces go into one packet', { packets, frames });
    await until('a report', async () => (await s.stats()).loss !== null);
    const stats = await s.stats();
    assert(stats.loss < 0.2, 'almost nothing is lost on a good link', stats);
    return { repeats: stats.repeats, loss: stats.loss };
  },

  async websocket_blocked_holds_few_frames() {
    // Three seconds of a network that delivers nothing: few old frames arrive afterwards.
    const s = await setUp({ webrtc: false });
    await until('frames', () => s.server.frames.length > 30);
    const from = s.server.frames.length;
    s.proxy.freeze();
    const silentFrom = await s.page.run('return test.n;');
    await until('the client to notice', async () => (await s.stats()).state === 'reconnecting');
    const left = await s.page.run('return test.left;');
    await sleep(300);
    const still = await s.page.run('return test.left;');
    assert(still - left <= 1, 'no frame is handed to a silent socket', { left, still });
    s.proxy.thaw();
    const at = await s.page.run('return test.n;');
    await until('fresh frames', () => s.server.frames.some((f) => f.n > at + 10));
    const stale = s.server.frames.slice(from).filter((f) => f.n >= silentFrom && f.n < at).length;
    assert(stale < 60, 'less than a second of old frames was in transit', stale);
    const figures = s.server.count(silentFrom, at + 10);
    assert(figures.late === 0 && figures.duplicates === 0, 'none late or duplicate', figures);
    return { stale };
  },

  async hidden_page_notices_dead_websocket() {
    // Timers throttled to one a second, as in a hidden page, and no frames that would drive the heartbeat.
    const server = await Server.start();
    const proxy = await Proxy.start(() => server.port);
    const page = await Browser.open(await serveFiles(new Relays()));
    await page.run(`
      const plain = setInterval;
      window.setInterval = (fn, ms) => plain(fn, Math.max(ms, 1000));
      ${startClient(`ws://127.0.0.1:${proxy.port}/ws`, { webrtc: false })}
      test.stopped = true;
    `);
    await sleep(3000);
    const before = await page.run('return { reconnects: test.client.getStats().reconnects, states: test.states.length };');
    assert(before.reconnects === 0, 'a working socket is kept', before);
    const count = proxy.connects.length;
    proxy.freeze();
    const frozen = performance.now();
    await until('another attempt', () => proxy.connects.length > count, 15000);
    const noticed = Math.round(performance.now() - frozen);
    proxy.kill();
    proxy.thaw();
    await until('the connection', async () => (await page.run('return test.client.getStats();')).reconnects === 1);
    return { noticed };
  },

  async page_left_sends_goodbye() {
    const s = await setUp({}, false);
    await until('frames over WebRTC', () => s.server.frames.some((f) => f.source === 'webrtc'));
    await s.page.post('/url', { url: 'about:blank' });
    await until('the end of the subject', () => s.server.events.find((e) => e.event === 'subject_lost'));
    return {};
  },
});
