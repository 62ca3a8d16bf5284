// Values that lie encrypted on disk: AES-256-GCM, each bound to its place, so that one put in
// another's place does not open. A sealed value names its key, so keys can be rotated: the first of
// the file seals, all of them open.
// Form: `flotilla:enc:aesgcm:v1:<key id>:` nonce (12 bytes) ciphertext tag (16 bytes). A key's id is
// made of the key itself. Random nonces last for 2^32 values of one key.
// Source: kubernetes apiserver pkg/storage/value/encrypt/aes/aes.go (form and place as its own).
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';

/** What is encrypted can't be opened with the keys there are. Its message is a sentence. */
export class SealedValueError extends Error {
  override readonly name = 'SealedValueError';
}

/** The file of keys can't be used. Its message is a sentence for a person. */
export class SealingKeysError extends Error {
  override readonly name = 'SealingKeysError';
}

interface SealingKey {
  readonly prefix: Buffer;
  readonly id: string;
  readonly secret: Buffer;
}

const mark = Buffer.from('flotilla:enc:aesgcm:v1:');
const algorithm = 'aes-256-gcm';
export const keyBytes = 32;
const idLength = 8;
const nonceBytes = 12;
const tagBytes = 16;
const prefixBytes = mark.length + idLength + 1;

export class SealingKeys {
  readonly #keys: readonly SealingKey[];
  readonly #file: string;

  /**
   * `text`: one key in base64 on each line, lines of `#` are remarks. `file` is where it came from,
   * for sentences. Throws SealingKeysError.
   */
  constructor(text: string, file: string) {
    this.#file = file;
    this.#keys = text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line, index) => sealingKey(line, `line ${index + 1} of the keys in ${file}`));
    if (this.#keys.length === 0)
      throw new SealingKeysError(
        `${file} holds no key: put it back from a backup or from another member.`,
      );
  }

  /** How all that is sealed begins; what says with which key comes within `headBytes`. */
  static readonly mark: Uint8Array = mark;
  static readonly headBytes = prefixBytes;

  /** Why what begins so can't be opened, whatever its place: its key is not here. Undefined: it may be. */
  problemOf(head: Uint8Array): string | undefined {
    const id = idIn(head);
    if (this.#keys.some((one) => one.id === id)) return undefined;
    return `encrypted with the key ${id}, which is not in ${this.#file}`;
  }

  isSealed(value: Uint8Array): boolean {
    return value.length >= mark.length && mark.equals(value.subarray(0, mark.length));
  }

  /** With the key that seals now. */
  isCurrent(value: Uint8Array): boolean {
    return this.#keys[0]?.prefix.equals(value.subarray(0, prefixBytes)) === true;
  }

  /** `place` has to be the same when it is opened. */
  seal(value: Uint8Array, place: string): Uint8Array {
    const [key] = this.#keys;
    if (key === undefined) throw new Error('there is a key');
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv(algorithm, key.secret, nonce);
    cipher.setAAD(Buffer.from(place));
    const ciphertext = [cipher.update(value), cipher.final()];
    return Buffer.concat([key.prefix, nonce, ...ciphertext, cipher.getAuthTag()]);
  }

  /** Throws SealedValueError. */
  open(sealed: Uint8Array, place: string): Uint8Array {
    const key = this.#keys.find((one) => one.id === idIn(sealed));
    if (key === undefined)
      throw new SealedValueError(
        `${place} is ${this.problemOf(sealed)}: put that file back from a backup, or copy it from another member.`,
      );
    try {
      const nonceEnd = prefixBytes + nonceBytes;
      const tagStart = sealed.length - tagBytes;
      const decipher = createDecipheriv(
        algorithm,
        key.secret,
        sealed.subarray(prefixBytes, nonceEnd),
        { authTagLength: tagBytes },
      );
      decipher.setAAD(Buffer.from(place));
      decipher.setAuthTag(sealed.subarray(tagStart));
      return Uint8Array.from(
        Buffer.concat([decipher.update(sealed.subarray(nonceEnd, tagStart)), decipher.final()]),
      );
    } catch (cause) {
      throw new SealedValueError(
        `${place} can't be decrypted: its bytes were changed, or belong to another key. Put the state back from a backup.`,
        { cause },
      );
    }
  }
}

function idIn(sealed: Uint8Array): string {
  return Buffer.from(sealed.subarray(mark.length, mark.length + idLength)).toString();
}

function sealingKey(line: string, where: string): SealingKey {
  const secret = Buffer.from(line, 'base64');
  if (secret.length !== keyBytes || secret.toString('base64') !== line)
    throw new SealingKeysError(
      `${where} is no key (${keyBytes} bytes in base64): put the file back from a backup or from another member.`,
    );
  const id = createHash('sha256').update(secret).digest('hex').slice(0, idLength);
  return { secret, id, prefix: Buffer.concat([mark, Buffer.from(`${id}:`)]) };
}
