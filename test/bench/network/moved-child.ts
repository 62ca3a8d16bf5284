// The part `moved`, started in the machine's namespace: control plane and proxy are there, as on a real
// machine. One line of JSON: milliseconds of each change.
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom } from '#kube/base/random.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import { endpointSlices, nodes, services } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { startProxy } from '../../../agent/proxy/proxy.ts';
import { proxySystem } from '../../../agent/proxy/system.ts';
import { http, makeService, makeSlice } from '../../../agent/proxy/testing/services.ts';
import { Cluster } from '../../setup/cluster.ts';
import { ServiceNetwork, type NetworkPod, type Running } from '../../setup/service-network.ts';

const clusterIP = '10.96.200.1';
const serviceCidr = '10.96.0.0/16';

const [id = '', rounds] = process.argv.slice(2);
const stop = new AbortController();
const network = new ServiceNetwork(id);
const cluster = new Cluster(['--no-agent']);
try {
  await cluster.start();
  process.stdout.write(`${JSON.stringify(await measure())}\n`);
} finally {
  stop.abort();
  network.endProcesses();
  await cluster.destroy();
}

async function measure(): Promise<number[]> {
  const client = await cluster.client();
  const [caller, first, second] = network.pods;
  if (caller === undefined || first === undefined || second === undefined)
    throw new Error('three pods');
  await client.create(services, makeService('web', { clusterIP, ports: [http] }));
  await client.create(endpointSlices, sliceTo(first));
  await proxy(client, stop.signal);
  const follower = network.start(caller.netns, 'follow', clusterIP, '80');
  await sees(follower, first);
  const samples: number[] = [];
  for (let round = 0; round < Number(rounds); round++) {
    const next = round % 2 === 0 ? second : first;
    const startMs = Date.now();
    const patch = { endpoints: sliceTo(next).endpoints };
    await client.patch(endpointSlices, { namespace: 'default', name: 'web-1' }, patch);
    samples.push((await sees(follower, next)) - startMs);
  }
  return samples;
}

function sliceTo({ address }: NetworkPod) {
  const ready = { addresses: [address], conditions: { ready: true } };
  return makeSlice('web', [ready], [{ name: 'http', port: 8_080, protocol: 'TCP' }]);
}

async function proxy(client: RestClient, signal: AbortSignal): Promise<void> {
  const [clock, logger] = [systemClock, silentLogger];
  const informers = new InformerFactory({ client, clock, random: seededRandom(1), logger });
  const deps = {
    services: informers.informer(services),
    endpointSlices: informers.informer(endpointSlices),
    node: informers.informer(nodes),
    system: proxySystem(0),
    clock,
    logger,
    bridge: network.bridge,
    serviceCidr,
    nodeName: 'bench',
    table: 'flotilla_bench',
  };
  await startProxy(deps, signal);
  informers.start(signal);
}

/** When the pod answered first, milliseconds since the epoch. */
async function sees(follower: Running, pod: NetworkPod): Promise<number> {
  for (;;) {
    const [who, atMs] = (await follower.line()).split(' ');
    if (who === pod.name) return Number(atMs);
  }
}
