// NetworkPolicies between simulated machines: two on one switch, one behind the router, real nftables and Docker. On
// pi2 bridged packets pass no packet rules unless somebody sees to it, as where Docker is 28 or newer.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import type { LabelSelector } from '#kube/api/meta.ts';
import type { NetworkPolicyPeer, NetworkPolicySpec } from '#kube/api/networking.ts';
import { networkPolicies, nodes, pods, services } from '#kube/client/resources.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { LabCluster } from '../lab/lab-cluster.ts';
import type { LabMachine } from '../lab/lab-machine.ts';
import { eventually } from '../setup/cluster.ts';
import { savedTestImage, webImage } from '../setup/images.ts';

const home = new LabCluster();
let machines: LabMachine[] = [];
let tablesBefore = '';
let clusterIp = '';
/** Of every pod, by `namespace/app machine`. */
let places = new Map<string, Pod>();

const apps = ['default/web', 'default/friend', 'other/guest'] as const;
type App = (typeof apps)[number];

const daemonSet = (path: App): string => {
  const [namespace, app] = path.split('/');
  return `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: ${app}, namespace: ${namespace}}
spec:
  selector: {matchLabels: {app: ${app}}}
  template:
    metadata: {labels: {app: ${app}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: ${webImage}
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---`;
};
const manifest = `
apiVersion: v1
kind: Namespace
metadata: {name: other, labels: {team: guests}}
---${apps.map(daemonSet).join('')}
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
`;

beforeAll(async () => {
  const { lab } = home;
  const image = savedTestImage();
  await home.start();
  machines = await Promise.all([
    lab.addMachine('pi1', '10.77.0', 11),
    lab.addMachine('pi2', '10.77.0', 12),
    lab.addMachine('pi3', '10.78.0', 13),
  ]);
  tablesBefore = await machine('pi3').run('nft', 'list', 'tables');
  await machine('pi2').run('sh', '-c', 'echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables');
  await Promise.all(
    machines.map((one) => {
      one.loadImage(image);
      return home.join(one);
    }),
  );
  await home.cluster.apply(manifest);
  const client = await home.client();
  await eventually(async () => {
    const { items } = await client.list(pods);
    const ready = items.filter(
      ({ status }) => getCondition(status?.conditions, 'Ready')?.status === 'True',
    );
    places = new Map(
      ready.map((pod) => [
        `${pod.metadata.namespace}/${pod.metadata.labels?.['app']} ${pod.spec.nodeName}`,
        pod,
      ]),
    );
    return places.size === 9;
  }, 'three pods on each machine are ready');
  clusterIp = (await client.get(services, { namespace: 'default', name: 'web' })).spec.clusterIP!;
});
afterAll(() => home.destroy());

function machine(name: string): LabMachine {
  const found = machines.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no machine ${name}`);
  return found;
}

function podOf(app: App, on: string): Pod {
  const found = places.get(`${app} ${on}`);
  if (found === undefined) throw new Error(`no ${app} on ${on}`);
  return found;
}

/** Which of these a pod reaches within a second, asked all at once. */
async function reached(app: App, on: string, hosts: readonly string[]): Promise<string[]> {
  const id = podOf(app, on).status?.containerStatuses?.[0]?.containerID?.replace('docker://', '');
  const ask = `busybox timeout 1 wget -qO /dev/null http://$host/cgi-bin/whoami && echo $host`;
  const script = `for host; do (${ask}) & done; wait`;
  const said = await machine(on).run(
    'docker',
    'exec',
    id ?? '',
    'sh',
    '-c',
    script,
    'sh',
    ...hosts,
  );
  return said.trim().split('\n');
}

/** `guest pi1 → pi2` for each pod of the app, each machine's own and each other's web, and the Service. */
async function ways(app: App, to: App = 'default/web'): Promise<string[]> {
  const names = machines.map(({ name }) => name);
  const targets = new Map(names.map((name) => [`${podOf(to, name).status?.podIP}:8080`, name]));
  if (to === 'default/web') targets.set(clusterIp, 'service');
  const rows = await Promise.all(
    names.map(async (from) =>
      (await reached(app, from, [...targets.keys()])).flatMap((host) =>
        targets.has(host) ? [`${from} → ${targets.get(host)}`] : [],
      ),
    ),
  );
  return rows.flat().toSorted();
}

const everyWay = (withService = true): string[] =>
  ['pi1', 'pi2', 'pi3']
    .flatMap((from) =>
      ['pi1', 'pi2', 'pi3', ...(withService ? ['service'] : [])].map((to) => `${from} → ${to}`),
    )
    .toSorted();

/** Resolves when it is so; rejects with what is otherwise. */
async function becomes(look: () => Promise<unknown>, want: unknown): Promise<void> {
  let last: unknown;
  const isSo = async (): Promise<boolean> => {
    last = await look();
    return JSON.stringify(last) === JSON.stringify(want);
  };
  await eventually(isSo, 'it is as it should be').catch(() => expect(last).toEqual(want));
}

async function setPolicies(...specs: readonly NetworkPolicySpec[]): Promise<void> {
  const client = await home.client();
  const { items } = await client.list(networkPolicies, { namespace: 'default' });
  for (const { metadata } of items)
    await client.delete(networkPolicies, { namespace: 'default', name: metadata.name });
  for (const [i, spec] of specs.entries())
    await client.create(networkPolicies, {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { namespace: 'default', name: `p${i}` },
      spec,
    });
}

const fetching = (url: string): readonly string[] => [
  process.execPath,
  '-e',
  `fetch('${url}/cgi-bin/whoami', { signal: AbortSignal.timeout(1000) }).then(() => console.log('yes'), () => console.log('no'))`,
];

