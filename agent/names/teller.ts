// Who tells the home of names: avahi where it runs (avahi.ts), else this process itself (own-teller.ts).

/** This machine on one network interface. */
export interface LinkAddress {
  /** Of the interface. */
  readonly name: string;
  readonly address: string;
  readonly prefixLength: number;
}

export interface Teller {
  /** Exactly these names from now on, on exactly these links (by a key of each). Answers what is the matter, or ''. */
  tell(names: ReadonlySet<string>, links: ReadonlyMap<string, LinkAddress>): Promise<string>;
  /** What is ours now, by what was wanted: the same, or with a number, and on all links the same. */
  readonly held: ReadonlyMap<string, string>;
}

/** `films.local` and 2: `films-2.local`. */
export function numbered(name: string, number: number): string {
  if (number === 1) return name;
  const [label = '', ...rest] = name.split('.');
  return [`${label}-${number}`, ...rest].join('.');
}
