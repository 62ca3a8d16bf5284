// Somebody starts Flotilla for the first time, with a Raspberry Pi on the shelf: a real browser, the real search, SSH and Docker, and
// nothing but clicks and one field until an app runs on it. With SCREENSHOTS=1 it leaves the pictures of the README.
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pods } from '#kube/client/resources.ts';
import { LabCluster } from '../lab/lab-cluster.ts';
import type { LabMachine } from '../lab/lab-machine.ts';
import { plantRuntime } from '../lab/planted-runtime.ts';
import { addPi, piPassword } from '../lab/stock-pi.ts';
import { browserProgram, launchBrowser } from '../setup/browser.ts';
import { eventually } from '../setup/cluster.ts';
import { savedTestImage, webImage } from '../setup/images.ts';
import { root } from '../setup/machine.ts';

const home = new LabCluster();
let pi: LabMachine;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  await home.start({ searches: true });
  await plantRuntime(home.cluster.dataDirectory);
  pi = await addPi(home.lab, 'raspberrypi', 11);
  await haveFirstApp();
  browser = await launchBrowser(onLaptop());
  page = await browser.newPage({ viewport: { width: 1200, height: 750 }, deviceScaleFactor: 1 });
  page.setDefaultTimeout(60_000);
});
afterAll(async () => {
  await browser?.close();
  await home.destroy();
});

/** The image that the page suggests: no registry is to be had here. */
async function haveFirstApp(): Promise<void> {
  pi.loadImage(savedTestImage());
  const serve = JSON.stringify(['httpd', '-f', '-p', '80', '-h', '/www']);
  const text = `FROM ${webImage}\nCMD ${serve}\n`;
  await pi.run('sh', '-c', 'printf %s "$1" | docker build -q -t nginx:alpine -', 'sh', text);
}

/** The page is served on the laptop's own loopback. */
function onLaptop(): string {
  const file = path.join(home.lab.folder, 'browser');
  const words = home.lab.onLaptop([browserProgram]).join(' ');
  writeFileSync(file, `#!/bin/sh\nexec ${words} "$@"\n`);
  chmodSync(file, 0o755);
  return file;
}

/** Small, for the README. */
async function picture(name: string): Promise<void> {
  if (process.env['SCREENSHOTS'] === undefined) return;
  const animations = 'disabled' as const;
  await page.screenshot({ path: path.join(root, `resources/screenshots/${name}.png`), animations });
}

it('six clicks and one field, and an app runs on the Pi', async () => {
  let clicks = 0;
  let fields = 0;
  async function click(button: Locator): Promise<void> {
    await button.click();
    clicks++;
  }
  const button = (name: string | RegExp): Locator =>
    page.getByRole('button', { name, exact: true });
  const sheet = page.getByRole('dialog');

  await page.goto(home.cluster.uiUrl);
  await button('Add: raspberrypi').waitFor();
  await picture('machine-found');
  await click(button('Add: raspberrypi'));
  const password = sheet.getByRole('textbox', { name: 'Password', exact: true });
  const hasFocus = () => password.evaluate((one) => one === document.activeElement);
  await eventually(hasFocus, 'the cursor is in the field');
  await page.keyboard.type(piPassword);
  fields++;
  await click(button('Log in and look'));
  const add = button(/^(Add raspberrypi|Add it all the same)$/);
  await add.waitFor();
  await picture('machine-checked');
  await click(add);
  await sheet.getByText('raspberrypi is part of your home now.').waitFor();
  await picture('machine-added');
  await click(sheet.getByRole('button', { name: 'Deploy an app' }));
  await click(button('A web server'));
  await click(button('Deploy'));
  await sheet.getByRole('link', { name: 'Open' }).waitFor();
  expect([clicks, fields]).toEqual([6, 1]);

  const client = await home.client();
  const { items } = await client.list(pods, { namespace: 'default' });
  expect(items.map(({ spec, status }) => [spec.nodeName, status?.phase])).toEqual([
    ['raspberrypi', 'Running'],
  ]);
  await page.goto(new URL('/', page.url()).href);
  await page.getByRole('link', { name: /nginx/i }).first().waitFor();
  await picture('app-runs');
});
