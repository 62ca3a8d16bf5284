// Fields under names that are identifiers. Source: kubernetes apiserver pkg/cel/escaping.go.

const reserved: ReadonlySet<string> = new Set(
  (
    'true false null in as break const continue else for function if import let loop package ' +
    'namespace return var void while'
  ).split(' '),
);

/** Undefined: no rule can speak of that field. */
export function escapedName(name: string): string | undefined {
  if (reserved.has(name)) return `__${name}__`;
  if (!/^[A-Za-z_.\-/][A-Za-z0-9_.\-/]*$/.test(name)) return undefined;
  return name
    .replaceAll('__', '__underscores__')
    .replaceAll('.', '__dot__')
    .replaceAll('-', '__dash__')
    .replaceAll('/', '__slash__');
}

/** What was escaped, and what was not as it is. */
export function originalFieldName(name: string): string {
  const word = /^__(.+)__$/.exec(name)?.[1];
  if (word !== undefined && reserved.has(word)) return word;
  const marks: Readonly<Record<string, string>> = {
    underscores: '__',
    dot: '.',
    dash: '-',
    slash: '/',
  };
  return name.replaceAll(
    /__(underscores|dot|dash|slash)__/g,
    (_, mark: string) => marks[mark] ?? mark,
  );
}
