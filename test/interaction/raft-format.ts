// How a trace names what members say and do. `5@2` is the entry of index 5 and term 2.
import { decodeMembership } from '../../electron/controlplane/raft/membership.ts';
import type {
  Entry,
  Membership,
  Message,
  RaftStatus,
} from '../../electron/controlplane/raft/types.ts';

const text = new TextDecoder();

export function formatMembership({ members }: Membership): string {
  const list = (role: string): string =>
    members
      .filter((member) => member.role === role)
      .map(({ id }) => id)
      .join(' ');
  if (members.length === 0) return 'nobody';
  const learners = list('learner');
  return `voters ${list('voter') || 'none'}${learners === '' ? '' : `, learners ${learners}`}`;
}

function formatData({ kind, data }: Entry): string {
  if (kind === 'noop') return 'noop';
  if (kind === 'membership') return `{${formatMembership(decodeMembership(data))}}`;
  return data.length > 24 ? `${data.length} bytes` : `"${text.decode(data)}"`;
}

export function formatEntries(entries: readonly Entry[]): string {
  const shown = entries.map((entry) => `${entry.index}@${entry.term} ${formatData(entry)}`);
  if (shown.length <= 4) return shown.join(', ');
  return `${shown[0]} … ${shown.at(-1)} (${shown.length} entries)`;
}

export function formatMessage(message: Message): string {
  return `${message.from}->${message.to} ${content(message)}`;
}

function content(message: Message): string {
  const { term } = message;
  switch (message.type) {
    case 'vote': {
      const kind = message.isPreVote ? 'pre-vote?' : 'vote?';
      const why = message.isTransfer ? ', asked by the leader' : '';
      return `${kind} term ${term}, log ends ${message.lastIndex}@${message.lastTerm}${why}`;
    }
    case 'vote-response':
      return `${message.isPreVote ? 'pre-vote' : 'vote'}: ${message.isGranted ? 'yes' : 'no'}, term ${term}`;
    case 'append': {
      const entries = message.entries.length === 0 ? 'nothing' : formatEntries(message.entries);
      const after = `${message.previousIndex}@${message.previousTerm}`;
      return `append term ${term}, after ${after}: ${entries}; commit ${message.commit}`;
    }
    case 'append-response':
      if (!message.isRejected) return `have all up to ${message.index}, term ${term}`;
      if (message.index === 0) return `your term is over, term ${term}`;
      return `no such ${message.index}, try ${message.hintIndex}@${message.hintTerm}, term ${term}`;
    case 'heartbeat':
      return `heartbeat term ${term}, commit ${message.commit}${round(message.readRound)}`;
    case 'heartbeat-response':
      return `heard, term ${term}${round(message.readRound)}`;
    case 'snapshot': {
      const { index, term: at, membership } = message.snapshot;
      return `snapshot ${index}@${at} {${formatMembership(membership)}}, term ${term}`;
    }
    case 'timeout-now':
      return `campaign now, term ${term}`;
    case 'propose':
      return `please propose ${message.proposals.map(({ id }) => `p${id}`).join(' ')}`;
    case 'propose-dropped':
      return `dropped ${message.ids.map((id) => `p${id}`).join(' ')}: ${message.reason}`;
    case 'read-index':
      return `read r${message.id}?`;
    case 'read-index-response':
      return `read r${message.id} ${formatReadIndex(message.index)}`;
    default:
      return message satisfies never;
  }
}

export function formatReadIndex(index: number | undefined): string {
  return index === undefined ? 'must ask again' : `at ${index}`;
}

function round(readRound: number): string {
  return readRound === 0 ? '' : `, read round ${readRound}`;
}

export function formatStatus(status: RaftStatus): string[] {
  const { id, role, term, leader, commit, firstIndex, lastIndex, transferTo } = status;
  const changing = status.isMembershipCommitted ? '' : ' (not committed)';
  const transfer = transferTo === 0 ? '' : `, hands over to ${transferTo}`;
  return [
    `${id} ${role}, term ${term}, leader ${leader === 0 ? '?' : leader}${transfer}, ` +
      `log ${firstIndex}..${lastIndex}, commit ${commit}, ` +
      `${formatMembership(status.membership)}${changing}`,
    ...status.progress.map(
      (peer) =>
        `  ${peer.id}: ${peer.state}, match ${peer.match}, next ${peer.next}${peer.isActive ? '' : ', silent'}`,
    ),
  ];
}
