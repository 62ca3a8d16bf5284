// What machines' SSH ports answered, and when to ask again: one that let in is asked every ten minutes, the others after
// half a minute and then ever more seldom. Pure.
import type { SshAnswer } from './addable.ts';

interface Asked {
  readonly answer: SshAnswer;
  readonly dueMs: number;
  readonly waitMs: number;
}

const firstWaitMs = 30_000;
const longestWaitMs = 600_000;

export class SshAnswers {
  readonly #asked = new Map<string, Asked>();

  get(address: string, port: number): SshAnswer | undefined {
    return this.#asked.get(`${address}:${port}`)?.answer;
  }

  isDue(address: string, port: number, nowMs: number): boolean {
    const asked = this.#asked.get(`${address}:${port}`);
    return asked === undefined || asked.dueMs <= nowMs;
  }

  note(address: string, port: number, answer: SshAnswer, nowMs: number): void {
    const before = this.#asked.get(`${address}:${port}`);
    const isOpen = answer.type === 'greeting';
    const again = Math.min((before?.waitMs ?? firstWaitMs / 2) * 2, longestWaitMs);
    const waitMs = isOpen ? longestWaitMs : again;
    // A port that closed may open again soon.
    const next = !isOpen && before?.answer.type === 'greeting' ? firstWaitMs : waitMs;
    this.#asked.set(`${address}:${port}`, { answer, waitMs: next, dueMs: nowMs + next });
  }

  /** Forgets all but those that are still there. */
  keep(addresses: ReadonlySet<string>): void {
    for (const key of this.#asked.keys())
      if (!addresses.has(key.slice(0, key.lastIndexOf(':')))) this.#asked.delete(key);
  }
}
