// From any state of the engine, through refused calls, lost answers and deaths of the agent, a pod
// comes to what its spec asks for; then nothing is done any more; and no status contradicts itself.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Container, ContainerStatus, Pod, PodStatus } from '#kube/api/core.ts';
import {
  PodWorld,
  type CallFate,
  type Deed,
  type Program,
  type WorldPlan,
} from '../../../test/setup/pod-world.ts';
import { containerHash } from '../container/container-config.ts';
import { isSidecar } from './pod-actions.ts';

const probe = { failureThreshold: 1, periodSeconds: 10, exec: { command: ['true'] } };
const probes: fc.Arbitrary<Partial<Container>> = fc.constantFrom(
  {},
  { startupProbe: probe },
  { livenessProbe: probe },
  { readinessProbe: probe },
  { startupProbe: probe, livenessProbe: probe, readinessProbe: probe },
);
const policies = fc.constantFrom('Always', 'OnFailure', 'Never');
const failures = fc.integer({ min: 0, max: 2 });

function containersOf(names: readonly string[]): fc.Arbitrary<Container[]> {
  const one = (name: string) => probes.map((more) => ({ name, image: 'web:1', ...more }));
  return fc.tuple(...names.map(one));
}

const initOf = fc
  .record({
    containers: containersOf(['i1', 'i2']),
    sidecars: fc.tuple(fc.boolean(), fc.boolean()),
    count: fc.integer({ min: 0, max: 2 }),
  })
  .map(({ containers, sidecars, count }) =>
    containers.slice(0, count).map((container, index): Container => {
      const { name, image = '' } = container;
      return sidecars[index] === true ? { ...container, restartPolicy: 'Always' } : { name, image };
    }),
  );

const names = ['i1', 'i2', 'a', 'b', 'e', 'stranger'];
/** The engine names containers by their attempt: it has each once. */
function isSameContainer(a: Deed, b: Deed): boolean {
  if (a.kind !== 'container' || b.kind !== 'container') return false;
  return a.name === b.name && a.attempt === b.attempt;
}

/** What is made later has a higher number: agents count on, also in another sandbox. */
function numbered(all: readonly Deed[]): Deed[] {
  const made = all.filter((deed) => deed.kind === 'container');
  const attempts = Map.groupBy(
    made.toSorted((a, b) => a.attempt - b.attempt),
    ({ name }) => name,
  );
  return all.map((deed) => {
    if (deed.kind !== 'container') return deed;
    return { ...deed, attempt: attempts.get(deed.name)?.shift()?.attempt ?? deed.attempt };
  });
}

const anyDeeds = fc.uniqueArray(
  fc.oneof(
    fc.record({ kind: fc.constant('sandbox' as const), hostNetwork: fc.boolean() }),
    fc.record({ kind: fc.constant('end sandbox' as const), which: fc.nat(2) }),
    fc.record({
      kind: fc.constant('container' as const),
      name: fc.constantFrom(...names),
      attempt: fc.nat(3),
      isStale: fc.boolean(),
      state: fc.constantFrom('created', 'running', 'running', 0, 1),
    }),
  ),
  { maxLength: 8, comparator: (a, b) => isSameContainer(a as Deed, b as Deed) },
) as fc.Arbitrary<Deed[]>;
const deeds = anyDeeds.map(numbered);

const fates = fc.array(
  fc.constantFrom<CallFate>('ok', 'ok', 'ok', 'refused', 'lost', 'dies before', 'dies after'),
  { maxLength: 12 },
);

/** What a program may do so that there is an end to come to. */
function programsOf(pod: Pod): fc.Arbitrary<ReadonlyMap<string, Program>> {
  const { containers, initContainers = [], restartPolicy } = pod.spec;
  const entry = (container: Container, endings: readonly Program['ending'][]) =>
    fc
      .record({ failures, ending: fc.constantFrom(...endings) })
      .map((program) => [container.name, program] as const);
  const main: Record<string, readonly Program['ending'][]> = {
    Always: ['runs'],
    OnFailure: ['runs', 0],
    Never: ['runs', 0, 1],
  };
  return fc
    .tuple(
      ...initContainers.map((container) => entry(container, isSidecar(container) ? ['runs'] : [0])),
      ...containers.map((container) => entry(container, main[restartPolicy ?? ''] ?? [])),
      entry({ name: 'e' }, ['runs', 0, 1]),
    )
    .map((entries) => new Map(entries));
}

const plans: fc.Arbitrary<WorldPlan> = fc
  .record({
    init: initOf,
    main: containersOf(['a', 'b']),
    count: fc.integer({ min: 1, max: 2 }),
    restartPolicy: policies,
    hostNetwork: fc.boolean(),
    hasEphemeral: fc.boolean(),
  })
  .map(({ init, main, count, restartPolicy, hostNetwork, hasEphemeral }): Pod => {
    const spec = { restartPolicy, hostNetwork, containers: main.slice(0, count) };
    const withInit = init.length === 0 ? spec : { ...spec, initContainers: init };
    const ephemeralContainers = [{ name: 'e', image: 'web:1' }];
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { uid: 'u', name: 'p', namespace: 'n', generation: 1 },
      spec: hasEphemeral ? { ...withInit, ephemeralContainers } : withInit,
    };
  })
  .chain((pod) =>
    fc.record({
      pod: fc.constant(pod),
      programs: programsOf(pod),
      deeds,
      fates,
      isSick: fc.boolean(),
      roundsWithoutImage: fc.nat(2),
    }),
  );

