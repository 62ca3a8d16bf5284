// Streams encrypted for a passphrase that nobody has to keep: files of the age format, which its own tools
// open, too. To seal takes a `SealingKey`, which is no secret: a public key, and its private half locked
// by the passphrase, which goes along in each file. To open takes the file and the passphrase.
// What a stream holds is handed on chunk by chunk as it is verified; it is whole once it has ended, and
// callers must not act on it before. Bounded memory, of any length.
//
// The locked half is an age file in itself, in a stanza that other tools pass over. Without us:
//   sed -n '/^-> flotilla.dev\/key/,/^->\|^---/{/^-/d;p}' FILE | base64 -d > key.age; age -d -i key.age FILE
import { createHash, randomBytes } from 'node:crypto';
import { ByteReader, type Chunks } from './age/byte-reader.ts';
import { SealedStreamError } from './age/errors.ts';
import { headerText, readHeader, type Stanza, unpadded, verifyHeader } from './age/header.ts';
import { openPayload, sealPayload } from './age/payload.ts';
import {
  fileKeyBytes,
  generateAgeKey,
  scryptWork,
  unwrapWithIdentity,
  unwrapWithPassphrase,
  wrapForRecipient,
  wrapWithPassphrase,
} from './age/wrapping.ts';

export { type Chunks } from './age/byte-reader.ts';
export { SealedStreamError, type SealedStreamProblem } from './age/errors.ts';
export { generateAgeKey, recipientOf } from './age/wrapping.ts';

/** Not secret, but as strong as its passphrase against who guesses: keep it from strangers. */
export interface SealingKey {
  /** `age1…`: for whom is sealed. */
  readonly recipient: string;
  /** The private half, as an age file under the passphrase; without it only who has the half opens. */
  readonly lockedIdentity?: Uint8Array;
}

/** What opens: the passphrase, or the private half itself (`AGE-SECRET-KEY-1…`). */
export type Unlocking = { readonly passphrase: string } | { readonly identity: string };

const keyStanza = 'flotilla.dev/key';

/** `work`: of scrypt, as a power of two (tests take little). */
export async function makeSealingKey(
  passphrase: string,
  work: number = scryptWork.made,
): Promise<Required<SealingKey>> {
  const { recipient, identity } = generateAgeKey();
  const fileKey = randomBytes(fileKeyBytes);
  const stanza = await wrapWithPassphrase(fileKey, passphrase, work);
  const chunks = sealed([Buffer.from(`${identity}\n`)], fileKey, [stanza]);
  return { recipient, lockedIdentity: await all(chunks) };
}

/** The private half, which opens all that was sealed with `key`. Throws SealedStreamError. */
export async function unlockIdentity(
  key: Pick<SealingKey, 'lockedIdentity'>,
  passphrase: string,
): Promise<string> {
  if (key.lockedIdentity === undefined) throw new SealedStreamError('no-passphrase');
  const reader = new ByteReader([key.lockedIdentity]);
  const header = await readHeader(reader);
  const fileKey = await unwrapWithPassphrase(header.stanzas, passphrase);
  verifyHeader(header, fileKey);
  return Buffer.from(await all(openPayload(reader, fileKey)))
    .toString()
    .trim();
}

/** Throws RangeError when the key's recipient is none. */
export function sealStream(plain: Chunks, key: SealingKey): AsyncGenerator<Uint8Array> {
  const fileKey = randomBytes(fileKeyBytes);
  const stanzas = [wrapForRecipient(fileKey, key.recipient)];
  const { lockedIdentity } = key;
  if (lockedIdentity !== undefined) stanzas.push(lockedKeyStanza(lockedIdentity));
  return sealed(plain, fileKey, stanzas);
}

/** Throws SealedStreamError while it is read, the passphrase's before anything is handed on. */
export async function* openStream(chunks: Chunks, by: Unlocking): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(chunks);
  try {
    const header = await readHeader(reader);
    const identity =
      'identity' in by ? by.identity : await unlockIdentity(keyIn(header.stanzas), by.passphrase);
    const fileKey = unwrapWithIdentity(header.stanzas, identity);
    if (fileKey === undefined)
      throw new SealedStreamError('identity' in by ? 'wrong-key' : 'damaged');
    verifyHeader(header, fileKey);
    yield* openPayload(reader, fileKey);
  } finally {
    await reader.close();
  }
}

/** What the file tells of its key without one; not verified until it is opened. Throws SealedStreamError. */
export async function readSealingKey(chunks: Chunks): Promise<Pick<SealingKey, 'lockedIdentity'>> {
  const reader = new ByteReader(chunks);
  try {
    return keyIn((await readHeader(reader)).stanzas);
  } finally {
    await reader.close();
  }
}

function keyIn(stanzas: readonly Stanza[]): Pick<SealingKey, 'lockedIdentity'> {
  const stanza = stanzas.find((one) => one.words[0] === keyStanza);
  if (stanza === undefined) return {};
  if (stanza.words[1] !== digest(stanza.body)) throw new SealedStreamError('damaged');
  return { lockedIdentity: stanza.body };
}

/** With a digest, which tells damage from a wrong passphrase. */
function lockedKeyStanza(lockedIdentity: Uint8Array): Stanza {
  return { words: [keyStanza, digest(lockedIdentity)], body: lockedIdentity };
}

function digest(bytes: Uint8Array): string {
  return unpadded(createHash('sha256').update(bytes).digest());
}

async function* sealed(
  plain: Chunks,
  fileKey: Uint8Array,
  stanzas: readonly Stanza[],
): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(plain);
  try {
    yield Buffer.from(headerText(stanzas, fileKey));
    yield* sealPayload(reader, fileKey);
  } finally {
    await reader.close();
  }
}

async function all(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of chunks) pieces.push(piece);
  return Buffer.concat(pieces);
}
