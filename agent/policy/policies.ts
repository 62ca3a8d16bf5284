// Pure: NetworkPolicies, namespaces and pods → what this machine's table holds: for each of its pods that is
// isolated a chain of what may come or go, shared by all pods that the same policies select. Selectors are sets of
// addresses, so a pod that comes is a few elements.
// Source: kubernetes staging/src/k8s.io/api/networking/v1/types.go (what each field says).
import type { Namespace } from '#kube/api/core.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '#kube/api/networking.ts';
import { assert } from '#kube/base/assert.ts';
import { fnv1a } from '#kube/machinery/hash.ts';
import { labelSelectorMatcher, type LabelMatcher } from '#kube/machinery/selector.ts';
import { blockRanges } from './blocks.ts';
import type { PolicyPod } from './pods.ts';
import type { PolicyContent, SetKind } from './table-content.ts';

export interface PolicyState {
  readonly policies: readonly NetworkPolicy[];
  readonly namespaces: readonly Namespace[];
  readonly pods: readonly PolicyPod[];
}

type Direction = 'ingress' | 'egress';

/** One rule of a policy, of either direction. */
interface Rule {
  readonly peers: readonly NetworkPolicyPeer[];
  readonly ports: readonly NetworkPolicyPort[];
}

export function policyContent(state: PolicyState): PolicyContent {
  return new Compiler(state).compile();
}

