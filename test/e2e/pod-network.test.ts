// The pods' network between simulated machines: two on one switch, one behind the router. Each has its own
// Docker Engine and runs our agent; the control plane is on a laptop beside them. Pods are asked who asks them.
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Node, Pod } from '#kube/api/core.ts';
import { nodes, pods, services } from '#kube/client/resources.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { LabCluster } from '../lab/lab-cluster.ts';
import type { LabMachine } from '../lab/lab-machine.ts';
import { eventually } from '../setup/cluster.ts';
import { visitProgram, type Visit } from '../setup/home-device.ts';
import { savedTestImage, webImage } from '../setup/images.ts';
import { root } from '../setup/machine.ts';

const home = new LabCluster();
let machines: LabMachine[] = [];
const web = { namespace: 'default', name: 'web' };
/** What a machine's kernel has before it joins. */
let untouched: unknown;

/** As a format of printf. */
const cgi = String.raw`#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n%%s %%s\\n" "$(hostname)" "$REMOTE_ADDR"\n`;
const serve = `printf '${cgi}' > /www/cgi-bin/who; busybox chmod 755 /www/cgi-bin/who; exec httpd -f -p 8080 -h /www`;
const manifest = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: ${webImage}
        command: [sh, -c, ${JSON.stringify(serve)}]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
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
  const [, , last] = machines;
  if (last !== undefined) untouched = await traces(last);
  await Promise.all(
    machines.map((machine) => {
      machine.loadImage(image);
      return home.join(machine);
    }),
  );
  await home.cluster.apply(manifest);
  await allAreReady();
});
afterAll(() => home.destroy());

/** Routes, links, rules: all that we may have left. */
async function traces(machine: LabMachine): Promise<readonly string[]> {
  const lines = await Promise.all([
    machine.run('ip', 'route'),
    machine.run('sh', '-c', 'ls /sys/class/net'),
    machine.run('nft', 'list', 'tables'),
    machine.run('iptables', '-S', 'DOCKER-USER'),
    machine.run('docker', 'network', 'ls', '--format', '{{.Name}}'),
  ]);
  return lines.map((text) => text.replaceAll(` ${machine.address} `, ' ADDRESS '));
}

async function allNodes(): Promise<Node[]> {
  return (await (await home.client()).list(nodes)).items;
}

async function readyPods(): Promise<Pod[]> {
  const { items } = await (await home.client()).list(pods, { namespace: 'default' });
  return items
    .filter(({ status }) => getCondition(status?.conditions, 'Ready')?.status === 'True')
    .toSorted((a, b) => ((a.spec.nodeName ?? '') < (b.spec.nodeName ?? '') ? -1 : 1));
}

/** Machines first: a pod of one that is not is told to be unready only some seconds after it. */
async function allAreReady(): Promise<void> {
  const isReady = ({ status }: Node): boolean =>
    getCondition(status?.conditions, 'Ready')?.status === 'True';
  await eventually(async () => (await allNodes()).every(isReady), 'each machine is ready');
  await eventually(async () => (await readyPods()).length === 3, 'a pod on each machine is ready');
}

/** What a pod says that is asked from within another, for each address: its name, and whom it saw. */
async function askFrom(machine: LabMachine, pod: Pod, hosts: readonly string[]): Promise<string[]> {
  const id = pod.status?.containerStatuses?.[0]?.containerID?.replace('docker://', '') ?? '';
  const ask = 'busybox timeout 3 wget -qO- http://$host/cgi-bin/who || echo nothing';
  const script = `for host; do ${ask}; done`;
  const said = await machine.run('docker', 'exec', id, 'sh', '-c', script, 'sh', ...hosts);
  // The server says `[::ffff:10.244.0.2]`.
  return said
    .replaceAll(/\[::ffff:|\]/g, '')
    .trim()
    .split('\n');
}

async function askFromMachine(machine: LabMachine, hosts: readonly string[]): Promise<string[]> {
  const script = `for (const host of process.argv.slice(1))
    await fetch('http://' + host + '/cgi-bin/who', { signal: AbortSignal.timeout(3000) })
      .then((r) => r.text()).catch(() => 'nothing').then((t) => console.log(t.trim()))`;
  const node = [process.execPath, '--input-type=module', '-e', script, ...hosts];
  return (await machine.run(...node)).trim().split('\n');
}

