// The built desktop app in a real Electron 33 under Xvfb (Electron 45's binary can't be fetched
// everywhere): its window shows the cluster; quitting ends everything in order.
// Differs from the product: Electron 33 embeds Node 20, too old for better-sqlite3, so control plane
// and agent run on the project's Node (FLOTILLA_NODE) instead of in utility processes.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { _electron } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually, tool } from '../setup/cluster.ts';
import { electronFolder, root } from '../setup/machine.ts';

const data = mkdtempSync(path.join(tmpdir(), 'flotilla-electron-'));
const display = ':97';
let xvfb: ChildProcess;

beforeAll(() => {
  xvfb = spawn('Xvfb', [display, '-screen', '0', '1440x900x24', '-nolisten', 'tcp'], {
    stdio: 'ignore',
  });
});
afterAll(() => {
  xvfb.kill();
  rmSync(data, { recursive: true, force: true });
});

it('shows the cluster in its window and quits in order', async () => {
  const flags = [
    '--data',
    data,
    '--port',
    '0',
    '--ui-port',
    '0',
    '--no-agent',
    '--discovery',
    'off',
  ];
  const app = await _electron.launch({
    timeout: 60_000,
    executablePath: path.join(electronFolder, 'electron'),
    args: ['--no-sandbox', root, ...flags],
    env: {
      ...process.env,
      DISPLAY: display,
      FLOTILLA_NODE: process.execPath,
      FLOTILLA_NO_DIALOGS: '1',
    },
  });
  const window = await app.firstWindow();
  await window.getByRole('button', { name: 'Deploy an app' }).first().waitFor();
  const facts = await app.evaluate(({ BrowserWindow }) => {
    const [first] = BrowserWindow.getAllWindows();
    // There in 33, no longer typed in 45.
    const contents = first?.webContents as unknown as {
      getLastWebPreferences(): Record<string, unknown>;
    };
    const preferences = contents.getLastWebPreferences();
    return {
      sandbox: preferences['sandbox'],
      contextIsolation: preferences['contextIsolation'],
      nodeIntegration: preferences['nodeIntegration'],
    };
  });
  expect(facts).toEqual({ sandbox: true, contextIsolation: true, nodeIntegration: false });
  expect(await window.evaluate(() => typeof (globalThis as { require?: unknown }).require)).toBe(
    'undefined',
  );
  mkdirSync(path.join(root, 'out/screenshots'), { recursive: true });
  await window.screenshot({ path: path.join(root, 'out/screenshots/electron.png') });

  const kubeconfig = path.join(data, 'kubeconfig');
  const namespaces = await tool('kubectl', [
    '--kubeconfig',
    kubeconfig,
    'get',
    'namespaces',
    '-o',
    'name',
  ]);
  expect(namespaces.stdout).toContain('namespace/default');

  const lock = path.join(data, 'lock.db');
  expect(existsSync(lock)).toBe(true);
  const children = readFileSync(
    `/proc/${app.process().pid}/task/${app.process().pid}/children`,
    'utf8',
  );
  const controlPlane = children
    .trim()
    .split(' ')
    .filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('controlplane/main.js'));
  expect(controlPlane).toHaveLength(1);
  await app.close();
  await eventually(() => !existsSync(`/proc/${controlPlane[0]}`), 'the control plane has ended');
  const left = await tool('kubectl', [
    '--kubeconfig',
    kubeconfig,
    'get',
    'namespaces',
    '--request-timeout=2s',
  ]);
  expect(left.code).not.toBe(0);
});
