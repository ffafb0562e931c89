// The browser refuses the WebSocket although the server answers HTTP, as an iPhone's does with a certificate that it does not
// trust: offers go by HTTP, everything else over the data channel, and the WebSocket takes over again when it opens.
//
//   CARGO_TARGET_DIR=... node tests/web/signalling.mjs [part of a test's name ...]
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert, atEnd, Browser, needBrowser, now, runAll, Server, startClient, until } from './lib.mjs';

needBrowser();

/** Before the page's own scripts: a WebSocket that fails with 1006 before it opens, while `refuseSockets` is set. */
const refusal = `
  window.refuseSockets = true;
  window.tried = [];
  const Real = window.WebSocket;
  window.WebSocket = class Refused extends EventTarget {
    static CONNECTING = 0; static OPEN = 1; static CLOSING = 2; static CLOSED = 3;
    constructor(url, protocols) {
      super();
      window.tried.push(performance.now());
      if (!window.refuseSockets) return new Real(url, protocols);
      Object.assign(this, { url: String(url), readyState: 0, bufferedAmount: 0, binaryType: 'blob', onopen: null, onmessage: null, onerror: null, onclose: null });
      setTimeout(() => {
        this.readyState = 3;
        this.onerror?.(new Event('error'));
        this.onclose?.(new CloseEvent('close', { code: 1006, wasClean: false }));
      }, 5);
    }
    send() { throw new DOMException('not open', 'InvalidStateError'); }
    close() {}
  };
`;
/** No UDP: candidates for it are taken out of what the server sends. */
const noUdp = `
  const set = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function (init) {
    return set.call(this, { type: init.type, sdp: init.sdp.replace(/a=candidate:\\S+ \\d+ udp .*\\r\\n/gi, '') });
  };
  const add = RTCPeerConnection.prototype.addIceCandidate;
  RTCPeerConnection.prototype.addIceCandidate = function (init) {
    return / udp /i.test(init?.candidate ?? '') ? Promise.resolve() : add.call(this, init);
  };
`;

/** An https page of a server, opened with these scripts. */
async function setUp({ before = refusal, token = 'right', query = '' } = {}) {
  const home = mkdtempSync(path.join(os.tmpdir(), 'facelink-web-'));
  atEnd(() => rmSync(home, { recursive: true, force: true }));
  process.env.XDG_DATA_HOME = home; // no certificate in the home of this machine's user
  const server = await Server.start(0, ['--lan', '--token', 'right']);
  const page = await Browser.open('about:blank', { args: ['--ignore-certificate-errors'] });
  await page.cdp('Page.addScriptToEvaluateOnNewDocument', { source: before });
  await page.cdp('Page.setBypassCSP', { enabled: true }); // the clock of the test's frames is a worker of its own
  const url = `https://127.0.0.1:${server.port}/?token=${token}${query}`;
  await page.post('/url', { url });
  await until('the page', () => page.run('return window.facelink?.client !== undefined;'));
  await page.run('facelink.client.close();');
  return { server, page, stats: () => page.run('return test.client.getStats();') };
}

/** Frames from the first that left on: how many of 50 arrived. */
async function fifty(s, subject = 'Test') {
  const from = await until('a frame that leaves', () => s.page.run('const i = test.out.indexOf(true); return i < 0 ? null : [i];'));
  await until('50 more', () => s.page.run(`return test.n > ${from[0] + 60};`));
  await until('their arrival', () => s.server.frames.some((f) => f.subject === subject && f.n > from[0] + 55));
  const [times, out] = await s.page.run('return [test.times, test.out];');
  return s.server.count(from[0], from[0] + 49, times, out, subject);
}

