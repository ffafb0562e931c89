// From the end of an outage to the first fresh frame, for each kind of outage:
// median and worst of ROUNDS runs (default 3; the published table: 20). Times
// depend on the machine and are printed. Asserted: each run recovers, with the
// same subject and without duplicates.
//
//   CARGO_TARGET_DIR=... ROUNDS=20 node tests/web/reconnect.mjs [part of a name ...]
import {
  assert, Browser, needBrowser, now, Proxy, Relays, relayHooks, runAll, serveFiles, Server, sleep, spread, startClient, until,
} from './lib.mjs';

needBrowser();
const ROUNDS = Number(process.env.ROUNDS ?? 3);

async function setUp(options, relayed) {
  const server = await Server.start();
  const proxy = await Proxy.start(() => server.port);
  const relays = new Relays();
  const page = await Browser.open(await serveFiles(relays));
  await page.run(`${relayed ? relayHooks : ''}; ${startClient(`ws://127.0.0.1:${proxy.port}/ws`, options)}`);
  const s = { server, proxy, relays, page, relayed };
  s.stats = () => page.run('return { ...test.client.getStats(), n: test.n };');
  s.settled = async () => {
    await until('a settled connection', async () => {
      const { state, transport, hedging } = await s.stats();
      const wanted = options.webrtc === false ? 'websocket' : 'webrtc';
      return state === 'connected' && transport === wanted && !hedging && now() - server.frames.at(-1)?.at < 100;
    });
    // A connection lost within its first second is retried later: another case.
    await sleep(1300 + 700 * Math.random());
  };
  return s;
}

/**
 * @param {(s: any) => Promise<void>} cut Begins the outage and waits for its length
 * @param {(s: any) => Promise<void> | void} restore Ends it
 */
async function table(options, relayed, cut, restore) {
  const s = await setUp(options, relayed);
  const back = [];
  const freeze = [];
  for (let i = 0; i < ROUNDS; i += 1) {
    await s.settled();
    const last = s.server.frames.length;
    await cut(s);
    const restored = now();
    await restore(s);
    const { n } = await s.stats();
    const asked = now();
    const fresh = await until('a fresh frame', () => s.server.frames.slice(last).find((f) => f.at >= restored && f.n >= n - Math.ceil((asked - restored) / 16) - 1));
    back.push(fresh.at - restored);
    let gap = 0;
    let before = s.server.frames[last - 1].at;
    for (const f of s.server.frames.slice(last)) {
      if (f.at > fresh.at) break;
      gap = Math.max(gap, f.at - before);
      before = f.at;
    }
    freeze.push(gap);
  }
  await s.settled();
  await s.page.run('test.stopped = true;');
  await sleep(200);
  const { n, reconnects, iceRestarts } = await s.stats();
  const figures = s.server.count(0, n - 1);
  assert(s.server.frames.every((f) => f.subject === 'Test'), 'the same subject');
  assert(figures.duplicates === 0, 'duplicate frames', figures);
  return { rounds: ROUNDS, backMs: spread(back), freezeMs: spread(freeze), late: figures.late, reconnects, iceRestarts };
}

await runAll({
  websocket_reset: () => table({ webrtc: false }, false, async (s) => s.proxy.kill(), () => {}),

  websocket_half_dead_for_ever: () => table({ webrtc: false }, false, async (s) => {
    // The old connection stays silent; a new one works at once.
    s.proxy.freeze();
    s.proxy.mode = 'open';
    await sleep(40); // frames in transit arrive
  }, () => {}),

  network_gone_3_s_other_address: () => table({}, true, async (s) => {
    s.relays.drop = true;
    s.proxy.freeze();
    await sleep(3000);
  }, async (s) => {
    s.relays.cutKnown();
    s.relays.drop = false;
    s.proxy.mode = 'open';
    s.proxy.kill();
    await s.page.run("window.dispatchEvent(new Event('online'));");
  }),

  network_gone_3_s_without_event: () => table({}, true, async (s) => {
    s.relays.drop = true;
    s.proxy.freeze();
    await sleep(3000);
  }, (s) => {
    // The same address, and no event in the page.
    s.relays.drop = false;
    s.proxy.thaw();
  }),

  channel_path_dies: () => table({}, true, async (s) => {
    s.relays.cutKnown();
    await sleep(40);
  }, () => {}),

  page_slept_5_s: () => table({}, true, async (s) => {
    // A phone that slept: its connections and its path are gone when it wakes.
    s.page.signal('SIGSTOP');
    await sleep(2500);
    s.relays.cutKnown();
    s.proxy.kill();
    await sleep(2500);
  }, (s) => s.page.signal('SIGCONT')),

  page_slept_5_s_old_connections_silent: () => table({}, true, async (s) => {
    s.page.signal('SIGSTOP');
    s.relays.cutKnown();
    s.proxy.freeze();
    s.proxy.mode = 'open';
    await sleep(5000);
  }, (s) => s.page.signal('SIGCONT')),

  server_restarts: () => table({}, false, async (s) => {
    await s.server.stop();
    await sleep(500);
  }, (s) => s.server.run(s.server.port)),

  server_gone_5_s: () => table({}, false, async (s) => {
    await s.server.stop();
    await sleep(5000);
  }, (s) => s.server.run(s.server.port)),
});
