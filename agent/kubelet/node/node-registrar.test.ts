// A node's heartbeats against an API server of a few lines.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NodeStatus } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { notFound } from '#kube/machinery/status.ts';
import { NodeRegistrar } from './node-registrar.ts';

let clock: ManualClock;
let stopping: AbortController;
let objects: Map<string, KubeObject>;
let told: string[];
let patches: unknown[];
let isReady: boolean;
let registrar: NodeRegistrar;
let annotations: Record<string, string | null>;
let onWritten: (status: NodeStatus) => void;

type Ref = { resource: string };
const client = {
  get: async ({ resource }: Ref) => {
    const found = objects.get(resource);
    if (found === undefined) throw notFound({ group: '', resource }, 'pi');
    return found;
  },
  create: async (ref: Ref, object: KubeObject) => put(ref, object),
  update: async (ref: Ref, object: KubeObject) => client.get(ref).then(() => put(ref, object)),
  updateStatus: async (ref: Ref, object: KubeObject) =>
    client.get(ref).then(() => put(ref, object)),
  patch: async (ref: Ref, _name: unknown, patch: Partial<KubeObject>) => {
    const found = await client.get(ref);
    patches.push(patch.metadata?.annotations);
    const merged = { ...found.metadata.annotations, ...patch.metadata?.annotations };
    return put(ref, { ...found, metadata: { ...found.metadata, annotations: merged } });
  },
};

function put({ resource }: Ref, object: KubeObject): KubeObject {
  objects.set(resource, object);
  return object;
}

beforeEach(() => {
  clock = new ManualClock();
  stopping = new AbortController();
  objects = new Map();
  told = [];
  patches = [];
  isReady = true;
  annotations = {};
  onWritten = () => {};
  registrar = new NodeRegistrar({
    client: client as unknown as RestClient,
    events: {
      event: (_about, type, reason, message) => told.push(`${type} ${reason}: ${message}`),
    },
    clock,
    // It tries again at once.
    logger: { ...silentLogger, warn: () => registrar.trigger() },
    nodeName: 'pi',
    labels: async () => ({}),
    status: async () => ({
      conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }],
    }),
    annotations: () => annotations,
    onWritten: (status) => onWritten(status),
    signal: stopping.signal,
  });
});
afterEach(() => stopping.abort());

/** Something changes; resolves when the status it leads to is written. */
function written(change: () => void): Promise<void> {
  return new Promise((resolve) => {
    onWritten = () => resolve();
    change();
    registrar.trigger();
  });
}

const ready = 'Normal NodeReady: Node pi status is now: NodeReady';
const notReady = 'Normal NodeNotReady: Node pi status is now: NodeNotReady';

describe('events of a node', () => {
  it('tell that it is ready, when it no longer is, and when it is again', async () => {
    await written(() => void registrar.run());
    expect(told).toEqual([ready]);
    await written(() => (isReady = false));
    expect(told).toEqual([ready, notReady]);
    await written(() => (isReady = true));
    expect(told).toEqual([ready, notReady, ready]);
  });

  it('say nothing of a status that is only written again', async () => {
    await written(() => void registrar.run());
    await written(() => clock.advance(300_000));
    expect(told).toEqual([ready]);
  });

  it('say nothing of a node that begins without an engine', async () => {
    isReady = false;
    await written(() => void registrar.run());
    expect(told).toEqual([]);
  });

  it('tell it anew of a node that somebody deleted', async () => {
    await written(() => void registrar.run());
    await written(() => {
      objects.clear();
      clock.advance(300_000);
    });
    expect(told).toEqual([ready, ready]);
  });
});

describe('annotations of a node', () => {
  it('are written when they change, and only those', async () => {
    annotations = { devices: 'a', reason: null };
    await written(() => void registrar.run());
    await written(() => clock.advance(300_000));
    annotations = { devices: 'b', reason: null };
    await written(() => clock.advance(300_000));
    await written(() => clock.advance(300_000));
    expect(patches).toEqual([{ devices: 'a' }, { devices: 'b' }]);
  });
});