/** From the laptop, which is no machine of the cluster, by the NodePort of a machine. */
async function laptopReaches(on: string): Promise<boolean> {
  const [program = '', ...args] = home.lab.onLaptop(
    fetching(`http://${machine(on).address}:30080`),
  );
  return (await promisify(execFile)(program, args)).stdout.trim() === 'yes';
}

async function machineReaches(from: LabMachine, address = ''): Promise<boolean> {
  return (await from.run(...fetching(`http://${address}:8080`))).trim() === 'yes';
}

const appOf = (app: string): LabelSelector => ({ matchLabels: { app } });
const guests: LabelSelector = { matchLabels: { team: 'guests' } };
const denied: NetworkPolicySpec = { podSelector: appOf('web') };
const webFrom = (...from: NetworkPolicyPeer[]): NetworkPolicySpec => ({
  ...denied,
  ingress: [{ from, ports: [{ port: 'http' }] }],
});

describe('who may ask', () => {
  it('is everybody, and nothing of it is in the kernel, without a policy', async () => {
    await becomes(() => ways('default/friend'), everyWay());
    await becomes(() => ways('other/guest'), everyWay());
    for (const one of machines)
      expect(await one.run('nft', 'list', 'tables')).not.toContain('flotilla_policy');
  });

  it('is nobody but its own machine of a pod that is isolated: on the same machine, another, by a Service', async () => {
    await setPolicies(denied);
    await becomes(() => ways('default/friend'), []);
    await becomes(() => ways('other/guest'), []);
    await becomes(() => laptopReaches('pi1'), false);
    for (const one of machines)
      expect(await machineReaches(one, podOf('default/web', one.name).status?.podIP)).toBe(true);
    expect(await ways('default/web', 'default/friend')).toEqual(everyWay(false));
  });

  it('is who is allowed: by pod, by namespace, by both, by address', async () => {
    await setPolicies(denied, webFrom({ podSelector: appOf('friend') }));
    await becomes(() => ways('default/friend'), everyWay());
    expect(await ways('other/guest')).toEqual([]);
    await setPolicies(webFrom({ namespaceSelector: guests }));
    await becomes(() => ways('other/guest'), everyWay());
    expect(await ways('default/friend')).toEqual([]);
    await setPolicies(
      webFrom({ namespaceSelector: guests, podSelector: appOf('friend') }),
      webFrom({ ipBlock: { cidr: '10.77.0.0/24' } }),
    );
    await becomes(() => ways('other/guest'), []);
    await becomes(() => laptopReaches('pi1'), true);
    const { podIP } = podOf('default/friend', 'pi3').status ?? {};
    await setPolicies(webFrom({ ipBlock: { cidr: '10.244.0.0/16', except: [`${podIP}/32`] } }));
    await becomes(
      () => ways('default/friend'),
      everyWay().filter((way) => !way.startsWith('pi3')),
    );
    expect(await laptopReaches('pi1')).toBe(false);
  });
});

describe('whom a pod may ask', () => {
  it('is whom its policy names, and its own machine', async () => {
    await setPolicies({
      podSelector: appOf('friend'),
      policyTypes: ['Egress'],
      egress: [{ to: [{ namespaceSelector: guests }] }],
    });
    await becomes(() => ways('default/friend'), []);
    expect(await ways('default/friend', 'other/guest')).toEqual(everyWay(false));
    expect(await ways('other/guest')).toEqual(everyWay());
  });

  it('is nobody from its very start', async () => {
    await setPolicies({ podSelector: appOf('eager'), policyTypes: ['Egress'] });
    const host = `${podOf('default/web', 'pi1').status?.podIP}:8080`;
    const command = `for i in 1 2 3 4 5 6; do busybox timeout 0.3 wget -qO- http://${host}/ && echo OPEN; done; echo DONE; sleep 1000`;
    const spec = (name: string) => `
apiVersion: v1
kind: Pod
metadata: {name: eager-${name}, labels: {app: eager}}
spec:
  nodeName: ${name}
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: ${webImage}, command: [sh, -c, ${JSON.stringify(command)}]}
`;
    await home.cluster.apply(machines.map(({ name }) => spec(name)).join('---'));
    for (const { name } of machines) {
      let said = '';
      await eventually(
        async () =>
          (said = (await home.cluster.kubectl('logs', `eager-${name}`)).stdout).includes('DONE'),
        `eager-${name} has tried`,
      );
      expect(said).not.toContain('OPEN');
    }
  });
});

describe('policies', () => {
  it('hold while the agent is away, and when it is back', async () => {
    await setPolicies(webFrom({ podSelector: appOf('friend') }));
    await becomes(() => ways('other/guest'), []);
    await Promise.all(machines.map((one) => home.stopAgent(one)));
    expect(await ways('other/guest')).toEqual([]);
    expect(await ways('default/friend')).toEqual(everyWay());
    for (const one of machines) home.startAgent(one);
    const client = await home.client();
    await eventually(async () => {
      const { items } = await client.list(nodes);
      return items.every(
        ({ status }) =>
          getCondition(status?.conditions, 'NetworkPoliciesNotEnforced')?.status === 'False',
      );
    }, 'each machine says that it keeps to them');
    expect(await ways('other/guest')).toEqual([]);
    expect(await ways('default/friend')).toEqual(everyWay());
  });

  it('leave no trace with the last of them, nor where a machine is taken out', async () => {
    const leaving = machine('pi3');
    await home.stopAgent(leaving);
    await leaving.run(...home.agentCommand(leaving, '--remove'));
    expect(await leaving.run('nft', 'list', 'tables')).toBe(tablesBefore);
    await setPolicies();
    for (const one of [machine('pi1'), machine('pi2')])
      await eventually(
        async () => !(await one.run('nft', 'list', 'tables')).includes('flotilla_policy'),
        'the table is gone',
      );
  });
});
