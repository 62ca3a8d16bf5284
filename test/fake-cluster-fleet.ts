// What else there is at the fake cluster's home: machines that are seen, the search that sees them, and
// one that can be added by a user, a password and a host key, as `machines/NAME/enrolment` answers.
import type {
  EnrolmentSpec,
  EnrolmentStatus,
  EnrolmentStep,
  MachineStatus,
} from '#kube/api/fleet.ts';
import type { Status } from '#kube/api/meta.ts';
import type { AddableReason } from '#kube/machinery/fleet.ts';
import type { FakeObject } from './fake-cluster.ts';

const apiVersion = 'flotilla.dev/v1alpha1';
const lastTransitionTime = '2026-11-01T10:00:00Z';

interface FakeMachineOptions extends MachineStatus {
  readonly address?: string;
  readonly reason?: AddableReason;
  readonly typed?: string;
  /** Nothing is heard of it. */
  readonly isAway?: boolean;
}

export function fakeMachine(name: string, options: FakeMachineOptions = {}): FakeObject {
  const { address = '192.168.1.50', reason = 'SshAnswers', typed, isAway, ...status } = options;
  const addable = { InCluster: 'False', SshAnswers: 'True', NotAsked: 'Unknown' } as const;
  return {
    apiVersion,
    kind: 'Machine',
    metadata: { name },
    spec: typed === undefined ? {} : { address: typed },
    status: {
      addresses: [{ address, interface: 'eth0' }],
      hostNames: [name],
      seenBy: ['MulticastDNS', 'Neighbour'],
      conditions: [
        {
          type: 'Seen',
          status: isAway === true ? 'False' : 'True',
          reason: isAway === true ? 'NotHeard' : 'Heard',
          message: `At ${address}`,
          lastTransitionTime,
        },
        {
          type: 'Addable',
          status: addable[reason as keyof typeof addable] ?? 'False',
          reason,
          message: `${reason} on port 22 of ${address}`,
          lastTransitionTime,
        },
      ],
      ...status,
    },
  };
}

export const fakePi = fakeMachine('raspberrypi', {
  vendor: 'Raspberry Pi',
  operatingSystem: 'Debian 12',
});

/** All that a page may have to say of a machine. */
export function fakeNeighbours(): FakeObject[] {
  return [
    fakePi,
    fakeMachine('old-laptop', { address: '192.168.1.61', operatingSystem: 'Ubuntu 24.04' }),
    fakeMachine('pi-attic', {
      address: '192.168.1.52',
      vendor: 'Raspberry Pi',
      reason: 'SshClosed',
    }),
    fakeMachine('gaming-pc', { address: '192.168.1.70', reason: 'NotLinux' }),
    fakeMachine('nas', { address: '192.168.1.71', vendor: 'Synology', reason: 'SshSilent' }),
    fakeMachine('at-192-168-1-99', {
      address: '192.168.1.99',
      hostNames: [],
      typed: '192.168.1.99',
      seenBy: [],
      isAway: true,
      reason: 'NotAsked',
    }),
    fakeMachine('nuc-2', { address: '192.168.1.20', nodeName: 'nuc', reason: 'InCluster' }),
  ];
}

/** `searching` and `hears`: reasons. */
export function fakeSearch(searching = 'Searching', hears = 'Heard'): FakeObject {
  const isOn = searching === 'Searching';
  const condition = (type: string, isTrue: boolean, reason: string) => ({
    type,
    status: isTrue ? 'True' : 'False',
    reason,
    message: `${type}: ${reason}`,
    lastTransitionTime,
  });
  return {
    apiVersion,
    kind: 'Discovery',
    metadata: { name: 'home', generation: 1 },
    spec: {},
    status: {
      sweptGeneration: 1,
      conditions: [
        condition('Searching', isOn, searching),
        condition('Hears', hears === 'Heard', hears),
      ],
      interfaces: isOn ? [{ name: 'eth0', address: '192.168.1.20/24' }] : [],
    },
  };
}

export const fakeSteps: readonly EnrolmentStep[] = [
  { name: 'docker', title: 'Install Docker Engine (docker.io) by apt', state: 'Waiting' },
  {
    name: 'memory',
    title: 'Turn on memory limits in cmdline.txt, keeping a copy of it',
    needsReboot: true,
    state: 'Waiting',
  },
  { name: 'runtime', title: 'Copy the agent and its runtime, 29 MB', state: 'Waiting' },
  { name: 'clock', title: 'Set the clock by the network', state: 'Skipped' },
  { name: 'join', title: 'Start the agent, and wait for it to join', state: 'Waiting' },
];

/** The first `done` steps are through, the next one runs. */
export function fakeProgress(
  done: number,
  more: Partial<EnrolmentStatus> & { readonly step?: Partial<EnrolmentStep> } = {},
): EnrolmentStatus {
  const { step, ...rest } = more;
  const steps = fakeSteps.map((one, index): EnrolmentStep => {
    if (one.state === 'Skipped') return one;
    if (index < done) return { ...one, state: 'Done' };
    return index === done ? { ...one, state: 'Running', ...step } : one;
  });
  return { phase: 'Running', nodeName: 'raspberrypi', machine: fakeFacts, steps, ...rest };
}

const fakeFacts = {
  model: 'Raspberry Pi 4 Model B Rev 1.4',
  system: 'Debian GNU/Linux 12 (bookworm)',
  architecture: 'aarch64',
  hostName: 'raspberrypi',
  memoryBytes: 4 * 2 ** 30,
  freeBytes: 21 * 2 ** 30,
};

/** One machine that is asked to join; what it shows and knows may change between two questions. */
export class FakeEnrolment {
  key = 'SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDXf9FVSeeHkpEnKmM';
  password = 'raspberry';
  warnings: string[] = [];
  obstacles: string[] = [];
  /** Accepted when it was added before. */
  acceptedKey: string | undefined;
  isUnreachable = false;
  /** Somebody adds it already. */
  isTaken = false;
  /** What was asked, in order. */
  readonly asked: EnrolmentSpec[] = [];

  readonly answer = (_machine: string, spec: EnrolmentSpec): EnrolmentStatus | Status => {
    this.asked.push(spec);
    if (this.isUnreachable)
      return { phase: 'Failed', message: 'No SSH at port 22 of 192.168.1.50: no answer' };
    const isPinned = this.acceptedKey === this.key;
    const hostKey = { type: 'ssh-ed25519', fingerprint: this.key, isPinned };
    if (this.acceptedKey !== undefined && !isPinned)
      return { phase: 'LoginRefused', hostKey, message: 'Another key was accepted before' };
    if (!isPinned && spec.hostKey !== this.key) {
      const message = spec.hostKey === undefined ? 'Compare this' : 'It shows another key now';
      return { phase: 'HostKeyUnknown', hostKey, message };
    }
    if (spec.password !== this.password) {
      const message = `The machine refused the password of ${spec.user}.`;
      return { phase: 'LoginRefused', hostKey, message };
    }
    const { warnings, obstacles } = this;
    if (obstacles.length > 0)
      return { phase: 'Obstructed', hostKey, machine: fakeFacts, obstacles };
    if (this.isTaken && spec.phase === 'Apply')
      return { apiVersion: 'v1', kind: 'Status', metadata: {}, code: 409, reason: 'Conflict' };
    const nodeName = spec.nodeName ?? 'raspberrypi';
    if (spec.phase === 'Apply') return fakeProgress(-1, { hostKey, nodeName });
    const machine = fakeFacts;
    return { phase: 'Planned', hostKey, machine, nodeName, steps: [...fakeSteps], warnings };
  };
}
