// The driver on a machine that only pretends: what it runs, what it tells, and who has to wait.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Namespace, Pod } from '#kube/api/core.ts';
import type { NetworkPolicy } from '#kube/api/networking.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { EventHandlers } from '#kube/client/informer.ts';
import type { CommandResult, ProxySystem } from '../proxy/system.ts';
import { PolicyKeeper, type Followed } from './policy-keeper.ts';
import { here, makeNamespace, makePod, makePolicy } from './testing/home.ts';

class Objects<T extends KubeObject> implements Followed<T> {
  items: T[];
  hasSynced = false;
  #handlers: EventHandlers<T>[] = [];
  readonly #synced = Promise.withResolvers<void>();
  readonly lister = { list: () => this.items };

  constructor(...items: T[]) {
    this.items = items;
  }

  whenSynced(): Promise<void> {
    return this.#synced.promise;
  }

  addHandler(handlers: EventHandlers<T>): () => void {
    this.#handlers.push(handlers);
    return () => undefined;
  }

  sync(): this {
    this.hasSynced = true;
    this.#synced.resolve();
    return this;
  }

  set(...items: T[]): void {
    const before = this.items;
    this.items = items;
    const uid = ({ metadata }: T): string => metadata.uid ?? metadata.name;
    for (const handlers of this.#handlers) {
      for (const item of items) {
        const old = before.find((one) => uid(one) === uid(item));
        if (old === undefined) handlers.onAdd?.(item, false);
        else handlers.onUpdate?.(old, item);
      }
      for (const old of before)
        if (!items.some((item) => uid(item) === uid(old))) handlers.onDelete?.(old);
    }
  }
}

const done: CommandResult = { exitCode: 0, stdout: '', stderr: '' };
const allFile = '/proc/sys/net/bridge/bridge-nf-call-iptables';
const ownFile = '/sys/class/net/flt-1/bridge/nf_call_iptables';
const bridgeId = '/sys/class/net/flt-1/bridge/bridge_id';

let policies: Objects<NetworkPolicy>;
let namespaces: Objects<Namespace>;
let pods: Objects<Pod>;
/** Transactions, and other commands. */
let ran: string[];
let files: Map<string, string>;
let refused: (input: string) => CommandResult;
let isRoot: boolean;
let hasModule: boolean;
let clock: ManualClock;
let stopping: AbortController;
let asksForOthers: number;

const system = (): ProxySystem => ({
  isRoot,
  async run(command, args, input = '') {
    if (command === 'modprobe' && hasModule)
      for (const name of ['iptables', 'ip6tables', 'arptables'])
        files.set(`/proc/sys/net/bridge/bridge-nf-call-${name}`, '1\n');
    const result = command === 'nft' ? refused(input) : done;
    if (args[0] !== '--check' && result.exitCode === 0)
      ran.push(command === 'nft' ? input : [command, ...args].join(' '));
    return result;
  },
  follow: () => Promise.resolve(),
  addresses: () => [],
  bridgeAddresses: () => [],
  listFolder: async () => [],
  readText: async (path) => files.get(path),
  async writeText(path, text) {
    if (!files.has(path)) return false;
    files.set(path, text);
    return true;
  },
});

beforeEach(() => {
  policies = new Objects<NetworkPolicy>();
  namespaces = new Objects(makeNamespace('default'));
  pods = new Objects<Pod>();
  ran = [];
  files = new Map([
    [allFile, '1\n'],
    [ownFile, '0\n'],
    [bridgeId, '8000\n'],
  ]);
  refused = () => done;
  isRoot = true;
  hasModule = true;
  clock = new ManualClock();
  stopping = new AbortController();
  asksForOthers = 0;
});
afterEach(() => stopping.abort());

function start(): PolicyKeeper {
  const keeper = new PolicyKeeper({
    policies,
    others() {
      asksForOthers++;
      return { namespaces, pods };
    },
    system: system(),
    table: 't',
    bridge: 'flt-1',
    nodeName: here,
    clock,
    logger: silentLogger,
    onChange: () => undefined,
    signal: stopping.signal,
  });
  keeper.start();
  return keeper;
}

/** What is under way has gone as far as it goes by itself. */
async function settle(): Promise<void> {
  for (let i = 0; i < 40; i++) await Promise.resolve();
}

async function startSynced(): Promise<PolicyKeeper> {
  policies.sync();
  namespaces.sync();
  pods.sync();
  const keeper = start();
  await settle();
  return keeper;
}

