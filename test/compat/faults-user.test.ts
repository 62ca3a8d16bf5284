// The launcher as an ordinary user whom Docker does not let in: everything works that can, and the
// node says what is missing and how to get it.
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, isStale } from '../../electron/build.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { UnprivilegedUser } from '../setup/unprivileged.ts';

interface NodeFacts {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly status: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason: string;
      readonly message: string;
    }[];
  };
}

describe('a start without root, and without access to Docker', () => {
  const user = new UnprivilegedUser();
  const data = path.join(user.home, '.flotilla');
  // Not --no-install: without root nothing may be installed anyway, nor tried.
  const cluster = new Cluster([], data, { runAs: user.run, env: { HOME: user.home } });

  beforeAll(async () => {
    if (isStale()) await build();
    mkdirSync(data);
    user.give(data);
    await cluster.start();
  });
  afterAll(async () => {
    await cluster.destroy();
    user.destroy();
  });

  async function node(): Promise<NodeFacts | undefined> {
    const text = await cluster.kubectlOk('get', 'nodes', '-o', 'json');
    return (JSON.parse(text) as { items: NodeFacts[] }).items[0];
  }

  it('prints its lines and serves the API and the user interface', async () => {
    expect(cluster.readyMs).toBeGreaterThan(0);
    expect(cluster.kubeconfig).toBe(path.join(data, 'kubeconfig'));
    expect((await fetch(cluster.uiUrl)).status).toBe(200);
    expect(cluster.stderr).toBe('');
  });

  it('has a node that names the permission that is missing, and the remedy', async () => {
    const found = await eventually(node, 'a registered node');
    const ready = found.status.conditions?.find(({ type }) => type === 'Ready');
    expect(ready).toMatchObject({
      status: 'False',
      reason: 'ContainerEngineForbidden',
      message:
        'Docker Engine does not let this user in (/var/run/docker.sock): add the user to the group "docker" (usermod -aG docker USER, then log in again), or run Flotilla as root',
    });
    expect(await cluster.kubectlOk('describe', 'nodes')).toContain(ready?.message);
  });

  it('proxies Services in user space, and says what root would add', async () => {
    const annotations = await eventually(async () => {
      const told = (await node())?.metadata.annotations;
      return told?.['flotilla.dev/proxy-mode'] !== undefined && told;
    }, 'the proxy tells its mode');
    expect(annotations['flotilla.dev/proxy-mode']).toBe('userspace');
    expect(annotations['flotilla.dev/proxy-reason']).toMatch(/root/);
  });

  it('ends on SIGTERM with code 0', async () => {
    expect(await cluster.stop()).toBe(0);
  });
});
