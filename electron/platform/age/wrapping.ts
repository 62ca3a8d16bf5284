// How an age file's key is wrapped: for the holder of an X25519 key, or by a passphrase (scrypt). Keys are
// written as age writes them: `age1…` (anybody may know it, it only closes) and `AGE-SECRET-KEY-1…`.
// Source: C2SP age.md, "X25519 recipient stanza" and "scrypt recipient stanza".
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
  scrypt,
} from 'node:crypto';
import { bech32, bech32Bytes } from './bech32.ts';
import { SealedStreamError } from './errors.ts';
import { exactly, type Stanza, unpadded } from './header.ts';

export const fileKeyBytes = 16;
const tagBytes = 16;
const keyBytes = 32;
const recipientPrefix = 'age';
const identityPrefix = 'age-secret-key-';
const x25519Label = 'age-encryption.org/v1/X25519';
const scryptLabel = 'age-encryption.org/v1/scrypt';
const publicDer = Buffer.from('302a300506032b656e032100', 'hex');
const privateDer = Buffer.from('302e020100300506032b656e04220420', 'hex');

/** As powers of two. 2^17: 128 MB and about half a second; a file that asks for a gigabyte is refused. */
export const scryptWork = { made: 17, accepted: 19 } as const;

export interface AgeKeyPair {
  readonly recipient: string;
  readonly identity: string;
}

export function generateAgeKey(): AgeKeyPair {
  const secret = randomBytes(keyBytes);
  return {
    identity: bech32(identityPrefix, secret).toUpperCase(),
    recipient: bech32(recipientPrefix, rawPublic(privateKey(secret))),
  };
}

/** Throws RangeError when `identity` is none. */
export function recipientOf(identity: string): string {
  return bech32(recipientPrefix, rawPublic(privateKey(secretOf(identity))));
}

/** Throws RangeError when `recipient` is none. */
export function wrapForRecipient(fileKey: Uint8Array, recipient: string): Stanza {
  const raw = bech32Bytes(recipientPrefix, recipient);
  if (raw?.length !== keyBytes || recipient !== recipient.toLowerCase())
    throw new RangeError(`"${recipient}" is no age recipient (age1…)`);
  const own = generateKeyPairSync('x25519');
  const share = rawPublic(own.privateKey);
  const key = x25519Key(own.privateKey, raw, Buffer.concat([share, raw]));
  return { words: ['X25519', unpadded(share)], body: closed(key, fileKey) };
}

/** Undefined: no stanza is for it. Throws SealedStreamError for one that is malformed. */
export function unwrapWithIdentity(
  stanzas: readonly Stanza[],
  identity: string,
): Buffer | undefined {
  const secret = privateKey(secretOf(identity));
  const own = rawPublic(secret);
  for (const { words, body } of stanzas) {
    if (words[0] !== 'X25519') continue;
    if (words.length !== 2) throw new SealedStreamError('damaged');
    const share = exactly(words[1] ?? '', keyBytes);
    const fileKey = opened(x25519Key(secret, share, Buffer.concat([share, own])), body);
    if (fileKey !== undefined) return fileKey;
  }
  return undefined;
}

/** It has to be the only stanza of its file. `work`: of scrypt, as a power of two. */
export async function wrapWithPassphrase(
  fileKey: Uint8Array,
  passphrase: string,
  work: number = scryptWork.made,
): Promise<Stanza> {
  const salt = randomBytes(16);
  const key = await scryptKey(passphrase, salt, work);
  return { words: ['scrypt', unpadded(salt), String(work)], body: closed(key, fileKey) };
}

/** Throws SealedStreamError. */
export async function unwrapWithPassphrase(
  stanzas: readonly Stanza[],
  passphrase: string,
): Promise<Buffer> {
  const stanza = stanzas.find((one) => one.words[0] === 'scrypt');
  if (stanza === undefined) throw new SealedStreamError('no-passphrase');
  const [, salt = '', work = ''] = stanza.words;
  if (stanzas.length > 1 || stanza.words.length !== 3 || !/^[1-9]\d?$/.test(work))
    throw new SealedStreamError('damaged');
  if (Number(work) > scryptWork.accepted) throw new SealedStreamError('too-costly');
  const key = await scryptKey(passphrase, exactly(salt, 16), Number(work));
  const fileKey = opened(key, stanza.body);
  if (fileKey === undefined) throw new SealedStreamError('wrong-passphrase');
  return fileKey;
}

function secretOf(identity: string): Buffer {
  const secret = bech32Bytes(identityPrefix, identity);
  if (secret?.length !== keyBytes)
    throw new RangeError('that is no age identity (AGE-SECRET-KEY-1…)');
  return secret;
}

function privateKey(secret: Uint8Array): KeyObject {
  const key = Buffer.concat([privateDer, secret]);
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
}

function rawPublic(key: KeyObject): Buffer {
  return createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(publicDer.length);
}

function x25519Key(own: KeyObject, theirs: Uint8Array, salt: Uint8Array): Buffer {
  const key = Buffer.concat([publicDer, theirs]);
  const publicKey = createPublicKey({ key, format: 'der', type: 'spki' });
  try {
    const shared = diffieHellman({ privateKey: own, publicKey });
    return Buffer.from(hkdfSync('sha256', shared, salt, x25519Label, keyBytes));
  } catch (cause) {
    // A share of low order: OpenSSL hands out no secret of zeros.
    throw new SealedStreamError('damaged', { cause });
  }
}

function scryptKey(passphrase: string, salt: Uint8Array, work: number): Promise<Buffer> {
  const options = { N: 2 ** work, r: 8, p: 1, maxmem: 2 ** work * 8 * 128 + 2 ** 20 };
  const labelled = Buffer.concat([Buffer.from(scryptLabel), salt]);
  return new Promise((resolve, reject) => {
    scrypt(passphrase, labelled, keyBytes, options, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}

/** Under a key of its own, so the nonce may be zero. */
function closed(key: Uint8Array, fileKey: Uint8Array): Buffer {
  const cipher = createCipheriv('chacha20-poly1305', key, Buffer.alloc(12), {
    authTagLength: tagBytes,
  });
  return Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
}

function opened(key: Uint8Array, body: Uint8Array): Buffer | undefined {
  if (body.length !== fileKeyBytes + tagBytes) throw new SealedStreamError('damaged');
  const cipher = createDecipheriv('chacha20-poly1305', key, Buffer.alloc(12), {
    authTagLength: tagBytes,
  });
  cipher.setAuthTag(body.subarray(fileKeyBytes));
  try {
    return Buffer.concat([cipher.update(body.subarray(0, fileKeyBytes)), cipher.final()]);
  } catch {
    return undefined;
  }
}