/** `waits`, `joined`, or why not. */
function outcome(joining: Promise<void>): { is: string } {
  const now = { is: 'waits' };
  joining.then(
    () => (now.is = 'joined'),
    (error: Error) => (now.is = error.message),
  );
  return now;
}

const deny = makePolicy('deny', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
const web = makePod('default/web', '10.244.0.2', { app: 'web' });
const fresh = makePod('default/fresh', '', { app: 'fresh' });

describe('the table', () => {
  it('is written with the first policy for a pod here, and goes with the last', async () => {
    pods.items = [web];
    await startSynced();
    ran = [];
    policies.set(deny);
    await settle();
    expect(ran).toHaveLength(1);
    expect(ran[0]).toContain('10.244.0.2 : jump in-');
    policies.set();
    await settle();
    expect(ran[1]).toBe('add table ip t\ndelete table ip t\n');
    expect(ran).toHaveLength(2);
  });

  it('of an earlier agent goes once, and pods are not asked for, where there is no policy', async () => {
    await startSynced();
    policies.set();
    await settle();
    expect([ran, asksForOthers]).toEqual([['add table ip t\ndelete table ip t\n'], 0]);
  });

  it('stays as it is until everything is known', async () => {
    policies.items = [deny];
    pods.items = [web];
    start();
    await settle();
    policies.sync();
    await settle();
    namespaces.sync();
    await settle();
    expect(ran).toEqual([]);
    pods.sync();
    await settle();
    expect(ran).toHaveLength(1);
  });

  it('is changed by elements, and not at all by what does not matter', async () => {
    policies.items = [deny];
    pods.items = [web];
    await startSynced();
    ran = [];
    pods.set({ ...web, status: { ...web.status, phase: 'Pending' } });
    await settle();
    expect(ran).toEqual([]);
    pods.set(web, makePod('default/b', '10.244.0.3', {}));
    await settle();
    expect(ran).toHaveLength(1);
    expect(ran[0]).toMatch(/^add element ip t egress-pods \{ 10\.244\.0\.3 : jump out-\w+ \}\n/);
  });

  it('is written whole after a change was refused, when it is lost, and every five minutes', async () => {
    policies.items = [deny];
    pods.items = [web];
    const keeper = await startSynced();
    refused = (input) => (input.startsWith('add element') ? { ...done, exitCode: 1 } : done);
    ran = [];
    pods.set(web, makePod('default/b', '10.244.0.3', {}));
    await settle();
    keeper.lost();
    await settle();
    clock.advance(300_000);
    await settle();
    expect(ran.map((text) => text.includes('hook forward'))).toEqual([true, true, true]);
  });

  it('that the kernel does not take is tried again, and told', async () => {
    policies.items = [deny];
    pods.items = [web];
    refused = (input) =>
      input.includes('10.244.0.2') ? { ...done, exitCode: 1, stderr: 'no' } : done;
    const keeper = await startSynced();
    expect(keeper.verdict()).toMatchObject({ status: 'True', reason: 'RulesOutOfDate' });
    refused = () => done;
    clock.advance(4000);
    await settle();
    expect(keeper.verdict()).toMatchObject({ status: 'False', reason: 'Enforced' });
  });
});

describe('a pod that starts', () => {
  it('waits for its rules', async () => {
    policies.items = [deny];
    const keeper = await startSynced();
    const joined = outcome(keeper.join(fresh, '10.244.0.5'));
    expect(joined.is).toBe('waits');
    await settle();
    expect(joined.is).toBe('joined');
    expect(ran.at(-1)).toContain('10.244.0.5 : jump out-');
  });

  it('does not wait where there are no policies, or none of its kind can be', async () => {
    const keeper = await startSynced();
    const joined = outcome(keeper.join(fresh, '10.244.0.5'));
    await settle();
    expect(joined.is).toBe('joined');
    expect(asksForOthers).toBe(0);
    policies.set(deny);
    const host = makePod('default/host', '', {}, { isHost: true });
    await keeper.join(host, '10.77.0.1');
    await settle();
    expect(ran.join('')).not.toContain('10.77.0.1');
  });

  it('waits to hear what its policies are, and not for ever', async () => {
    const keeper = start();
    const joined = outcome(keeper.join(fresh, '10.244.0.5'));
    await settle();
    expect(joined.is).toBe('waits');
    clock.advance(10_000);
    await settle();
    expect(joined.is).toContain('the API server does not answer');
  });

  it('starts without an API server if its owner put it on this machine', async () => {
    const own = {
      ...fresh,
      metadata: { ...fresh.metadata, annotations: { 'kubernetes.io/config.source': 'file' } },
    };
    await start().join(own, '10.244.0.5');
  });

  it('does not start while the kernel refuses its rules', async () => {
    policies.items = [deny];
    refused = (input) =>
      input.includes('10.244.0.5') ? { ...done, exitCode: 1, stderr: 'no' } : done;
    const keeper = await startSynced();
    const joined = outcome(keeper.join(fresh, '10.244.0.5'));
    await settle();
    expect(joined.is).toBe('nft refused the rules of NetworkPolicies: no');
  });

  it('does not wait again for what is in force', async () => {
    policies.items = [deny];
    const keeper = await startSynced();
    await keeper.join(fresh, '10.244.0.5');
    ran = [];
    const again = outcome(keeper.join(fresh, '10.244.0.5'));
    await settle();
    expect([again.is, ran]).toEqual(['joined', []]);
  });

  it('has the address for itself that another had before it', async () => {
    policies.items = [makePolicy('web', { podSelector: { matchLabels: { app: 'web' } } })];
    pods.items = [web];
    const keeper = await startSynced();
    await keeper.join(web, '10.244.0.2');
    await keeper.join(fresh, '10.244.0.2');
    expect(ran.at(-1)).toBe('add table ip t\ndelete table ip t\n');
    // The API server still tells of the one before.
    pods.set(web, { ...fresh, status: { podIP: '10.244.0.2' } });
    await settle();
    expect(ran.at(-1)).toBe('add table ip t\ndelete table ip t\n');
  });

  it('that is deleted leaves nothing in the table', async () => {
    policies.items = [deny];
    pods.items = [web];
    const keeper = await startSynced();
    await keeper.join(fresh, '10.244.0.5');
    pods.set(web, { ...fresh, status: { podIP: '10.244.0.5' } });
    pods.set(web);
    await settle();
    expect(ran.at(-1)).toContain('delete element ip t egress-pods { 10.244.0.5 }');
  });
});

describe('the node tells', () => {
  const cases: [string, () => void, object | undefined][] = [
    ['nothing without policies', () => (policies.items = []), undefined],
    ['that they are enforced', () => undefined, { status: 'False', reason: 'Enforced' }],
    [
      'that they are not without nft',
      () => (refused = () => ({ ...done, exitCode: undefined })),
      {
        status: 'True',
        reason: 'NotEnforced',
        message:
          'NetworkPolicies are not enforced on this machine, so its pods are open to all and reach all: the program nft is missing on this machine (package nftables)',
      },
    ],
    [
      'that they are not on an old kernel',
      () => (refused = () => ({ ...done, exitCode: 1, stderr: 'Operation not supported' })),
      { status: 'True', reason: 'NotEnforced' },
    ],
    [
      'that they are not without root',
      () => (isRoot = false),
      { status: 'True', reason: 'NotEnforced' },
    ],
    [
      'that pods of one machine are not kept apart',
      () => {
        files.delete(allFile);
        hasModule = false;
      },
      { status: 'True', reason: 'NotBetweenOwnPods' },
    ],
  ];
  it.each(cases)('%s', async (_, arrange, want) => {
    policies.items = [deny];
    pods.items = [web];
    arrange();
    const keeper = await startSynced();
    if (want === undefined) expect(keeper.verdict()).toBeUndefined();
    else expect(keeper.verdict()).toMatchObject(want);
    // What can't be enforced keeps no pod from starting.
    await keeper.join(fresh, '10.244.0.5');
  });
});

describe('bridged packets', () => {
  const cases: [string, () => void, Record<string, string | undefined>][] = [
    ['are left as they are where all pass the rules', () => undefined, { [ownFile]: '0\n' }],
    [
      'of the pods pass them where those of other bridges do not',
      () => files.set(allFile, '0\n'),
      { [allFile]: '0\n', [ownFile]: '1\n' },
    ],
    [
      'of the pods, and only they, pass them where the module had to be loaded',
      () => files.delete(allFile),
      { [allFile]: '0\n', [ownFile]: '1\n' },
    ],
    [
      'are not thought of while there is no bridge',
      () => {
        files.set(allFile, '0\n');
        files.delete(bridgeId);
      },
      { [ownFile]: '0\n' },
    ],
  ];
  it.each(cases)('%s', async (_, arrange, want) => {
    policies.items = [deny];
    pods.items = [web];
    arrange();
    await startSynced();
    expect(Object.fromEntries(Object.keys(want).map((name) => [name, files.get(name)]))).toEqual(
      want,
    );
  });
});
