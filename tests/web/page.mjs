// Faces in a page that Rust brings there, of `facelink send` through an endpoint: the game examples/web, or the client alone
// (the example `browser` of facelink-net).
//
//   .ci/web-page client|game builds either, and runs this.
//   PAGE=target/web-client FACELINK=.../facelink node tests/web/page.mjs [part of a test's name ...]
//
// SHOTS=DIR keeps the game's pictures.
import { spawn } from 'node:child_process';
import { createReadStream, existsSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { assert, atEnd, binary, Browser, needBrowser, Proxy, root, runAll, Server, until } from './lib.mjs';
import { readPng } from './png.mjs';

needBrowser();
const folder = path.resolve(process.env.PAGE ?? path.join(root, 'target/web-client'));
// The game has an avatar, and a picture of it.
const draws = existsSync(path.join(folder, 'facelink-web_bg.wasm'));
if (!draws && !existsSync(path.join(folder, 'browser_bg.wasm'))) {
  const message = `${folder} has no built page: .ci/web-page makes one`;
  if (process.env.CI === 'true') throw new Error(message);
  console.log(`skipped: ${message}`);
  process.exit(0);
}
// Without a graphics card a picture takes seconds.
const LIMIT = draws ? 240_000 : 60_000;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };

/** A web server of files alone, as a game is published. */
async function serveFolder() {
  const server = http.createServer((request, response) => {
    const file = path.join(folder, path.normalize(new URL(request.url, 'http://x').pathname).replace(/\/$/, '/index.html'));
    if (!file.startsWith(folder + path.sep) || !existsSync(file) || !statSync(file).isFile()) {
      response.statusCode = 404;
      return response.end();
    }
    response.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream');
    createReadStream(file).pipe(response);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

/** `facelink send` to an endpoint. */
function send(port, more = []) {
  const child = spawn(binary(), ['send', '--to', `ws://127.0.0.1:${port}`, '--subject', 'Ann', ...more], { stdio: 'ignore' });
  atEnd(() => child.kill('SIGKILL'));
}

/** The page, opened with this query, as a player opens it. */
async function open(query) {
  const page = await Browser.open('about:blank', {
    width: 480, height: 360, args: draws ? ['--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'] : [],
  });
  await page.cdp('Page.addScriptToEvaluateOnNewDocument', {
    source: `window.said = []; window.errors = [];
      addEventListener('error', (e) => errors.push(e.message));
      addEventListener('unhandledrejection', (e) => errors.push(String(e.reason)));
      for (const level of ['error', 'warn', 'info', 'log']) {
        const before = console[level];
        console[level] = (...words) => {
          const line = words.join(' ').replaceAll(/%c|(color|background): [^;]*;?/g, '');
          if (said.length < 1000) said.push(line);
          if (level === 'error') errors.push(line);
          before(...words);
        };
      }`,
  });
  await page.post('/url', { url: `${await serveFolder()}?${new URLSearchParams(query)}` });
  const status = () => page.run("return document.getElementById('status')?.textContent ?? '';");
  /** The status that `check` accepts. */
  const wait = async (what, check) => {
    try {
      return await until(what, async () => {
        const text = await status();
        return check(text) && text;
      }, LIMIT);
    } catch (error) {
      throw new Error(`${error.message}; the page says ${JSON.stringify([await status(), await page.run('return [errors, said.slice(-25)];')])}`);
    }
  };
  const picture = async (name) => {
    const png = await page.screenshot();
    if (process.env.SHOTS) writeFileSync(`${process.env.SHOTS}/page-${name}.png`, png);
    return readPng(png);
  };
  const noErrors = async () => {
    // By this exception, which is none, the window's loop is left to the page.
    const errors = (await page.run('return errors;')).filter((text) => !text.includes('Using exceptions for control flow'));
    assert(errors.length === 0, 'no error on the page', errors);
  };
  return { page, wait, picture, noErrors };
}

/** Colours of a picture, and the share of the commonest. */
function colours({ data, channels }) {
  const count = new Map();
  for (let i = 0; i < data.length; i += channels) {
    const colour = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
    count.set(colour, (count.get(colour) ?? 0) + 1);
  }
  return { colours: count.size, commonest: Math.max(...count.values()) / (data.length / channels) };
}

/** Pixels that differ visibly. */
function changed(one, other) {
  let count = 0;
  for (let i = 0; i < one.data.length; i += one.channels) {
    if ([0, 1, 2].some((c) => Math.abs(one.data[i + c] - other.data[i + c]) > 12)) count += 1;
  }
  return count;
}

const connected = (text) => text.startsWith('connected');
const jaw = (text) => Number(/jaw ([\d.]+)/.exec(text)?.[1] ?? NaN);
const fps = (text) => Number(/(\d+) frames/.exec(text)?.[1] ?? 0);

await runAll({
  async face_arrives_by_the_data_channel_and_moves() {
    const server = await Server.start();
    const s = await open({ endpoint: `ws://127.0.0.1:${server.port}` });
    await s.wait('the connection', connected);
    send(server.port);
    await s.wait("the browser's own data channel", (text) => text.startsWith('connected by webrtc') && text.includes('Ann'));
    if (draws) await s.wait('the avatar', (text) => text.includes('1 driven'));
    await s.wait('a closed mouth', (text) => jaw(text) < 0.05);
    const closed = draws && await s.picture('closed');
    const status = await s.wait('an open mouth', (text) => jaw(text) > 0.3 && fps(text) > 20);
    const shown = {};
    if (draws) {
      const picture = await s.picture('open');
      Object.assign(shown, colours(picture), { moved: changed(closed, picture) });
      assert(shown.colours > 300 && shown.commonest < 0.95, 'the picture shows something', shown);
      assert(shown.moved > 50, 'the face moves', shown);
    }
    await s.noErrors();
    return { status, ...shown };
  },

  async face_arrives_by_the_websocket_alone() {
    const server = await Server.start();
    const s = await open({ endpoint: `ws://127.0.0.1:${server.port}`, webrtc: 'off' });
    send(server.port, ['--via', 'websocket']);
    const status = await s.wait('the face', (text) => text.startsWith('connected by websocket') && jaw(text) > 0.2 && fps(text) > 20);
    await s.noErrors();
    return { status };
  },

  async face_comes_back_with_its_endpoint() {
    const server = await Server.start();
    const s = await open({ endpoint: `ws://127.0.0.1:${server.port}` });
    send(server.port);
    await s.wait('the face', (text) => connected(text) && fps(text) > 20);
    await server.stop();
    const waits = await s.wait('the loss', (text) => text.startsWith('waiting'));
    await server.run();
    await s.wait('the face again', (text) => connected(text) && fps(text) > 20);
    return { waits: waits.split('\n')[0] };
  },

  async silent_websocket_is_noticed_and_dialled_again() {
    const server = await Server.start();
    const proxy = await Proxy.start(() => server.port);
    const s = await open({ endpoint: `ws://127.0.0.1:${proxy.port}`, webrtc: 'off' });
    send(server.port);
    await s.wait('the face', (text) => fps(text) > 20);
    proxy.freeze();
    await s.wait('the loss', (text) => !connected(text));
    proxy.kill();
    proxy.mode = 'open';
    await s.wait('the face again', (text) => connected(text) && fps(text) > 20);
    return { connects: proxy.connects.length };
  },

  async wrong_token_is_refused_and_the_right_one_is_not() {
    const server = await Server.start(0, ['--token', 'secret', '--token-on-loopback']);
    const endpoint = `ws://127.0.0.1:${server.port}`;
    const refused = await (await open({ endpoint, token: 'guess' })).wait('the refusal', (text) => text.startsWith('refused'));
    assert(refused.includes('pairing token'), 'it says why', refused);
    await (await open({ endpoint, token: 'secret' })).wait('the connection', connected);
    return { refused: refused.split('\n')[0] };
  },

  async address_that_is_none_is_refused() {
    const refused = await (await open({ endpoint: 'ftp://127.0.0.1' })).wait('the refusal', (text) => text.startsWith('refused'));
    assert(refused.includes('no address of an endpoint'), 'it says why', refused);
    return { refused: refused.split('\n')[0] };
  },
});
