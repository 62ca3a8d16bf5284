// Every page of the user interface in states that are hard to bring about, against a fake cluster:
// in three widths and both themes nothing overflows, nothing breaks the Content-Security-Policy, and
// axe finds no barrier.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { AxeResults } from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { build as buildRenderer } from 'vite';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FakeCluster, type FakeObject } from '../fake-cluster.ts';
import { fakeHome, fakeKinds, fakeNode, fakeStats } from '../fake-cluster-objects.ts';
import { launchBrowser, type Theme, widths } from '../setup/browser.ts';
import { root } from '../setup/machine.ts';

const renderer = path.join(root, 'out/renderer');
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core'), 'utf8');
let browser: Browser;
const open: { page: Page; fake: FakeCluster }[] = [];

beforeAll(async () => {
  if (!existsSync(path.join(renderer, 'index.html')))
    await buildRenderer({
      configFile: path.join(root, 'renderer/vite.config.ts'),
      logLevel: 'warn',
    });
  browser = await launchBrowser();
});
afterEach(async () => {
  for (const { page, fake } of open.splice(0)) {
    await page.context().close();
    fake.close();
  }
});
afterAll(() => browser?.close());

interface Visit {
  readonly page: Page;
  readonly fake: FakeCluster;
  readonly url: string;
  /** What the browser's console calls errors, such as breaches of the policy. */
  readonly complaints: readonly string[];
}

async function visit(objects: readonly FakeObject[], theme: Theme = 'light'): Promise<Visit> {
  const fake = new FakeCluster({
    kinds: fakeKinds,
    objects,
    root: renderer,
    stats: (node, nowMs) => fakeStats(node, nowMs, objects),
    log: (pod) => [`2026-01-01T00:00:00Z hello from ${pod}`],
  });
  const url = await fake.listen();
  const context = await browser.newContext({ colorScheme: theme, reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  open.push({ page, fake });
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  return { page, fake, url, complaints };
}

/** What axe calls serious or critical, as `rule: selector`. */
async function barriers(page: Page): Promise<string[]> {
  await page.evaluate(axeSource);
  const results = await page.evaluate(
    async () => await (window as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run(),
  );
  return results.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(' ')}`));
}

/** In the page: pixels that stick out to the right, once the new width has been laid out. */
async function excessWidth(): Promise<number> {
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
  const { scrollWidth, clientWidth } = document.documentElement;
  return scrollWidth - clientWidth;
}

const app = '/apps/deployment/default/web';
const pages = [
  { name: 'home', path: '/', text: 'things need you' },
  { name: 'apps', path: '/apps', text: '7 apps' },
  { name: 'an app', path: app, text: '3 of 3 ready' },
  { name: 'logs', path: `${app}?tab=logs`, text: 'hello from' },
  { name: 'settings', path: `${app}?tab=settings`, text: 'Nothing changed yet' },
  { name: 'history', path: `${app}?tab=history`, text: 'Version 2' },
  {
    name: 'an app in trouble',
    path: '/apps/deployment/default/paperless',
    text: 'manifest unknown',
  },
  { name: 'an app that is gone', path: '/apps/deployment/default/nothing', text: 'no app called' },
  { name: 'machines', path: '/machines', text: '3 machines' },
  { name: 'a machine', path: '/machines/nuc', text: 'not root here' },
  { name: 'the cluster', path: '/cluster', text: '8 objects' },
] as const;

describe.each(['light', 'dark'] as const)('in %s', (theme) => {
  it.each(pages)(
    '$name fits every width, keeps the policy and has no barrier',
    async ({ path: at, text }) => {
      const { page, url, complaints } = await visit(fakeHome(), theme);
      await page.goto(`${url}${at}`);
      await page.getByText(text).first().waitFor();
      for (const width of Object.values(widths)) {
        await page.setViewportSize({ width, height: 900 });
        const excess = await page.evaluate(excessWidth);
        expect(excess, `wider than ${width}`).toBeLessThanOrEqual(0);
      }
      expect([complaints, await barriers(page)]).toEqual([[], []]);
    },
  );

  it('the deploy sheet has no barrier, as a form and as YAML', async () => {
    const { page, url } = await visit(fakeHome(), theme);
    await page.goto(url);
    await page.getByRole('button', { name: 'Deploy an app' }).click();
    await page.getByRole('textbox', { name: 'Image' }).fill('nginx:alpine');
    await page.getByRole('button', { name: 'Configuration text' }).click();
    await page.getByRole('button', { name: 'Add a variable' }).click();
    const form = await barriers(page);
    await page.getByRole('tab', { name: 'YAML' }).click();
    await page.getByRole('textbox', { name: 'Resulting YAML' }).waitFor();
    expect([form, await barriers(page)]).toEqual([[], []]);
  });
});

describe('the user interface', () => {
  it('changes in place when the cluster does', async () => {
    const { page, fake, url } = await visit([fakeNode('desk', { cpu: 4, memoryGi: 8 })]);
    await page.goto(url);
    await page.getByText('Your home is ready.').waitFor();
    fake.put(fakeNode('attic', { cpu: 4, memoryGi: 8 }));
    await page.getByText('2 machines').waitFor();
    fake.remove('nodes//attic');
    await page.getByText('1 machine').waitFor();
  });

  it('offers to install a container engine, and asks the machine for it', async () => {
    const ready = {
      status: 'False',
      reason: 'ContainerEngineMissing',
      message: 'no container engine',
    };
    const { page, url } = await visit([fakeNode('desk', { cpu: 4, memoryGi: 8, ready })]);
    await page.goto(url);
    await page.getByRole('button', { name: 'Install Docker' }).click();
    await page.getByText('desk is installing Docker').first().waitFor();
  });

  it('keeps what was entered when switching between form and YAML', async () => {
    const { page, url } = await visit(fakeHome());
    await page.goto(url);
    await page.getByRole('button', { name: 'Deploy an app' }).click();
    await page.getByRole('textbox', { name: 'Image' }).fill('nginx:alpine');
    await page.getByRole('tab', { name: 'YAML' }).click();
    const yaml = page.getByRole('textbox', { name: 'Resulting YAML' });
    await yaml.fill((await yaml.inputValue()).replace('replicas: 1', 'replicas: 4'));
    await page.getByRole('tab', { name: 'Form' }).click();
    expect(await page.getByRole('spinbutton', { name: 'Copies' }).inputValue()).toBe('4');
  });

  it('finds anything by Ctrl-K', async () => {
    const { page, url } = await visit(fakeHome());
    await page.goto(url);
    await page.getByText('things need you').waitFor();
    await page.keyboard.press('Control+k');
    await page.keyboard.type('jelly');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Jellyfin' }).waitFor();
  });
});
