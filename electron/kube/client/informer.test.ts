import { beforeEach, describe, expect, it } from 'vitest';
import type { ConfigMap } from '../api/core.ts';
import { ManualClock } from '../base/clock.ts';
import { silentLogger } from '../base/logger.ts';
import { seededRandom } from '../base/random.ts';
import { expired } from '../machinery/status.ts';
import { Informer, InformerFactory, withoutManagedFields } from './informer.ts';
import type { ClientDeps } from './reflector.ts';
import { configMaps } from './resources.ts';
import { RestClient } from './rest-client.ts';
import { ScriptedTransport, settle } from './testing/scripted-transport.ts';
import { TransportError } from './transport.ts';

function configMap(
  name: string,
  resourceVersion: number,
  more: Partial<ConfigMap> = {},
): ConfigMap {
  const metadata = { namespace: 'default', name, uid: `uid-${name}`, ...more.metadata };
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    ...more,
    metadata: { ...metadata, resourceVersion: String(resourceVersion) },
  };
}

function bookmark(resourceVersion: number, isEnd = false): unknown {
  const annotations = isEnd ? { 'k8s.io/initial-events-end': 'true' } : {};
  return {
    kind: 'ConfigMap',
    apiVersion: 'v1',
    metadata: { resourceVersion: String(resourceVersion), annotations },
  };
}

let clock: ManualClock;
let transport: ScriptedTransport;
let deps: ClientDeps;
let informer: Informer<ConfigMap>;
let log: string[];
let stop: AbortController;

beforeEach(() => {
  clock = new ManualClock();
  transport = new ScriptedTransport();
  const random = seededRandom(1);
  const client = new RestClient({ transport, clock, random });
  deps = { client, clock, random, logger: silentLogger };
  stop = new AbortController();
  follow();
});

function follow(): void {
  log = [];
  informer = new Informer(deps, { resource: configMaps });
  const at = (object: ConfigMap): string =>
    `${object.metadata.name}@${object.metadata.resourceVersion}`;
  informer.addHandler({
    onAdd: (object, isInitial) => log.push(`add ${at(object)}${isInitial ? ' initial' : ''}`),
    onUpdate: (old, object) => log.push(`update ${at(old)} ${at(object)}`),
    onDelete: (object) => log.push(`delete ${at(object)}`),
    onConnectionChange: (isConnected) => log.push(isConnected ? 'connected' : 'disconnected'),
  });
}

/** Starts with a and b at version 5. */
async function startWithTwo(): Promise<void> {
  informer.start(stop.signal);
  await settle();
  transport.watch.send('ADDED', configMap('a', 3));
  transport.watch.send('ADDED', configMap('b', 4));
  transport.watch.send('BOOKMARK', bookmark(5, true));
  await settle();
  log.length = 0;
}

async function advance(ms: number): Promise<void> {
  clock.advance(ms);
  await settle();
}

describe('the first list', () => {
  it('is a watch that begins with every object and ends with a bookmark', async () => {
    informer.start(stop.signal);
    await settle();
    expect(transport.watch.request.query).toMatchObject({
      watch: true,
      sendInitialEvents: true,
      resourceVersionMatch: 'NotOlderThan',
      allowWatchBookmarks: true,
    });
    transport.watch.send('ADDED', configMap('a', 3));
    await settle();
    expect([informer.hasSynced, log]).toEqual([false, []]);
    transport.watch.send('BOOKMARK', bookmark(5, true));
    await settle();
    expect([informer.hasSynced, informer.resourceVersion, log]).toEqual([
      true,
      '5',
      ['add a@3 initial', 'connected'],
    ]);
  });

  it('falls back on list and watch when the server refuses initial events', async () => {
    transport.refuse = (request) =>
      request.query?.['sendInitialEvents'] === true ? { status: 422, body: {} } : undefined;
    transport.answer = () => ({
      body: {
        kind: 'ConfigMapList',
        metadata: { resourceVersion: '7' },
        items: [configMap('a', 3)],
      },
    });
    informer.start(stop.signal);
    await settle();
    expect(log).toEqual(['add a@3 initial', 'connected']);
    expect(transport.watch.request.query).toMatchObject({ watch: true, resourceVersion: '7' });
  });

  it('starts over when the connection breaks before it is complete', async () => {
    informer.start(stop.signal);
    await settle();
    transport.watch.send('ADDED', configMap('a', 3));
    transport.watch.break();
    await settle();
    await advance(1000);
    expect(transport.watch.request.query).toMatchObject({ sendInitialEvents: true });
    transport.watch.send('ADDED', configMap('b', 4));
    transport.watch.send('BOOKMARK', bookmark(5, true));
    await settle();
    expect(log).toEqual(['add b@4 initial', 'connected']);
  });
});

