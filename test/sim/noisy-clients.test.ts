// Two hundred clients that write all they can, while the store answers none of it: the cluster's own
// traffic goes on, and nothing of theirs is lost in the end.
import { expect, it } from 'vitest';
import type { Deployment } from '#kube/api/apps.ts';
import type { Lease } from '#kube/api/coordination.ts';
import type { ClusterRoleBinding } from '#kube/api/rbac.ts';
import { configMaps, deployments, leases, pods, type Resource } from '#kube/client/resources.ts';
import { openMemoryStore } from '../../electron/controlplane/store/memory-store.ts';
import type { Store } from '../../electron/controlplane/store/store.ts';
import { startControlPlane } from './control-plane.ts';

/** A store in which writes of the noise wait until `open` is called. */
function gated() {
  const store = openMemoryStore();
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  let waiting = 0;
  const put: Store['put'] = async (key, ...rest) => {
    if (key.startsWith('/registry/core/configmaps/default/noise-')) {
      waiting += 1;
      await gate;
    }
    return store.put(key, ...rest);
  };
  // Its other methods go on as they are.
  const changed = new Proxy(store, {
    get(target, name) {
      if (name === 'put') return put;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { store: changed, open: () => open(), waiting: () => waiting };
}

const bindings: Resource<ClusterRoleBinding> = {
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  resource: 'clusterrolebindings',
  kind: 'ClusterRoleBinding',
  namespaced: false,
};
const accounts = 'system:serviceaccounts';
const mayEdit: ClusterRoleBinding = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRoleBinding',
  metadata: { name: 'robots' },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'edit' },
  subjects: [{ kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name: accounts }],
};
const lease = (renewTime: string): Lease => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name: 'pi', namespace: 'kube-node-lease' },
  spec: { holderIdentity: 'pi', renewTime },
});
const web: Deployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    replicas: 3,
    selector: { matchLabels: { app: 'web' } },
    template: {
      metadata: { name: '', labels: { app: 'web' } },
      spec: { containers: [{ name: 'web', image: 'web' }] },
    },
  },
};

it('two hundred noisy clients keep neither a node from its lease nor a controller from its work', async () => {
  const { store, open, waiting } = gated();
  const sim = await startControlPlane({ store });
  await sim.client.create(bindings, mayEdit);
  await sim.addNode('pi');
  const agent = sim.clientAs('system:node:pi', ['system:nodes']);
  await agent.create(leases, lease('2026-01-01T00:00:00.000000Z'));
  await sim.settle();

  const each = 6;
  const noise = Array.from({ length: 200 }, (_, client) => {
    const robot = sim.clientAs(`system:serviceaccount:default:robot-${client}`, [accounts]);
    return Array.from({ length: each }, (__, n) =>
      robot.create(configMaps, {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: `noise-${client}-${n}`, namespace: 'default' },
      }),
    );
  }).flat();
  const written = Promise.all(noise);
  await sim.settle();
  // What is their own and what others lend, and no more of it.
  const held = waiting();
  expect(held).toBeGreaterThan(245);
  expect(held).toBeLessThan(600);

  const renewed = '2026-01-01T00:00:10.000000Z';
  await agent.patch(
    leases,
    { namespace: 'kube-node-lease', name: 'pi' },
    { spec: { renewTime: renewed } },
  );
  const seen = await sim.client.get(leases, { namespace: 'kube-node-lease', name: 'pi' });
  expect(seen.spec?.renewTime).toBe(renewed);
  await sim.client.create(deployments, web);
  await sim.settle();
  expect((await sim.client.list(pods, { namespace: 'default' })).items).toHaveLength(3);
  expect(waiting()).toBe(held);

  open();
  await sim.advance(30_000);
  await written;
  await sim.stop();
});
