// The commands of Raft scripts over a few members and a network whose messages wait until they are
// delivered, dropped or cut off. Members are named by number. No chance anywhere: a leader is trusted
// for 3 ticks, a campaign begins after 5, heartbeats go at every tick. Founding members begin with the state of index 1, term 1.
import {
  encodeMembership,
  withMember,
  withoutMember,
} from '../../electron/controlplane/raft/membership.ts';
import type {
  Input,
  Member,
  MemberId,
  MemberRole,
  Membership,
  Message,
  Proposal,
  RaftConfig,
} from '../../electron/controlplane/raft/types.ts';
import { formatMembership, formatMessage, formatStatus } from './raft-format.ts';
import { ScriptMember } from './raft-member.ts';

const encoder = new TextEncoder();
const electionTicks = 3;

interface Words {
  readonly words: readonly string[];
  readonly options: ReadonlyMap<string, string>;
}

function parse(line: string): Words {
  const all = line.split(/\s+/).filter((word) => word !== '');
  const isOption = (word: string): boolean => /^[a-z-]+=/.test(word);
  const options = all.filter(isOption).map((word): [string, string] => {
    const at = word.indexOf('=');
    return [word.slice(0, at), word.slice(at + 1)];
  });
  return { words: all.filter((word) => !isOption(word)), options: new Map(options) };
}

function numbers(list: string | undefined): number[] {
  return list === undefined ? [] : list.split(',').map(Number);
}

export class RaftHarness {
  private readonly members = new Map<MemberId, ScriptMember>();
  private queue: Message[] = [];
  /** Delayed by the network until they are released. */
  private readonly held: Message[] = [];
  private lines: string[] = [];
  /** Groups that hear each other only; empty: all do. */
  private islands: readonly (readonly MemberId[])[] = [];
  private lastProposal = 0;
  private lastRead = 0;
  private readonly commands: Readonly<Record<string, (words: Words) => void>> = {
    'add-nodes': (words) => this.addNodes(words),
    'add-joiners': (words) => this.addJoiners(words),
    campaign: ({ words }) => this.campaign(this.member(words[0])),
    tick: (words) => this.tick(words),
    propose: (words) => this.propose(words),
    'change-membership': (words) => this.change(words),
    read: (words) => this.read(words),
    transfer: ({ words: [from, to] }) =>
      this.command(this.member(from), { type: 'transfer-leadership', to: Number(to) }),
    deliver: (words) => this.deliver(words),
    stabilize: ({ words }) => this.stabilize(words.map(Number)),
    drop: ({ words }) => this.drop(words[0]),
    network: () => this.lines.push(...this.queue.map(formatMessage)),
    partition: ({ words }) => this.partition(words.join(' ')),
    heal: () => this.partition(''),
    'slow-disk': ({ words }) => void (this.member(words[0]).disk = 'slow'),
    'fast-disk': ({ words }) => void (this.member(words[0]).disk = 'fast'),
    persist: ({ words, options }) =>
      this.announced(() => this.member(words[0]).persist(Number(options.get('count') ?? Infinity))),
    hold: ({ words }) => this.held.push(...this.take(words[0])),
    release: () => void this.queue.push(...this.held.splice(0)),
    crash: ({ words }) => this.announced(() => this.member(words[0]).crash()),
    restart: ({ words }) => this.restart(this.member(words[0])),
    resumed: ({ words }) => this.command(this.member(words[0]), { type: 'resumed' }),
    unreachable: ({ words: [from, peer] }) =>
      this.command(this.member(from), { type: 'unreachable', peer: Number(peer) }),
    'send-snapshot': ({ words }) => this.sendSnapshot(this.member(words[0]), Number(words[1])),
    'snapshot-sent': ({ words: [from, peer, result] }) =>
      this.command(this.member(from), {
        type: 'snapshot-sent',
        peer: Number(peer),
        isOk: result === 'ok',
      }),
    compact: ({ words }) => this.compact(this.member(words[0]), Number(words[1])),
    status: ({ words }) => this.status(words.map(Number)),
    log: ({ words }) => void this.lines.push(this.member(words[0]).log()),
  };

