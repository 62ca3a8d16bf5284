// Mistakes in the state and in what stands above it.
import type { Mutation, NamedTest, Simulation } from './mutation.ts';

const store = 'electron/controlplane/store';

function test(file: string, named: string): NamedTest {
  return { test: `${store}/${file}.test.ts`, named };
}

function sim(seeds: string, rule: string): Simulation {
  return { seeds, rule };
}

const watches: readonly Mutation[] = [
  {
    name: 'drop a watch event',
    file: `${store}/watch-hub.ts`,
    find: 'if (watcher.wants(version.key)) watcher',
    replace: 'if (watcher.wants(version.key) && version.revision % 7 > 0) watcher',
    caughtBy: sim('1-60', 'watch'),
  },
  {
    name: 'deliver a watch event twice',
    file: `${store}/watch-hub.ts`,
    find: 'this.#buffer.push(event);',
    replace: 'this.#buffer.push(event, event);',
    caughtBy: sim('1-60', 'watch'),
  },
  {
    name: 'progress ahead of events',
    file: `${store}/watch-hub.ts`,
    find: 'if (this.#buffer.length > 0) return this.#deliver(this.#buffer);',
    replace:
      'if (this.#buffer.length > 0 && !this.#isProgressWanted) return this.#deliver(this.#buffer);',
    caughtBy: sim('1-60', 'watch'),
  },
  {
    name: 'a gap between history and live',
    file: `${store}/watch-hub.ts`,
    find: 'this.#position = end ?? current;',
    replace: 'this.#position = end ?? current + 1;',
    caughtBy: sim('1-60', 'watch'),
  },
  {
    name: 'tell a live watcher of what it has not asked for',
    file: `${store}/watch-hub.ts`,
    find: 'return this.#isLive && isInRange(this.#options.range, key);',
    replace: 'return this.#isLive && key !== this.#options.range.end;',
    caughtBy: sim('1-60', 'watch'),
  },
  {
    name: 'an event without what was before',
    file: `${store}/mvcc.ts`,
    find: 'const before = version.previous;',
    replace: 'const before = version.version > 1 ? undefined : version.previous;',
    caughtBy: sim('1-60', 'watch'),
  },
  {
    name: 'let a live watcher stay live over a new state',
    file: `${store}/state-machine.ts`,
    find: 'this.#hub.reset();',
    replace: '',
    caughtBy: sim('1-300', 'watch'),
  },
];

const state: readonly Mutation[] = [
  {
    name: 'write whatever the revision that was expected',
    file: `${store}/mvcc.ts`,
    find: 'if ((before?.revision ?? 0) !== expectedRevision) return this.#refused(before);',
    replace: '',
    caughtBy: sim('1-30', 'results'),
  },
  {
    name: 'compaction that drops a live key',
    file: `${store}/revision-index.ts`,
    find: 'if (version.version > 0) return true;',
    replace: 'if (version.version > 1) return true;',
    caughtBy: sim('1-100', 'no member fails'),
  },
  {
    name: 'answer from compacted history',
    file: `${store}/state-machine.ts`,
    find: 'if (asked < compactedRevision) throw new CompactedError(asked, compactedRevision);',
    replace: '',
    caughtBy: sim('1-100', 'answers'),
  },
  {
    name: 'snapshot without leases',
    file: `${store}/mvcc.ts`,
    find: 'mvcc.leases.grant(id, ttlSeconds, keptAt);',
    replace: 'mvcc.leases.revoke(id * ttlSeconds * keptAt);',
    caughtBy: sim('1-200', 'equal state'),
  },
  {
    name: 'revoke in an order of its own',
    file: `${store}/mvcc.ts`,
    find: 'Array.from(lease.keys).toSorted(byUnits)',
    replace: 'Array.from(lease.keys).toSorted((a, b) => -byUnits(a, b))',
    caughtBy: test('memory-store', 'delete their keys at one revision when revoked'),
  },
  {
    name: 'the applied index lags behind its rows',
    file: `${store}/state-machine.ts`,
    find: '      applied: this.#applied,\n',
    replace: '      applied: { ...this.#applied, index: this.#writtenIndex },\n',
    caughtBy: sim('1-60', 'no member fails'),
  },
  {
    name: 'call durable what is only written',
    file: `${store}/state-machine.ts`,
    find: 'return this.#durableIndex;',
    replace: 'return this.#writtenIndex;',
    caughtBy: test('state-machine', 'is durable up to where storage has synced it'),
  },
  {
    name: 'serve a damaged row',
    file: `${store}/mvcc.ts`,
    find: 'if (checksum !== rowChecksum(version, value))',
    replace: 'if (checksum < 0)',
    caughtBy: test(
      'open-store',
      'serves nothing from a row that is not what was written, and names it',
    ),
  },
  {
    name: 'believe a state that differs from the others',
    file: `${store}/hash-claims.ts`,
    find: "return claim.hash === own ? 'same' : 'doubt';",
    replace: "return claim.hash === own ? 'same' : 'same';",
    caughtBy: test(
      'state-machine',
      'stops a member whose state is another, says what to do, and is remembered',
    ),
  },
];

