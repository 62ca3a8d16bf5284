// Pure: what `iptables --list-rules` prints of the table `filter`. ufw's are among them. iptables' own text, because nft
// can't say what most of iptables' extensions ask for.
import {
  comesIn,
  goesOut,
  isDestinationType,
  isFrom,
  isMark,
  isPort,
  isProtocol,
  isState,
  isStatus,
  isTo,
} from './conditions.ts';
import { not, unknown, type Chain, type Condition, type Firewall, type Rule } from './packets.ts';

const hooks = { INPUT: 'input', FORWARD: 'forward' } as const;

export function readIptables(text: string): Firewall {
  const policies = new Map<string, string>();
  const rules = new Map<string, Rule[]>();
  for (const line of text.split('\n')) {
    const [command = '', chain = '', ...words] = wordsOf(line);
    if (command === '-P') policies.set(chain, words[0] ?? '');
    if (command === '-P' || command === '-N') rules.set(chain, []);
    const rule = command === '-A' ? readRule(words) : undefined;
    if (rule !== undefined) rules.get(chain)?.push(rule);
  }
  const chains = [...rules].map(([name, own]): Chain => {
    const hook = hooks[name as keyof typeof hooks];
    if (hook === undefined) return { name, rules: own };
    return { name, rules: own, hook, policy: policies.get(name) === 'DROP' ? 'drop' : 'accept' };
  });
  const hasUfw = chains.some(({ name }) => name.startsWith('ufw-'));
  return {
    name: hasUfw ? 'ufw' : 'iptables',
    program: hasUfw ? 'ufw' : 'iptables',
    chains: new Map(chains.map((chain) => [chain.name, chain])),
  };
}

/** Comments are in quotes. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/"(?:[^"\\]|\\.)*"|\S+/g)].map(([word]) => word);
}

/** Undefined: it decides nothing, as one that only marks. */
function readRule(words: readonly string[]): Rule | undefined {
  const conditions: Condition[] = [];
  let isNot = false;
  let rest = words;
  while (rest.length > 0) {
    const [word = '', ...others] = rest;
    const end = others.findIndex((other) => /^(?:-|!$)/.test(other));
    const values = end < 0 ? others : others.slice(0, end);
    rest = others.slice(values.length);
    if (word === '-j' || word === '-g') return ruleOf(conditions, word, values[0] ?? '');
    const read = options[word];
    if (word !== '!' && read !== null) {
      const condition = read?.(values[0] ?? '') ?? unknown;
      conditions.push(isNot ? not(condition) : condition);
    }
    isNot = word === '!';
  }
  return undefined;
}

const list = (value: string): string[] => value.split(',');

/** Null: asks for nothing by itself. */
const options: Readonly<Record<string, ((value: string) => Condition) | null>> = {
  '-m': null,
  '--comment': null,
  '-i': comesIn,
  '-o': goesOut,
  '-p': isProtocol,
  '-s': isFrom,
  '-d': isTo,
  '--dport': (value) => isPort([value]),
  '--dports': (value) => isPort(list(value)),
  '--ctstate': (value) => isState(list(value)),
  '--state': (value) => isState(list(value)),
  '--ctstatus': (value) => isStatus(list(value)),
  '--dst-type': isDestinationType,
  '--mark': (value) => {
    const [mark, mask] = value.split('/').map(Number);
    return mark === undefined || Number.isNaN(mark) ? unknown : isMark(mark, mask);
  },
};

function ruleOf(
  conditions: readonly Condition[],
  way: '-j' | '-g',
  target: string,
): Rule | undefined {
  switch (target) {
    case 'ACCEPT':
      return { conditions, verdict: { kind: 'accept' } };
    case 'RETURN':
      return { conditions, verdict: { kind: 'return' } };
    case 'DROP':
    case 'REJECT':
      return { conditions, verdict: { kind: 'drop' } };
    default:
      // A target that is no chain (LOG, MARK …) is not found, and the next rule is looked at.
      return { conditions, verdict: { kind: way === '-g' ? 'goto' : 'jump', chain: target } };
  }
}
