// Takes recorded from the page, on a desktop and on a phone.
//
//   CARGO_TARGET_DIR=... node tests/web/takes.mjs [part of a test's name ...]
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert, binary, Browser, needBrowser, runAll, Server, until } from './lib.mjs';

needBrowser();
// The server's folder of takes is made where it runs.
const folder = mkdtempSync(path.join(os.tmpdir(), 'facelink-takes-'));
process.chdir(folder);
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

function info(file) {
  const done = spawnSync(binary(), ['take', 'info', file, '--json'], { encoding: 'utf8' });
  assert(done.status === 0, `take info ${file}`, done.stderr);
  return JSON.parse(done.stdout);
}

async function open(width, height, query = '') {
  const server = await Server.start();
  const page = await Browser.open('about:blank', { width, height });
  await page.cdp('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 700 });
  await page.post('/url', { url: `http://127.0.0.1:${server.port}/?perform=1&subject=Ann${query}` });
  await until('the page', () => page.run("return document.getElementById('state')?.dataset.state === 'connected';"));
  await page.run("document.documentElement.style.scrollBehavior = 'auto'; document.querySelector('.takes').scrollIntoView({ block: 'center' });");
  const text = (id) => page.run(`return document.getElementById('${id}').textContent;`);
  const shot = async (name) => {
    if (process.env.SHOTS) writeFileSync(`${process.env.SHOTS}/${name}.png`, await page.screenshot());
  };
  return { server, page, text, shot };
}

const type = (id, value) => `{ const box = document.getElementById('${id}'); box.value = '${value}'; box.dispatchEvent(new Event('input')); }`;

await runAll({
  async page_records_takes_that_count_up() {
    const figures = {};
    for (const [name, width, height] of [['desktop', 1280, 900], ['phone', 390, 844]]) {
      const s = await open(width, height);
      await s.shot(`take-idle-${name}`);
      for (const number of [1, 2]) {
        await s.page.run(type('slate', `${name} 7`));
        await until('the next number', async () => (await s.page.run("return document.getElementById('take-number').placeholder;")) === String(number));
        await s.page.run("document.getElementById('record').click();");
        await until('a second of it', async () => /, take \d, 0:0[1-9]/.test(await s.text('take-note')));
        await s.page.run(`${type('mark', 'the good one')} document.querySelector('#mark-form button').click();`);
        await until('the mark', () => s.page.run("return document.getElementById('mark').value === '';"));
        await s.shot(`take-recording-${name}`);
        const pressed = await s.page.run("return document.getElementById('record').getAttribute('aria-pressed');");
        const wide = await s.page.run('return document.documentElement.scrollWidth > innerWidth;');
        assert(pressed === 'true' && !wide, 'the button says so, and nothing is too wide', { pressed, wide });
        await s.page.run("document.getElementById('record').click();");
        await until('its end', async () => (await s.text('take-hint')).startsWith('Recorded 0:'));
        const take = info(`takes/${name} 7_00${number}.mcap`);
        assert(take.complete && take.slate === `${name} 7` && take.take === number, 'slate and number', take);
        assert(take.subjects.length === 1 && take.subjects[0].name === 'Ann' && take.subjects[0].frames > 10, 'the face is in it', take);
        figures[`${name} ${number}`] = take.subjects[0].frames;
      }
    }
    return figures;
  },

  async page_takes_a_number_and_shows_a_refusal() {
    const s = await open(390, 844);
    const press = () => s.page.run("document.getElementById('record').click();");
    await s.page.run(`${type('slate', 'other')} ${type('take-number', '12')}`);
    await press();
    await until('the take', async () => (await s.text('take-note')).startsWith('other, take 12'));
    // Another page shows it, and ends it.
    const second = await Browser.open(`http://127.0.0.1:${s.server.port}/`, { width: 390, height: 844 });
    await until('the other page', () => second.run("return document.getElementById('record')?.getAttribute('aria-pressed') === 'true';"));
    await second.run("document.getElementById('record').click();");
    await until('its end', async () => (await s.text('take-hint')).startsWith('Recorded 0:'));
    await s.page.run(type('take-number', '12'));
    await press();
    await until('the refusal', async () => /other_012|exists/.test(await s.text('take-hint')));
    const pressed = await s.page.run("return document.getElementById('record').getAttribute('aria-pressed');");
    assert(pressed === 'false', 'nothing is recorded', pressed);
  },
});