const clients: readonly Mutation[] = [
  {
    name: 'read without asking',
    file: `${store}/replicated-kv.ts`,
    find: 'else await this.confirm();\n    return this.#state.range(operation);',
    replace: 'return this.#state.range(operation);',
    caughtBy: sim('1-60', 'history'),
  },
  {
    name: 'call a conflict what this member alone sees',
    file: `${store}/replicated-kv.ts`,
    find: 'await this.confirm();\n      if (!this.#writing.has(key)',
    replace: 'if (!this.#writing.has(key)',
    caughtBy: sim('1-60', 'history'),
  },
  {
    name: 'expire leases early',
    file: `${store}/lease-expiry.ts`,
    find: 'lease.ttlSeconds * 1000',
    replace: 'lease.ttlSeconds * 900',
    caughtBy: sim('1-100', 'results'),
  },
  {
    name: 'a new leader counts on with the old time',
    file: `${store}/lease-expiry.ts`,
    find: 'if (isLeader) for (const id of this.#deps.state.leases()) this.kept(id);',
    replace: '',
    caughtBy: test('lease-expiry', 'gives every lease its whole time when another leads'),
  },
  {
    name: 'keep a lease that is being revoked',
    file: `${store}/lease-expiry.ts`,
    find: ' || this.#ending.has(id)',
    replace: '',
    caughtBy: test(
      'lease-expiry',
      'leaves it to the log whether a lease can still be kept that is being revoked',
    ),
  },
  {
    name: 'revoke what was kept meanwhile',
    file: `${store}/mvcc.ts`,
    find: 'due.keptAt !== lease.keptAt',
    replace: 'lease.keptAt < 0',
    caughtBy: test('lease-expiry', 'is void once the log kept the lease'),
  },
  {
    name: 'revoke for a leader of another term',
    file: `${store}/mvcc.ts`,
    find: '(due.term !== term || ',
    replace: '(',
    caughtBy: test('lease-expiry', 'is void in another term'),
  },
  {
    name: 'write what not every member knows',
    file: `${store}/replicated-kv.ts`,
    find: 'if (version > this.#consensus.entryVersion())',
    replace: 'if (version > 99)',
    caughtBy: test(
      'replicated-kv',
      'is refused with what to do, and nothing happens, until all do',
    ),
  },
  {
    name: 'begin anew at a fixed step',
    file: `${store}/backup.ts`,
    find: ' + Math.floor(random.next() * within);',
    replace: ';',
    caughtBy: test(
      'backup',
      'is another on each member that begins with the same, also without a clock',
    ),
  },
  {
    name: 'grow on a full disk',
    file: `${store}/replicated-kv.ts`,
    find: 'if (growthBytes > 0) this.#assertRoom(growthBytes);',
    replace: '',
    caughtBy: test(
      'open-store',
      'refuses puts, says that nothing was written, and still deletes, compacts and reads',
    ),
  },
];

export const storeMutations: readonly Mutation[] = [...watches, ...state, ...clients];