/** Which directions a policy isolates. */
export function policyTypes({ spec }: NetworkPolicy): ReadonlySet<string> {
  const { policyTypes: types = [], egress = [] } = spec;
  if (types.length > 0) return new Set(types);
  return new Set(egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress']);
}

const protocolNumbers: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

class Compiler {
  readonly #state: PolicyState;
  readonly #podsOf = new Map<string, PolicyPod[]>();
  readonly #sets = new Map<string, { kind: SetKind; elements: Map<string, string> }>();
  readonly #chains = new Map<string, readonly string[]>();
  /** What a set's or a chain's name stands for: two contents never share one. */
  readonly #names = new Map<string, string>();
  /** Of each policy's rules, as text. */
  readonly #rules = new Map<string, readonly string[]>();

  constructor(state: PolicyState) {
    this.#state = state;
    for (const pod of state.pods) {
      const others = this.#podsOf.get(pod.namespace);
      if (others === undefined) this.#podsOf.set(pod.namespace, [pod]);
      else others.push(pod);
    }
  }

  compile(): PolicyContent {
    const policies = Map.groupBy(
      this.#state.policies.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)).map(prepared),
      ({ policy }) => policy.metadata.namespace ?? '',
    );
    for (const pod of this.#state.pods) {
      if (!pod.isLocal) continue;
      const selecting = (policies.get(pod.namespace) ?? []).filter(({ selector }) =>
        selector.matches(pod.labels),
      );
      this.#isolate(pod, 'egress', selecting);
      this.#isolate(pod, 'ingress', selecting);
    }
    return { sets: this.#sets, chains: this.#chains };
  }

  #isolate(pod: PolicyPod, direction: Direction, selecting: readonly Prepared[]): void {
    const type = direction === 'ingress' ? 'Ingress' : 'Egress';
    const own = selecting.filter(({ types }) => types.has(type)).map(({ policy }) => policy);
    if (own.length === 0) return;
    const texts = [...new Set(own.flatMap((policy) => this.#rulesOf(policy, direction)))];
    // Whoever may do all needs no further reading.
    const rules = texts.includes('return') ? ['return'] : [...texts, 'drop'];
    const chain = this.#name(direction === 'ingress' ? 'in' : 'out', rules.join('\n'));
    this.#chains.set(chain, rules);
    this.#add(`${direction}-pods`, 'verdicts', pod.address, `jump ${chain}`);
    this.#add('self', 'pairs', `${pod.address} . ${pod.address}`);
  }

  #rulesOf(policy: NetworkPolicy, direction: Direction): readonly string[] {
    const key = `${direction} ${keyOf(policy)}`;
    const known = this.#rules.get(key);
    if (known !== undefined) return known;
    const { ingress = [], egress = [] } = policy.spec;
    const rules: readonly Rule[] =
      direction === 'ingress'
        ? ingress.map(({ from = [], ports = [] }) => ({ peers: from, ports }))
        : egress.map(({ to = [], ports = [] }) => ({ peers: to, ports }));
    const address = direction === 'ingress' ? 'ip saddr' : 'ip daddr';
    const namespace = policy.metadata.namespace ?? '';
    const texts = rules.flatMap(({ peers, ports }) =>
      this.#peers(peers, namespace).flatMap((set) =>
        this.#ports(ports).map((port) =>
          [set === '' ? '' : `${address} @${set}`, port, 'return'].filter(Boolean).join(' '),
        ),
      ),
    );
    this.#rules.set(key, texts);
    return texts;
  }

  /** The sets that hold them; '': everybody. None: nobody. */
  #peers(peers: readonly NetworkPolicyPeer[], namespace: string): readonly string[] {
    if (peers.length === 0) return [''];
    const blocks = peers.map(({ ipBlock }) => ipBlock).filter((block) => block !== undefined);
    const selectors = peers.filter(({ ipBlock }) => ipBlock === undefined);
    const sets: string[] = [];
    const ranges = blockRanges(blocks);
    if (ranges.length > 0) {
      const name = this.#name('blocks', ranges.join());
      for (const range of ranges) this.#add(name, 'ranges', range);
      sets.push(name);
    }
    if (selectors.length > 0) sets.push(this.#selected(selectors, namespace));
    return sets;
  }

  #selected(peers: readonly NetworkPolicyPeer[], namespace: string): string {
    const matchers = peers.map(({ namespaceSelector, podSelector }) => ({
      namespaces: namespaceSelector && labelSelectorMatcher(namespaceSelector),
      pods: labelSelectorMatcher(podSelector ?? {}),
    }));
    const texts = matchers.map(({ namespaces, pods }) => {
      const where = namespaces === undefined ? namespace : `{${namespaces.toString()}}`;
      return `${where} {${pods.toString()}}`;
    });
    const name = this.#name('pods', texts.toSorted().join('\n'));
    if (this.#sets.has(name)) return name;
    this.#sets.set(name, { kind: 'addresses', elements: new Map() });
    for (const { namespaces, pods } of matchers)
      for (const own of this.#namespaces(namespaces, namespace))
        for (const { labels, address } of this.#podsOf.get(own) ?? [])
          if (pods.matches(labels)) this.#add(name, 'addresses', address);
    return name;
  }

  #namespaces(matcher: LabelMatcher | undefined, own: string): readonly string[] {
    if (matcher === undefined) return [own];
    return this.#state.namespaces
      .filter(({ metadata }) => matcher.matches(metadata.labels))
      .map(({ metadata }) => metadata.name);
  }

  /** What a packet has to be, for each protocol; '': anything. */
  #ports(ports: readonly NetworkPolicyPort[]): readonly string[] {
    if (ports.length === 0) return [''];
    const texts: string[] = [];
    for (const [protocol, number] of Object.entries(protocolNumbers)) {
      const own = ports.filter((port) => (port.protocol ?? 'TCP') === protocol);
      if (own.some(({ port }) => port === undefined)) {
        texts.push(`meta l4proto ${number}`);
        continue;
      }
      const ranges = own.flatMap(({ port, endPort = port }) =>
        typeof port === 'number' ? [{ first: port, last: Number(endPort) }] : [],
      );
      if (ranges.length > 0)
        texts.push(`meta l4proto ${number} th dport { ${portRanges(ranges).join(', ')} }`);
      for (const { port } of own)
        if (typeof port === 'string') texts.push(this.#namedPort(port, protocol));
    }
    return texts;
  }

  /** A name is whatever each pod that is spoken to calls by it. */
  #namedPort(name: string, protocol: string): string {
    const set = `port-${protocol.toLowerCase()}-${name}`;
    if (!this.#sets.has(set)) {
      this.#sets.set(set, { kind: 'ports', elements: new Map() });
      for (const { address, ports } of this.#state.pods)
        for (const own of ports)
          if (own.name === name && own.protocol === protocol)
            this.#add(set, 'ports', `${address} . ${protocolNumbers[protocol]} . ${own.port}`);
    }
    return `ip daddr . meta l4proto . th dport @${set}`;
  }

  #add(set: string, kind: SetKind, key: string, value = ''): void {
    const found = this.#sets.get(set) ?? { kind, elements: new Map<string, string>() };
    this.#sets.set(set, found);
    found.elements.set(key, value);
  }

  /** Stable: the same content has the same name in every table. */
  #name(prefix: string, content: string): string {
    for (let attempt = 0; ; attempt++) {
      const name = `${prefix}-${fnv1a(`${content}#${attempt}`).toString(16).padStart(8, '0')}`;
      const owner = this.#names.get(name);
      if (owner !== undefined && owner !== content) continue;
      this.#names.set(name, content);
      return name;
    }
  }
}

interface Prepared {
  readonly policy: NetworkPolicy;
  readonly selector: LabelMatcher;
  readonly types: ReadonlySet<string>;
}

function prepared(policy: NetworkPolicy): Prepared {
  const selector = labelSelectorMatcher(policy.spec.podSelector ?? {});
  return { policy, selector, types: policyTypes(policy) };
}

function keyOf({ metadata }: NetworkPolicy): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** None within or beside another: the kernel refuses those that overlap. */
function portRanges(ranges: readonly { first: number; last: number }[]): readonly string[] {
  const joined: { first: number; last: number }[] = [];
  for (const { first, last } of ranges.toSorted((a, b) => a.first - b.first)) {
    assert(
      Number.isInteger(first) && Number.isInteger(last),
      'the API server lets in nothing else',
    );
    const before = joined.at(-1);
    if (before === undefined || first > before.last + 1) joined.push({ first, last });
    else before.last = Math.max(before.last, last);
  }
  return joined.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`));
}
