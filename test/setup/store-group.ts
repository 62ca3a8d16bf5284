// Three members that keep one state, in this process but otherwise as they run: SQLite, logs of
// their own, TLS between them on loopback. For what must hold of any of them.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { systemClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import type { Member } from '../../electron/controlplane/raft/types.ts';
import { MembershipRefusedError } from '../../electron/controlplane/replica/membership-changes.ts';
import { identify } from '../../electron/controlplane/replica/peer-testing.ts';
import { TlsPeerTransport } from '../../electron/controlplane/replica/peer-transport.ts';
import type {
  ReplicatedStore,
  ReplicatedStoreOptions,
} from '../../electron/controlplane/store/open-store.ts';
import { eventually } from './cluster.ts';
import { openStoreIn } from './store.ts';

export interface GroupMember extends ReplicatedStore {
  readonly id: number;
  readonly directory: string;
}

type Options = Pick<ReplicatedStoreOptions, 'watchLimits'>;

/** Learners are seen soon; nobody campaigns because the machine is busy. */
const timing = { tickMs: 10, idleTickMs: 10, electionTicks: 100, heartbeatTicks: 2 };
const names = ['one', 'two', 'three'] as const;

export class StoreGroup {
  readonly members: GroupMember[] = [];
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'flotilla-group-'));
  /** As they listen. */
  readonly #known: Member[] = [];

  /** The first of three voters leads. */
  static async open(options: Options = {}): Promise<StoreGroup> {
    const group = new StoreGroup();
    try {
      for (const name of names) await group.#add(name, options);
    } catch (error) {
      await group.close();
      throw error;
    }
    return group;
  }

  get leader(): GroupMember {
    return this.#one('leader');
  }

  get follower(): GroupMember {
    return this.#one('follower');
  }

  /** Another of them leads; resolves when all know. */
  async moveLeader(): Promise<void> {
    const { id } = this.follower;
    await this.leader.replica.transferLeadership(id);
    await eventually(
      () => this.members.every(({ replica }) => replica.standing.leader === id),
      'all follow the new leader',
    );
  }

  /** As if its process was killed: nothing is handed over. It is not among the members any more. */
  async stopLeader(): Promise<void> {
    const { leader } = this;
    this.members.splice(this.members.indexOf(leader), 1);
    await leader.replica.stop();
    await leader.store.close();
  }

  async close(): Promise<void> {
    // All at once: nobody is left to hand leadership over to.
    await Promise.all(this.members.map(({ replica }) => replica.stop()));
    await Promise.all(this.members.map(({ store }) => store.close()));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #add(name: string, options: Options): Promise<void> {
    const directory = path.join(this.#folder, name);
    const { id, credentials } = identify();
    let port = 0;
    const [founder] = this.members;
    const opened = await openStoreIn(directory, {
      ...options,
      memberId: id,
      wish:
        founder === undefined
          ? { type: 'new', name, addresses: [] }
          : { type: 'join', name, clusterId: founder.clusterId },
      replica: { timing, knownMembers: [...this.#known] },
      async transport(self) {
        const transport = await TlsPeerTransport.open({
          ...self,
          id,
          credentials,
          listen: { host: '127.0.0.1', port: 0 },
          addresses: (own) => [`127.0.0.1:${own}`],
          isAlwaysOn: true,
          clock: systemClock,
          random: systemRandom,
          logger: silentLogger,
        });
        ({ port } = transport);
        return transport;
      },
      segmentBytes: 4 * 1024 * 1024,
    });
    this.members.push({ ...opened, id, directory });
    this.#known.push({ id, role: 'voter', name, addresses: [`127.0.0.1:${port}`] });
    if (founder === undefined) return;
    const { members } = founder.replica;
    await members.addMember({ id, name, addresses: [`127.0.0.1:${port}`] });
    await eventually(async () => {
      try {
        await members.promote(id);
        return true;
      } catch (error) {
        if (error instanceof MembershipRefusedError) return false;
        throw error;
      }
    }, `${name} votes`);
  }

  #one(role: 'leader' | 'follower'): GroupMember {
    const found = this.members.find(({ replica }) => replica.standing.role === role);
    if (found === undefined) throw new Error(`there is no ${role}`);
    return found;
  }
}
