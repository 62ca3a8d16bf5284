// Passphrases of backups: made (groups of letters and digits that can't be taken for each other, 100 bits), or
// typed, then at least long enough that guessing costs more than it is worth. Pure.
import type { Random } from '#kube/base/random.ts';

/** 32 of them, without l, o, 0 and 1. */
const letters = 'abcdefghijkmnpqrstuvwxyz23456789';
const groups = 5;
const groupLength = 4;
const typedLength = 14;
const typedVariety = 7;
const mostCharacters = 1024;

/** `x7kd-…`: easy to copy from a sheet of paper. */
export function makePassphrase(random: Random): string {
  // 256 is a multiple of 32: each letter is as likely.
  const text = [...random.bytes(groups * groupLength)].map((byte) => letters[byte % 32]).join('');
  return (text.match(new RegExp(`.{${groupLength}}`, 'g')) ?? []).join('-');
}

/** What a person typed as it counts: of a made one, capitals, blanks and missing hyphens don't. */
export function canonicalPassphrase(typed: string): string {
  const trimmed = typed.normalize('NFKC').trim();
  const bare = trimmed.toLowerCase().replaceAll(/[\s-]/g, '');
  const isMade =
    bare.length === groups * groupLength && bare.split('').every((one) => letters.includes(one));
  if (!isMade) return trimmed;
  return (bare.match(new RegExp(`.{${groupLength}}`, 'g')) ?? []).join('-');
}

/** Why it can't be used, as the end of a sentence; undefined: it can. Of a canonical one. */
export function passphraseProblem(passphrase: string): string | undefined {
  if (passphrase.length < typedLength) return `must have at least ${typedLength} characters`;
  if (passphrase.length > mostCharacters) return `must have at most ${mostCharacters} characters`;
  if (/\p{Cc}/u.test(passphrase)) return 'must be one line';
  if (new Set(passphrase).size < typedVariety)
    return `must have at least ${typedVariety} different characters`;
  return undefined;
}
