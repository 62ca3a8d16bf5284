// A program for tests: one member's real store, alone or one of several over TLS, told by lines on
// stdin what to do, until it is killed. Each answer is a line on stdout (member-process.ts).
import { createInterface } from 'node:readline';
import { systemClock } from '#kube/base/clock.ts';
import { jsonLogger, silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { TlsPeerTransport } from '../../electron/controlplane/replica/peer-transport.ts';
import { backupChunks } from '../../electron/controlplane/store/backup.ts';
import { writeChunks } from '../../electron/controlplane/store/state-copy.ts';
import {
  openReplicatedStore,
  type MemberSelf,
  type ReplicatedStore,
} from '../../electron/controlplane/store/open-store.ts';
import { armedFailpoint, report } from './member-failpoint.ts';
import type { MemberConfig, MemberRequest } from './member-process.ts';
import { work } from './member-work.ts';

const config = JSON.parse(process.argv[2] ?? '{}') as MemberConfig;
const failpoint = armedFailpoint();

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function end(error: unknown): never {
  const { name, message } = error as Error;
  report({ refused: { name, message } });
  process.exit(1);
}

async function open(): Promise<ReplicatedStore> {
  const { directory, memberId, wish, peer, limits } = config;
  return await openReplicatedStore({
    ...limits,
    directory,
    memberId,
    wish,
    clock: systemClock,
    random: systemRandom,
    logger: jsonLogger({ write: (line) => void process.stderr.write(line), clock: systemClock }),
    onFatal: end,
    threadProgram: new URL('./failing-state-worker.ts', import.meta.url).pathname,
    ...(failpoint === undefined ? {} : { failpoint }),
    replica: { ...limits?.replica, knownMembers: peer?.known ?? [] },
    ...(peer === undefined
      ? {}
      : {
          transport: (self: MemberSelf) =>
            TlsPeerTransport.open({
              ...self,
              id: memberId,
              credentials: peer.credentials,
              listen: { host: '127.0.0.1', port: peer.port },
              addresses: () => [`127.0.0.1:${peer.port}`],
              isAlwaysOn: true,
              clock: systemClock,
              random: systemRandom,
              logger: silentLogger,
            }),
        }),
  });
}

async function answer(opened: ReplicatedStore, request: MemberRequest): Promise<unknown> {
  const { store, kv, state, replica } = opened;
  switch (request.ask) {
    case 'put':
      return await store.put(request.key, Buffer.from(request.value), request.expected);
    case 'content': {
      const { items, revision } = await store.list('');
      const rows = items.map(({ key, value }) => [key, Buffer.from(value).toString()]);
      return { revision, rows, hash: kv.hash(revision).hash };
    }
    case 'compact':
      return await store.compact(request.revision);
    case 'work':
      return await work(store, { ...request, say: report });
    case 'flush':
      return state.flush();
    case 'backup':
      return await writeChunks(request.file, backupChunks(await state.snapshot()));
    case 'standing': {
      const { role, leader } = replica.standing;
      const { appliedIndex, durableIndex, firstIndex, isRemoved } = replica.status();
      return { role, leader, appliedIndex, durableIndex, firstIndex, isRemoved };
    }
    case 'add':
      return await replica.members.addMember(request.member);
    case 'promote':
      return await replica.members.promote(request.member);
    case 'remove':
      return await replica.members.remove(request.member);
    case 'propose':
      return await replica.propose(Uint8Array.from(request.bytes));
    case 'stop':
      await store.close();
      return undefined;
  }
}

try {
  const opened = await open();
  const { clusterId } = opened;
  say({ ready: { clusterId } });
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line) as MemberRequest & { readonly id: number };
    answer(opened, request).then(
      (result) => {
        say({ id: request.id, result });
        if (request.ask === 'stop') process.exit(0);
      },
      (error: Error) =>
        say({ id: request.id, error: { name: error.name, message: error.message } }),
    );
  }
} catch (error) {
  end(error);
}
