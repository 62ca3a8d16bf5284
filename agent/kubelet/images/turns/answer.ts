// Pure: what a machine says when another asks it for an image: that it has it, that it is being pulled
// there just now, that it hands it to as many as it can, or none of these. What came over the network is
// checked: it is another machine's word.
import type { ImageIds, PullProgress } from '../../../runtime/runtime.ts';
import { parseOffer, type ImageOffer } from '../plan-fetch.ts';

/** `asking`: it looks whether another machine has the image, and pulls it when none does. */
export type PullPhase = 'asking' | 'pulling';

export interface PullState {
  readonly phase: PullPhase;
  readonly progress: PullProgress | undefined;
}

export interface PeerPull extends PullState {
  readonly os: string;
  readonly architecture: string;
  readonly ids: ImageIds;
}

export interface Answer {
  readonly offer: ImageOffer | undefined;
  /** No more than others get it just now; how much it handed out so far, of whatever. */
  readonly busy: { readonly sentBytes: number } | undefined;
  readonly pull: PeerPull | undefined;
}

/** Undefined: nothing. An agent that knows of offers only takes 200 for one, and leaves the rest. */
export function answerText(
  answer: Answer,
): { readonly status: 200 | 202; readonly body: string } | undefined {
  const { offer, busy, pull } = answer;
  if (offer === undefined && pull === undefined) return undefined;
  const body = `${JSON.stringify({ ...offer, busy, pull })}\n`;
  return { status: offer === undefined ? 202 : 200, body };
}

/** Throws when it is none. */
export function parseAnswer(status: number, text: string): Answer | undefined {
  if (status !== 200 && status !== 202) return undefined;
  const said = JSON.parse(text) as { readonly busy?: unknown; readonly pull?: unknown } | null;
  return {
    offer: status === 200 ? parseOffer(text) : undefined,
    busy: parseBusy(said?.busy),
    pull: parsePull(said?.pull),
  };
}

function parseBusy(value: unknown): Answer['busy'] {
  const { sentBytes } = fields(value);
  return isAmount(sentBytes) ? { sentBytes } : undefined;
}

function parsePull(value: unknown): PeerPull | undefined {
  const { phase, progress, os, architecture, ids } = fields(value);
  const isPull =
    (phase === 'asking' || phase === 'pulling') &&
    typeof os === 'string' &&
    typeof architecture === 'string' &&
    (ids === 'config' || ids === 'manifest');
  return isPull ? { phase, progress: parseProgress(progress), os, architecture, ids } : undefined;
}

function parseProgress(value: unknown): PullProgress | undefined {
  const { step, doneBytes, totalBytes } = fields(value);
  if (!isAmount(doneBytes) || (step !== 'downloading' && step !== 'unpacking')) return undefined;
  return { step, doneBytes, totalBytes: isAmount(totalBytes) ? totalBytes : undefined };
}

function fields(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}
