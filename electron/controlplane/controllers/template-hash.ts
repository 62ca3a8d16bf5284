// The hash in names of ReplicaSets and ControllerRevisions: equal templates, equal names. Pure.
// Differs: Kubernetes hashes Go's memory dump of the template, so its values are others than ours.
import { stableStringify } from '#kube/machinery/equality.ts';

const alphabet = 'bcdfghjklmnpqrstvwxz2456789';

/** `collisionCount` makes another hash of the same value, when a name is taken by something else. */
export function templateHash(value: unknown, collisionCount: number | undefined): string {
  const text = stableStringify(value) + (collisionCount ?? '');
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text))
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  // As Kubernetes does: the decimal digits, each as a letter that can't spell a word.
  return [...String(hash)].map((digit) => alphabet[digit.charCodeAt(0) % alphabet.length]).join('');
}
