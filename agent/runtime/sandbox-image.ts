// The sandbox's image, made here so that a node needs no registry for it: one static program of
// about 200 bytes that ignores SIGCHLD (the kernel then reaps orphans, which matters when the pod
// shares one process namespace) and sleeps for ever. Machine code for x86-64 and arm64.
// Source: System V ABI (ELF-64), kubernetes build/pause (what a sandbox program has to do).
import { createHash } from 'node:crypto';

/** Raise the number when the program changes. */
export const sandboxImageName = 'flotilla/sandbox:1';

export type SandboxArch = 'amd64' | 'arm64';

const loadAddress = 0x400000;
const headerBytes = 64 + 56;
const sigChld = 17;

/** A kernel `struct sigaction`: handler SIG_IGN, no flags, no restorer, empty mask. */
function ignoreAction(): Buffer {
  const action = Buffer.alloc(32);
  action.writeBigUInt64LE(1n, 0);
  return action;
}

function amd64Code(): Buffer {
  const code = [
    [0xb8, 13, 0, 0, 0], // mov eax, rt_sigaction
    [0xbf, sigChld, 0, 0, 0], // mov edi, SIGCHLD
    [0x48, 0x8d, 0x35, 0, 0, 0, 0], // lea rsi, [rip + action]: patched below
    [0x31, 0xd2], // xor edx, edx
    [0x41, 0xba, 8, 0, 0, 0], // mov r10d, 8
    [0x0f, 0x05], // syscall
    [0xb8, 34, 0, 0, 0], // mov eax, pause
    [0x0f, 0x05], // syscall
    [0xeb, 0xf7], // jmp to mov eax, pause
  ];
  const bytes = Buffer.from(code.flat());
  const afterLea = 5 + 5 + 7;
  bytes.writeInt32LE(bytes.length - afterLea, afterLea - 4);
  return Buffer.concat([bytes, ignoreAction()]);
}

function arm64Code(): Buffer {
  const words: number[] = [];
  const move = (register: number, value: number) => 0xd2800000 | (value << 5) | register;
  const supervisorCall = 0xd4000001;
  words.push(move(8, 134), move(0, sigChld)); // rt_sigaction, SIGCHLD
  const adrIndex = words.push(0) - 1; // adr x1, action: patched below
  words.push(move(2, 0), move(3, 8), supervisorCall);
  const loop = words.length;
  words.push(move(8, 73), move(0, 0), move(1, 0), move(2, 0), move(3, 0), move(4, 0)); // ppoll
  words.push(supervisorCall);
  words.push(0x14000000 | ((loop - words.length) & 0x03ffffff)); // b loop
  const distanceBytes = (words.length - adrIndex) * 4;
  words[adrIndex] = 0x10000000 | ((distanceBytes >> 2) << 5) | ((distanceBytes & 3) << 29) | 1;
  const bytes = Buffer.alloc(words.length * 4);
  words.forEach((word, index) => bytes.writeUInt32LE(word >>> 0, index * 4));
  return Buffer.concat([bytes, ignoreAction()]);
}

/** A whole ELF-64 executable: header, one loadable segment, code. */
export function sandboxProgram(arch: SandboxArch): Buffer {
  const code = arch === 'amd64' ? amd64Code() : arm64Code();
  const size = BigInt(headerBytes + code.length);
  const header = Buffer.alloc(headerBytes);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  header.writeUInt16LE(2, 16); // ET_EXEC
  header.writeUInt16LE(arch === 'amd64' ? 62 : 183, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(loadAddress + headerBytes), 24); // entry
  header.writeBigUInt64LE(64n, 32); // program headers
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(1, 56);
  header.writeUInt32LE(1, 64); // PT_LOAD
  header.writeUInt32LE(5, 68); // read, execute
  header.writeBigUInt64LE(BigInt(loadAddress), 80);
  header.writeBigUInt64LE(BigInt(loadAddress), 88);
  header.writeBigUInt64LE(size, 96);
  header.writeBigUInt64LE(size, 104);
  header.writeBigUInt64LE(0x1000n, 112);
  return Buffer.concat([header, code]);
}

/** A tar as `docker save` writes it, for `POST /images/load`. The same bytes every time. */
export async function sandboxImageTar(arch: SandboxArch): Promise<Buffer> {
  const layer = await tar([{ name: 'sandbox', mode: 0o755, body: sandboxProgram(arch) }]);
  const diffId = createHash('sha256').update(layer).digest('hex');
  const config = Buffer.from(
    JSON.stringify({
      architecture: arch,
      os: 'linux',
      config: { Entrypoint: ['/sandbox'], Labels: { 'flotilla.dev/sandbox': '1' } },
      rootfs: { type: 'layers', diff_ids: [`sha256:${diffId}`] },
      history: [{ created_by: 'flotilla' }],
    }),
  );
  const configName = `${createHash('sha256').update(config).digest('hex')}.json`;
  const manifest = [{ Config: configName, RepoTags: [sandboxImageName], Layers: ['layer.tar'] }];
  return tar([
    { name: configName, mode: 0o644, body: config },
    { name: 'layer.tar', mode: 0o644, body: layer },
    { name: 'manifest.json', mode: 0o644, body: Buffer.from(JSON.stringify(manifest)) },
  ]);
}

interface TarEntry {
  readonly name: string;
  readonly mode: number;
  readonly body: Buffer;
}

async function tar(entries: readonly TarEntry[]): Promise<Buffer> {
  // Needed once in a node's life: not worth its memory in every agent.
  const { pack } = await import('tar-stream');
  const stream = pack();
  for (const { name, mode, body } of entries)
    stream.entry({ name, mode, mtime: new Date(0) }, body);
  stream.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
