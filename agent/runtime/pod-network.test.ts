// Which network pods get on an engine that only pretends: one with pods in it stays as it is.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import type { DockerClient, NetworkDetails } from './docker-client.ts';
import { DockerRuntime } from './docker-runtime.ts';
import { networkBody, networkName, type GivenNetwork } from './pod-network.ts';

const clusterId = 'c';
const given = (cidr: string | undefined): GivenNetwork => ({
  known: () => cidr,
  wait: () => (cidr === undefined ? Promise.reject(new Error('not yet')) : Promise.resolve(cidr)),
});

interface World {
  /** Of the network that is there. */
  readonly found?: string;
  readonly isUsed?: boolean;
  readonly givenNetwork?: GivenNetwork;
}

async function networkOf(world: World) {
  const { runtime, done } = runtimeOf(world);
  const { cidr } = await runtime.network();
  return [cidr, ...done];
}

function runtimeOf({ found, isUsed = false, givenNetwork }: World) {
  const done: string[] = [];
  const client: Partial<DockerClient> = {
    facts: () => Promise.resolve({ version: '20.10.24' } as never),
    listNetworks: () =>
      Promise.resolve(
        found === undefined
          ? []
          : [{ Name: networkName(clusterId), IPAM: { Config: [{ Subnet: found }] } }],
      ) as Promise<NetworkDetails[]>,
    isNetworkUsed: () => Promise.resolve(isUsed),
    removeNetwork: (name) => Promise.resolve(void done.push(`remove ${name}`)),
    createNetwork: ({ IPAM }) =>
      Promise.resolve(void done.push(`create ${JSON.stringify(IPAM?.Config)}`)),
  };
  const identity = { clusterId, nodeName: 'n' };
  const deps = { client: () => client as DockerClient, identity, clock: new ManualClock() };
  const runtime = new DockerRuntime({ ...deps, ...(givenNetwork && { givenNetwork }) });
  return { runtime, done };
}

const made = 'create [{"Subnet":"10.244.3.0/24","Gateway":"10.244.3.1"}]';

describe('the network of pods', () => {
  it.each<[string, World, string[]]>([
    [
      'is made as the cluster gave it',
      { givenNetwork: given('10.244.3.0/24') },
      ['10.244.3.0/24', made],
    ],
    [
      'is kept when it is as given',
      { found: '10.244.3.0/24', givenNetwork: given('10.244.3.0/24') },
      ['10.244.3.0/24'],
    ],
    [
      'is kept when nobody can be asked',
      { found: '10.244.0.0/24', givenNetwork: given(undefined) },
      ['10.244.0.0/24'],
    ],
    [
      'is kept with pods in it, whatever was given',
      { found: '10.244.0.0/24', isUsed: true, givenNetwork: given('10.244.3.0/24') },
      ['10.244.0.0/24'],
    ],
    [
      'is made anew when it is another and empty',
      { found: '10.244.0.0/24', givenNetwork: given('10.244.3.0/24') },
      ['10.244.3.0/24', `remove ${networkName(clusterId)}`, made],
    ],
  ])('%s', async (_, world, want) => {
    expect(await networkOf(world)).toEqual(want);
  });

  it('is made anew, once, when the cluster gives another while the agent runs', async () => {
    let known: string | undefined;
    const givenNetwork = { known: () => known, wait: async () => known ?? '' };
    const { runtime, done } = runtimeOf({ found: '10.244.0.0/24', givenNetwork });
    expect((await runtime.network()).cidr).toBe('10.244.0.0/24');
    known = '10.244.3.0/24';
    const asked = await Promise.all([runtime.network(), runtime.network()]);
    expect(asked.map(({ cidr }) => cidr)).toEqual([known, known]);
    await runtime.network();
    expect(done).toEqual([`remove ${networkName(clusterId)}`, made]);
  });

  it('waits for what the cluster gives', async () => {
    await expect(networkOf({ givenNetwork: given(undefined) })).rejects.toThrow('not yet');
  });

  it.each([
    ['20.10.24+dfsg1', undefined],
    ['27.5.1', undefined],
    ['28.0.0', 'nat-unprotected'],
    ['29.1.3', 'nat-unprotected'],
  ])('is open to routed packets on Docker %s: %s', (version, mode) => {
    const { Options } = networkBody(clusterId, '10.244.3.0/24', version);
    expect(Options['com.docker.network.bridge.gateway_mode_ipv4']).toBe(mode);
  });

  it.each(['', '10.244.3.0/30', 'fd00::/64'])('is not made of %j', (cidr) => {
    expect(() => networkBody(clusterId, cidr, '28')).toThrow('is no network for pods');
  });
});