/** More than any pod of these needs: twelve calls may fail, seven starts, three looks each. */
const roundsMax = 40;
/** Longer than an image can be missing. */
const calmRounds = 4;

async function settle(world: PodWorld): Promise<void> {
  const seen = () => [world.runtime.calls.length, world.statuses.length, world.deaths].join();
  for (let round = 0, calm = 0; round < roundsMax && calm < calmRounds; round++) {
    const before = seen();
    await world.round();
    calm = before === seen() ? calm + 1 : 0;
  }
  const calls = [...world.runtime.calls];
  const written = world.statuses.length;
  const before = await world.observed();
  for (let round = 0; round < 3; round++) await world.round();
  world.restartAgent();
  for (let round = 0; round < 3; round++) await world.round();
  expect(world.runtime.calls, 'nothing is done any more').toEqual(calls);
  expect(await world.observed()).toEqual(before);
  expect(world.statuses.slice(written).map(shown), 'nothing is said any more').toEqual([]);
}

const shown = (status: PodStatus) => JSON.stringify(status);

/** Its containers as they should be in the end; `name state` of each. */
async function expectDesired(world: PodWorld): Promise<void> {
  const { pod } = world;
  if (pod === undefined) throw new Error('the pod is gone');
  const { spec, status } = pod;
  const { sandboxes, containers } = await world.observed();
  const running = containers.filter(({ state }) => state === 'running');
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') {
    expect(running, 'a finished pod runs nothing').toEqual([]);
    expect(sandboxes.filter(({ ready }) => ready)).toEqual([]);
    return;
  }
  expect(status?.phase).toBe('Running');
  expect(
    sandboxes.map(({ ready, hostNetwork }) => ({ ready, hostNetwork })),
    'one sandbox',
  ).toEqual([{ ready: true, hostNetwork: spec.hostNetwork }]);
  const sidecars = (spec.initContainers ?? []).filter(isSidecar);
  for (const container of [...sidecars, ...spec.containers]) {
    const own = running.filter(({ name }) => name === container.name);
    const [first] = own;
    if (first === undefined) {
      const latest = containers.find(({ name }) => name === container.name);
      expect(latest, `${container.name} has run`).toBeDefined();
      expect(spec.restartPolicy, `${container.name} does not run`).not.toBe('Always');
      if (spec.restartPolicy === 'OnFailure') expect(latest?.exitCode).toBe(0);
      expect(isSidecar(container)).toBe(false);
      continue;
    }
    expect(own, `${container.name} runs once`).toHaveLength(1);
    expect(first.sandboxId).toBe(sandboxes[0]?.id);
    expect(first.specHash).toBe(containerHash(container));
  }
  const wanted = new Set([...sidecars, ...spec.containers].map(({ name }) => name));
  if (spec.ephemeralContainers !== undefined) wanted.add('e');
  const strangers = running.filter(({ name }) => !wanted.has(name));
  expect(
    strangers.map(({ name }) => name),
    'nothing else runs',
  ).toEqual([]);
  for (const [name, all] of Map.groupBy(containers, (entry) => entry.name))
    expect(all.length, `containers kept of ${name}`).toBeLessThanOrEqual(2);
}

function expectConsistent(statuses: readonly PodStatus[], { spec }: Pod): void {
  let before: PodStatus | undefined;
  for (const status of statuses) {
    const { phase, containerStatuses = [], initContainerStatuses = [], conditions = [] } = status;
    const all = [...initContainerStatuses, ...containerStatuses];
    for (const entry of all) expectOneState(entry, spec.initContainers);
    const condition = (type: string) => conditions.find((entry) => entry.type === type)?.status;
    const sidecars = (spec.initContainers ?? []).filter(isSidecar).map(({ name }) => name);
    const lasting = all.filter(
      ({ name }) => sidecars.includes(name) || containerStatuses.some((s) => s.name === name),
    );
    const isOver = phase === 'Succeeded' || phase === 'Failed';
    const areReady = lasting.every(({ ready }) => ready) && !isOver;
    expect(condition('ContainersReady') === 'True').toBe(areReady);
    expect(condition('Ready')).toBe(condition('ContainersReady'));
    if (phase === 'Running') expect(condition('Initialized')).toBe('True');
    if (phase === 'Succeeded')
      // One that was made anew and never started did what it did before.
      for (const { state, lastState } of containerStatuses)
        expect((state?.terminated ?? lastState?.terminated)?.exitCode).toBe(0);
    expect(conditions.length, 'each condition once').toBe(
      new Set(conditions.map(({ type }) => type)).size,
    );
    if (before !== undefined) expectAfter(before, status);
    before = status;
  }
}