/** `pi1 asks web-x: web-x 10.244.0.2` for each pair. */
async function everyWay(): Promise<string[]> {
  const all = await readyPods();
  const hosts = all.map(({ status }) => `${status?.podIP}:8080`);
  const rows = await Promise.all(
    all.map(async (from) => {
      const machine = machineOf(from);
      const answers = await askFrom(machine, from, hosts).catch(() => []);
      return all.map(({ metadata }, to) => `${machine.name} asks ${metadata.name}: ${answers[to]}`);
    }),
  );
  return rows.flat();
}

function machineOf({ spec }: Pod): LabMachine {
  const machine = machines.find(({ name }) => name === spec.nodeName);
  if (machine === undefined) throw new Error(`no machine ${spec.nodeName}`);
  return machine;
}

/** As it has to be: every pod is reached, and sees the other pod's own address. */
async function everyWayIsOpen(): Promise<string[]> {
  const all = await readyPods();
  return all.flatMap((from) =>
    all.map(
      ({ metadata: { name } }) =>
        `${from.spec.nodeName} asks ${name}: ${name} ${from.status?.podIP}`,
    ),
  );
}

/** Resolves when all pods reach each other; rejects with what is in the way. */
async function everyWayOpens(): Promise<void> {
  let last: readonly string[] = [];
  try {
    await eventually(
      async () => deepEqual((last = await everyWay()), await everyWayIsOpen()),
      'all are reached',
      30_000,
    );
  } catch {
    expect(last).toEqual(await everyWayIsOpen());
  }
}

describe('pods on three machines', () => {
  it('are each in the network of their node', async () => {
    const cidrs = (await allNodes()).map(({ spec }) => spec.podCIDR ?? '').toSorted();
    expect(cidrs).toEqual(['10.244.0.0/24', '10.244.1.0/24', '10.244.2.0/24']);
  });

  it('reach each other by their own addresses, on one switch and across the router', async () => {
    expect(await everyWay()).toEqual(await everyWayIsOpen());
  });

  it('are reached by their own addresses from each machine', async () => {
    const all = await readyPods();
    const hosts = all.map(({ status }) => `${status?.podIP}:8080`);
    for (const machine of machines) {
      const answers = await askFromMachine(machine, hosts);
      expect(answers.map((answer) => answer.split(' ')[0])).toEqual(
        all.map(({ metadata }) => metadata.name),
      );
    }
  });

  it('reach machines of their segment by their own addresses, those across the router by their machine', async () => {
    const script = `require('node:http').createServer((request, response) =>
      response.end(request.socket.remoteAddress + '\\n')).listen(9000, '0.0.0.0')`;
    for (const machine of machines) machine.start('who', [process.execPath, '-e', script]);
    const hosts = machines.map(({ address }) => `${address}:9000`);
    for (const machine of machines)
      await eventually(
        async () => !(await askFromMachine(machine, hosts)).includes('nothing'),
        'all listen',
      );
    for (const pod of await readyPods()) {
      const own = machineOf(pod);
      const seen = await askFrom(own, pod, hosts);
      const isNear = ({ segment }: LabMachine): boolean => segment === own.segment;
      expect(seen).toEqual(
        machines.map((machine) => (isNear(machine) ? pod.status?.podIP : own.address)),
      );
    }
  });

  it('answer together as a Service, asked from each pod and each machine', async () => {
    const all = await readyPods();
    const names = all.map(({ metadata }) => metadata.name);
    const { spec } = await (await home.client()).get(services, web);
    // Which answers is chance: so often that it is hardly ever one of them only.
    const often = (host: string) => Array.from({ length: 8 }, () => host);
    const ways = all.flatMap((pod) => {
      const machine = machineOf(pod);
      return [
        askFrom(machine, pod, often(spec.clusterIP ?? '')),
        askFromMachine(machine, often(spec.clusterIP ?? '')),
        askFromMachine(machine, often(`${machine.address}:30080`)),
      ];
    });
    for (const answers of await Promise.all(ways)) {
      const found = new Set(answers.map((answer) => answer.split(' ')[0]));
      expect([...found].filter((name) => !names.includes(name ?? ''))).toEqual([]);
      expect(found.size).toBeGreaterThan(1);
    }
  });

  it('are looked into from the laptop', async () => {
    for (const { metadata } of await readyPods())
      expect(await home.cluster.kubectlOk('exec', metadata.name, '--', 'hostname')).toBe(
        `${metadata.name}\n`,
      );
  });
});

