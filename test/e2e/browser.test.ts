// A person's way through the app in a real browser against a real cluster: deploy by the form, watch
// it become ready without reloading, open its logs, scale it, delete it. Screenshots of the way lie
// in out/screenshots.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { webApp } from '../compat/manifests.ts';
import { launchBrowser, screenshots } from '../setup/browser.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';
import { root } from '../setup/machine.ts';

const cluster = new Cluster();
let browser: Browser;
let page: Page;
const complaints: string[] = [];

beforeAll(async () => {
  ensureTestImages();
  await cluster.start();
  browser = await launchBrowser();
  page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  page.setDefaultTimeout(60_000);
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  await page.goto(cluster.uiUrl);
  await page.getByRole('button', { name: 'Deploy an app' }).first().waitFor();
});
afterAll(async () => {
  await browser?.close();
  await cluster.destroy();
});

/** What axe-core finds wrong with the page as it is, serious and critical. */
async function violations(shown: Page): Promise<string[]> {
  const source = readFileSync(path.join(root, 'node_modules/axe-core/axe.min.js'), 'utf8');
  // Injected by the debugger: the page's own policy forbids foreign scripts, as it should.
  await shown.evaluate(source);
  const found = await shown.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: {
        run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }>;
      };
    };
    return (await axe.run()).violations;
  });
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
}

describe('the app in a browser', () => {
  it('deploys, shows, scales and deletes an app by clicking', async () => {
    await page.getByRole('button', { name: 'Deploy an app' }).first().waitFor();
    expect(page.url(), 'the one-time token does not stay in the address').not.toContain('token');
    expect(await violations(page), 'accessibility of the empty home').toEqual([]);
    await screenshots.take(page, 'home-empty');

    const startedMs = performance.now();
    await page.getByRole('button', { name: 'Deploy an app' }).first().click();
    await page.getByRole('textbox', { name: 'Name', exact: true }).fill('hello');
    await page.getByRole('textbox', { name: 'Image' }).fill(webImage);
    await page.getByRole('textbox', { name: 'Port' }).first().fill('8080');
    await page.getByRole('spinbutton', { name: 'Copies' }).fill('2');
    await page.getByRole('button', { name: 'Data', exact: true }).click();
    await page.getByRole('textbox', { name: 'Folder in the app' }).fill('/data');
    await screenshots.take(page, 'deploy');
    await page.getByRole('button', { name: 'Deploy', exact: true }).click();
    const sheet = page.getByRole('dialog');
    await sheet.getByRole('link', { name: 'Open' }).waitFor();
    expect(performance.now() - startedMs, 'deploying by clicks').toBeLessThan(30_000);
    expect(await violations(page), 'accessibility of a deployment that runs').toEqual([]);
    await screenshots.take(page, 'deployed');

    const pods = await cluster.kubectlOk(
      'get',
      'pods',
      '-l',
      'app.kubernetes.io/name=hello',
      '-o',
      'name',
    );
    expect(pods.trim().split('\n')).toHaveLength(2);
    await page.goto(new URL('/', cluster.uiUrl).href);
    await page.getByRole('link', { name: /hello/i }).first().waitFor();
    await screenshots.take(page, 'home');
    await page.getByRole('link', { name: /hello/i }).first().click();
    await page.getByRole('tab', { name: 'Overview' }).waitFor();
    await screenshots.take(page, 'app');

    const port = await cluster.kubectlOk(
      'get',
      'service',
      'hello',
      '-o',
      'jsonpath={.spec.ports[0].nodePort}',
    );
    expect((await fetch(`http://127.0.0.1:${port}/cgi-bin/whoami`)).ok).toBe(true);
    await page.getByRole('tab', { name: 'Logs' }).click();
    await page.getByText('url:/cgi-bin/whoami').first().waitFor();
    await screenshots.take(page, 'logs');

    await page.getByRole('tab', { name: 'Overview' }).click();
    await page.getByRole('button', { name: 'One copy more' }).click();
    await page.getByText('3 copies').first().waitFor();
    await eventually(async () => {
      const args = ['get', 'deployment', 'hello', '-o', 'jsonpath={.status.readyReplicas}'];
      return (await cluster.kubectlOk(...args)) === '3';
    }, 'three copies are ready');
    // Somebody else's change arrives by itself, without a reload.
    await cluster.kubectlOk('scale', 'deployment/hello', '--replicas=1');
    await page.getByText('1 copy', { exact: true }).first().waitFor();
    expect(await violations(page), 'accessibility of the app page').toEqual([]);

    await page.getByRole('button', { name: 'Delete' }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText(/^hello-data, on /).waitFor();
    await dialog.getByRole('button', { name: /Delete/ }).click();
    await eventually(async () => {
      const left = await cluster.kubectlOk('get', 'deployments,pods', '-o', 'name');
      return left === '';
    }, 'the app is gone');
    const data = await cluster.kubectlOk('get', 'pvc', '-o', 'jsonpath={.items[*].status.phase}');
    expect(data, 'what it kept stays').toBe('Bound');
    expect(complaints).toEqual([]);
  });

  it('opens a shell in an app, and says how it ended', async () => {
    await cluster.apply(webApp('shelly', { replicas: 1 }));
    await cluster.kubectlOk('rollout', 'status', 'deployment/shelly', '--timeout=90s');
    await page.goto(new URL('/apps/deployment/default/shelly?tab=terminal', cluster.uiUrl).href);
    // xterm's own field for what is typed.
    const keyboard = page.getByRole('textbox', { name: 'Terminal input' });
    await page.getByText(/[#$] /).first().waitFor();
    await keyboard.pressSequentially('echo $((40 + 2)) copies; stty size\n');
    await page.getByText('42 copies').first().waitFor();
    await screenshots.take(page, 'terminal');
    expect(await violations(page), 'accessibility of the terminal').toEqual([]);
    await keyboard.pressSequentially('exit 3\n');
    await page.getByText('The shell has ended (3).').waitFor();
    await page.getByRole('button', { name: 'Start again' }).click();
    await page.getByText('The shell has ended (3).').waitFor({ state: 'detached' });
    expect(complaints).toEqual([]);
    await cluster.kubectlOk('delete', 'deployment,service', '--all');
  });

  it("shows a home with several apps, and one in trouble with Docker's own reason", async () => {
    const names = ['jellyfin', 'pi-hole', 'immich', 'vaultwarden', 'paperless'];
    await cluster.apply(names.map((name) => webApp(name, { replicas: 1 })).join('---'));
    for (const name of names)
      await cluster.kubectlOk('rollout', 'status', `deployment/${name}`, '--timeout=90s');
    await page.goto(new URL('/', cluster.uiUrl).href);
    for (const name of names)
      await page
        .getByRole('link', { name: new RegExp(name, 'i') })
        .first()
        .waitFor();
    await page.getByText('Everything is well').waitFor();
    await screenshots.take(page, 'home-lived-in');

    const image = 'localhost:1/nobody/has-this:1';
    await cluster.apply(webApp('frigate', { replicas: 1, image }));
    await page
      .getByText(/localhost:1/)
      .first()
      .waitFor();
    expect(await violations(page), 'accessibility of home in trouble').toEqual([]);
    await screenshots.take(page, 'home-trouble');
    await cluster.kubectlOk('delete', 'deployment,service', '--all');
  });
});
