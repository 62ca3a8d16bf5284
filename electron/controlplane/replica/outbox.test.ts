import { describe, expect, it } from 'vitest';
import type { Message } from '../raft/types.ts';
import { Outbox } from './outbox.ts';

function append(to: number, commit: number, entryCount = 0): Message {
  const data = new Uint8Array();
  const entries = Array.from({ length: entryCount }, (_, i) => ({
    index: 10 + i,
    term: 1,
    kind: 'command' as const,
    data,
  }));
  return {
    type: 'append',
    from: 1,
    to,
    term: 1,
    previousIndex: 9,
    previousTerm: 1,
    entries,
    commit,
  };
}

function outbox(): { outbox: Outbox; sent: Message[] } {
  const sent: Message[] = [];
  return { outbox: new Outbox((message) => sent.push(message)), sent };
}

describe('the outbox', () => {
  it('sends entries at once, and a bare commit at the end of the next turn', () => {
    const { outbox: box, sent } = outbox();
    box.send(append(2, 5));
    box.send(append(3, 5, 1));
    expect([sent, box.endTurn()]).toEqual([[append(3, 5, 1)], true]);
    expect(box.endTurn()).toBe(false);
    expect(sent).toEqual([append(3, 5, 1), append(2, 5)]);
  });

  it('leaves out what the next append to the same peer says as well, in this turn or the next', () => {
    const { outbox: box, sent } = outbox();
    box.send(append(2, 5));
    box.endTurn();
    box.send(append(2, 6));
    box.send(append(2, 6, 2));
    box.send(append(3, 6));
    box.endTurn();
    box.endTurn();
    expect(sent).toEqual([append(2, 6, 2), append(3, 6)]);
  });

  it('lets everything else pass', () => {
    const { outbox: box, sent } = outbox();
    box.send(append(2, 5));
    const heartbeat: Message = {
      type: 'heartbeat',
      from: 1,
      to: 2,
      term: 1,
      commit: 5,
      readRound: 0,
    };
    box.send(heartbeat);
    expect(sent).toEqual([heartbeat]);
  });
});