  run(line: string): readonly string[] {
    this.lines = [];
    const isQuiet = line.startsWith('quietly ');
    const [name = '', ...rest] = (isQuiet ? line.slice(8) : line).split(/\s+/);
    const command = this.commands[name];
    if (command === undefined) throw new Error(`No command ${name}`);
    command(parse(rest.join(' ')));
    return isQuiet ? [] : this.lines;
  }

  private member(word: string | undefined): ScriptMember {
    const member = this.members.get(Number(word));
    if (member === undefined) throw new Error(`No member ${word ?? ''}`);
    return member;
  }

  // ---- members ----

  private addNodes({ words, options }: Words): void {
    this.members.clear();
    this.queue = [];
    this.held.length = 0;
    this.islands = [];
    const voters = Array.from({ length: Number(words[0]) }, (_, i) => i + 1);
    const learners = numbers(options.get('learners'));
    const make =
      (role: MemberRole) =>
      (id: MemberId): Member =>
        described(id, role);
    const members = [...voters.map(make('voter')), ...learners.map(make('learner'))];
    for (const { id } of members)
      this.add(id, options, { index: 1, term: 1, membership: { members } });
    this.lines.push(formatMembership({ members }));
  }

  private addJoiners({ words, options }: Words): void {
    for (const word of words)
      this.add(Number(word), options, { index: 0, term: 0, membership: { members: [] } });
  }

  private add(
    id: MemberId,
    options: ReadonlyMap<string, string>,
    start: { index: number; term: number; membership: Membership },
  ): void {
    const number = (name: string, otherwise: number): number =>
      Number(options.get(name) ?? otherwise);
    const config: RaftConfig = {
      id,
      electionTicks,
      heartbeatTicks: 1,
      messageBytesMax: number('message-bytes', 1e6),
      inflightMessagesMax: number('inflight', 256),
      inflightBytesMax: number('inflight-bytes', 1e9),
      uncommittedBytesMax: number('uncommitted-bytes', 1e9),
      random: { next: () => 0.99, bytes: (length) => new Uint8Array(length) },
    };
    const trace = (line: string): void => void this.lines.push(`  ${line}`);
    this.members.set(id, new ScriptMember(config, start, trace, (message) => this.post(message)));
  }

  private restart(member: ScriptMember): void {
    member.restart();
    this.status([member.id]);
  }

  // ---- time and clients ----

  /** Steps it, and tells which messages came of that. */
  private command(member: ScriptMember, input: Input): void {
    this.announced(() => member.step(input));
  }

  private announced(act: () => void): void {
    const before = this.queue.length;
    act();
    for (const message of this.queue.slice(before)) this.lines.push(`  ${formatMessage(message)}`);
    this.lines = this.lines.map((line) => line.replace(/^ {2}/, ''));
  }

  /** Lets it hear nothing until it campaigns. */
  private campaign(member: ScriptMember): void {
    if (member.status.role === 'leader') throw new Error(`${member.id} leads already`);
    const happened = (): number => this.queue.length + this.lines.length;
    this.announced(() => {
      const before = happened();
      for (let ticks = 0; ticks < 2 * electionTicks && happened() === before; ticks += 1)
        member.step({ type: 'tick' });
    });
    if (member.status.role === 'follower') this.lines.push(`${member.id} does not campaign`);
  }

  private tick({ words, options }: Words): void {
    const names = words[0] === 'all' ? [...this.members.keys()] : words.map(Number);
    this.announced(() => {
      for (let at = 0; at < Number(options.get('times') ?? 1); at += 1)
        for (const id of names) {
          const member = this.member(String(id));
          if (member.isUp) member.step({ type: 'tick' });
        }
    });
  }

  private propose({ words: [on, ...texts], options }: Words): void {
    const bytes = Number(options.get('bytes') ?? 0);
    const count = Number(options.get('count') ?? 0);
    const data = [
      ...texts.map((text) => encoder.encode(text)),
      ...Array.from({ length: count }, () => new Uint8Array(bytes)),
    ];
    const proposals = data.map((each): Proposal => ({
      id: this.nextProposal(),
      kind: 'command',
      data: each,
    }));
    this.command(this.member(on), { type: 'propose', proposals });
  }

  private nextProposal(): number {
    this.lastProposal += 1;
    return this.lastProposal;
  }

