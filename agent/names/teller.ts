// Who tells the home of names: avahi where it runs (avahi.ts), else this process itself (own-teller.ts).

/** This machine on one network interface. */
export interface LinkAddress {
  /** Of the interface. */
  readonly name: string;
  readonly address: string;
  readonly prefixLength: number;
}

export interface TellingLink extends LinkAddress {
  /** To be told there. */
  readonly names: ReadonlySet<string>;
}

export interface Teller {
  /** On exactly these links (by a key of each) exactly their names from now on. Answers what is the matter, or ''. */
  tell(links: ReadonlyMap<string, TellingLink>): Promise<string>;
  /** What is ours now, by what was wanted: the same, or with a number, and on all links the same. */
  readonly held: ReadonlyMap<string, string>;
}

export function namesOn(links: ReadonlyMap<string, TellingLink>): ReadonlySet<string> {
  return new Set([...links.values()].flatMap(({ names }) => [...names]));
}

/** `films.local` and 2: `films-2.local`. */
export function numbered(name: string, number: number): string {
  if (number === 1) return name;
  const [label = '', ...rest] = name.split('.');
  return [`${label}-${number}`, ...rest].join('.');
}
