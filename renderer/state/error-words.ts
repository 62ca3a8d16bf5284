// What the API server says about a value, for somebody who fills in a form. Pure. What it does not
// know it leaves as it is, without regular expressions and without the refused object itself.
// The server's wording: electron/kube/machinery/names.ts and registry/strategies.

const phrases: readonly (readonly [pattern: RegExp, words: string])[] = [
  [
    // An app's name becomes that of its container, which may have no dots.
    /a lowercase RFC 1123 (label|subdomain)|a valid label must/,
    'Use lower-case letters, digits and dashes; begin and end with a letter or digit',
  ],
  [
    /a DNS-1035 label/,
    'Use lower-case letters, digits and dashes; begin with a letter, end with a letter or digit',
  ],
  [/no more than 63 (characters|bytes)/, 'Use at most 63 characters'],
  [/a valid config key/, 'Use letters, digits, dots, dashes and underscores'],
  [/a valid environment variable name/, 'Use plain letters, digits and signs, but no "="'],
  [/must be between 1 and 65535/, 'Use a port from 1 to 65535'],
  [/range of valid ports/, 'Use a port from 30000 to 32767'],
  [/provided port is already allocated/, 'Another app is reached by this port already'],
  [/quantities must match/, 'Use an amount such as 256Mi, 2Gi or 0.5'],
  [/must be unique/, 'Another one says the same already'],
  [/^Duplicate value/, 'This is there twice'],
];

/** What a missing value is, by the end of its path. */
const lacks: readonly (readonly [pattern: RegExp, words: string])[] = [
  [/\.mountPath$/, 'Say which folder of the app it is'],
  [/\.hostPath(\.path)?$/, 'Say which folder of the machine it is'],
  [/env\[\d+\]\.name$/, 'Give the variable a name'],
  [/\.image$/, 'Say which image to run'],
  [/\.name$/, 'Give it a name'],
];

/** `path` is that of the cause, `message` its text. */
export function errorWords(path: string, message: string): string {
  const isLack = message.startsWith('Required value');
  const lack = isLack ? lacks.find(([end]) => end.test(path)) : undefined;
  const known = lack ?? phrases.find(([pattern]) => pattern.test(message));
  if (known !== undefined) return known[1];
  if (message === 'Required value') return 'Something is needed here';
  return message
    .replace(/ \(e\.g\. .*regex used for validation is .*\)$/, '')
    .replace(/^Invalid value: "\{.*\}": /s, '');
}
