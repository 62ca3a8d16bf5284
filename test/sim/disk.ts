// A Disk in memory that forgets as a real one does: what a write brought is there only when it is
// done, and a crash keeps each write in flight wholly, in part (any of its sectors) or not at all.
// Names, too: what was made, renamed or removed since the last finished rename may be undone.
// Time and choices come from the given clock and randomness, so one seed gives one run.
import type { Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import type { Disk, DiskFile } from '../../electron/controlplane/replica/types.ts';

const sectorBytes = 512;

type Done = (error?: Error) => void;

export interface MemoryDiskOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** How long a write of so many bytes (a rename: 0) takes. 0 ms when left out. */
  readonly delayMs?: (sizeBytes: number) => number;
  readonly capacityBytes?: number;
}

interface Inode {
  /** On the disk. */
  bytes: Uint8Array;
  /** Only in the machine's memory yet. */
  cached: Write[];
}

interface Write {
  readonly inode: Inode;
  readonly bytes: Uint8Array;
  readonly offset: number;
}

type NameChange =
  | { readonly type: 'make'; readonly name: string; readonly inode: Inode }
  | { readonly type: 'remove'; readonly name: string }
  | { readonly type: 'rename'; readonly from: string; readonly to: string; readonly inode: Inode };

export class MemoryDisk implements Disk {
  /** Finished writes, their bytes, and finished renames. */
  writes = 0;
  bytesWritten = 0;
  renames = 0;
  /** Under way at a crash, or not flushed; failed; refused for want of space. */
  lost = 0;
  failed = 0;
  refused = 0;
  readonly #options: MemoryDiskOptions;
  #capacityBytes: number;
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #changes: NameChange[] = [];
  readonly #writing = new Set<Write>();
  readonly #renaming = new Set<NameChange>();
  #failure: Error | undefined;
  /** Counts crashes: what was begun before one never ends. */
  #life = 0;

  constructor(options: MemoryDiskOptions) {
    this.#options = options;
    this.#capacityBytes = options.capacityBytes ?? Infinity;
  }

