// Short, stable names for contents: the pod-template-hash of ReplicaSets, the hash of a
// DaemonSet's revision. Equal contents give equal hashes, on every run and machine.
// Differs: Kubernetes hashes Go's memory layout, which nobody else can repeat; only the shape
// of the text (ten letters or fewer, safe alphabet) is the same.
import { stableStringify } from './equality.ts';

const alphabet = 'bcdfghjklmnpqrstvwxz2456789';

/** `collisionCount` makes another hash of the same content after two contents met in one hash. */
export function templateHash(template: unknown, collisionCount = 0): string {
  const suffix = collisionCount === 0 ? '' : `#${collisionCount}`;
  return safeEncode(String(fnv1a(`${stableStringify(template)}${suffix}`)));
}

/** 32-bit FNV-1a over the UTF-16 units of a text. */
export function fnv1a(text: string): number {
  let hash = 0x81_1c_9d_c5;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    hash = Math.imul(hash ^ (unit & 0xff), 0x01_00_01_93);
    hash = Math.imul(hash ^ (unit >>> 8), 0x01_00_01_93);
  }
  return hash >>> 0;
}

/** Replaces each character by one that forms no words. */
function safeEncode(text: string): string {
  let encoded = '';
  for (let index = 0; index < text.length; index++)
    encoded += alphabet[text.charCodeAt(index) % alphabet.length];
  return encoded;
}
