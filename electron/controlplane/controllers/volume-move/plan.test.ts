// Moves against a world of maps: agents, binder, scheduler and pods are played by chance, and the mover dies between any
// two writes. Data is never lost, and no app ever runs on two copies.
import { describe, expect, it } from 'vitest';
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/core.ts';
import type { VolumeMove } from '#kube/api/volume-move.ts';
import { seededRandom, type Random } from '#kube/base/random.ts';
import { localPath, volumeAnnotations } from '#kube/machinery/volume-binding.ts';
import { copyOrderOf, copyStateOf, moveAnnotations } from '#kube/machinery/volume-move.ts';
import { mergePatch } from '#kube/machinery/patch.ts';
import { planMove } from './plan.ts';
import type { MoveWorld, MoveWrite } from './world.ts';

const uid = '11111111-2222-3333-4444-555555555555';
const claimNames = ['data', 'photos'];
const order = moveAnnotations;

class World {
  readonly volumes = new Map<string, PersistentVolume>();
  readonly claims = new Map<string, PersistentVolumeClaim>();
  readonly pods = new Map<string, Pod>();
  readonly ready = new Map([
    ['pi', true],
    ['nas', true],
  ]);
  /** By volume: the last thing that an app wrote to it. */
  readonly content = new Map<string, number>();
  /** By claim: the last thing that an app wrote. */
  readonly written = new Map<string, number>();
  move: VolumeMove;
  nowMs = 1_000_000;
  #number = 0;

  constructor(spec: Partial<VolumeMove['spec']> = {}) {
    for (const name of claimNames) {
      const volume = `pvc-of-${name}`;
      this.volumes.set(volume, volumeOf(volume, name));
      this.content.set(volume, 0);
      this.written.set(name, 0);
      this.claims.set(name, claimOf(name, volume));
    }
    this.move = {
      apiVersion: 'flotilla.dev/v1alpha1',
      kind: 'VolumeMove',
      metadata: { namespace: 'default', name: 'go', uid },
      spec: { claims: claimNames, nodeName: 'nas', ...spec },
    };
    this.schedule();
  }

  view(): MoveWorld {
    return {
      claim: (name) => this.claims.get(name),
      volume: (name) => this.volumes.get(name),
      node: (name) =>
        this.ready.has(name) ? nodeOf(name, this.ready.get(name) === true) : undefined,
      storageClass: () => undefined,
      pods: [...this.pods.values()],
      podsOnNode: (name) => [...this.pods.values()].filter(({ spec }) => spec.nodeName === name),
      otherMoves: [],
      nowMs: this.nowMs,
    };
  }

  /** The mover, which dies after `writesMax` writes. */
  reconcile(writesMax = Infinity): string {
    const step = planMove(this.move, this.view());
    if (step.type === 'status' && writesMax > 0) this.move = { ...this.move, status: step.status };
    if (step.type === 'write')
      for (const write of step.writes.slice(0, writesMax)) this.perform(write);
    return step.type;
  }

  perform(write: MoveWrite): void {
    switch (write.type) {
      case 'create-volume':
        return void this.volumes.set(write.volume.metadata.name, write.volume);
      case 'patch-volume': {
        const volume = this.volumes.get(write.name);
        if (volume === undefined) return;
        const next = mergePatch(volume, write.patch) as PersistentVolume;
        return void this.volumes.set(write.name, next);
      }
      case 'delete-volume':
        return this.remove(write.volume.metadata.name);
      case 'patch-claim': {
        const { name } = write.claim.metadata;
        const claim = this.claims.get(name);
        if (claim === undefined) return;
        const next = mergePatch(claim, write.patch) as PersistentVolumeClaim;
        // As the API server sees to it.
        const isHeld = claim.metadata.annotations?.[order.hold] !== undefined;
        if (!isHeld && next.spec.volumeName !== claim.spec.volumeName) return;
        return void this.claims.set(name, next);
      }
      case 'delete-pod': {
        const { name } = write.pod.metadata;
        const pod = this.pods.get(name);
        if (pod === undefined) return;
        const metadata = { ...pod.metadata, deletionTimestamp: 'now' };
        return void this.pods.set(name, { ...pod, metadata });
      }
    }
  }

