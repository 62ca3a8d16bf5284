// A member of our group as a process of its own: what the control plane opens (log, SQLite, TLS to
// the others), without the API server above. Serves etcd's API in plain text, as the peer does, and
// what the benchmark asks of it. `member-group.ts` is the other side.
import { mkdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { systemClock as clock } from '#kube/base/clock.ts';
import { silentLogger as logger } from '#kube/base/logger.ts';
import { systemRandom as random } from '#kube/base/random.ts';
import { ClusterPki } from '#platform/pki.ts';
import { createEtcdServer } from '../../electron/controlplane/etcd/server.ts';
import {
  acceptInvitation,
  formatInvitation,
} from '../../electron/controlplane/members/invitation.ts';
import { Members } from '../../electron/controlplane/members/members.ts';
import { openMemberStore } from '../../electron/controlplane/members/member-store.ts';
import type { Store } from '../../electron/controlplane/store/store.ts';
import { serve } from './child.ts';
import {
  load,
  paced,
  putMany,
  worstPutMs,
  type LoadOptions,
  type PaceOptions,
  type Put,
} from './load.ts';

export interface MemberOptions {
  readonly directory: string;
  readonly name: string;
  /** Undefined: alone, nothing on the network. */
  readonly address?: string;
  /** Undefined: a founder, or one that has joined before. */
  readonly invitation?: string;
}

export interface StallOptions {
  readonly revisions: number;
  readonly callers: number;
  /** A compaction that takes longer is looked at no longer. */
  readonly patienceMs: number;
}

export interface MemberStatus {
  readonly isLeader: boolean;
  readonly voters: number;
}

async function open(options: MemberOptions) {
  const { directory, name, address, invitation: file } = options;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const invitation = file === undefined ? undefined : await acceptInvitation(file, directory);
  const pki = await ClusterPki.open({ directory: path.join(directory, 'pki'), clock, random });
  const common = { clock, random, logger };
  const opened = await openMemberStore({
    ...common,
    dataDirectory: directory,
    mustExist: false,
    isAlwaysOn: true,
    isReachable: false,
    machineAddresses: () => [],
    name,
    address,
    invitation,
    pki,
    onFatal(error) {
      process.stderr.write(`${name}: ${String(error)}\n`);
      process.exit(1);
    },
  });
  const { kv, store, replica } = opened;
  const members = new Members({ opened, pki, clock, random, restart: () => undefined });
  let port = 0;
  const front = createEtcdServer({
    ...common,
    kv,
    cluster: members.clusterInfo(() => `http://127.0.0.1:${port}`),
    temporaryFolder: directory,
  });
  port = await front.listen(0, '127.0.0.1');
  const put = storePut(store);
  serve({
    port: () => port,
    status(): MemberStatus {
      const { role, membership } = replica.standing;
      const voters = membership.members.filter((member) => member.role === 'voter').length;
      return { isLeader: role === 'leader', voters };
    },
    async invite(to: { readonly name: string; readonly address: string; readonly file: string }) {
      const made = await members.invite(to.name, to.address);
      await writeFile(to.file, formatInvitation(made), { mode: 0o600 });
    },
    async promote(one: string) {
      const found = replica.standing.membership.members.find((member) => member.name === one);
      await replica.members.promote(found?.id ?? 0);
    },
    load: (task: LoadOptions) => load(put, task),
    paced: (task: PaceOptions) => paced(put, task),
    /** As etcd-client.ts does it, but with a revision for each row. */
    async stall({ revisions, ...look }: StallOptions) {
      await putMany(put, { puts: revisions, callers: 256, keyCount: 1000 });
      const revision = await store.currentRevision();
      return worstPutMs(put, look, () => store.compact(revision));
    },
    async stop() {
      await front.close();
      await store.close();
    },
  });
}

/** As the registry writes: expecting the revision it knows. */
function storePut(store: Store): Put {
  const revisions = new Map<string, number>();
  return async (key, value) => {
    for (let isOk = false; !isOk;) {
      const result = await store.put(key, value, revisions.get(key) ?? 0);
      revisions.set(key, result.ok ? result.revision : (result.kv?.modRevision ?? 0));
      isOk = result.ok;
    }
  };
}

const [file] = process.argv.slice(2);
if (file !== undefined) await open(JSON.parse(await readFile(file, 'utf8')) as MemberOptions);
