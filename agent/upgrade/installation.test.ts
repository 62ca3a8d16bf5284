// What an agent knows of the folders that it lies in.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
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

it.each([
  { name: 'there is a way back and it is current itself', trial: other, current: own, want: true },
  { name: 'there is no way back', trial: undefined, current: own, want: false },
  { name: 'the next one is', trial: own, current: other, want: false },
])('knows whether it is on trial: $name', async ({ trial, current, want }) => {
  symlinkSync(current, path.join(root, 'current'));
  if (trial !== undefined) symlinkSync(trial, path.join(root, 'trial'));
  const { startedOnTrial, version } = await openInstallation(root, path.join(root, own));
  expect([version, startedOnTrial]).toEqual(['0.1.0+aaaaaaaaaaaa', want]);
});

it('leaves no way back once it is confirmed', async () => {
  symlinkSync(other, path.join(root, 'trial'));
  await (await openInstallation(root, path.join(root, own))).confirm();
  expect(readdirSync(root).toSorted()).toEqual([own, 'state']);
});