  remove(name: string): void {
    this.volumes.delete(name);
    this.content.delete(name);
  }

  /** Its ReplicaSet makes another one, the scheduler finds it a node, unless the claims are held. */
  schedule(): void {
    const isHeld = [...this.claims.values()].some(
      ({ metadata }) => metadata.annotations?.[order.hold] !== undefined,
    );
    const isThere = [...this.pods.values()].some(
      ({ metadata }) => metadata.deletionTimestamp === undefined,
    );
    if (!isThere) {
      const name = `app-${this.#number++}`;
      this.pods.set(name, podOf(name, ''));
    }
    if (isHeld) return;
    const places = [...this.claims.values()].map(({ spec }) => this.#placeOf(spec.volumeName));
    const [place] = places;
    if (place === undefined || places.some((one) => one !== place)) return;
    if (this.ready.get(place) !== true) return;
    for (const [name, { spec }] of this.pods)
      if (spec.nodeName === '') this.pods.set(name, podOf(name, place));
  }

  #placeOf(volume = ''): string | undefined {
    return this.volumes.get(volume)?.metadata.labels?.[localPath.nodeLabel];
  }

  /** What runs writes: one that is told to end as well, until it has. */
  write(): void {
    for (const pod of this.pods.values()) {
      if (this.ready.get(pod.spec.nodeName ?? '') !== true) continue;
      for (const name of claimNames) {
        const { volumeName = '' } = this.claims.get(name)?.spec ?? {};
        const place = this.#placeOf(volumeName);
        // A pod has the volume that the claim had when it started.
        if (place !== pod.spec.nodeName) throw new Error(`${pod.metadata.name} has another volume`);
        const next = this.#number++;
        this.content.set(volumeName, next);
        this.written.set(name, next);
      }
    }
  }

  endPods(): void {
    for (const [name, { metadata, spec }] of this.pods)
      if (metadata.deletionTimestamp !== undefined && this.ready.get(spec.nodeName ?? '') !== false)
        this.pods.delete(name);
  }

  /** Agents copy what is ordered; the last time only what nobody uses. */
  copy(): void {
    for (const [name, volume] of this.volumes) {
      const wanted = copyOrderOf(volume);
      if (wanted === undefined || volume.metadata.deletionTimestamp !== undefined) continue;
      const state = copyStateOf(volume);
      if (state?.pass === wanted.pass && state.state !== 'Running') continue;
      if (this.ready.get('pi') !== true || this.ready.get('nas') !== true) continue;
      const readers = this.volumes.get(wanted.from)?.metadata.annotations?.[order.readableBy];
      const isFinal = wanted.pass === 'final';
      const isUsed = [...this.pods.values()].some(({ spec }) => spec.nodeName === wanted.node);
      if (readers !== 'nas' || (isFinal && isUsed)) continue;
      this.content.set(name, this.content.get(wanted.from) ?? -1);
      const annotations = {
        [order.state]: JSON.stringify({ pass: wanted.pass, state: 'Done' }),
        ...(isFinal ? { [localPath.madeAnnotation]: 'now' } : {}),
      };
      this.volumes.set(name, mergePatch(volume, { metadata: { annotations } }) as PersistentVolume);
    }
  }

  /** Binder and provisioner. */
  bind(): void {
    for (const [name, volume] of this.volumes) {
      const claim = this.claims.get(volume.spec.claimRef?.name ?? '');
      const phase = claim?.spec.volumeName === name ? 'Bound' : 'Released';
      this.volumes.set(name, { ...volume, status: { ...volume.status, phase } });
      const isDelete = volume.spec.persistentVolumeReclaimPolicy === 'Delete';
      if (phase === 'Released' && isDelete) this.remove(name);
    }
  }

