import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import {
  KubeconfigError,
  readKubeconfig,
  writeAgentKubeconfig,
  writeKubeconfig,
} from './kubeconfig.ts';

let folder: string;
let path: string;
const names = { cluster: 'flotilla: "home"', user: 'admin' };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'flotilla-kubeconfig-'));
  path = join(folder, 'kubeconfig');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('a kubeconfig', () => {
  const configs = [
    { server: 'https://127.0.0.1:6443', caPem: 'ca\n', certPem: 'cert\n', keyPem: 'key\n' },
    { server: 'https://[::1]:6443', caPem: 'ca', token: 'a "quoted": token' },
    { server: 'https://nas.local:6443', caPem: 'ca' },
  ];
  for (const config of configs)
    it(`reads back as it was written: ${config.server}`, async () => {
      await writeKubeconfig(path, config, names);
      expect(await readKubeconfig(path)).toEqual(config);
      const asYaml: unknown = parse(await readFile(path, 'utf8'));
      await writeAgentKubeconfig(path, config, names);
      expect(await readKubeconfig(path)).toEqual(config);
      const asJson: unknown = JSON.parse(await readFile(path, 'utf8'));
      expect(asYaml).toEqual({ ...(asJson as object), preferences: {} });
    });

  it('is readable to its owner only', async () => {
    await writeKubeconfig(path, { server: 'https://x', caPem: 'ca' }, names);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('has one context, which is current', async () => {
    await writeKubeconfig(path, { server: 'https://x', caPem: 'ca', token: 't' }, names);
    expect(parse(await readFile(path, 'utf8'))).toMatchObject({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: names.cluster }],
      users: [{ name: 'admin', user: { token: 't' } }],
      contexts: [{ context: { cluster: names.cluster, user: 'admin' } }],
      'current-context': `admin@${names.cluster}`,
    });
  });

  it('may name files beside it, as kubectl writes them', async () => {
    await writeFile(join(folder, 'ca.crt'), 'CA');
    await writeFile(
      path,
      [
        'clusters: [{name: c, cluster: {server: "https://x", certificate-authority: ca.crt}}]',
        'contexts: [{name: x, context: {cluster: c, user: u}}]',
        'current-context: x',
      ].join('\n'),
    );
    expect(await readKubeconfig(path)).toEqual({ server: 'https://x', caPem: 'CA' });
  });

  const broken: readonly (readonly [string, string])[] = [
    ['', 'the current context names no cluster with a server'],
    ['current-context: missing', 'the current context names no cluster with a server'],
    [
      'clusters: [{name: c, cluster: {server: "https://x"}}]\ncontexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x',
      'the cluster has no certificate-authority-data',
    ],
  ];
  for (const [text, want] of broken)
    it(`that lacks something says what: ${want}`, async () => {
      await writeFile(path, text);
      await expect(readKubeconfig(path)).rejects.toThrow(new KubeconfigError(`${path}: ${want}`));
    });
});
