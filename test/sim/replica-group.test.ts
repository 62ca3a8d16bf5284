// The driver and the log under weather and crashes, without the store: a client's value is in every
// member's state exactly once when its write was answered, at most once when the outcome was
// unknown, and never when it was refused; all states are the same in the end.
import { describe, expect, it } from 'vitest';
import {
  bytes,
  TestDisk,
  TestMachine,
} from '../../electron/controlplane/replica/replica-testing.ts';
import { ReplicaUnavailableError } from '../../electron/controlplane/replica/types.ts';
import { ReplicaGroup, type SimState } from './replica-group.ts';
import { World, type Process } from './store/world.ts';

class ListState implements SimState<TestMachine> {
  readonly #disk = new TestDisk();

  open({ schedule }: Process): TestMachine {
    return new TestMachine(this.#disk, schedule, () => {});
  }

  crash(): void {}
}

type Outcome = 'written' | 'refused' | 'unknown';

class Run {
  readonly world: World;
  readonly group: ReplicaGroup<string, TestMachine>;
  readonly outcomes = new Map<string, Outcome>();
  readonly violations: string[] = [];
  #count = 0;

  constructor(seed: number) {
    this.world = new World(seed);
    this.group = new ReplicaGroup<string, TestMachine>({
      world: this.world,
      newState: () => new ListState(),
      diskMs: () => this.world.integer(1, 8),
      logLimits: { tailEntries: 20, stepEntries: 10 },
    });
  }

  async run(forMs: number): Promise<void> {
    await this.world.run(this.world.nowMs + forMs, () => {});
  }

  write(): void {
    const { replica } = this.world.pick(this.group.running()).running;
    const value = `v${++this.#count}`;
    this.outcomes.set(value, 'unknown');
    replica.propose(bytes(value)).then(
      (result) => {
        if (!result.endsWith(`:${value}`)) this.violations.push(`${value} was told ${result}`);
        this.outcomes.set(value, 'written');
      },
      (error: unknown) => {
        this.outcomes.set(value, error instanceof ReplicaUnavailableError ? 'refused' : 'unknown');
      },
    );
  }

  /** What was answered before the read was asked for is applied when it is answered. */
  read(): void {
    const { replica, machine } = this.world.pick(this.group.running()).running;
    const before = [...this.outcomes].filter(([, outcome]) => outcome === 'written');
    replica.readIndex().then(
      () => {
        const values = new Set(machine.values);
        for (const [value] of before)
          if (!values.has(value)) this.violations.push(`a read missed ${value}`);
      },
      () => {},
    );
  }

  async misfortune(): Promise<void> {
    const { world, group } = this;
    const running = group.running().map(({ id }) => id);
    switch (world.integer(0, 5)) {
      case 0:
        if (running.length > 1) group.crash(world.pick(running));
        return;
      case 1:
        if (running.length > 1) group.kill(world.pick(running));
        return;
      case 2:
        return group.network.cut(world.integer(1, 3), world.integer(1, 3));
      case 3:
        return group.network.healAll();
      case 4:
        return group.member(world.pick(running)).host.freeze(world.integer(10, 3_000));
      default:
        for (const member of group.members.values())
          if (member.running === undefined) void group.start(member.id);
        return this.run(20);
    }
  }

  check(): void {
    const states = this.group.running().map(({ running }) => running.machine.values);
    const [first = []] = states;
    for (const values of states) expect(values).toEqual(first);
    expect(new Set(first).size).toBe(first.length);
    for (const [value, outcome] of this.outcomes) {
      if (outcome === 'written') expect(first).toContain(value);
      if (outcome === 'refused') expect(first).not.toContain(value);
    }
    expect(this.violations).toEqual([]);
    for (const { fatal } of this.group.members.values()) expect(fatal).toBeUndefined();
  }
}

async function runSeed(seed: number): Promise<Run> {
  const run = new Run(seed);
  const { world, group } = run;
  const founded = group.found(3);
  await run.run(2_000);
  await founded;
  group.network.weather = {
    lossRate: world.pick([0, 0.05, 0.2]),
    duplicateRate: world.pick([0, 0.1]),
    delayMsMax: world.pick([2, 40]),
    straggleMsMax: world.pick([0, 500]),
  };
  for (let i = 0; i < 60; i++) {
    for (let n = world.integer(0, 4); n > 0; n--) run.write();
    if (world.chance(0.3)) run.read();
    if (world.chance(0.25)) await run.misfortune();
    await run.run(world.integer(1, 300));
  }
  group.network.weather = { lossRate: 0, duplicateRate: 0, delayMsMax: 2, straggleMsMax: 0 };
  group.network.healAll();
  for (const member of group.members.values())
    if (member.running === undefined) void group.start(member.id);
  await run.run(10_000);
  run.write();
  await run.run(1_000);
  return run;
}

describe('three members under weather, crashes and pauses', () => {
  for (let seed = 1; seed <= 40; seed++)
    it(`keep every promise and go on in the end (seed ${seed})`, async () => {
      const run = await runSeed(seed);
      run.check();
      expect([...run.outcomes.values()].at(-1)).toBe('written');
      expect(run.group.running()).toHaveLength(3);
    });
});
