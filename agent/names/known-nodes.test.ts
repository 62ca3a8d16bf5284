import { beforeEach, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { ingressNode } from '#kube/machinery/ingress.ts';
import { KnownNodes } from './known-nodes.ts';
import { namesOf } from './owners.ts';

const films = [{ host: 'films.local', runsOn: new Set(['pi']) }];

let revision = 0;

function node(name: string, address: string, isReady = true): Node {
  const annotations = {
    [ingressNode.portsAnnotation]: 'http 80',
    [ingressNode.networksAnnotation]: `${address}/24`,
    other: 'x',
  };
  const conditions = [
    { type: 'Ready', status: isReady ? ('True' as const) : ('Unknown' as const) },
  ];
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, annotations, resourceVersion: String(++revision) },
    spec: { podCIDR: '10.244.0.0/24' },
    status: { conditions },
  };
}

class Source {
  all: Node[] = [];
  readonly #synced = Promise.withResolvers<void>();
  #changed = (): void => {};
  readonly lister = { list: () => this.all } as never;

  addHandler({ onUpdate }: { onUpdate?: (old: Node, now: Node) => void }): () => void {
    this.#changed = () => onUpdate?.(node('a', ''), node('a', ''));
    return () => {};
  }

  whenSynced(): Promise<void> {
    return this.#synced.promise;
  }

  async tell(all: Node[]): Promise<void> {
    this.all = all;
    this.#synced.resolve();
    await this.#synced.promise;
    this.#changed();
  }
}

let written: Uint8Array | undefined;
let writes = 0;
beforeEach(() => {
  written = undefined;
  writes = 0;
});

async function start(source: Source): Promise<KnownNodes> {
  const nodes = new KnownNodes({
    nodes: source,
    file: {
      read: () => Promise.resolve(written),
      write: async (bytes) => {
        written = bytes;
        writes++;
      },
    },
    clock: new ManualClock(),
    logger: silentLogger,
    signal: new AbortController().signal,
  });
  await nodes.load();
  return nodes;
}

const ownNames = (nodes: KnownNodes) => namesOf('pi', films, nodes.list()).get('192.168.1.2/24');

it('are those of before for an agent that starts without an API server, and then what that tells', async () => {
  const first = new Source();
  const before = await start(first);
  expect(before.list()).toEqual([]);
  await first.tell([node('pi', '192.168.1.2'), node('pc', '192.168.1.3', false)]);
  await before.save();
  const second = new Source();
  const after = await start(second);
  let changes = 0;
  after.onChange(() => changes++);
  expect(ownNames(after)).toEqual(new Set(['films.local']));
  await second.tell([node('pi', '192.168.1.2', false)]);
  expect([ownNames(after), changes > 0]).toEqual([undefined, true]);
});

it('are written down only when something changed that names depend on', async () => {
  const source = new Source();
  const nodes = await start(source);
  for (let beat = 0; beat < 3; beat++) {
    await source.tell([node('pi', '192.168.1.2')]);
    await nodes.save();
  }
  expect(writes).toBe(1);
  expect(Buffer.from(written ?? []).toString()).not.toContain('podCIDR');
});

it('are none of a file that makes no sense', async () => {
  for (const text of ['{', '{"version":1}', '{"version":1,"nodes":7}']) {
    written = Buffer.from(text);
    expect((await start(new Source())).list()).toEqual([]);
  }
});