  /** Somebody edits a claim. */
  letGo(): void {
    for (const [name, claim] of this.claims) {
      const patch = { metadata: { annotations: { [order.hold]: null } } };
      this.claims.set(name, mergePatch(claim, patch) as PersistentVolumeClaim);
    }
  }

  check(): void {
    const places = new Set(
      [...this.pods.values()].flatMap(({ spec }) => (spec.nodeName === '' ? [] : [spec.nodeName])),
    );
    if (places.size > 1) throw new Error('the app runs on two machines');
    for (const [name, claim] of this.claims) {
      const has = this.content.get(claim.spec.volumeName ?? '');
      if (has !== this.written.get(name)) throw new Error(`what was written to ${name} is lost`);
    }
  }
}

function volumeOf(name: string, claim: string): PersistentVolume {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: {
      name,
      labels: { [localPath.nodeLabel]: 'pi' },
      annotations: {
        [volumeAnnotations.provisionedBy]: localPath.provisioner,
        [localPath.madeAnnotation]: 'long ago',
      },
    },
    spec: {
      capacity: { storage: '1Gi' },
      persistentVolumeReclaimPolicy: 'Delete',
      local: { path: `/volumes/${name}` },
      claimRef: { namespace: 'default', name: claim, uid: `uid-of-${claim}` },
    },
    status: { phase: 'Bound' },
  };
}

function claimOf(name: string, volumeName: string): PersistentVolumeClaim {
  const annotations = { [volumeAnnotations.bindCompleted]: 'yes' };
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { namespace: 'default', name, uid: `uid-of-${name}`, annotations },
    spec: { volumeName },
    status: { phase: 'Bound' },
  };
}

function podOf(name: string, nodeName: string): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: 'default',
      name,
      uid: name,
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'app', uid: 'app', controller: true },
      ],
    },
    spec: {
      nodeName,
      containers: [{ name: 'main' }],
      volumes: claimNames.map((claimName) => ({
        name: claimName,
        persistentVolumeClaim: { claimName },
      })),
    },
    status: { phase: 'Running' },
  };
}

function nodeOf(name: string, isReady: boolean): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: { 'kubernetes.io/hostname': name, 'kubernetes.io/arch': 'arm64' },
      annotations: { [localPath.folderAnnotation]: '/volumes' },
    },
    spec: {},
    status: { conditions: [{ type: 'Ready', status: isReady ? 'True' : 'Unknown' }] },
  };
}

/** Everybody does what there is to do, until nothing is left. */
function calm(world: World): void {
  for (let turn = 0; turn < 60; turn++) {
    world.nowMs += 1_000;
    world.reconcile();
    world.copy();
    world.endPods();
    world.bind();
    world.schedule();
    world.check();
    world.write();
    world.check();
  }
}

const phaseOf = ({ move }: World) => move.status?.phase;
const placesOf = ({ pods }: World) => [...pods.values()].map(({ spec }) => spec.nodeName);

