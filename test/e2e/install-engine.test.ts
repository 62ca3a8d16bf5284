// The first start on a machine without Docker, in a real browser: what the page says while nothing
// can be installed, and one click that leads from there to a running app. The machine is a small
// Debian of its own; its package manager and its engine are real.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BareMachine } from '../setup/bare-machine.ts';
import { browserProgram, launchBrowser, screenshots } from '../setup/browser.ts';
import { Cluster } from '../setup/cluster.ts';
import { savedTestImage, webImage } from '../setup/images.ts';

const clickToReadyMs = 90_000;

async function open(machine: BareMachine, cluster: Cluster): Promise<[Browser, Page]> {
  const browser = await launchBrowser(machine.onItsNetwork(browserProgram));
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(cluster.uiUrl);
  return [browser, page];
}

/** In the page: calls `noteHeadline` with each new one. */
function tellHeadlines(): void {
  const { noteHeadline } = globalThis as unknown as { noteHeadline(text: string): void };
  const headline = (): string => document.querySelector('h1')?.textContent?.trim() ?? '';
  let last = headline();
  const look = (): void => {
    if (headline() !== last) noteHeadline((last = headline()));
  };
  const everything = { subtree: true, childList: true, characterData: true };
  new MutationObserver(look).observe(document.body, everything);
}

describe('a machine without Docker', () => {
  const machine = new BareMachine();
  const cluster: Cluster = new Cluster([], undefined, { runAs: machine.run });
  let browser: Browser;
  let page: Page;
  const headlines: string[] = [];

  beforeAll(async () => {
    await machine.start(cluster.dataDirectory);
    await cluster.start();
    [browser, page] = await open(machine, cluster);
  });
  afterAll(async () => {
    await browser?.close();
    await machine.destroy();
    await cluster.exited();
    await cluster.destroy();
  });

  it('says that it is offline when nothing could be installed at the start', async () => {
    await page.getByText('See that the machine is online, then try again.').waitFor();
    expect(await page.locator('article').first().innerText()).toContain(
      'Unable to fetch some archives',
    );
    await screenshots.take(page, 'engine-failed');
  });

  it('installs and starts Docker by one click, and tells nothing else meanwhile', async () => {
    machine.plugIn();
    await page.exposeFunction('noteHeadline', (text: string) => headlines.push(text));
    await page.evaluate(tellHeadlines);
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByText('is installing Docker').first().waitFor();
    await screenshots.take(page, 'engine-installing');
    await page.getByText('Your home is ready.').waitFor({ timeout: clickToReadyMs });
    expect(headlines.map((text) => text.replace(/^\S+ is/, 'It is'))).toEqual([
      'It is installing Docker.',
      'Your home is ready.',
    ]);
    expect(machine.docker(['version', '--format', '{{.Server.Os}}']).trim()).toBe('linux');
  });

  it('then runs an app', async () => {
    machine.docker(['load'], savedTestImage());
    await page.getByRole('button', { name: 'Deploy an app' }).first().click();
    await page.getByRole('textbox', { name: 'Image' }).fill(webImage);
    await page.getByRole('textbox', { name: 'Name', exact: true }).fill('hello');
    await page.getByRole('textbox', { name: 'Port' }).first().fill('8080');
    await page.getByRole('button', { name: 'Deploy', exact: true }).click();
    const address = await page
      .getByRole('dialog')
      .getByRole('link', { name: 'Open' })
      .getAttribute('href');
    const answer = await page.context().newPage();
    await answer.goto(new URL('/cgi-bin/whoami', address ?? '').href);
    expect(await answer.locator('body').innerText()).toMatch(/^hello from hello-/);
  });
});

describe('a machine without Docker, and --no-install', () => {
  const machine = new BareMachine();
  const cluster: Cluster = new Cluster(['--no-install'], undefined, { runAs: machine.run });
  let browser: Browser | undefined;

  beforeAll(async () => {
    await machine.start(cluster.dataDirectory);
    await cluster.start();
  });
  afterAll(async () => {
    await browser?.close();
    await machine.destroy();
    await cluster.exited();
    await cluster.destroy();
  });

  it('is told how to install it by hand, and given no button that would be refused', async () => {
    const [opened, page] = await open(machine, cluster);
    browser = opened;
    await page.getByText('sudo apt-get install docker.io').waitFor();
    const buttons = await page.locator('article').first().getByRole('button').allInnerTexts();
    expect(buttons).toEqual(['Look at it']);
  });
});
