// What a running program has no use for: names of its functions, and what debuggers read, lie in an ELF file
// behind all that is loaded. Cutting them off takes no tool of the other architecture.
// Source: ELF-64 object file format (TIS 1.2; System V ABI, program header).

const magic = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
/** Of the file's header: where its tables are, and how long. */
const at = { programs: 32, sections: 40, programSize: 54, programCount: 56, sectionCount: 60 };
const loadable = 1;

/** The program up to the end of its last segment, without a table of sections. What is no ELF of 64 bits stays as it is. */
export function withoutSymbols(program: Uint8Array): Uint8Array {
  const bytes = Buffer.from(program.buffer, program.byteOffset, program.byteLength);
  if (!bytes.subarray(0, magic.length).equals(magic)) return program;
  const start = Number(bytes.readBigUInt64LE(at.programs));
  const size = bytes.readUInt16LE(at.programSize);
  const count = bytes.readUInt16LE(at.programCount);
  let end = start + size * count;
  let isLoaded = false;
  for (let index = 0; index < count; index++) {
    const segment = start + index * size;
    const offset = Number(bytes.readBigUInt64LE(segment + 8));
    const length = Number(bytes.readBigUInt64LE(segment + 32));
    end = Math.max(end, offset + length);
    isLoaded ||= bytes.readUInt32LE(segment) === loadable;
  }
  if (!isLoaded || end > bytes.length) return program;
  const stripped = Buffer.from(bytes.subarray(0, end));
  stripped.writeBigUInt64LE(0n, at.sections);
  // How many sections there are, and which has their names.
  stripped.writeUInt32LE(0, at.sectionCount);
  return stripped;
}