  list(): readonly string[] {
    this.#flushNames();
    return [...this.#names.keys()];
  }

  read(name: string): Uint8Array {
    const inode = this.#inode(name);
    for (const write of inode.cached.splice(0)) put(write);
    return inode.bytes.slice();
  }

  open(name: string): DiskFile {
    const inode = this.#names.get(name) ?? this.#make(name);
    const life = this.#life;
    let isWriting = false;
    let isOpen = true;
    return {
      write: (bytes, offset, done) => {
        if (isWriting || !isOpen || life !== this.#life)
          throw new Error(`${name}: written to while ${isWriting ? 'being written' : 'closed'}`);
        isWriting = true;
        this.#write({ inode, bytes: bytes.slice(), offset }, (error) => {
          isWriting = false;
          done(error);
        });
      },
      sizeBytes: () => inode.bytes.length,
      close: () => {
        if (isWriting && life === this.#life)
          throw new Error(`${name}: closed while being written`);
        isOpen = false;
      },
    };
  }

  rename(from: string, to: string, done: Done): void {
    const inode = this.#inode(from);
    const change: NameChange = { type: 'rename', from, to, inode };
    this.#renaming.add(change);
    this.#later(0, () => {
      this.#renaming.delete(change);
      const error = this.#takeFailure();
      if (error !== undefined) {
        this.#changes.push(change);
        return done(error);
      }
      this.#names.delete(from);
      this.#names.set(to, inode);
      this.#flushNames();
      this.renames++;
      done();
    });
  }

  remove(name: string): void {
    this.#inode(name);
    this.#names.delete(name);
    this.#changes.push({ type: 'remove', name });
  }

  /** The power goes: nothing that was under way calls back, and only what survives is left. */
  crash(): void {
    const { random } = this.#options;
    this.#life++;
    for (const inode of new Set([...this.#names.values(), ...this.#durableNames.values()]))
      for (const write of inode.cached.splice(0)) this.#lose(write);
    for (const write of this.#writing) this.#lose(write);
    const names = new Map(this.#durableNames);
    for (const change of [...this.#changes, ...this.#renaming])
      if (random.next() < 0.5) applyChange(names, change);
    this.#names = names;
    this.#flushNames();
    this.#writing.clear();
    this.#renaming.clear();
    this.#failure = undefined;
  }

  /**
   * The process is killed, the machine goes on: the next process finds what was under way done,
   * but only reading and listing make it survive a crash.
   */
  kill(): void {
    this.#life++;
    for (const write of this.#writing) write.inode.cached.push(write);
    for (const change of this.#renaming) {
      applyChange(this.#names, change);
      this.#changes.push(change);
    }
    this.#writing.clear();
    this.#renaming.clear();
  }

  /** The next write or rename that ends fails, having done who knows what. */
  failNext(code = 'EIO'): void {
    this.#failure = diskError(code);
  }

  setCapacity(sizeBytes: number): void {
    this.#capacityBytes = sizeBytes;
  }

  usedBytes(): number {
    return [...this.#names.values()].reduce((sum, inode) => sum + inode.bytes.length, 0);
  }

  flipBit(name: string, bit: number): void {
    const { bytes } = this.#inode(name);
    const index = Math.floor(bit / 8);
    bytes[index] = (bytes[index] ?? 0) ^ (1 << (bit % 8));
  }

  /** What the file is to hold, without ceremony. */
  setFile(name: string, bytes: Uint8Array): void {
    const inode = this.#names.get(name) ?? this.#make(name);
    inode.bytes = bytes.slice();
    this.#durableNames.set(name, inode);
  }

  #flushNames(): void {
    this.#durableNames = new Map(this.#names);
    this.#changes = [];
  }

  #inode(name: string): Inode {
    const inode = this.#names.get(name);
    if (inode === undefined)
      throw Object.assign(new Error(`ENOENT: no such file, ${name}`), { code: 'ENOENT' });
    return inode;
  }

  #make(name: string): Inode {
    const inode = { bytes: new Uint8Array(), cached: [] };
    this.#names.set(name, inode);
    this.#changes.push({ type: 'make', name, inode });
    return inode;
  }

  #write(write: Write, done: Done): void {
    this.#writing.add(write);
    this.#later(write.bytes.length, () => {
      this.#writing.delete(write);
      const growth = write.offset + write.bytes.length - write.inode.bytes.length;
      const isFull = growth > 0 && this.usedBytes() + growth > this.#capacityBytes;
      const error = this.#takeFailure() ?? (isFull ? diskError('ENOSPC') : undefined);
      if (isFull) this.refused++;
      if (error === undefined) {
        put(write);
        this.writes++;
        this.bytesWritten += write.bytes.length;
      } else if (!isFull) this.#keepSome(write);
      done(error);
    });
  }

  #takeFailure(): Error | undefined {
    const failure = this.#failure;
    if (failure !== undefined) this.failed++;
    this.#failure = undefined;
    return failure;
  }

  #later(sizeBytes: number, work: () => void): void {
    const life = this.#life;
    this.#options.clock.timer(this.#options.delayMs?.(sizeBytes) ?? 0, () => {
      if (life === this.#life) work();
    });
  }

  #lose(write: Write): void {
    this.lost++;
    this.#keepSome(write);
  }

  #keepSome(write: Write): void {
    const { random } = this.#options;
    const outcome = random.next();
    if (outcome < 0.25) return;
    if (outcome < 0.5) return put(write);
    // Sectors of the file, wherever in them the write begins and ends.
    const end = write.offset + write.bytes.length;
    for (let from = write.offset; from < end;) {
      const to = Math.min(end, (Math.floor(from / sectorBytes) + 1) * sectorBytes);
      if (random.next() < 0.5)
        put({
          inode: write.inode,
          bytes: write.bytes.subarray(from - write.offset, to - write.offset),
          offset: from,
        });
      from = to;
    }
  }
}

function put({ inode, bytes, offset }: Write): void {
  const end = offset + bytes.length;
  if (end > inode.bytes.length) {
    const grown = new Uint8Array(end);
    grown.set(inode.bytes);
    inode.bytes = grown;
  }
  inode.bytes.set(bytes, offset);
}

function applyChange(names: Map<string, Inode>, change: NameChange): void {
  if (change.type === 'make') names.set(change.name, change.inode);
  else if (change.type === 'remove') names.delete(change.name);
  else {
    names.delete(change.from);
    names.set(change.to, change.inode);
  }
}

function diskError(code: string): Error {
  return Object.assign(new Error(`${code}: the disk failed, as it was told to`), { code });
}