describe('a move', () => {
  it('brings the data and then the app to the other machine, and keeps the old copy', () => {
    const world = new World();
    calm(world);
    expect([phaseOf(world), placesOf(world)]).toEqual(['Done', ['nas']]);
    expect(world.volumes.size).toBe(4);
    const policies = [...world.claims.values()].map(
      ({ spec }) => world.volumes.get(spec.volumeName ?? '')?.spec.persistentVolumeReclaimPolicy,
    );
    expect(policies).toEqual(['Delete', 'Delete']);
  });

  it('waits for an agent that has not told its folder yet, for two minutes', () => {
    const world = new World();
    const created = {
      ...world.move.metadata,
      creationTimestamp: new Date(world.nowMs).toISOString(),
    };
    const move = { ...world.move, metadata: created };
    const view = world.view();
    const mute = (name: string) => {
      const node = view.node(name);
      return node && { ...node, metadata: { ...node.metadata, annotations: {} } };
    };
    const after = (ms: number) => planMove(move, { ...view, node: mute, nowMs: world.nowMs + ms });
    expect(after(0)).toEqual({ type: 'wait', afterMs: 2_000 });
    expect(after(120_000)).toMatchObject({ status: { phase: 'Refused' } });
  });

  it('removes the old copy when its time is over', () => {
    const world = new World({ keepOldCopyDays: 2 });
    calm(world);
    world.nowMs += 2 * 24 * 3_600_000;
    calm(world);
    expect([world.volumes.size, world.move.status?.message]).toEqual([
      2,
      'the app has its data on nas; the old copy was removed',
    ]);
  });

  it('is undone by going back to the old copy; what was written since is kept beside', () => {
    const world = new World();
    calm(world);
    const before = new Map(
      [...world.claims.keys()].map((name) => [name, world.content.get(`pvc-of-${name}`)]),
    );
    world.move = { ...world.move, spec: { ...world.move.spec, goBack: true } };
    // What the old copy has is what the app has: said to whoever asks for it.
    for (const [name, content] of before) world.written.set(name, content ?? -1);
    for (let turn = 0; turn < 30; turn++) {
      world.nowMs += 1_000;
      world.reconcile();
      world.endPods();
      world.bind();
      world.schedule();
    }
    world.check();
    expect([phaseOf(world), placesOf(world), world.volumes.size]).toEqual(['Undone', ['pi'], 4]);
  });

  it('goes back to where it was when the other machine is lost while the app stands still', () => {
    const world = new World();
    while (phaseOf(world) !== 'Finishing') {
      world.reconcile();
      world.copy();
      world.endPods();
    }
    world.ready.set('nas', false);
    calm(world);
    expect([phaseOf(world), placesOf(world), world.volumes.size]).toEqual(['Failed', ['pi'], 2]);
    expect(world.move.status?.message).toBe('nas does not answer any more');
  });

  it('leaves what it has half done in order when it is deleted', () => {
    const world = new World();
    world.reconcile();
    world.reconcile();
    const metadata = { ...world.move.metadata, deletionTimestamp: 'now' };
    world.move = { ...world.move, metadata };
    calm(world);
    expect([phaseOf(world), placesOf(world), world.volumes.size]).toEqual(['Failed', ['pi'], 2]);
  });
});

const seeds = 300;

/** One thing that may happen at home, at any moment. */
function happen(world: World, random: Random): void {
  const [dice] = [Math.floor(random.next() * 12)];
  if (dice < 3) world.reconcile(Math.floor(random.next() * 3));
  else if (dice === 3) world.copy();
  else if (dice === 4) world.endPods();
  else if (dice === 5) world.bind();
  else if (dice === 6) world.schedule();
  else if (dice === 7) world.write();
  else if (dice === 8) world.reconcile();
  else if (dice === 9) world.nowMs += 60_000;
  else if (dice === 10 && random.next() < 0.1)
    world.ready.set(random.next() < 0.5 ? 'pi' : 'nas', random.next() < 0.5);
  else if (dice === 11 && random.next() < 0.1) world.letGo();
  else if (random.next() < 0.01 && phaseOf(world) !== 'Done')
    world.move = { ...world.move, spec: { ...world.move.spec, goBack: true } };
}

it('loses nothing and runs nowhere twice, whatever happens between any two writes', () => {
  const ends = new Set<string | undefined>();
  for (let seed = 1; seed <= seeds; seed++) {
    const random = seededRandom(seed);
    const world = new World();
    try {
      for (let step = 0; step < 400; step++) {
        happen(world, random);
        // From here on going back is a wish for the old data.
        if (['Undoing', 'Reverting', 'Undone'].includes(phaseOf(world) ?? '')) break;
        world.check();
      }
      ends.add(phaseOf(world));
    } catch (error) {
      throw new Error(`seed ${seed}, ${phaseOf(world)}: ${String(error)}`, { cause: error });
    }
  }
  expect([...ends]).toEqual(expect.arrayContaining(['Done', 'Failed']));
});
