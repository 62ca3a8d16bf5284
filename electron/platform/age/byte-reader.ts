// Bytes of a stream by the line and by the number, whatever pieces they come in. Keeps what was read
// ahead and nothing else.

export type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;

  constructor(chunks: Chunks) {
    this.#chunks =
      Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  }

  /** `length` bytes, or what was left of them: fewer only at the end. */
  async read(length: number): Promise<Buffer> {
    while (this.#pendingBytes < length && (await this.#more()));
    return this.#take(Math.min(length, this.#pendingBytes));
  }

  async isAtEnd(): Promise<boolean> {
    while (this.#pendingBytes === 0) if (!(await this.#more())) return true;
    return false;
  }

  /** Without its "\n". Undefined: none ends within `maxBytes`, or before the end. */
  async readLine(maxBytes: number): Promise<string | undefined> {
    for (;;) {
      const joined = this.#joined();
      const end = joined.indexOf(0x0a);
      if (end > maxBytes || (end < 0 && joined.length > maxBytes)) return undefined;
      if (end >= 0) return this.#take(end + 1).toString('latin1', 0, end);
      if (!(await this.#more())) return undefined;
    }
  }

  /** The source is told that nobody reads on. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #more(): Promise<boolean> {
    const { done, value } = await this.#chunks.next();
    if (done === true) return false;
    if (value.length > 0) this.#pending.push(value);
    this.#pendingBytes += value.length;
    return true;
  }

  #joined(): Buffer {
    const [first] = this.#pending;
    const joined =
      this.#pending.length === 1 && first !== undefined
        ? Buffer.from(first.buffer, first.byteOffset, first.byteLength)
        : Buffer.concat(this.#pending);
    this.#pending = joined.length === 0 ? [] : [joined];
    return joined;
  }

  #take(length: number): Buffer {
    const joined = this.#joined();
    this.#pending = length < joined.length ? [joined.subarray(length)] : [];
    this.#pendingBytes -= length;
    return joined.subarray(0, length);
  }
}
