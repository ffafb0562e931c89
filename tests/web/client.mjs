// What the JavaScript client promises beside the moves: faces of others in the
// same shape whatever the wire, options, figures, and reconnection of a subscriber.
//
//   CARGO_TARGET_DIR=... node tests/web/client.mjs [part of a test's name ...]
import {
  assert, Browser, needBrowser, Proxy, Relays, runAll, serveFiles, Server, sleep, startClient, until,
} from './lib.mjs';

needBrowser();

async function stage(options, proxied = true) {
  const server = await Server.start();
  const proxy = await Proxy.start(() => server.port);
  const page = await Browser.open(await serveFiles(new Relays()));
  const url = `ws://127.0.0.1:${proxied ? proxy.port : server.port}/ws`;
  await page.run(startClient(url, options));
  return { server, proxy, page, url, stats: () => page.run('return test.client.getStats();') };
}

/** A second client in the page that watches, and keeps the newest message. */
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
  async faces_of_others_look_the_same_in_binary_and_json() {
    const s = await stage({});
    await s.page.run(`
      test.stopped = true;
      const { FacialAnimationWebRTCClient, headQuaternion } = await import('/facelink.js');
      const ann = new FacialAnimationWebRTCClient(${JSON.stringify(s.url)}, { subject: 'Ann' });
      await ann.connect();
      window.ann = ann;
      const head = { rotation: headQuaternion(0.3, -0.2, 0.1), position: [0.1, 0.2, -0.4] };
      setInterval(() => ann.sendARKitData({ jawOpen: 0.3, eyeBlinkLeft: 1, tail: 0.25, ears: -0.5 }, { head }), 16);
    `);
    const told = await until('the subject', async () => (await s.server.get('/api/v1/subjects')).subjects.find((f) => f.name === 'Ann'));
    assert(Math.abs(told.blendshapes.jawOpen - 0.3) < 1e-4 && Math.abs(told.blendshapes.tail - 0.25) < 1e-4, 'a few shapes are precise', told);
    for (const binary of ['facelink1', 'json']) await s.page.run(watcher(s.url, { binary }, { subject: 'Ann' }));
    const both = await until('both watchers over WebRTC', async () => {
      const seen = await s.page.run('return watchers.map(({ client, ...rest }) => ({ ...rest, transport: client.transport }));');
      return seen.every((w) => w.count > 60 && w.transport === 'webrtc') ? seen : null;
    });
    const [compact, json] = both;
    assert(compact.older === 0 && json.older === 0, 'no frame comes twice or late', both.map((w) => w.older));
    assert(Object.keys(compact.message).sort().join() === Object.keys(json.message).sort().join(), 'the same fields', both.map((w) => Object.keys(w.message).sort()));
    assert(Object.keys(compact.data).sort().join() === Object.keys(json.data).sort().join(), 'the same names', both.map((w) => Object.keys(w.data)));
    assert(Object.keys(compact.arkit).length === 52 && !('tail' in compact.arkit), 'arkit holds the 52 shapes', compact.arkit);
    for (const seen of both) {
      for (const [name, value] of Object.entries({ jawOpen: 0.3, eyeBlinkLeft: 1, tail: 0.25, ears: -0.5, mouthPucker: 0 })) {
        assert(Math.abs(seen.data[name] - value) < 0.005, `${name} arrives`, seen.data);
      }
      assert(seen.message.tracked === true && seen.message.subject === 'Ann', 'who and whether', seen.message);
      assert(Math.abs(seen.message.timestamp - Date.now()) < 60000, 'Unix ms', seen.message.timestamp);
      const { rotation, position } = seen.message.head;
      assert(rotation.length === 4 && Math.abs(position[2] + 0.4) < 0.002, 'the head', seen.message.head);
    }
    const near = compact.message.head.rotation.every((x, i) => Math.abs(x - json.message.head.rotation[i]) < 0.001);
    assert(near, 'the same head', both.map((w) => w.message.head));
    return {};
  },

  async an_emotion_is_sent_and_taken() {
    const s = await stage({ subject: 'Moody' });
    const sent = await until('an emotion that leaves', () => s.page.run(
      "return test.client.setEmotion('happy', 0.5, { fadeMs: 100, durationMs: 1000, subject: 'Npc' });",
    ));
    assert(sent === true, 'it says that it was sent', sent);
    // A face that only has an emotion is there, at rest.
    const npc = await until('the subject', async () => (await s.server.get('/api/v1/subjects')).subjects.find((f) => f.name === 'Npc'));
    assert(npc.blendshapes.jawOpen === undefined || npc.blendshapes.jawOpen === 0, 'at rest', npc);
    assert((await s.server.get('/api/v1/stats')).refused === 0, 'nothing was refused');
    const error = await s.page.run("try { test.client.setEmotion('sad', 'very'); return ''; } catch (error) { return String(error); }");
    assert(error.includes('intensity'), 'a wrong intensity is told', error);
    return {};
  },

  async a_subscription_survives_a_lost_socket_and_a_new_server() {
    const s = await stage({});
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

  async relay_only_without_a_relay_stays_on_the_websocket() {
    const s = await stage({ iceTransportPolicy: 'relay' });
    await until('frames', () => s.server.frames.length > 120);
    const { stats, info, policy } = await s.page.run('return { stats: test.client.getStats(), info: await test.client.getConnectionInfo(), policy: test.client.pc?.getConfiguration().iceTransportPolicy };');
    assert(policy === 'relay', 'the policy reaches the browser', policy);
    assert(stats.transport === 'websocket' && info.transport === 'websocket' && info.relayed === false && info.protocol === null, 'the WebSocket carries', { stats, info });
    assert(s.server.frames.every((f) => f.source === 'websocket'), 'over the WebSocket');
    return {};
  },

  async every_way_of_writing_arrives() {
    const figures = {};
    for (const binary of ['facelink1', 'float32', 'json']) {
      const s = await stage({ binary, subject: `As ${binary}` });
      await until(`${binary} over WebRTC`, () => s.server.frames.filter((f) => f.source === 'webrtc').length > 60);
      const { bytesPerSecond } = await s.stats();
      figures[binary] = Math.round(bytesPerSecond);
      const health = await s.server.get('/api/v1/stats');
      assert(health.connections.every((c) => c.refused === 0), 'nothing is refused', health);
    }
    assert(figures.facelink1 < figures.float32 && figures.float32 < figures.json, 'smaller and smaller', figures);
    return figures;
  },

  async figures_by_the_names_of_the_guide() {
    const s = await stage({ webrtc: true });
    await until('frames over WebRTC', () => s.server.frames.filter((f) => f.source === 'webrtc').length > 60);
    const { stats, server, info, notes } = await s.page.run(`
      const server = await test.client.requestStats();
      return { server, stats: test.client.getStats(), info: await test.client.getConnectionInfo(), notes: test.notes.map((n) => n[2]) };`);
    for (const name of ['connectionId', 'state', 'averageLatencyMs', 'messageCount', 'dataChannelState', 'bufferedAmount', 'transport', 'loss', 'jitterMs']) {
      assert(stats[name] !== undefined && stats[name] !== null, `getStats has ${name}`, stats);
    }
    assert(stats.state === 'connected' && stats.dataChannelState === 'open' && stats.averageLatencyMs > 0, 'live', stats);
    assert(stats.connectionId === server.connection_id, 'the server knows it by the same id', { stats, server });
    assert(info.transport === 'webrtc' && info.protocol === 'udp' && info.local && info.remote && !info.relayed, 'the path', info);
    for (const part of ['state: ', 'transport: ', 'own candidate: ', "server's candidate: ", 'ICE ', 'path: ']) {
      assert(notes.some((n) => n.startsWith(part)), `debug tells of "${part}"`, notes);
    }
    return {};
  },

  async several_faces_share_a_packet_and_reports_come() {
    const s = await stage({});
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
      // A packet that goes both ways while one is in doubt is one packet.
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
    assert(stats.loss < 0.2, 'on a good link next to nothing is lost', stats);
    return { repeats: stats.repeats, loss: stats.loss };
  },

  async nothing_waits_in_a_socket_that_takes_nothing() {
    // Three seconds of a network that swallows everything: what comes out afterwards is little and the newest counts.
    const s = await stage({ webrtc: false });
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
    assert(stale < 60, 'less than a second of old frames was under way', stale);
    const figures = s.server.count(silentFrom, at + 10);
    assert(figures.late === 0 && figures.doubles === 0, 'none late or doubled', figures);
    return { stale };
  },

  async a_hidden_page_notices_a_dead_socket() {
    // Timers that come once a second, as in a hidden page, and no frames that would keep the heartbeat going.
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
    assert(before.reconnects === 0, 'a living socket is not dropped', before);
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

  async a_page_that_leaves_says_goodbye() {
    const s = await stage({}, false);
    await until('frames over WebRTC', () => s.server.frames.some((f) => f.source === 'webrtc'));
    await s.page.post('/url', { url: 'about:blank' });
    await until('the end of the subject', () => s.server.events.find((e) => e.event === 'subject_lost'));
    return {};
  },
});
