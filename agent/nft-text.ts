// The text of nft transactions, as far as our tables have it in common. Pure.

/** Whether it is there or not. */
export function removeTableText(table: string): string {
  // `add` first, so that `delete` can't fail.
  return `add table ip ${table}\ndelete table ip ${table}\n`;
}

/** '' for the value of a set's element. */
export function elementText(key: string, value: string): string {
  return value === '' ? key : `${key} : ${value}`;
}

/** A map or set inside its table; `head` opens a brace. */
export function blockText(head: string, elements: readonly string[]): string[] {
  const [opening, ...rest] = head.split(/(?<=\{) /);
  const lines = [`  ${opening}`, ...rest.map((line) => `    ${line}`)];
  if (elements.length > 0)
    lines.push('    elements = {', ...elements.map((text) => `      ${text},`), '    }');
  return [...lines, '  }'];
}

export function chainText(name: string, rules: readonly string[]): string[] {
  return [`  chain ${name} {`, ...rules.map((rule) => `    ${rule};`), '  }'];
}

export interface ElementChange {
  /** To be done before anything that comes. */
  readonly removed: readonly string[];
  readonly added: readonly string[];
}

type Elements = ReadonlyMap<string, string>;

/** Of one map or set. A changed element goes and comes again. */
export function elementChange(
  [table, name]: readonly [table: string, name: string],
  before: Elements,
  after: Elements,
): ElementChange {
  const gone: string[] = [];
  const come: string[] = [];
  for (const [key, value] of before) if (after.get(key) !== value) gone.push(key);
  for (const [key, value] of after)
    if (before.get(key) !== value) come.push(elementText(key, value));
  const line = (verb: string, texts: readonly string[]): string[] =>
    texts.length === 0 ? [] : [`${verb} element ip ${table} ${name} { ${texts.join(', ')} }`];
  return { removed: line('delete', gone), added: line('add', come) };
}