  private change({ words, options }: Words): void {
    const member = this.member(words[0]);
    let next = member.status.membership;
    for (const role of ['voter', 'learner'] as const)
      for (const id of numbers(options.get(role))) next = withMember(next, described(id, role));
    for (const id of numbers(options.get('remove'))) next = withoutMember(next, id);
    const proposal: Proposal = {
      id: this.nextProposal(),
      kind: 'membership',
      data: encodeMembership(next),
    };
    this.command(member, { type: 'propose', proposals: [proposal] });
  }

  private read({ words, options }: Words): void {
    const member = this.member(words[0]);
    this.announced(() => {
      for (let at = 0; at < Number(options.get('count') ?? 1); at += 1) {
        this.lastRead += 1;
        member.step({ type: 'read-index', id: this.lastRead });
      }
    });
  }

  private sendSnapshot(member: ScriptMember, to: MemberId): void {
    const { id: from, mark: snapshot } = member;
    this.announced(() =>
      this.post({ type: 'snapshot', from, to, term: member.status.term, snapshot }),
    );
  }

  private compact(member: ScriptMember, index: number): void {
    this.announced(() => member.compact(index));
    this.lines.push(`log of ${member.id} begins at ${member.status.firstIndex}`);
  }

  private status(ids: readonly MemberId[]): void {
    for (const member of this.members.values())
      if (ids.length === 0 || ids.includes(member.id))
        this.lines.push(...formatStatus(member.status));
  }

  // ---- network ----

  private post(message: Message): void {
    if (this.isCutOff(message)) this.lines.push(`  lost ${formatMessage(message)}`);
    else this.queue.push(message);
  }

  private isCutOff({ from, to }: Message): boolean {
    if (this.members.get(to)?.isUp !== true) return true;
    return (
      this.islands.length > 0 &&
      !this.islands.some((island) => island.includes(from) && island.includes(to))
    );
  }

  private partition(groups: string): void {
    this.islands =
      groups === '' ? [] : groups.split('|').map((group) => group.trim().split(' ').map(Number));
    const stays = this.queue.filter((message) => !this.isCutOff(message));
    this.queue = stays;
  }

  /** What waits for the members named, once; with `type=`, only such. What comes of it waits. */
  private deliver({ words, options }: Words): void {
    const ids = words.map(Number);
    const type = options.get('type');
    const from = Number(options.get('from') ?? 0);
    const isMeant = (message: Message): boolean =>
      (ids.length === 0 || ids.includes(message.to)) &&
      (type === undefined || message.type === type) &&
      (from === 0 || message.from === from);
    const meant = this.queue.filter(isMeant);
    this.queue = this.queue.filter((message) => !isMeant(message));
    for (const message of meant) this.receive(message);
  }

  private stabilize(ids: readonly MemberId[]): void {
    const isMeant = (message: Message): boolean =>
      ids.length === 0 || (ids.includes(message.to) && ids.includes(message.from));
    for (let steps = 0; steps < 10_000; steps += 1) {
      const at = this.queue.findIndex(isMeant);
      const message = this.queue[at];
      if (message === undefined) return;
      this.queue.splice(at, 1);
      this.receive(message);
    }
    throw new Error('They never come to rest');
  }

  private receive(message: Message): void {
    const member = this.member(String(message.to));
    if (!member.isUp) return;
    this.lines.push(formatMessage(message));
    member.step({ type: 'message', message });
  }

  private drop(pattern: string | undefined): void {
    for (const message of this.take(pattern)) this.lines.push(`lost ${formatMessage(message)}`);
  }

  /** Takes from the network: `1->2`, `1->*`, `*->2` or `all`. */
  private take(pattern = 'all'): readonly Message[] {
    const [from = '*', to = '*'] = pattern === 'all' ? [] : pattern.split('->');
    const isMeant = (message: Message): boolean =>
      (from === '*' || Number(from) === message.from) && (to === '*' || Number(to) === message.to);
    const taken = this.queue.filter(isMeant);
    this.queue = this.queue.filter((message) => !isMeant(message));
    return taken;
  }
}

function described(id: MemberId, role: MemberRole): Member {
  return { id, role, name: `machine-${id}`, addresses: [] };
}
