// Reads the subset of nft that nftables.ts and agent/policy write, and sends packets through it as a kernel would: one
// table, transactions on it, the hooks in order of their priority, address translation and what becomes
// of a packet. What it does not know it refuses, so that no rule goes unread. For tests.
import { parseIpv4 } from '#kube/machinery/ipv4.ts';
import { isWithin } from '../addresses.ts';

export interface Packet {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  readonly port: number;
  /** The interface it came by; undefined: from this machine itself. */
  readonly iif?: string;
  /** Of a connection that was let through before. */
  readonly isKnown?: boolean;
}

export interface World {
  readonly local: readonly string[];
  /** The interface that an address is reached by. */
  readonly oif: (address: string) => string;
  /** A number from 0 to below 1. */
  readonly random: () => number;
}

export type Fate =
  | { readonly kind: 'dropped' | 'refused' }
  | {
      readonly kind: 'sent';
      readonly to: string;
      readonly port: number;
      readonly isTranslated: boolean;
      readonly isMasqueraded: boolean;
      readonly mark: number;
    };

interface Chain {
  hook: { name: string; priority: number } | undefined;
  rules: string[];
}

interface NftSet {
  readonly kind: 'map' | 'set';
  readonly isInterval: boolean;
  readonly isDynamic: boolean;
  readonly elements: Map<string, string>;
}

/** A packet on its way, and what rules made of it. */
interface State {
  readonly packet: Packet;
  readonly world: World;
  to: string;
  port: number;
  mark: number;
  isTranslated: boolean;
  isMasqueraded: boolean;
}

type Verdict = 'accept' | 'drop' | 'refuse' | 'return' | undefined;

export class NftTable {
  readonly #chains = new Map<string, Chain>();
  readonly #sets = new Map<string, NftSet>();