describe('following', () => {
  it('hands out adds, updates with the old object, and deletes', async () => {
    await startWithTwo();
    transport.watch.send('ADDED', configMap('c', 6));
    transport.watch.send('MODIFIED', configMap('a', 7));
    transport.watch.send('DELETED', configMap('b', 8));
    await settle();
    expect(log).toEqual(['add c@6', 'update a@3 a@7', 'delete b@8']);
    expect(informer.lister.list().map((object) => object.metadata.name)).toEqual(['c', 'a']);
  });

  it('resumes a broken stream at the last version: nothing missed, nothing twice', async () => {
    await startWithTwo();
    transport.watch.send('MODIFIED', configMap('a', 6));
    transport.watch.sendText('{"type":"MODIFIED","obj');
    transport.watch.break();
    await settle();
    await advance(1000);
    expect(transport.streams).toHaveLength(2);
    expect(transport.watch.request.query).toMatchObject({ resourceVersion: '6' });
    expect(transport.watch.request.query?.['sendInitialEvents']).toBeUndefined();
    transport.watch.send('MODIFIED', configMap('a', 7));
    await settle();
    expect(log).toEqual(['update a@3 a@6', 'disconnected', 'connected', 'update a@6 a@7']);
  });

  it('resumes at the version of the last bookmark', async () => {
    await startWithTwo();
    transport.watch.send('BOOKMARK', bookmark(40));
    transport.watch.end();
    await settle();
    expect(transport.watch.request.query).toMatchObject({ resourceVersion: '40' });
    expect(informer.resourceVersion).toBe('40');
  });

  it('lists again after 410 and tells only the differences', async () => {
    await startWithTwo();
    transport.watch.send('ERROR', expired('too old resource version: 5 (90)').status);
    await settle();
    expect(transport.watch.request.query).toMatchObject({ sendInitialEvents: true });
    transport.watch.send('ADDED', configMap('a', 3));
    transport.watch.send('ADDED', configMap('c', 90));
    transport.watch.send('BOOKMARK', bookmark(91, true));
    await settle();
    expect(log).toEqual(['disconnected', 'add c@90', 'delete b@4', 'connected']);
  });

  it('lists again when opening the watch answers 410', async () => {
    await startWithTwo();
    transport.refuse = (request) =>
      request.query?.['resourceVersion'] === '5'
        ? { status: 410, body: expired('gone').status }
        : undefined;
    transport.watch.break();
    await settle();
    await advance(1000);
    expect(transport.watch.request.query).toMatchObject({ sendInitialEvents: true });
  });

  it('takes an object made again under its name for a new one', async () => {
    await startWithTwo();
    transport.watch.send('ERROR', expired('gone').status);
    await settle();
    const again = configMap('a', 50, {
      metadata: { namespace: 'default', name: 'a', uid: 'other' },
    });
    transport.watch.send('ADDED', again);
    transport.watch.send('ADDED', configMap('b', 4));
    transport.watch.send('BOOKMARK', bookmark(91, true));
    await settle();
    expect(log).toEqual(['disconnected', 'delete a@3', 'add a@50', 'connected']);
  });

  it('backs off between failed attempts, at most 10 s', async () => {
    await startWithTwo();
    transport.refuse = () => new TransportError('connection refused');
    transport.watch.break();
    await settle();
    const attemptsAtStart = transport.requests.length;
    const waits: number[] = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      // Also the client's own retries would show up here.
      const wait = clock.nextTimerMs() ?? 0;
      waits.push(wait);
      await advance(wait);
    }
    expect(transport.requests.length - attemptsAtStart).toBe(8);
    expect(waits.every((wait, i) => wait >= Math.min(5000, 250 * 2 ** i) && wait <= 10_000)).toBe(
      true,
    );
  });

  it('gives up a connection on which nothing came for three minutes', async () => {
    await startWithTwo();
    const dead = transport.watch;
    await advance(179_000);
    expect(dead.isEnded).toBe(false);
    await advance(2_000);
    await advance(1_000);
    expect([dead.isEnded, transport.streams.length]).toEqual([true, 2]);
    expect(transport.watch.request.query).toMatchObject({ resourceVersion: '5' });
  });

  it('ends its stream and starts no other when stopped', async () => {
    await startWithTwo();
    stop.abort();
    await settle();
    await advance(60_000);
    expect([transport.watch.isEnded, transport.streams.length]).toEqual([true, 1]);
  });
});

describe('the cache', () => {
  it('holds frozen objects', async () => {
    await startWithTwo();
    const object = informer.lister.get('default', 'a');
    expect(() => {
      if (object !== undefined) object.metadata.name = 'changed';
    }).toThrow(TypeError);
  });

  it('finds objects by index, also after an update moved them', async () => {
    informer.addIndex('color', (object) => [object.data?.['color'] ?? 'none']);
    await startWithTwo();
    transport.watch.send('MODIFIED', configMap('a', 6, { data: { color: 'red' } }));
    await settle();
    const names = (color: string): string[] =>
      informer.lister.byIndex('color', color).map((object) => object.metadata.name);
    expect([names('red'), names('none')]).toEqual([['a'], ['b']]);
  });

  it('refuses an index that was never declared', () => {
    expect(() => informer.lister.byIndex('nope', '')).toThrow('no index nope was declared');
  });

  it('tells a late handler everything it has', async () => {
    await startWithTwo();
    const seen: string[] = [];
    informer.addHandler({ onAdd: (object) => seen.push(object.metadata.name) });
    expect(seen).toEqual(['a', 'b']);
  });
});

describe('a factory', () => {
  it('shares an informer per collection and starts those asked for later', async () => {
    const factory = new InformerFactory(deps);
    const first = factory.informer(configMaps);
    expect(factory.informer(configMaps)).toBe(first);
    expect(factory.informer(configMaps, { namespace: 'other' })).not.toBe(first);
    factory.start(stop.signal);
    factory.informer(configMaps, { namespace: 'late' });
    await settle();
    expect(transport.streams).toHaveLength(3);
  });

  it('keeps nobody’s word of who set which field, where that is asked for', async () => {
    const factory = new InformerFactory(deps, withoutManagedFields);
    const all = factory.informer(configMaps);
    factory.start(stop.signal);
    await settle();
    const managedFields = [{ manager: 'kubectl', operation: 'Apply' as const }];
    const metadata = { name: 'a', labels: { app: 'a' }, managedFields };
    transport.watch.send('ADDED', configMap('a', 3, { metadata }));
    transport.watch.send('BOOKMARK', bookmark(5, true));
    await settle();
    const { managedFields: _, ...rest } = configMap('a', 3, { metadata }).metadata;
    expect(all.lister.list().map((object) => object.metadata)).toEqual([rest]);
  });
});