await runAll({
  async websocket_taken_away_and_returned() {
    const s = await setUp();
    const started = now();
    await s.page.run(startClient(undefined));
    const first = await until('a face', () => s.server.frames.find((f) => f.subject === 'Test'));
    const firstMs = Math.round(first.at - started);
    assert(firstMs < 1500, 'a face within 1.5 s', firstMs);
    const figures = await fifty(s);
    const stats = await s.stats();
    // What the client merged, because a busy machine's clock gave two at once, is not lost.
    assert(figures.lostInTransit === 0 && stats.dropped === 0 && figures.late === 0 && figures.duplicates === 0, '50 of 50', { figures, stats });
    assert(stats.transport === 'webrtc' && stats.signalling === 'http' && stats.state === 'connected', 'by HTTP', stats);
    assert(await s.page.run('return test.client.ws === null || test.client.ws.readyState !== 1;'), 'without a WebSocket');
    const notes = await s.page.run('return test.notes.map((n) => n[2]);');
    assert(notes.some((n) => n.includes('signalling by HTTP')), 'and says so', notes);

    // It returns: the same connection, and frames survive the end of the channel.
    const id = stats.connectionId;
    await s.page.run('window.refuseSockets = false;');
    await until('the WebSocket', async () => (await s.stats()).signalling === 'websocket', 60000);
    const after = await s.stats();
    assert(after.connectionId === id && after.transport === 'webrtc' && after.moves === 0, 'the same connection, and no frame moved', after);
    await until('one connection', async () => (await s.server.get('/api/v1/stats')).connections.length === 1);
    const before = await s.page.run('return test.n;');
    await s.page.run('test.client.dataChannel.close();');
    await until('frames by the WebSocket', () => s.server.frames.some((f) => f.source === 'websocket'));
    await until('and by another channel', () => s.server.frames.some((f) => f.source === 'webrtc' && f.n > before + 10));
    const to = await s.page.run('return test.n;');
    await until('more', () => s.server.frames.some((f) => f.n > to));
    const [times, out] = await s.page.run('return [test.times, test.out];');
    const moves = s.server.count(before, to, times, out);
    assert(moves.lostInTransit <= 2 && moves.late === 0 && moves.duplicates === 0, 'no gap', moves);
    assert(!s.server.events.some((e) => e.event === 'subject_lost'), 'the face stayed');
    return { firstMs, figures, moves };
  },

  async ice_over_tcp_without_udp() {
    const s = await setUp({ before: refusal + noUdp });
    const started = now();
    await s.page.run(startClient(undefined));
    const first = await until('a face', () => s.server.frames.find((f) => f.subject === 'Test'));
    const info = await s.page.run('return test.client.getConnectionInfo();');
    assert(info.protocol === 'tcp', 'over TCP', info);
    const figures = await fifty(s);
    assert(figures.lostInTransit === 0, '50 of 50', figures);
    return { firstMs: Math.round(first.at - started), figures };
  },

  async udp_is_taken_where_it_works() {
    const s = await setUp();
    await s.page.run(startClient(undefined));
    await until('a face', () => s.server.frames.some((f) => f.subject === 'Test'));
    const { info, notes } = await s.page.run('return { info: await test.client.getConnectionInfo(), notes: test.notes.map((n) => n[2]) };');
    assert(info.protocol === 'udp', 'UDP', info);
    assert(notes.some((n) => /server's candidate: host tcp/.test(n)), 'although the server offers TCP', notes);
    return {};
  },

  async faces_are_received() {
    const s = await setUp();
    await s.page.run(startClient(undefined));
    await s.page.run(`
      const { FacialAnimationWebRTCClient } = await import('/facelink.js');
      const client = new FacialAnimationWebRTCClient();
      window.seen = { count: 0, client };
      client.onBlendshapeUpdate = (data, arkit, message) => { seen.count += 1; seen.last = message; };
      await client.connect();
    `);
    await until('faces', () => s.page.run('return seen.count > 60;'));
    await s.page.run("test.client.setSubject('Other');");
    await until('the new name', () => s.page.run("return seen.last.subject === 'Other';"));
    await s.page.run('seen.client.unsubscribe();');
    const server = await s.page.run('return test.client.requestStats();');
    assert(server.transport === 'webrtc' && server.subject === 'Other', 'stats over the channel', server);
    return {};
  },

  async server_restarts_and_channel_fails() {
    const s = await setUp();
    await s.page.run(startClient(undefined));
    await until('a face', () => s.server.frames.length > 30);
    const id = (await s.stats()).connectionId;
    // Its packets no longer arrive: another peer connection for the same connection.
    const at = await s.page.run('const n = test.n; test.client.pc.close(); return n;');
    await until('frames of another channel', () => s.server.frames.some((f) => f.n > at + 10));
    const renewed = await s.stats();
    await s.server.stop();
    await s.server.run();
    const after = s.server.frames.length;
    await until('the new server', () => s.server.frames.length > after + 60);
    const stats = await s.stats();
    assert(stats.signalling === 'http' && stats.connectionId !== id, 'by HTTP once more', stats);
    return { renewed: renewed.connectionId === id };
  },

  async wrong_token_and_silent_server_are_said() {
    const s = await setUp();
    // Loopback shows no token: what a phone is answered comes from here.
    const answers = await s.page.run(`
      const { FacialAnimationWebRTCClient } = await import('/facelink.js');
      const fetchReal = window.fetch;
      const codes = {};
      for (const [name, status, text] of [['token', 401, 'the pairing token is missing or wrong'], ['origin', 403, 'pages of this origin may not connect'], ['busy', 503, 'too many connections']]) {
        window.fetch = (url, init) => (init?.method === 'POST'
          ? Promise.resolve(new Response(JSON.stringify({ error: { code: 'x', message: text } }), { status })) : fetchReal(url, init));
        const client = new FacialAnimationWebRTCClient();
        const error = await client.connect().then(() => null, (e) => e);
        codes[name] = [error?.code, error?.message, client.state];
        client.close();
      }
      window.fetch = () => Promise.reject(new TypeError('Failed to fetch'));
      const client = new FacialAnimationWebRTCClient();
      const error = await client.connect().then(() => null, (e) => e);
      codes.silent = [error?.code, error?.message, client.state];
      client.close();
      window.fetch = fetchReal;
      return codes;`);
    assert(answers.token[0] === 'unauthorized' && answers.token[2] === 'failed', 'a wrong token ends it', answers);
    assert(answers.origin[0] === 'refused' && answers.origin[1].includes('origin'), 'the origin', answers);
    assert(answers.busy[0] === 'refused' && answers.busy[1].includes('too many connections'), "the server's reason", answers);
    assert(answers.silent[0] === 'unreachable', 'nothing answers', answers);
    return {};
  },

  async page_shows_it_and_offers_the_certificate() {
    const s = await setUp();
    await s.page.run("document.getElementById('disconnect').click();");
    await until('connected', () => s.page.run("return document.getElementById('state').dataset.state === 'connected';"));
    await until('the note', () => s.page.run("return !document.getElementById('signal-note').hidden;"));
    assert(await s.page.run("return document.getElementById('alert').hidden;"), 'no alert');
    const page = await s.page.run(`
      const answer = await fetch(document.querySelector('#signal-note a').href);
      const der = await fetch('/certificate/facelink.crt');
      return { status: answer.status, text: await answer.text(), type: der.headers.get('content-type'), bytes: (await der.arrayBuffer()).byteLength };`);
    assert(page.status === 200 && /FaceLink [0-9A-F]{12}/.test(page.text) && page.text.includes('Certificate Trust Settings'), 'how to install it', page.text.slice(0, 400));
    assert(page.type === 'application/x-x509-ca-cert' && page.bytes > 300, 'and the certificate', page);
    return {};
  },
});
