// A performer's picture and sound next to the face, with Chromium's fake camera and microphone: from the page into a take,
// and to a viewer, whose picture moves.
//
//   CARGO_TARGET_DIR=... node tests/web/picture.mjs [part of a test's name ...]
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { CameraPage } from './camera-page.mjs';
import { assert, Browser, needBrowser, runAll, until } from './lib.mjs';

needBrowser();
// The server's folder of takes is made where it runs.
const folder = mkdtempSync(path.join(os.tmpdir(), 'facelink-picture-'));
process.chdir(folder);
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Messages by topic, of the summary at the end of an MCAP file. */
function topics(file) {
  const bytes = readFileSync(file);
  let at = Number(bytes.readBigUInt64LE(bytes.length - 8 - 20));
  const names = new Map();
  const counts = {};
  while (at < bytes.length - 8) {
    const op = bytes[at];
    const body = bytes.subarray(at + 9, at + 9 + Number(bytes.readBigUInt64LE(at + 1)));
    at += 9 + body.length;
    if (op === 0x04) names.set(body.readUInt16LE(0), body.toString('utf8', 8, 8 + body.readUInt32LE(4)));
    if (op === 0x0b) {
      for (let place = 46; place < body.length; place += 10) counts[names.get(body.readUInt16LE(place))] = Number(body.readBigUInt64LE(place + 2));
    }
  }
  return counts;
}

const shot = async (page, name) => {
  if (process.env.SHOTS) writeFileSync(`${process.env.SHOTS}/${name}.png`, await page.screenshot());
};
const press = (s, id) => s.run(`document.getElementById('${id}').click();`);
const note = (s, kind) => s.run(`return document.getElementById('picture-${kind}-note').textContent;`);
const post = async (s, route) => (await fetch(`http://127.0.0.1:${s.server.port}/api/v1/${route}`, { method: 'POST' })).json();
/** What a connection of the page counts. */
const counts = (of, type) => `return [...(await ${of}.getStats()).values()].filter((s) => s.type === '${type}')
  .map((s) => ({ kind: s.kind, bytes: s.bytesSent ?? s.bytesReceived, frames: s.framesEncoded ?? s.framesDecoded, layers: s.scalabilityMode }));`;

async function sending(options) {
  const s = await CameraPage.open(options);
  await s.on();
  assert(/stays on this device/.test(await note(s, 'video')), 'nothing is sent without being asked', await note(s, 'video'));
  await press(s, 'speech-toggle');
  await until('the microphone', () => s.run('return facelink.speech.track !== null;'));
  await press(s, 'picture-video');
  await press(s, 'picture-audio');
  await until('the picture to be sent', async () => /goes to 127\.0\.0\.1/.test(await note(s, 'video')));
  return s;
}

await runAll({
  async picture_and_sound_of_the_page_are_in_the_take() {
    const figures = {};
    for (const [name, width] of [['desktop', 1280], ['phone', 390]]) {
      const s = await sending({ width, height: 844 });
      if (name === 'phone') await s.page.cdp('Emulation.setDeviceMetricsOverride', { width, height: 844, deviceScaleFactor: 1, mobile: true });
      await s.run("document.getElementById('picture-video').scrollIntoView({ block: 'center' });");
      await shot(s.page, `picture-${name}`);
      assert(!await s.run('return document.documentElement.scrollWidth > innerWidth;'), 'nothing is too wide');
      const listed = await until('the picture', async () => {
        const { subjects } = await s.server.get('/api/v1/pictures');
        return subjects.length ? subjects : null;
      });
      assert(listed[0] === 'Cam', 'it is that of the face', listed);
      const begun = await post(s, 'takes/start');
      await until('three seconds', async () => (await s.server.get('/api/v1/takes')).take.seconds > 3);
      await post(s, 'takes/stop');
      const found = topics(begun.file);
      assert(found['/picture/Cam'] > 5 && found['/sound/Cam'] > 20 && found['/face/Cam'] > 20, 'the take has all three', found);
      figures[name] = { ...found, sent: await s.run(counts('facelink.picture.publisher.connection', 'outbound-rtp')) };
      // Off again: nothing is sent, and the server forgets it.
      await press(s, 'picture-video');
      await press(s, 'picture-audio');
      await until('its end', async () => (await s.server.get('/api/v1/pictures')).subjects.length === 0);
      assert(await s.run('return facelink.picture.publisher.connection === null;'), 'no connection is left');
      await s.server.stop();
    }
    return figures;
  },

  async viewer_shows_a_picture_that_moves_and_is_muted_until_asked() {
    const s = await sending();
    const figures = {};
    for (const thin of ['0', '1']) {
      const view = await Browser.open(`http://127.0.0.1:${s.server.port}/view?subject=Cam&picture=1&thin=${thin}`, { width: 800, height: 600 });
      await until('the picture', () => view.run("const v = document.getElementById('live-video'); return v.checkVisibility() && v.videoWidth > 0 && v.currentTime > 0;"), 60000);
      // The fake camera draws a disc that turns.
      const differs = `const v = document.getElementById('live-video');
        const c = new OffscreenCanvas(80, 60).getContext('2d', { willReadFrequently: true });
        const take = () => { c.drawImage(v, 0, 0, 80, 60); return c.getImageData(0, 0, 80, 60).data; };
        if (!v.videoWidth) return false;
        window.before ??= take();
        const now = take();
        let different = 0;
        for (let i = 0; i < now.length; i += 4) if (Math.abs(now[i] - before[i]) + Math.abs(now[i + 1] - before[i + 1]) > 40) different += 1;
        return different > 20;`;
      await until('another picture', () => view.run(differs));
      assert(await view.run("return document.getElementById('live-video').muted;"), 'it is muted');
      await view.run("document.getElementById('live-sound').click();");
      assert(!await view.run("return document.getElementById('live-video').muted;"), 'until its sound is asked for');
      const rate = () => view.run(`const all = [...(await window.live?.connection?.getStats() ?? new Map()).values()];
        const video = all.find((s) => s.type === 'inbound-rtp' && s.kind === 'video');
        return video ? { received: video.framesReceived ?? 0, at: video.timestamp } : null;`);
      // Without three.js the viewer loads itself anew from time to time, and begins anew then.
      let from = null;
      const to = await until('sixty frames', async () => {
        const now = await rate();
        if (!now || !from || now.received < from.received) from = now;
        return now && now.received - from.received >= 60 ? now : null;
      }, 60000);
      figures[thin === '1' ? 'thin fps' : 'fps'] = Math.round(((to.received - from.received) * 1000) / (to.at - from.at));
      await shot(view, `picture-view-${thin}`);
    }
    assert(figures['thin fps'] < figures.fps * 0.8, 'a thin viewer gets fewer frames', figures);
    return figures;
  },

  async sealed_faces_have_no_picture() {
    const key = Buffer.alloc(32, 7).toString('base64url');
    const s = await CameraPage.open({ url: (port) => `http://127.0.0.1:${port}/?subject=Cam#k=${key}` });
    await s.run("document.getElementById('camera-toggle').click();");
    await until('the camera', () => s.run('return facelink.panel.camera.track !== null;'));
    await press(s, 'picture-video');
    const why = await note(s, 'video');
    assert(/encrypted end to end/.test(why) && !await s.run("return document.getElementById('picture-video').checked;"), 'the page says why', why);
    assert((await s.server.get('/api/v1/pictures')).subjects.length === 0, 'nothing is sent');
  },
});