describe('an app with a name', () => {
  /** By a stock resolver: the address that a machine is told. */
  const ask = async (machine: LabMachine | undefined): Promise<string | undefined> => {
    const args = [visitProgram, machine?.address ?? '', 'web.local', '80', '3000'];
    const modules = `NODE_PATH=${path.join(root, 'node_modules')}`;
    const said = await machine?.run('env', modules, process.execPath, '-e', ...args);
    return (JSON.parse(said ?? '') as Visit).address;
  };

  it('is told in each network, by a machine there whose port 80 is free, and those are listed', async () => {
    const [, busy, far] = machines;
    const listen = "require('node:net').createServer().listen(80, '0.0.0.0')";
    busy?.start('holder', [process.execPath, '-e', listen]);
    const rule = ['--rule=web.local/*=web:80', '--class=flotilla'];
    await home.cluster.kubectlOk('create', 'ingress', 'web', ...rule);
    await eventually(
      async () => (await ask(busy)) === '10.77.0.11' && (await ask(far)) === '10.78.0.13',
      'the name is told in both networks',
    );
    const ips = ['-o', 'jsonpath={.status.loadBalancer.ingress[*].ip}'];
    expect(await home.cluster.kubectlOk('get', 'ingress', 'web', ...ips)).toBe(
      '10.77.0.11 10.78.0.13',
    );
    await home.cluster.kubectlOk('delete', 'ingress', 'web');
    await busy?.stop('holder');
  });
});

describe('a Service of type LoadBalancer', () => {
  const expose = (name: string, port: number): Promise<string> => {
    const ports = [`--port=${port}`, '--target-port=8080'];
    const what = ['service', 'web', `--name=${name}`, '--type=LoadBalancer'];
    return home.cluster.kubectlOk('expose', ...what, ...ports);
  };
  const externalIps = async (name: string): Promise<string> => {
    const { status } = await (await home.client()).get(services, { namespace: 'default', name });
    return (status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip).join();
  };
  /** From the laptop, which is no node. */
  const ask = (host: string): string => {
    const script = `fetch('http://${host}/cgi-bin/who', { signal: AbortSignal.timeout(3000) })
      .then((r) => r.text()).catch(() => 'nothing').then((t) => console.log(t.trim()))`;
    const [program = '', ...args] = home.lab.onLaptop([process.execPath, '-e', script]);
    return execFileSync(program, args, { encoding: 'utf8' }).trim();
  };
  const isAnswered = (host: string): boolean => ask(host).startsWith('web-');

  it('is reached at each machine, but where a program has the port: that is named', async () => {
    const [, busy] = machines;
    const listen = "require('node:net').createServer().listen(8088, '0.0.0.0')";
    busy?.start('holder', [process.execPath, '-e', listen]);
    await expose('all', 8088);
    await expose('free', 8087);
    const every = machines.map(({ address }) => address).toSorted();
    await eventually(async () => (await externalIps('free')) === every.join(), 'all are told');
    const others = every.filter((address) => address !== busy?.address);
    await eventually(async () => (await externalIps('all')) === others.join(), 'others are told');
    expect(await home.cluster.kubectlOk('get', 'service', 'free')).toContain(every.join());
    for (const address of every) expect(ask(`${address}:8087`)).toMatch(/^web-/);
    for (const address of others) expect(ask(`${address}:8088`)).toMatch(/^web-/);
    const said = await home.cluster.kubectlOk('describe', 'service', 'all');
    expect(said).toMatch(/PortTaken .*pi2: port 8088\/tcp is taken by \S+ \(process \d+\)/);
    await home.cluster.kubectlOk('delete', 'service', 'all', 'free');
  });

  it('has an address of the pool to itself, that nobody had, and moves when its machine is unplugged', async () => {
    const client = await home.client();
    const [pool, address] = ['10.77.0.254,10.77.0.200', '10.77.0.200'];
    const left = ['balancer-addresses', `--from-literal=addresses=${pool}`];
    await home.cluster.kubectlOk('-n', 'kube-system', 'create', 'configmap', ...left);
    await expose('films', 80);
    await eventually(async () => (await externalIps('films')) === address, 'it is told');
    // The router has the first of them.
    expect(await home.cluster.kubectlOk('describe', 'service', 'films')).toMatch(
      /AddressTaken .*10\.77\.0\.254 has somebody else: [\da-f:]{17} answered when pi\d asked/,
    );
    expect(ask(address)).toMatch(/^web-/);
    // What else listens on every address of the machine is not meant.
    expect([ask(`${address}:9000`), ask(`${address}:30080`)]).toEqual(['nothing', 'nothing']);
    const { metadata } = await client.get(services, { namespace: 'default', name: 'films' });
    const holder = machines.find(
      ({ name }) => name === metadata.annotations?.['flotilla.dev/lan-address-node'],
    );
    if (holder === undefined) throw new Error('a machine has it');
    await holder.setCable(false);
    // As the control plane finds it, 40 seconds later.
    const conditions = [{ type: 'Ready', status: 'Unknown' }];
    await client.patch(
      nodes,
      { name: holder.name },
      { status: { conditions } },
      { type: 'strategic', subresource: 'status' },
    );
    await eventually(() => isAnswered(address), 'another machine answers');
    await holder.setCable(true);
    const has = (machine: LabMachine) => machine.run('ip', '-4', '-brief', 'address');
    await eventually(async () => !(await has(holder)).includes(address), 'one machine has it');
    expect(isAnswered(address)).toBe(true);
    await home.cluster.kubectlOk('delete', 'service', 'films');
    await eventually(
      async () => !(await Promise.all(machines.map(has))).join().includes(address),
      'nobody has it',
    );
    await home.cluster.kubectlOk('-n', 'kube-system', 'delete', 'configmap', 'balancer-addresses');
    await allAreReady();
  });
});