  /** A whole file: all of it, or an error that leaves the table useless. */
  load(text: string): void {
    const lines = text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i] ?? '';
      if (/^add table ip \S+$/.test(line)) continue;
      else if (/^delete table ip \S+$/.test(line)) this.#clear();
      else if (/^table ip \S+ \{$/.test(line)) i = this.#block(lines, i + 1);
      else this.#command(line);
    }
    this.#check();
  }

  /** Everything in a canonical form, without what is empty and nobody goes to. */
  listing(): string {
    const used = [...this.#sets.values()].flatMap((set) => [...set.elements.values()]).join('\n');
    const rules = [...this.#chains.values()].flatMap((chain) => chain.rules).join('\n');
    const isUsed = (name: string): boolean =>
      `${used}\n${rules}\n`.match(new RegExp(`(goto|jump) ${name}(?![\\w./-])`)) !== null;
    const chains = [...this.#chains]
      .filter(([name, chain]) => chain.hook !== undefined || chain.rules.length > 0 || isUsed(name))
      .map(([name, { rules: own }]) => `chain ${name}\n  ${own.join('\n  ')}`);
    const sets = [...this.#sets].map(
      ([name, { elements }]) =>
        `set ${name}\n  ${[...elements]
          .map((pair) => pair.join(' : '))
          .toSorted()
          .join('\n  ')}`,
    );
    return [...chains.toSorted(), ...sets.toSorted()].join('\n');
  }

  /** Clients that a set learned, by its name. */
  learned(set: string): readonly string[] {
    return [...(this.#sets.get(set)?.elements.keys() ?? [])];
  }

  send(packet: Packet, world: World): Fate {
    const state: State = {
      packet,
      world,
      to: packet.to,
      port: packet.port,
      mark: 0,
      isTranslated: false,
      isMasqueraded: false,
    };
    const isOwn = packet.iif === undefined;
    const first = this.#hook(isOwn ? 'output' : 'prerouting', state);
    if (first !== undefined) return { kind: first };
    const isHere = world.local.includes(state.to);
    const second = isHere
      ? this.#hook('input', state)
      : isOwn
        ? undefined
        : this.#hook('forward', state);
    if (second !== undefined) return { kind: second };
    if (!isHere) this.#hook('postrouting', state);
    const { to, port, isTranslated, isMasqueraded, mark } = state;
    return { kind: 'sent', to, port, isTranslated, isMasqueraded, mark };
  }

  #clear(): void {
    this.#chains.clear();
    this.#sets.clear();
  }

  #block(lines: readonly string[], start: number): number {
    for (let i = start; i < lines.length; i++) {
      const line = lines[i] ?? '';
      if (line === '}') return i;
      const [, kind = '', name = ''] = /^(chain|map|set) (\S+) \{$/.exec(line) ?? [];
      if (kind === '') throw new Error(`not understood in a table: ${line}`);
      const body: string[] = [];
      for (i++; lines[i] !== '}'; i++) {
        body.push(lines[i] ?? '');
        if (lines[i]?.endsWith('{') === true)
          for (i++; ; i++) {
            body.push(lines[i] ?? '');
            if (lines[i] === '}') break;
          }
      }
      if (kind === 'chain') this.#addChain(name, body);
      else this.#addSet(kind as 'map' | 'set', name, body.join(' '));
    }
    throw new Error('the table does not end');
  }

  #addChain(name: string, lines: readonly string[]): void {
    if (this.#chains.has(name)) throw new Error(`chain ${name} is there twice`);
    const [hook = ''] = lines;
    const match = /^type (?:nat|filter) hook (\S+) priority (-?\d+);$/.exec(hook);
    const rules = (match === null ? lines : lines.slice(1)).map((rule) => rule.replace(/;$/, ''));
    const [, at = '', priority = ''] = match ?? [];
    this.#chains.set(name, {
      hook: match === null ? undefined : { name: at, priority: Number(priority) },
      rules,
    });
  }

  #addSet(kind: 'map' | 'set', name: string, body: string): void {
    if (this.#sets.has(name)) throw new Error(`set ${name} is there twice`);
    const [head = '', elements = ''] = body.split('elements = {');
    const isInterval = head.includes('flags interval');
    const isDynamic = head.includes('flags dynamic');
    const set: NftSet = { kind, isInterval, isDynamic, elements: new Map() };
    this.#sets.set(name, set);
    this.#addElements(name, elements.replace(/\}$/, ''));
  }

  #addElements(name: string, text: string): void {
    const set = this.#set(name);
    for (const element of text.split(',').map((part) => part.trim())) {
      if (element === '') continue;
      const [key = '', value = ''] = element.replace(/ timeout .*/, '').split(' : ');
      if (set.elements.has(key)) throw new Error(`element ${key} is in ${name} twice`);
      set.elements.set(key, value);
    }
  }

  #command(line: string): void {
    const [, verb = '', kind = '', name = '', rest = ''] =
      /^(add|delete|flush) (chain|rule|element|set) ip \S+ (\S+) ?(.*)$/.exec(line) ?? [];
    switch (`${verb} ${kind}`) {
      case 'add chain':
        if (!this.#chains.has(name)) this.#chains.set(name, { hook: undefined, rules: [] });
        break;
      case 'flush chain':
        this.#chain(name).rules = [];
        break;
      case 'delete chain':
        if (this.#chain(name).rules.length > 0) throw new Error(`chain ${name} is not empty`);
        this.#chains.delete(name);
        break;
      case 'add rule':
        this.#chain(name).rules.push(rest);
        break;
      case 'add set':
        this.#addSet('set', name, rest.slice(1, -1));
        break;
      case 'delete set':
        this.#set(name);
        this.#sets.delete(name);
        break;
      case 'add element':
        this.#addElements(name, rest.slice(1, -1));
        break;
      case 'delete element':
        for (const key of rest
          .slice(1, -1)
          .split(',')
          .map((part) => part.trim()))
          if (!this.#set(name).elements.delete(key)) throw new Error(`${name} has no ${key}`);
        break;
      default:
        throw new Error(`not understood: ${line}`);
    }
  }

  /** Whatever is gone to and looked up has to be there, or a kernel takes nothing. */
  #check(): void {
    const verdicts = [...this.#sets.values()].flatMap((set) => [...set.elements.values()]);
    const rules = [...this.#chains.values()].flatMap((chain) => chain.rules);
    for (const text of [...verdicts, ...rules]) {
      for (const [, name = ''] of text.matchAll(/(?:goto|jump) ([\w./-]+)/g)) this.#chain(name);
      for (const [, name = ''] of text.matchAll(/@([\w./-]+)/g)) this.#set(name);
    }
  }

  #chain(name: string): Chain {
    const chain = this.#chains.get(name);
    if (chain === undefined) throw new Error(`there is no chain ${name}`);
    return chain;
  }

  #set(name: string): NftSet {
    const set = this.#sets.get(name);
    if (set === undefined) throw new Error(`there is no set ${name}`);
    return set;
  }

  #hook(name: string, state: State): 'dropped' | 'refused' | undefined {
    const chains = [...this.#chains.values()]
      .filter((chain) => chain.hook?.name === name)
      .toSorted((a, b) => (a.hook?.priority ?? 0) - (b.hook?.priority ?? 0));
    for (const chain of chains) {
      const verdict = this.#walk(chain, state, 0);
      if (verdict === 'drop') return 'dropped';
      if (verdict === 'refuse') return 'refused';
    }
    return undefined;
  }

  #walk(chain: Chain, state: State, depth: number): Verdict {
    if (depth > 16) throw new Error('chains go round');
    for (const rule of chain.rules) {
      const done = this.#rule(rule, state, depth);
      if (done !== undefined) return done;
    }
    return undefined;
  }

  /** Eats a rule from the left: conditions first, then what to do. Undefined: go on with the next. */
  #rule(rule: string, state: State, depth: number): Verdict {
    let rest = rule;
    while (rest !== '') {
      const condition = this.#condition(rest, state);
      if (condition === undefined) return this.#action(rest, state, depth);
      if (!condition.holds) return undefined;
      rest = condition.rest;
    }
    return undefined;
  }

  #condition(rest: string, state: State): { holds: boolean; rest: string } | undefined {
    const { packet, world } = state;
    const isName = (pattern: string, name: string | undefined): boolean =>
      name !== undefined &&
      (pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern);
    const conditions: [RegExp, (found: readonly string[]) => boolean][] = [
      [/^iifname "([^"]+)" ?/, ([name = '']) => isName(name, packet.iif)],
      [
        /^iifname != "([^"]+)" ?/,
        ([name = '']) => packet.iif !== undefined && !isName(name, packet.iif),
      ],
      [/^oifname "([^"]+)" ?/, ([name = '']) => isName(name, world.oif(state.to))],
      [/^oifname != "([^"]+)" ?/, ([name = '']) => !isName(name, world.oif(state.to))],
      [/^fib daddr type local ?/, () => world.local.includes(state.to)],
      [/^fib saddr type local ?/, () => world.local.includes(packet.from)],
      [/^ct state new(?:,invalid)? ?/, () => packet.isKnown !== true],
      [/^ct state established,related ?/, () => packet.isKnown === true],
      [/^ct status dnat ?/, () => state.isTranslated],
      [
        /^meta l4proto \{ ([^}]+) \} ?/,
        ([all = '']) => all.split(', ').includes(String(packet.protocol)),
      ],
      [/^meta l4proto (tcp|udp|sctp) ?/, ([name = '']) => protocols[name] === packet.protocol],
      [/^meta l4proto (\d+) ?/, ([number = '']) => Number(number) === packet.protocol],
      [
        /^th dport \{ ([^}]+) \} ?/,
        ([all = '']) =>
          all.split(', ').some((range) => {
            const [first = '', last = first] = range.split('-');
            return Number(first) <= state.port && state.port <= Number(last);
          }),
      ],
      [/^meta mark & (0x\w+) != 0 ?/, ([mask = '']) => (state.mark & Number(mask)) !== 0],
      [/^ip daddr != (\d[\d./]*) ?/, ([range = '']) => !isWithin(state.to, range)],
      [/^ip daddr (\d[\d./]*) ?/, ([range = '']) => isWithin(state.to, range)],
      [/^ip saddr (\d[\d./]*) ?/, ([range = '']) => isWithin(packet.from, range)],
      [
        /^((?:ip [sd]addr|meta l4proto|th dport)(?: \. (?:ip [sd]addr|meta l4proto|th dport))*) (!= )?@(\S+) ?/,
        ([key = '', not = '', name = '']) => this.#has(name, keyOf(key, state)) === (not === ''),
      ],
    ];
    for (const [pattern, test] of conditions) {
      const match = pattern.exec(rest);
      if (match === null) continue;
      return {
        holds: test(match.slice(1).map((part) => part ?? '')),
        rest: rest.slice(match[0].length),
      };
    }
    return undefined;
  }

  #has(name: string, key: string): boolean {
    const { elements, isInterval } = this.#set(name);
    if (!isInterval) return elements.has(key);
    const [address = '', ...front] = key.split(' . ').toReversed();
    return [...elements.keys()].some((element) => {
      const [range = '', ...other] = element.split(' . ').toReversed();
      return other.join() === front.join() && isInRange(address, range);
    });
  }

  #action(text: string, state: State, depth: number): Verdict {
    const [, verb = '', chain = ''] = /^(goto|jump) (\S+)$/.exec(text) ?? [];
    if (verb !== '') return this.#follow(verb, chain, state, depth);
    if (text === 'drop' || text === 'accept' || text === 'return') return text;
    if (text === 'reject' || text === 'reject with tcp reset') return 'refuse';
    if (text === 'masquerade') {
      state.isMasqueraded = true;
      return 'accept';
    }
    const [, bits] = /^meta mark set meta mark \| (0x\w+)$/.exec(text) ?? [];
    if (bits !== undefined) {
      state.mark |= Number(bits);
      return undefined;
    }
    const [, learning] = /^update @(\S+) \{ ip saddr \}$/.exec(text) ?? [];
    if (learning !== undefined) {
      if (!this.#set(learning).isDynamic) throw new Error(`${learning} can't learn`);
      this.#set(learning).elements.set(state.packet.from, '');
      return undefined;
    }
    const [, key, map] = /^(.+) vmap @(\S+)$/.exec(text) ?? [];
    if (key !== undefined && map !== undefined) {
      const verdict = this.#set(map).elements.get(keyOf(key, state));
      return verdict === undefined ? undefined : this.#action(verdict, state, depth);
    }
    return this.#draw(text, state, depth);
  }

  #draw(text: string, state: State, depth: number): Verdict {
    const [, count, all] = /^numgen random mod (\d+) vmap \{ (.+) \}$/.exec(text) ?? [];
    if (all !== undefined) {
      const slots = new Map(all.split(', ').map((one) => one.split(' : ') as [string, string]));
      const drawn = slots.get(String(Math.floor(state.world.random() * Number(count))));
      return drawn === undefined ? undefined : this.#action(drawn, state, depth);
    }
    const [, plain] = /^dnat to (\S+)$/.exec(text) ?? [];
    if (plain !== undefined) return translate(state, plain.replace(':', ' . '));
    const [, key, modulus, offset = '0', map] =
      /^dnat ip to (.+) \. numgen random mod (\d+)(?: offset (\d+))? map @(\S+)$/.exec(text) ?? [];
    if (key === undefined || map === undefined) throw new Error(`not understood: ${text}`);
    const slot = Number(offset) + Math.floor(state.world.random() * Number(modulus));
    return translate(state, this.#set(map).elements.get(`${keyOf(key, state)} . ${slot}`));
  }

  #follow(verb: string, name: string, state: State, depth: number): Verdict {
    const verdict = this.#walk(this.#chain(name), state, depth + 1);
    if (verdict !== undefined && verdict !== 'return') return verdict;
    // What goes to a chain does not come back; what jumps goes on.
    return verb === 'jump' ? undefined : 'return';
  }
}

/** Of the form `10.0.0.0/8` or `10.0.0.1-10.0.0.9`. */
function isInRange(address: string, range: string): boolean {
  const [first = '', last] = range.split('-');
  if (last === undefined) return isWithin(address, range.includes('/') ? range : `${range}/32`);
  const number = parseIpv4(address) ?? NaN;
  return (parseIpv4(first) ?? NaN) <= number && number <= (parseIpv4(last) ?? NaN);
}

const protocols: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };

/** In a kernel, no such element ends the rule without a translation. */
function translate(state: State, endpoint: string | undefined): Verdict {
  const [to, port] = endpoint?.split(' . ') ?? [];
  if (to === undefined) return undefined;
  state.to = to;
  state.port = Number(port);
  state.isTranslated = true;
  return 'accept';
}

function keyOf(expression: string, { packet, to, port }: State): string {
  const values: Readonly<Record<string, string | number>> = {
    'ip saddr': packet.from,
    'ip daddr': to,
    'meta l4proto': packet.protocol,
    'th dport': port,
  };
  return expression
    .split(' . ')
    .map((part) => {
      const value = values[part];
      if (value === undefined) throw new Error(`no such key: ${part}`);
      return value;
    })
    .join(' . ');
}
