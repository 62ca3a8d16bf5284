// Pure: where an image is to be had from, in this order: other machines of the cluster, then its
// registry. A tag on another machine is believed, as it is on this one (IfNotPresent); whatever has to
// be a certain image (a digest, or Always) is taken from a machine only as bytes, and the registry
// confirms that they are the right ones.
import type { ImageIds, Platform } from '../../runtime/runtime.ts';
import { isImageName, parseImageName, repositoryOf, type ImageName } from './image-name.ts';
import type { ImageOrigin } from './image-origins.ts';

/** What a machine says of an image that others may have. */
export interface ImageOffer {
  readonly id: string;
  /** `name@sha256:…`, as registries gave them. */
  readonly digests: readonly string[];
  readonly sizeBytes: number;
  readonly createdAtMs: number;
  readonly os: string;
  readonly architecture: string;
  /** Of what the id is the digest there. */
  readonly ids: ImageIds;
  readonly origin: ImageOrigin;
}

/** Throws when another machine's answer is no offer. */
export function parseOffer(text: string): ImageOffer {
  const said = JSON.parse(text) as Record<keyof ImageOffer, unknown> | null;
  const { id, digests, sizeBytes, createdAtMs, os, architecture, origin } = said ?? {};
  // Agents that don't say it share what has the one kind.
  const ids = said?.ids ?? 'config';
  const isOffer =
    isText(id) &&
    /^sha256:[0-9a-f]{64}$/.test(id) &&
    Array.isArray(digests) &&
    digests.every(isText) &&
    isAmount(sizeBytes) &&
    isNumber(createdAtMs) &&
    isText(os) &&
    isText(architecture) &&
    (ids === 'config' || ids === 'manifest') &&
    (origin === 'registry' || origin === 'file');
  if (!isOffer) throw new Error('its answer is no offer of an image');
  return { id, digests, sizeBytes, createdAtMs, os, architecture, ids, origin };
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function isAmount(value: unknown): value is number {
  return isNumber(value) && value >= 0;
}

export interface PeerOffer {
  readonly machine: string;
  readonly offer: ImageOffer;
}

export type Source =
  | {
      readonly kind: 'peer';
      readonly peer: PeerOffer;
      /** The name is given by a pull, which finds all of it here, and not by the machine's word. */
      readonly isConfirmed: boolean;
    }
  | { readonly kind: 'registry' };

export interface FetchQuestion {
  readonly image: ImageName;
  readonly isAlways: boolean;
  /** In random order, so that not all ask the same machine. */
  readonly offers: readonly PeerOffer[];
  /** What the tag is now; undefined: nobody asked, or the registry is out of reach. */
  readonly registryDigest: string | undefined;
  readonly machine: Platform;
}

const peersMax = 3;

export function planFetch(question: FetchQuestion): readonly Source[] {
  const { image, isAlways, offers, machine } = question;
  const digest = image.digest === '' && isAlways ? question.registryDigest : image.digest;
  const registry: Source = { kind: 'registry' };
  // Always, and nobody knows what the tag is now.
  if (digest === undefined) return [registry];
  const isConfirmed = digest !== '';
  const peers = offers
    .filter(({ offer }) => isSameKind(offer, machine))
    .filter(({ offer }) => !isConfirmed || hasDigest(offer, image, digest))
    .toSorted((a, b) => b.offer.createdAtMs - a.offer.createdAtMs)
    .slice(0, peersMax);
  return [...peers.map((peer): Source => ({ kind: 'peer', peer, isConfirmed })), registry];
}

/** Whether what one machine has is of use to another. */
export function isSameKind(
  { os, architecture, ids }: Pick<ImageOffer, 'os' | 'architecture' | 'ids'>,
  machine: Platform,
): boolean {
  return os === machine.os && architecture === machine.architecture && ids === machine.imageIds;
}

function hasDigest({ digests }: ImageOffer, image: ImageName, digest: string): boolean {
  return digests.some((text) => {
    // Not `<none>@<none>`, nor what a machine made up.
    if (!text.endsWith(`@${digest}`) || !isImageName(text)) return false;
    return repositoryOf(parseImageName(text)) === repositoryOf(image);
  });
}
