// What people call a machine. Its Node's name is how the cluster knows it, in certificates and labels, and stays for good.
import type { Node } from '../api/core.ts';

export const displayNameAnnotation = 'flotilla.dev/display-name';
export const displayNameMax = 63;

export function nodeTitle({ metadata }: Node): string {
  return toDisplayName(metadata.annotations?.[displayNameAnnotation] ?? '') || metadata.name;
}

/** One line that can be read; '' of nothing. */
export function toDisplayName(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim()
    .slice(0, displayNameMax);
}
