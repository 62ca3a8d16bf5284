// The one small vocabulary of state: seven words, each with a tone. Every page uses these and no
// others; StateMark.vue gives each a shape as well, so that colour never says it alone.

export type StateWord =
  | 'Running'
  | 'Starting'
  | 'Waiting'
  | 'Trouble'
  | 'Asleep'
  | 'Stopping'
  | 'Gone';
export type Tone = 'ok' | 'busy' | 'wait' | 'trouble' | 'asleep' | 'gone';

export const toneOf: Readonly<Record<StateWord, Tone>> = {
  Running: 'ok',
  Starting: 'busy',
  Waiting: 'wait',
  Trouble: 'trouble',
  Asleep: 'asleep',
  Stopping: 'gone',
  Gone: 'gone',
};

/** What a person can do about a state, as a button beside it. */
export type NextStep =
  | { readonly kind: 'logs'; readonly label: string }
  | { readonly kind: 'settings'; readonly label: string }
  | { readonly kind: 'wake'; readonly label: string }
  | { readonly kind: 'backup'; readonly label: string }
  | { readonly kind: 'machine'; readonly label: string; readonly machine: string }
  | { readonly kind: 'install-engine'; readonly label: string; readonly machine: string };

export interface StateView {
  readonly word: StateWord;
  readonly tone: Tone;
  /** A sentence without its full stop, in words for newcomers; '' when the word says it all. */
  readonly reason: string;
  /** The system's own words, when they say more. */
  readonly original?: string;
  readonly nextStep?: NextStep;
  /** How far what the reason tells of has come, 0…1. */
  readonly share?: number;
}

export function stateView(
  word: StateWord,
  reason = '',
  more: {
    readonly original?: string | undefined;
    readonly nextStep?: NextStep | undefined;
    readonly share?: number | undefined;
  } = {},
): StateView {
  const view: { -readonly [K in keyof StateView]: StateView[K] } = {
    word,
    tone: toneOf[word],
    reason,
  };
  if (more.original !== undefined && more.original !== '') view.original = more.original;
  if (more.nextStep !== undefined) view.nextStep = more.nextStep;
  if (more.share !== undefined) view.share = more.share;
  return view;
}
