// The page for people without a mouse, with large text, or with their own colours.
//
//   CARGO_TARGET_DIR=... node tests/web/access.mjs [part of a test's name ...]
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { assert, atEnd, Browser, needBrowser, runAll, Server, until } from './lib.mjs';

needBrowser();

async function setUp({ width = 1280, height = 900, query = '' } = {}) {
  const server = await Server.start();
  const page = await Browser.open('about:blank', { width, height });
  const set = (cmd, params) => page.cdp(cmd, params);
  await set('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 700 });
  await page.post('/url', { url: `http://127.0.0.1:${server.port}/${query}` });
  await until('the page', () => page.run("return document.getElementById('state')?.dataset.state === 'connected';"));
  const shot = async (name) => {
    if (process.env.SHOTS) writeFileSync(`${process.env.SHOTS}/${name}.png`, await page.screenshot());
  };
  /** Presses a key as a keyboard does. */
  const key = async (name, modifiers = 0) => {
    const codes = { Tab: 9, Delete: 46, ArrowRight: 39, Escape: 27 };
    for (const type of ['rawKeyDown', 'keyUp']) {
      await set('Input.dispatchKeyEvent', { type, key: name, code: name, modifiers, windowsVirtualKeyCode: codes[name] });
    }
  };
  return { server, page, set, shot, key };
}

await runAll({
  async focus_is_never_below_the_header() {
    const figures = {};
    for (const [name, width, height] of [['desktop', 1280, 800], ['phone', 390, 740]]) {
      const s = await setUp({ width, height });
      await s.page.run("document.documentElement.style.scrollBehavior = 'auto'; for (const d of document.querySelectorAll('details')) d.open = true; window.seen = new Set();");
      for (const [way, modifiers] of [['Tab', 0], ['Shift+Tab', 8]]) {
        const hidden = [];
        let count = 0;
        for (let i = 0; i < 160; i += 1) {
          await s.key('Tab', modifiers);
          const at = await s.page.run(`
            const e = document.activeElement;
            if (!e || e === document.body) return null;
            const box = e.getBoundingClientRect();
            const header = document.querySelector('header').getBoundingClientRect();
            return { id: e.id || e.className || e.tagName, top: box.top, bottom: box.bottom, header: header.bottom, height: innerHeight, first: e === document.querySelector('.skip') };`);
          if (!at) break;
          count += 1;
          if (!at.first && (at.top < at.header - 1 || at.bottom > at.height + 1) && at.bottom - at.top < at.height - at.header) hidden.push(at);
        }
        assert(count > 60, `${way} reaches the controls`, count);
        assert(hidden.length === 0, `${way} on a ${name} hides none of ${count}`, hidden.slice(0, 4));
        figures[`${name} ${way}`] = count;
      }
    }
    return figures;
  },

  async slider_is_let_go_by_keyboard() {
    const s = await setUp();
    const held = () => s.page.run("return document.getElementById('slider-note').textContent;");
    await s.page.run("document.getElementById('s-eyeBlinkLeft').focus();");
    await s.key('ArrowRight');
    await until('both eyes', async () => (await held()) === '2 held');
    await s.key('Delete');
    await until('neither', async () => (await held()) === '');
    const value = await s.page.run("return [document.getElementById('s-eyeBlinkLeft').value, document.getElementById('s-eyeBlinkRight').value];");
    assert(value.join() === '0,0', 'back at rest', value);
    // By the button next to the value, which the next Tab reaches.
    await s.key('ArrowRight');
    await s.key('Tab');
    const name = await s.page.run('return document.activeElement.getAttribute("aria-label");');
    assert(name === 'Let go of eyeBlinkLeft', 'a button with a name', name);
    await s.page.run('document.activeElement.click();');
    await until('neither', async () => (await held()) === '');
    assert((await s.page.run('return document.activeElement.id;')) === 's-eyeBlinkLeft', 'the focus stays');
    return {};
  },

  async text_at_200_percent_fits_a_phone() {
    const s = await setUp({ width: 390, height: 844, query: '?perform=1' });
    const figures = {};
    for (const percent of [100, 200]) {
      await s.page.run(`document.documentElement.style.fontSize = '${percent}%'; for (const d of document.querySelectorAll('details')) d.open = true;`);
      const wide = await s.page.run(`
        const out = [];
        for (const e of document.querySelectorAll('body *')) {
          const box = e.getBoundingClientRect();
          if (!box.width || e.closest('.sr, .skip, svg, [hidden]')) continue;
          if (box.right > 391 || box.left < -1) out.push((e.id || e.className || e.tagName) + ' ' + Math.round(box.left) + '-' + Math.round(box.right));
        }
        return { out: out.slice(0, 12), scroll: document.documentElement.scrollWidth, width: 390 };`);
      await s.shot(`text-${percent}`);
      assert(wide.scroll <= wide.width && wide.out.length === 0, `text at ${percent} % stays inside`, wide);
      figures[percent] = wide.scroll;
    }
    const size = await s.page.run("document.documentElement.style.fontSize = ''; return getComputedStyle(document.documentElement).fontSize;");
    assert(size === '16px', "the browser's own size", size);
    return figures;
  },

  async forced_colours_keep_the_switches() {
    const s = await setUp();
    await s.set('Emulation.setEmulatedMedia', { features: [{ name: 'forced-colors', value: 'active' }] });
    const shown = await s.page.run(`
      return [...document.querySelectorAll('.switch input')].map((e) => [e.id, getComputedStyle(e).appearance]);`);
    assert(shown.length > 3 && shown.every(([, appearance]) => appearance === 'auto'), 'drawn by the system', shown);
    await s.shot('forced-colors');
    return { switches: shown.length };
  },

  async page_loads_with_few_bytes() {
    const s = await setUp();
    const of = (route, headers = {}) => fetch(`http://127.0.0.1:${s.server.port}${route}`, { headers });
    const first = await s.page.run(`
      return performance.getEntriesByType('resource').filter((e) => /\\.(js|css)$/.test(new URL(e.name).pathname)).map((e) => [new URL(e.name).pathname, e.encodedBodySize, e.decodedBodySize]);`);
    const [packed, plain] = [1, 2].map((i) => first.reduce((sum, entry) => sum + entry[i], 0));
    assert(packed < plain / 3, 'compressed', first);
    const tag = (await of('/facelink.js')).headers.get('etag');
    assert((await of('/facelink.js', { 'if-none-match': tag })).status === 304, 'known by its tag');
    return { files: first.length, packed, plain };
  },

  async link_of_a_stranger_takes_neither_token_nor_face() {
    // The page is one server's, and its link names another one that the user has to agree to.
    const own = await Server.start(0, ['--token-on-loopback', '--token', 'let-me-in']);
    const other = await Server.start();
    const heard = [];
    const stranger = createServer((request, response) => {
      heard.push(request.url, JSON.stringify(request.headers));
      response.writeHead(404).end();
    });
    stranger.on('upgrade', (request, socket) => {
      heard.push(request.url, JSON.stringify(request.headers));
      socket.destroy();
    });
    await new Promise((done) => stranger.listen(0, '127.0.0.1', done));
    atEnd(() => stranger.close());
    const page = await Browser.open('about:blank', { width: 900, height: 900 });
    const seen = {};
    for (const [to, agrees] of [['own', null], ['other', false], ['other', true], ['stranger', true]]) {
      const port = { own: own.port, other: other.port, stranger: stranger.address().port }[to];
      const { identifier } = await page.cdp('Page.addScriptToEvaluateOnNewDocument', {
        source: `window.asked = []; window.confirm = (question) => { window.asked.push(question); return ${agrees}; };`,
      });
      const link = `http://127.0.0.1:${own.port}/?token=let-me-in&perform=1&server=${encodeURIComponent(`ws://127.0.0.1:${port}`)}`;
      await page.post('/url', { url: link });
      const served = { own, other: agrees ? other : own }[to];
      if (served) {
        await until('a connection', () => page.run("return document.getElementById('state')?.dataset.state === 'connected';"));
        const address = await page.run("return document.getElementById('server').textContent;");
        assert(address.includes(`:${served.port}`), 'the server that it shows', { to, agrees, address });
        const before = served.frames.length;
        await until('a face', () => served.frames.length > before);
      } else await until('a visit', () => heard.length > 1);
      const asked = await page.run('return window.asked;');
      if (to === 'own') assert(asked.length === 0, 'its own server is no question', asked);
      else assert(asked.length === 1 && asked[0].includes(`127.0.0.1:${port}`), 'the question names the host', asked);
      if (to === 'other' && !agrees) assert(other.frames.length === 0 && other.events.length === 0, 'nothing went there', other.events);
      seen[`${to} ${agrees}`] = asked.length;
      await page.cdp('Page.removeScriptToEvaluateOnNewDocument', { identifier });
      await page.post('/url', { url: 'about:blank' });
    }
    assert(!heard.join().includes('let-me-in'), 'the token is not shown to it', heard);
    return seen;
  },

  async classic_script_runs() {
    // The guide's snippet with <script src>, without a module.
    const s = await setUp();
    await s.page.cdp('Page.setBypassCSP', { enabled: true });
    await s.page.post('/url', { url: `http://127.0.0.1:${s.server.port}/api/v1/health` });
    const seen = await s.page.run(`
      await new Promise((done, fail) => {
        const script = document.createElement('script');
        Object.assign(script, { src: '/facial_animation_webrtc_client.js', onload: done, onerror: fail });
        document.head.append(script);
      });
      // The page of the guide, unchanged but for the address.
      let updates = 0;
      const updateAvatarMorphTargets = () => { updates += 1; };
      const client = new FacialAnimationWebRTCClient('ws://' + location.host);
      client.onBlendshapeUpdate = (blendshapes, arkitRaw) => {
        updateAvatarMorphTargets(blendshapes);
      };
      client.debug = true;
      let states = [];
      client.pc.addEventListener('iceconnectionstatechange', () => {
        states.push(client.pc.iceConnectionState);
      });
      await client.connect();
      client.sendARKitData({ 'jawOpen': 0.5, 'eyeBlinkLeft': 1.0, 'eyeBlinkRight': 1.0 });
      await new Promise((done) => { const wait = () => (client.dataChannel?.readyState === 'open' ? done() : setTimeout(wait, 10)); wait(); });
      const dataChannel = client.dataChannel;
      function sendBinaryBlendshapes(blendshapes) {
        const buffer = new ArrayBuffer(blendshapes.length * 4);
        const view = new Float32Array(buffer);
        Object.values(blendshapes).forEach((value, index) => {
          view[index] = value;
        });
        dataChannel.send(buffer);
      }
      const errors = [];
      client.onError = (error) => errors.push(error.message);
      const face = new Array(52).fill(0);
      face[17] = 0.75; // jawOpen
      for (let i = 0; i < 30; i += 1) {
        sendBinaryBlendshapes(face);
        await new Promise((done) => setTimeout(done, 16));
      }
      client.sendBinaryBlendshapes(face);
      const stats = client.getStats();
      const server = await client.requestStats();
      return { updates, states, errors, latency: typeof stats.averageLatencyMs, ice: client.pc.iceConnectionState, buffered: client.dataChannel.bufferedAmount, refused: server.refused, exported: Object.keys(FaceLink) };`);
    assert(seen.updates > 5 && seen.errors.length === 0 && seen.refused === 0, 'faces arrive, floats are taken', seen);
    assert(seen.states.includes('connected') && /connected|completed/.test(seen.ice), 'states by client.pc from the start', seen);
    const subjects = (await s.server.get('/api/v1/subjects')).subjects;
    assert(subjects.some((f) => Math.abs(f.blendshapes.jawOpen - 0.75) < 1e-3), 'the floats are the face', subjects.map((f) => f.blendshapes.jawOpen));
    return seen;
  },
});
