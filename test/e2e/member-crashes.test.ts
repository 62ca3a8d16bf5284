// Three real members over TLS, killed while they catch up and while they lead: whatever one of them
// left half done, all three have the same state in the end, with all that was acknowledged.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { FailpointName } from '#platform/failpoints.ts';
import type { Member } from '../../electron/controlplane/raft/types.ts';
import { identify, type Identity } from '../../electron/controlplane/replica/peer-testing.ts';
import { eventually } from '../setup/cluster.ts';
import { freePort } from '../setup/free-port.ts';
import {
  MemberProcess,
  type ArmedFailpoint,
  type Content,
  type MemberConfig,
  type MemberStanding,
} from '../setup/member-process.ts';
import { Promised } from '../setup/member-work.ts';

const limits = {
  segmentBytes: 64 * 1024,
  replica: { logLimits: { tailEntries: 20, stepEntries: 40 } },
};
/** The machine that runs this may be busy. */
const patienceMs = 60_000;

class Group {
  readonly promised = new Promised();
  readonly folder = mkdtempSync(
    path.join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'flotilla-members-'),
  );
  readonly processes = new Map<number, MemberProcess>();
  readonly members: Member[] = [];
  readonly #identities = new Map<number, Identity>();
  #clusterId = '';

  /** Voters, the first of which leads. */
  static async of(count: number, failpoint?: ArmedFailpoint): Promise<Group> {
    const group = new Group();
    for (let i = 0; i < count; i++) await group.#add(`m${i}`, i === 0 ? failpoint : undefined);
    return group;
  }

  async #add(name: string, failpoint?: ArmedFailpoint): Promise<void> {
    const identity = identify();
    const { id } = identity;
    this.#identities.set(id, identity);
    const addresses = [`127.0.0.1:${await freePort()}`];
    this.members.push({ id, role: 'voter', name, addresses });
    const [founder] = this.members;
    if (founder === undefined || founder.id === id) {
      const { clusterId } = await this.start(id, failpoint);
      this.#clusterId = clusterId;
      return;
    }
    await this.get(founder.id).ask({ ask: 'add', member: { id, name, addresses } });
    await this.start(id);
    await eventually(
      async () => {
        await this.get(founder.id).ask({ ask: 'promote', member: id });
        return true;
      },
      `${name} votes`,
      patienceMs,
    );
  }

  launch(id: number, failpoint?: ArmedFailpoint): MemberProcess {
    const self = this.members.find((member) => member.id === id);
    const identity = this.#identities.get(id);
    if (self === undefined || identity === undefined) throw new Error(`no member ${id}`);
    const { name, addresses } = self;
    const isFounder = this.members[0]?.id === id;
    const config: MemberConfig = {
      directory: path.join(this.folder, name),
      memberId: id,
      wish: isFounder
        ? { type: 'new', name, addresses }
        : { type: 'join', name, clusterId: this.#clusterId },
      limits,
      peer: {
        port: Number(addresses[0]?.split(':')[1]),
        credentials: identity.credentials,
        known: this.members,
      },
    };
    const launched = new MemberProcess(config, failpoint, this.promised);
    this.processes.set(id, launched);
    return launched;
  }

  async start(id: number, failpoint?: ArmedFailpoint): Promise<{ readonly clusterId: string }> {
    return await this.launch(id, failpoint).ready();
  }

  get(id: number): MemberProcess {
    const found = this.processes.get(id);
    if (found === undefined) throw new Error(`member ${id} does not run`);
    return found;
  }

  id(i: number): number {
    return this.members[i]?.id ?? 0;
  }

  async leader(): Promise<MemberProcess> {
    return await eventually(
      async () => {
        for (const one of this.processes.values()) {
          if (!one.isAlive) continue;
          const { role } = await one.ask<MemberStanding>({ ask: 'standing' });
          if (role === 'leader') return one;
        }
        return undefined;
      },
      'somebody leads',
      patienceMs,
    );
  }

  /** All that run say the same, and it is what was promised. */
  async agrees(): Promise<void> {
    const contents: Content[] = [];
    for (const one of this.processes.values()) {
      if (!one.isAlive) continue;
      one.collect();
      const content = await eventually(
        () => one.ask<Content>({ ask: 'content' }),
        'it answers',
        patienceMs,
      );
      contents.push(content);
    }
    expect(new Set(contents.map(({ revision, hash }) => `${revision} ${hash}`)).size).toBe(1);
    for (const content of contents) this.promised.checkRows(content);
  }

  async destroy(): Promise<void> {
    for (const one of this.processes.values()) await one.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

let group: Group | undefined;
afterEach(() => group?.destroy());

describe('a member that is sent the whole state', () => {
  const failpoints: FailpointName[] = [
    'snapshot:part',
    'snapshot:received',
    'snapshot:checked',
    'snapshot:old-state-closed',
    'snapshot:in-place',
  ];
  it('may be killed at any point of it', { timeout: 600_000 }, async () => {
    group = await Group.of(3);
    const [founder, behind] = [group.id(0), group.id(2)];
    let seed = 0;
    for (const failpoint of failpoints) {
      await group.get(behind).kill();
      const { appliedIndex } = await group.get(founder).ask<MemberStanding>({ ask: 'standing' });
      for (let isForgotten = false; !isForgotten; seed++) {
        const name = `run${seed}`;
        await (await group.leader()).ask({ ask: 'work', seed, name, lanes: 4, writes: 10 });
        const leader = await (await group.leader()).ask<MemberStanding>({ ask: 'standing' });
        isForgotten = leader.firstIndex > appliedIndex + 1;
      }
      const cut = group.launch(behind, failpoint);
      await cut.gone();
      expect([cut.killedAt, cut.refused]).toEqual([failpoint, undefined]);
      await group.start(behind);
      await group.agrees();
    }
  });
});

describe('a leader', () => {
  // Far enough that the others have joined and vote by then.
  for (const failpoint of ['log:before-write*150', 'log:after-write*150'] as const)
    it(`killed at ${failpoint} is followed by another, and comes back`, async () => {
      group = await Group.of(3, failpoint);
      const founder = group.id(0);
      const work = group.get(founder).ask({ ask: 'work', seed: 1, name: 'run', lanes: 4 });
      await expect(work).rejects.toThrow('it ended');
      expect(group.get(founder).killedAt).toBe(failpoint.split('*')[0]);
      expect(group.promised.writes).toBeGreaterThan(0);
      await group.leader();
      await group.agrees();
      await group.start(founder);
      await group.agrees();
    }, 300_000);
});
