// What going on from one machine would come to, in words for the person who decides. Pure.
import type { RecoveryReport } from '#kube/api/flotilla.ts';
import { formatDuration, joinWords, plural } from './format.ts';

export interface RecoveryWords {
  /** Why it can't be; '': it may. */
  readonly refusal: string;
  /** Who is missing, and since when. */
  readonly others: readonly { readonly name: string; readonly words: string }[];
  /** What may be missing afterwards, and what it takes. */
  readonly losses: readonly string[];
  /** What a person has to be sure of. */
  readonly oath: string;
}

export function describeRecovery(report: RecoveryReport): RecoveryWords {
  const { refusal, others, unconfirmedEntries, isVoter } = report;
  const losses = [
    isVoter
      ? 'What the others decided after this machine last heard of them is lost, if they did.'
      : 'What was decided last may be lost: this machine has a copy without a vote, which may be a little behind.',
    ...(unconfirmedEntries === 0
      ? []
      : [
          `The last ${plural(unconfirmedEntries, 'change')} here ${unconfirmedEntries === 1 ? 'is' : 'are'} kept, though nobody knows whether the others had ${unconfirmedEntries === 1 ? 'it' : 'them'}.`,
        ]),
    'The others are refused when they come back, and have to be added anew.',
  ];
  const names = others.map(({ name }) => name);
  return {
    refusal: refusal ?? '',
    others: others.map(({ name, role, heardSecondsAgo }) => ({
      name,
      words: `${role === 'voter' ? 'votes' : 'keeps a copy'}, ${heardWords(heardSecondsAgo)}`,
    })),
    losses,
    oath:
      names.length === 0
        ? 'No other machine keeps the state.'
        : `${joinWords(names)} ${names.length === 1 ? 'does' : 'do'} not run any more, and will not come back as ${names.length === 1 ? 'it was' : 'they were'}.`,
  };
}

function heardWords(secondsAgo: number | null): string {
  if (secondsAgo === null) return 'not heard of since Flotilla was started here';
  return `last heard of ${formatDuration(secondsAgo)} ago`;
}
