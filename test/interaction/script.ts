// Interaction scripts: a text file of commands and what came of them, readable as documentation.
// A block is one or more command lines, a line `----`, and the trace up to the next blank line.
// Comments begin with `#`. Running a script writes it anew: a test compares the two, `vitest -u`
// takes the new one, a person reads the difference.
// Source of the form: cockroachdb/datadriven.

/** Runs one command line; returns the lines of its trace. */
export type RunCommand = (line: string) => readonly string[];

export function runScript(script: string, run: RunCommand): string {
  const output: string[] = [];
  let commands: string[] = [];
  let isTrace = false;
  for (const line of script.split('\n')) {
    if (isTrace) {
      if (line.trim() !== '') continue;
      isTrace = false;
    }
    if (line === '----') {
      output.push(line, ...trace(commands, run));
      commands = [];
      isTrace = true;
      continue;
    }
    if (line.trim() !== '' && !line.startsWith('#')) commands.push(line.trim());
    output.push(line.trimEnd());
  }
  if (commands.length > 0) throw new Error(`No ---- follows: ${commands.join('; ')}`);
  return `${output.join('\n').trimEnd()}\n`;
}

/** Of several commands each is named above its own lines, unless it has none. */
function trace(commands: readonly string[], run: RunCommand): string[] {
  const lines = commands.flatMap((command) => {
    const own = run(command);
    if (commands.length === 1 || own.length === 0) return own;
    return [`> ${command}`, ...own.map((line) => `  ${line}`)];
  });
  return lines.length === 0 ? ['ok'] : lines;
}