describe('a machine', () => {
  it('that was unplugged is reached again, and its pods were not restarted', async () => {
    const [, , far] = machines;
    const before = await readyPods();
    await far?.setCable(false);
    const cut = (await everyWay()).filter((line) => line.endsWith('nothing'));
    await far?.setCable(true);
    expect(cut).toHaveLength(4);
    await everyWayOpens();
    const after = await readyPods();
    expect(after.map(({ status }) => status?.containerStatuses)).toEqual(
      before.map(({ status }) => status?.containerStatuses),
    );
  });

  it.each([
    [1, 32],
    [2, 33],
  ])('that gets another address is reached by that, too (%i)', async (index, host) => {
    const machine = machines[index];
    await machine?.changeAddress(host);
    await everyWayOpens();
  });

  it('that lost its power is back with its pods', async () => {
    const [machine] = machines;
    if (machine === undefined) throw new Error('it is there');
    await machine.cutPower();
    await machine.powerOn();
    home.startAgent(machine);
    await allAreReady();
    await everyWayOpens();
  });
});

describe('the laptop whose control plane it is', () => {
  const isLost = ({ status }: Node): boolean =>
    getCondition(status?.conditions, 'Ready')?.status === 'Unknown';
  const agents = (): Promise<string[]> =>
    Promise.all(machines.map((machine) => machine.run('pgrep', '-f', 'agent/main.js')));
  const onlyKnow = (address: string) => async (): Promise<boolean> => {
    const files = machines.map((one) => one.run('cat', '/var/lib/flotilla/agent/api-servers.json'));
    return (await Promise.all(files)).every((file) =>
      new RegExp(`"present":\\["https://${address}:`).test(file),
    );
  };

  it('is found at another address by all, and none is started anew', async () => {
    const before = await agents();
    await home.lab.changeLaptopAddress(2);
    await eventually(onlyKnow(home.lab.laptopAddress), 'they keep the address');
    await allAreReady();
    expect((await allNodes()).filter(isLost)).toEqual([]);
    expect(await agents()).toEqual(before);
  });
});

describe('a machine that is taken out', () => {
  it('has nothing of ours left, and the others have no way to it', async () => {
    const [, , machine] = machines;
    if (machine === undefined) throw new Error('it is there');
    const client = await home.client();
    await home.stopAgent(machine);
    await client.delete(nodes, { name: machine.name });
    const said = await machine.run(...home.agentCommand(machine, '--remove'));
    expect(said).toContain('removed');
    expect(await traces(machine)).toEqual(untouched);
    const [other] = machines;
    await eventually(async () => !(await other?.run('ip', 'route'))?.includes('flv-'), 'no way');
    expect(await other?.run('ip', '-brief', 'link')).not.toContain('flv-');
  });
});
