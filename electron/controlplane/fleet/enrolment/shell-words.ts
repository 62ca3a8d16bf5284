// How arguments get through a shell: SSH hands one line to whatever shell the user has. The one place that quotes.

/** Means `value` and nothing else to sh, bash, zsh, dash, ash and fish. Throws on a NUL, which no argument can hold. */
export function shellWord(value: string): string {
  if (value.includes('\0')) throw new RangeError('an argument can not hold a NUL');
  if (/^[A-Za-z0-9_./:@%+,-]+$/.test(value)) return value;
  // fish takes a backslash between single quotes for one that escapes: it stands outside.
  const parts = value.split(/(['\\])/).filter((part) => part !== '');
  if (parts.length === 0) return "''";
  return parts.map((part) => (part === "'" || part === '\\' ? `\\${part}` : `'${part}'`)).join('');
}

export function commandLine(program: string, args: readonly string[]): string {
  return [program, ...args].map(shellWord).join(' ');
}
