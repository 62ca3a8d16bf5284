// Who gets an invitation, which is the cluster: the node that the leader chose, and nobody else.
import { beforeEach, describe, expect, it } from 'vitest';
import type { ConfigMap, Node } from '#kube/api/core.ts';
import type { MemberReport } from '#kube/api/flotilla.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { controlPlaneTargetAnnotation, recordName } from '#kube/machinery/control-planes.ts';
import { notFound } from '#kube/machinery/status.ts';
import type { Group } from './group.ts';
import type { Chosen } from './plan.ts';
import { invitationFor, isMember, leaveGroup, type ReplicaPathsDeps } from './replica-paths.ts';

const pi = { name: 'system:node:pi', groups: ['system:nodes', 'system:authenticated'] };
let calls: string[];
let chosen: Record<string, Chosen>;
let members: MemberReport[];
let removal: Error | undefined;
let nodes: Record<string, Node>;

function member(name: string, more: Partial<MemberReport> = {}): MemberReport {
  const shape = { id: 1, role: 'voter', addresses: [], health: 'running', lag: 0 } as const;
  return { ...shape, name, isLeader: false, isSelf: false, ...more };
}

function node(name: string): Node {
  const addresses = [{ type: 'InternalIP', address: '10.0.0.7' }];
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, uid: `uid-${name}` },
    spec: {},
    status: { addresses },
  };
}

beforeEach(() => {
  calls = [];
  chosen = { pi: { uid: 'uid-pi', state: 'chosen', sinceMs: 0 } };
  members = [member('laptop', { isLeader: true, isSelf: true })];
  removal = undefined;
  nodes = { pi: node('pi'), other: node('other') };
});

function deps(): ReplicaPathsDeps {
  const group: Group = {
    report: () => ({ clusterId: 'c', term: 1, revision: 1, members, problem: null }),
    isAlwaysOn: () => true,
    async invite(name, address) {
      calls.push(`invite ${name} ${address}`);
      return 'the invitation';
    },
    async remove(name) {
      if (removal !== undefined) throw removal;
      calls.push(`remove ${name}`);
    },
    handOver: async () => {},
    onChange: () => {},
  };
  const get = async ({ plural = '' }: { plural?: string }, { name }: { name: string }) => {
    if (plural === 'nodes' || nodes[name] !== undefined) {
      const found = nodes[name];
      if (found !== undefined) return found;
    }
    if (name !== recordName) throw notFound({ group: '', resource: plural }, name);
    const data = Object.entries(chosen).map(([key, value]) => [key, JSON.stringify(value)]);
    return {
      kind: 'ConfigMap',
      metadata: { name },
      data: Object.fromEntries(data),
    } as unknown as KubeObject;
  };
  const client = {
    get,
    update: async (_resource: unknown, object: ConfigMap) => {
      chosen = Object.fromEntries(
        Object.entries(object.data ?? {}).map(([key, text]) => [key, JSON.parse(text) as Chosen]),
      );
    },
    patch: async (_resource: unknown, { name }: { name: string }, patch: Node) => {
      calls.push(`${name} ${patch.metadata.annotations?.[controlPlaneTargetAnnotation]}`);
    },
  };
  return {
    client: () => client as unknown as ReturnType<ReplicaPathsDeps['client']>,
    group,
    clock: new ManualClock(),
    logger: silentLogger,
  };
}

describe('an invitation', () => {
  it('is for the node that was chosen', async () => {
    expect(await invitationFor(pi, deps())).toBe('the invitation');
    expect(calls).toEqual(['invite pi 10.0.0.7:7450']);
  });

  it('of one whose answer was lost makes the first void', async () => {
    members.push(member('pi', { health: 'unreachable' }));
    await invitationFor(pi, deps());
    expect(calls).toEqual(['remove pi', 'invite pi 10.0.0.7:7450']);
  });

  it.each([
    { name: 'another node', user: { ...pi, name: 'system:node:other' }, given: {} },
    { name: 'somebody with the name of a node', user: { ...pi, groups: [] }, given: {} },
    { name: 'a person', user: { name: 'admin', groups: ['system:masters'] }, given: {} },
    { name: 'nobody', user: undefined, given: {} },
    { name: 'a member already', user: pi, given: { state: 'member' as const } },
    { name: 'one that failed', user: pi, given: { state: 'failed' as const } },
    { name: 'another machine of its name', user: pi, given: { uid: 'another' } },
  ])('is not for $name', async ({ user, given }) => {
    chosen = { pi: { uid: 'uid-pi', state: 'chosen', sinceMs: 0, ...given } };
    await expect(invitationFor(user, deps())).rejects.toMatchObject({ code: 403 });
    expect(calls).toEqual([]);
  });

  it('is given once it is heard of to nobody', async () => {
    members.push(member('pi'));
    await expect(invitationFor(pi, deps())).rejects.toMatchObject({ code: 403 });
    expect(calls).toEqual([]);
  });

  it('is given by whoever leads alone', async () => {
    members = [member('laptop', { isSelf: true }), member('nuc', { isLeader: true })];
    await expect(invitationFor(pi, deps())).rejects.toThrow('nuc leads, and has to be asked');
  });
});

describe('a machine that is taken out', () => {
  beforeEach(() => members.push(member('pi')));

  it('is a member until the group has let it go, and is not chosen again at once', async () => {
    expect(isMember(pi, deps())).toBe(true);
    await leaveGroup(pi, deps());
    expect(calls).toEqual(['remove pi', 'pi none']);
    expect(chosen['pi']).toMatchObject({ state: 'failed' });
  });

  it('stays one where the others can not do without it', async () => {
    removal = new Error('of the 2 voters there would be then, 2 must be running');
    await expect(leaveGroup(pi, deps())).rejects.toThrow('2 must be running');
    expect(calls).toEqual([]);
    expect(chosen['pi']).toMatchObject({ state: 'chosen' });
  });

  it('leaves as well when its Node was deleted first', async () => {
    nodes = {};
    await leaveGroup(pi, deps());
    expect(calls).toEqual(['remove pi']);
    expect(chosen).toEqual({});
  });
});
