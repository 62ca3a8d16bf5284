// The built user interface in a real browser before a fake cluster: pages that are visited, and what is
// looked at on each of them: its width, what axe calls a barrier, what the console calls an error.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { AxeResults } from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { build as buildRenderer } from 'vite';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { FakeCluster, fakeMembers, type FakeObject, type FakeOptions } from '../fake-cluster.ts';
import { fakeHistory, fakeKinds, fakeStats } from '../fake-cluster-objects.ts';
import { launchBrowser, widths } from './browser.ts';
import { root } from './machine.ts';

const renderer = path.join(root, 'out/renderer');
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core'), 'utf8');
let browser: Browser;
const open: { page: Page; fake: FakeCluster }[] = [];

/** Call once in a suite: builds what is missing, and closes what was opened. */
export function usePages(): void {
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
}

export interface Visit {
  readonly page: Page;
  readonly fake: FakeCluster;
  readonly url: string;
  /** What the browser's console calls errors, such as breaches of the policy. */
  readonly complaints: readonly string[];
  /** Pasts that were asked for: `node range series`. */
  readonly asked: readonly string[];
}

export async function visit(
  objects: readonly FakeObject[],
  more: Partial<FakeOptions> = {},
): Promise<Visit> {
  const asked: string[] = [];
  const fake = new FakeCluster({
    members: fakeMembers(['nuc', 'pi-kitchen', 'thinkpad'], {
      thinkpad: { health: 'unreachable' },
    }),
    stats: (node, nowMs) => fakeStats(node, nowMs, objects),
    ...more,
    kinds: fakeKinds,
    objects,
    root: renderer,
    history: (node, query) => {
      asked.push(`${node} ${query.get('range')} ${query.get('of')}`);
      return fakeHistory(node, query, Date.now());
    },
    log: (pod) => [`2026-01-01T00:00:00Z hello from ${pod}`],
  });
  const url = await fake.listen();
  const context = await browser.newContext({ colorScheme: 'light', reducedMotion: 'reduce' });
  const page = await context.newPage();
  await page.addInitScript(noteLongTasks);
  page.setDefaultTimeout(60_000);
  open.push({ page, fake });
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  return { page, fake, url, complaints, asked };
}

/** What axe calls serious or critical, as `rule: selector`. */
export async function barriers(page: Page, ...rules: readonly string[]): Promise<string[]> {
  if (!(await page.evaluate('"axe" in globalThis'))) await page.evaluate(`${axeSource};0`);
  const results = await page.evaluate(async (only) => {
    const { axe } = window as unknown as { axe: { run(options: object): Promise<AxeResults> } };
    return await axe.run(only.length === 0 ? {} : { runOnly: only });
  }, rules);
  return results.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(' ')}`));
}

/** The themes differ in their colours only. */
export async function barriersOfBoth(page: Page): Promise<string[]> {
  const inLight = await barriers(page);
  await page.emulateMedia({ colorScheme: 'dark' });
  let inDark: string[] = [];
  // A busy page may begin to change its colours late.
  for (let look = 0; look < 20; look++) {
    await page.evaluate(coloursSettled);
    inDark = await barriers(page, 'color-contrast');
    if (inDark.length === 0) break;
  }
  await page.emulateMedia({ colorScheme: 'light' });
  return [...inLight, ...inDark.map((one) => `dark: ${one}`)];
}

/** In the page: pixels that stick out to the right, once the new width has been laid out. */
export async function excessWidth(): Promise<number> {
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
  const { scrollWidth, clientWidth } = document.documentElement;
  return scrollWidth - clientWidth;
}

/** In the page: no colour is on its way to another any more. */
async function coloursSettled(): Promise<void> {
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
  const transitions = document.getAnimations().filter((one) => one instanceof CSSTransition);
  await Promise.allSettled(transitions.map(({ finished }) => finished));
}

/** In the page: how long its longest tasks took. */
function noteLongTasks(): void {
  const durations: number[] = [];
  Object.assign(globalThis, { longTasksMs: durations });
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) durations.push(Math.round(duration));
  }).observe({ type: 'longtask', buffered: true });
}

/** As it is, at each width. */
export async function expectToFit(page: Page): Promise<void> {
  for (const width of Object.values(widths)) {
    await page.setViewportSize({ width, height: 900 });
    const excess = await page.evaluate(excessWidth);
    expect(excess, `wider than ${width}`).toBeLessThanOrEqual(0);
  }
}