function expectOneState(entry: ContainerStatus, init: readonly Container[] = []): void {
  const { state = {}, lastState = {}, ready, started } = entry;
  expect(Object.keys(state), `states of ${entry.name}`).toHaveLength(1);
  expect(Object.keys(lastState).filter((key) => key !== 'terminated')).toEqual([]);
  const isRunning = state.running !== undefined;
  const container = init.find(({ name }) => name === entry.name);
  const isOnce = container !== undefined && !isSidecar(container);
  if (started === true) expect(isRunning, `${entry.name} started but not running`).toBe(true);
  if (ready && !isOnce) expect(started, `${entry.name} ready but not started`).toBe(true);
  if (ready && isOnce) expect(state.terminated?.exitCode).toBe(0);
  if (isRunning || state.terminated !== undefined) expect(entry.containerID).toBeDefined();
}

function expectAfter(before: PodStatus, after: PodStatus): void {
  expect(after.startTime).toBe(before.startTime);
  if (before.phase === 'Succeeded' || before.phase === 'Failed')
    expect(after.phase, 'an end is an end').toBe(before.phase);
  for (const condition of before.conditions ?? []) {
    const now = after.conditions?.find(({ type }) => type === condition.type);
    if (now?.status === condition.status)
      expect(now.lastTransitionTime).toBe(condition.lastTransitionTime);
  }
  for (const entry of before.containerStatuses ?? []) {
    const now = after.containerStatuses?.find(({ name }) => name === entry.name);
    expect(now?.restartCount, `restarts of ${entry.name}`).toBeGreaterThanOrEqual(
      entry.restartCount,
    );
  }
}

/** Nothing that has run runs again; what was made last tells whether it has. */
function expectStartedOnce(world: PodWorld, { pod, deeds: before }: WorldPlan): void {
  for (const { name } of pod.spec.containers) {
    const starts = world.runtime.calls.filter((call) => call === `start ${name}`).length;
    const made = before
      .filter((deed) => deed.kind === 'container')
      .filter((deed) => deed.name === name)
      .toSorted((a, b) => b.attempt - a.attempt);
    const hasRun = made[0] !== undefined && made[0].state !== 'created';
    expect(starts, `starts of ${name}`).toBeLessThanOrEqual(hasRun ? 0 : 1);
  }
}

describe('a pod, from whatever the engine shows of it', () => {
  it('comes to what its spec asks for, and then nothing is done any more', async () => {
    await fc.assert(
      fc.asyncProperty(plans, async (plan) => {
        const world = new PodWorld(plan);
        await world.prepare();
        await settle(world);
        await expectDesired(world);
        expectConsistent(world.statuses, plan.pod);
        if (plan.pod.spec.restartPolicy === 'Never') expectStartedOnce(world, plan);
      }),
      { numRuns: 200 },
    );
  });

  it('leaves nothing behind when it is deleted, whenever that is', async () => {
    await fc.assert(
      fc.asyncProperty(plans, fc.nat(6), async (plan, rounds) => {
        const world = new PodWorld(plan);
        await world.prepare();
        for (let round = 0; round < rounds; round++) await world.round();
        world.delete();
        for (let round = 0; round < roundsMax && !world.isOver; round++) await world.round();
        const { sandboxes, containers } = await world.observed();
        expect([world.pod, sandboxes, containers]).toEqual([undefined, [], []]);
        expectConsistent(world.statuses, plan.pod);
      }),
      { numRuns: 100 },
    );
  });

  it('shows its last end to the last, also by an agent that died while it tidied up', async () => {
    const pod: Pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { uid: 'u', name: 'p', namespace: 'n', generation: 1 },
      spec: { restartPolicy: 'OnFailure', containers: [{ name: 'a', image: 'web:1' }] },
    };
    const made = { kind: 'container', name: 'a', isStale: false } as const;
    const world = new PodWorld({
      pod,
      programs: new Map(),
      deeds: [
        { ...made, attempt: 0, state: 1 },
        { ...made, attempt: 1, state: 0 },
      ],
      fates: ['dies after'],
      isSick: false,
      roundsWithoutImage: 0,
    });
    await world.prepare();
    world.delete();
    for (let round = 0; round < roundsMax && !world.isOver; round++) await world.round();
    expect([world.deaths, world.pod]).toEqual([1, undefined]);
    const ends = world.statuses.map(({ phase, containerStatuses: [one] = [] }) => [
      phase,
      one?.state?.terminated?.exitCode,
    ]);
    expect(ends.at(-1)).toEqual(['Succeeded', 0]);
  });

  it('is over for good once it was evicted', async () => {
    await fc.assert(
      fc.asyncProperty(plans, fc.nat(6), async (plan, rounds) => {
        const world = new PodWorld(plan);
        await world.prepare();
        for (let round = 0; round < rounds; round++) await world.round();
        // An agent that dies forgets what it was about to do: the pressure is still there.
        for (let round = 0; round < roundsMax && !world.hasEnded; round++) {
          world.evict();
          await world.round();
        }
        await settle(world);
        expect(['Failed', 'Succeeded']).toContain(world.pod?.status?.phase);
        await expectDesired(world);
        expectConsistent(world.statuses, plan.pod);
      }),
      { numRuns: 100 },
    );
  });
});
