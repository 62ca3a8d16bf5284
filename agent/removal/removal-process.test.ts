// `agent --remove` as the process that it is: it lives until it has said how it ended.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { rootCertificates } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { formatKubeconfig } from '#platform/kubeconfig.ts';

let home = '';

beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'flotilla-removal-'));
  mkdirSync(path.join(home, 'agent'));
  // That an agent was here, which no cluster had taken yet: nothing of it is in an engine.
  writeFileSync(path.join(home, 'agent/cluster-id'), '');
});
afterEach(() => rmSync(home, { recursive: true }));

it('goes on to the end where nobody answers for the cluster', async () => {
  const data = path.join(home, 'agent');
  // Nothing listens there.
  const config = { server: 'https://127.0.0.1:1', caPem: rootCertificates[0] ?? '', token: 'a.b' };
  const names = { cluster: 'home', user: 'pi' };
  writeFileSync(path.join(data, 'kubeconfig'), formatKubeconfig(config, names));
  const main = fileURLToPath(new URL('../main.ts', import.meta.url));
  const args = [main, '--data', data, '--node-name', 'pi', '--remove'];
  const env = { ...process.env, DOCKER_HOST: `unix://${home}/none.sock` };
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'ignore'] });
  const [said, [code]] = await Promise.all([
    text(child.stdout),
    once(child, 'exit') as Promise<[number | null]>,
  ]);
  expect(said).toContain('the cluster was not told');
  // There is no engine, and nothing of an agent that no cluster had taken is in one.
  expect(said).toContain(`removed ${data}`);
  expect(code).toBe(0);
});
