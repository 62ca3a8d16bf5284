// What an agent knows of the folders that it lies in.
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openInstallation } from './installation.ts';

const [own, other] = ['agent-aaaaaaaaaaaa', 'agent-bbbbbbbbbbbb'];
let root = '';

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'flotilla-installation-'));
  mkdirSync(path.join(root, own));
  mkdirSync(path.join(root, 'state'));
  writeFileSync(path.join(root, own, 'package.json'), '{"version":"0.1.0"}');
});
afterEach(() => rmSync(root, { recursive: true }));

function link(name: string, to: string): void {
  rmSync(path.join(root, name), { force: true });
  symlinkSync(to, path.join(root, name));
}

it('is on trial while there is a way back and it is current itself', async () => {
  const installation = await openInstallation(root, path.join(root, own));
  expect(installation.version).toBe('0.1.0+aaaaaaaaaaaa');
  link('current', own);
  expect(await installation.isOnTrial()).toBe(false);
  link('trial', other);
  expect(await installation.isOnTrial()).toBe(true);
  await installation.confirm();
  expect(existsSync(path.join(root, 'trial'))).toBe(false);
  // The next one's, before this one has ended.
  link('trial', own);
  link('current', other);
  expect(await installation.isOnTrial()).toBe(false);
});
