// What is being done with a machine, and what is to be done with it, in words: restarting, sleeping, taking it out; and what its
// agent's upgrade came to. Pure: annotations of the Node in, view out.
import type { Node } from '#kube/api/core.ts';
import type { NodeAction, NodeOperationPod, NodeOperationStatus } from '#kube/api/fleet.ts';
import {
  digestOf,
  parseUpgrade,
  retryAnnotation,
  targetAnnotation,
  upgradeAnnotation,
  versionAnnotation,
} from '#kube/machinery/agent-versions.ts';
import { isNodeAnswering, operationOf, type Operation } from '#kube/machinery/node-operations.ts';
import { plural } from './format.ts';
import type { Tone } from './vocabulary.ts';

export interface OperationView {
  readonly action: NodeAction;
  readonly tone: Tone;
  /** `Restarting`. */
  readonly word: string;
  /** How far it is, or why not. */
  readonly text: string;
  readonly isFailed: boolean;
  /** It went down because it was asked to. */
  readonly isMeant: boolean;
}

interface ActionWords {
  /** On a button: `Restart`. */
  readonly verb: string;
  readonly going: string;
  readonly failed: string;
  /** `Restart pi?`, the rest of it. */
  readonly about: string;
}

export const actionWords: Readonly<Record<NodeAction, ActionWords>> = {
  Reboot: {
    verb: 'Restart',
    going: 'Restarting',
    failed: 'did not restart',
    about: 'Apps end in order, and begin again when it is back.',
  },
  Sleep: {
    verb: 'Put to sleep',
    going: 'Going to sleep',
    failed: 'did not go to sleep',
    about: 'Apps on it stand still until it wakes; new copies go elsewhere.',
  },
  ShutDown: {
    verb: 'Shut down',
    going: 'Shutting down',
    failed: 'did not shut down',
    about: 'What can run elsewhere moves first.',
  },
  Wake: {
    verb: 'Wake',
    going: 'Waking',
    failed: 'did not wake',
    about: 'A magic packet is sent to its network card.',
  },
  Remove: {
    verb: 'Take out',
    going: 'Being taken out',
    failed: 'was not taken out',
    about:
      'What can run elsewhere moves first; then all of Flotilla is cleared away from it. Docker and your files stay.',
  },
};

export function describeOperation(node: Node): OperationView | undefined {
  const operation = operationOf(node);
  if (operation === undefined) return undefined;
  const { action, state, message = '' } = operation;
  if (state === 'Failed')
    return view(operation, { tone: 'wait', word: 'Well', text: message, isFailed: true });
  const isDown = state === 'Acting' && !isNodeAnswering(node);
  if (isDown && action === 'ShutDown')
    return view(operation, { tone: 'gone', word: 'Shut down', text: '', isMeant: true });
  if (isDown && action === 'Sleep')
    return view(operation, { tone: 'asleep', word: 'Asleep', text: '', isMeant: true });
  return view(operation, {
    tone: 'busy',
    word: actionWords[action].going,
    text: progress(operation),
    isMeant: true,
  });
}

function view({ action }: Operation, more: Partial<OperationView>): OperationView {
  return { action, tone: 'busy', word: '', text: '', isFailed: false, isMeant: false, ...more };
}

function progress({ action, state }: Operation): string {
  if (state === 'Leaving') return 'Apps that can run elsewhere are on their way.';
  if (state === 'Due') return 'It is told to.';
  if (state === 'Done') return 'It is back.';
  if (action === 'Remove') return 'All of Flotilla is cleared away from it.';
  return action === 'Reboot' ? 'It comes back by itself.' : '';
}

/** `raspberrypi-6f7b…` is told of as the app that it is a copy of. */
export interface Fate {
  readonly heading: string;
  readonly pods: readonly { readonly name: string; readonly why: string }[];
}

const headings = {
  Moves: 'moves to another machine',
  Waits: 'waits for this one',
  Ends: 'ends for good',
} as const satisfies Record<NodeOperationPod['outcome'], string>;

/** What happens to what runs there, the worst first. */
export function fatesOf(
  { pods = [] }: NodeOperationStatus,
  nameOf: (pod: NodeOperationPod) => string,
): readonly Fate[] {
  return (['Ends', 'Waits', 'Moves'] as const).flatMap((outcome) => {
    const own = pods.filter((pod) => pod.outcome === outcome);
    if (own.length === 0) return [];
    const words =
      own.length === 1 ? headings[outcome] : headings[outcome].replace(/^(\w+)s /, '$1 ');
    const heading = `${plural(own.length, 'copy', 'copies')} ${words}`;
    return [{ heading, pods: own.map((pod) => ({ name: nameOf(pod), why: pod.why })) }];
  });
}

export interface AgentSoftware {
  /** `0.2.0`. */
  readonly version: string;
  readonly tone: Tone;
  /** What its upgrade came to; '' when there is nothing to say. */
  readonly text: string;
  /** In the machine's words. */
  readonly original: string;
  readonly canRetry: boolean;
}

/** Undefined: its agent was not placed as a package, and is upgraded with the app that starts it. */
export function describeAgent({ metadata }: Node): AgentSoftware | undefined {
  const annotations = metadata.annotations ?? {};
  const { [versionAnnotation]: runs, [targetAnnotation]: told } = annotations;
  if (runs === undefined) return undefined;
  const version = runs.split('+')[0] ?? runs;
  const report = parseUpgrade(annotations[upgradeAnnotation]);
  const original = report?.why ?? '';
  if (annotations[retryAnnotation] !== undefined)
    return {
      version,
      tone: 'busy',
      text: 'It tries the new agent once more.',
      original: '',
      canRetry: false,
    };
  if (report?.state === 'Failed')
    return {
      version,
      tone: 'trouble',
      text: 'The new agent did not get well, and it went back to this one by itself. No other machine gets it meanwhile.',
      original,
      canRetry: true,
    };
  if (told !== undefined && told !== runs) {
    const to = told.split('+')[0] ?? told;
    const goal = to === version ? 'another agent' : `the agent ${to}`;
    return report?.state === 'Waits' && report.digest === digestOf(told)
      ? {
          version,
          tone: 'wait',
          text: `It is to run ${goal}, and can't get it yet.`,
          original,
          canRetry: false,
        }
      : {
          version,
          tone: 'busy',
          text: `It is getting ${goal}; apps run on.`,
          original: '',
          canRetry: false,
        };
  }
  return { version, tone: 'ok', text: '', original: '', canRetry: false };
}
