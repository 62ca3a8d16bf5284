// Debian's Chromium, driven by Playwright, with everything off that would look for a network. Its headless
// shell where there is one: the same engine, which takes two thirds of the processor without a browser's window around it.
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { root } from './machine.ts';

const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // One page of one origin: a process kept ready for another takes a tenth of the time.
  '--disable-site-isolation-trials',
];

const shell = '/usr/bin/chromium-headless-shell';
export const browserProgram = existsSync(shell) ? shell : '/usr/bin/chromium';

export async function launchBrowser(executablePath = browserProgram): Promise<Browser> {
  return await chromium.launch({ executablePath, args: flags });
}

export const widths = { phone: 390, tablet: 900, desktop: 1440 } as const;
export type Theme = 'light' | 'dark';

export interface Screenshots {
  /** The page as it is, in three widths and both themes: out/screenshots/<name>-<width>-<theme>.png. */
  take(page: Page, name: string): Promise<void>;
}

export const screenshots: Screenshots = {
  async take(page, name) {
    const folder = path.join(root, 'out/screenshots');
    mkdirSync(folder, { recursive: true });
    const before = page.viewportSize();
    for (const theme of ['light', 'dark'] as const)
      for (const [label, width] of Object.entries(widths)) {
        await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
        await page.setViewportSize({ width, height: label === 'phone' ? 844 : 900 });
        await page.screenshot({ path: path.join(folder, `${name}-${label}-${theme}.png`) });
      }
    await page.emulateMedia({ colorScheme: 'light' });
    if (before !== null) await page.setViewportSize(before);
  },
};
