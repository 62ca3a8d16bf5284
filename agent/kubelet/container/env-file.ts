// Pure: a variable out of a file in a volume (`fileKeyRef`, beta in Kubernetes 1.35): lines `NAME='value'`,
// the value in single quotes as it stands, over as many lines as it takes. All before the variable has to
// be well-formed. Source: kubernetes pkg/kubelet/util/env/env_util.go (ParseEnv), kubelet_pods.go.

export class EnvFileError extends Error {
  override readonly name = 'EnvFileError';

  constructor(line: number, what: string) {
    super(`invalid environment variable format at line ${line}: ${what}`);
  }
}

/** Undefined: it is not in there. Throws EnvFileError. */
export function envFileValue(text: string, key: string): string | undefined {
  const lines = text.split(/\r?\n/);
  for (let index = 0; index < lines.length; index++) {
    const number = index + 1;
    const line = (lines[index] ?? '').replace(/^[ \t]+/, '');
    if (line === '' || line.startsWith('#')) continue;
    const [, name = '', space = '', rest = ''] = /^([^=]*?)([ \t]*)=([^]*)$/.exec(line) ?? [];
    if (!line.includes('=')) throw new EnvFileError(number, "missing '='");
    if (name === '') throw new EnvFileError(number, 'empty variable name');
    if (space !== '') throw new EnvFileError(number, "whitespace before '=' is not allowed");
    // As a shell reads it: the variable is empty, and what follows is not its value.
    if (/^[ \t]/.test(rest)) {
      if (name === key) return '';
      continue;
    }
    if (!rest.startsWith("'"))
      throw new EnvFileError(number, 'value must be enclosed in single quotes');
    let value = rest.slice(1);
    while (!value.includes("'")) {
      const next = lines[++index];
      if (next === undefined) throw new EnvFileError(number, 'unclosed single quote');
      value += `\n${next}`;
    }
    const end = value.indexOf("'");
    if (!/^[ \t]*(#|$)/.test(value.slice(end + 1)))
      throw new EnvFileError(index + 1, 'unexpected content after closing quote');
    if (name === key) return value.slice(0, end);
  }
  return undefined;
}
