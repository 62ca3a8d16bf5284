// Two connections made one: bytes go both ways at the slower one's pace.
import type { Duplex } from 'node:stream';

/**
 * Copies both ways, each half by itself, until both have ended. A side that breaks takes the other
 * along; which of them broke does not matter, so it is no error.
 */
export function joined(a: Duplex, b: Duplex): Promise<void> {
  return new Promise((resolve) => {
    let open = 2;
    function onClose(): void {
      open--;
      // The other one may have bytes of this one that it has not written yet: it is ended by them.
      if (open === 0) resolve();
    }
    function breakOff(): void {
      a.destroy();
      b.destroy();
    }
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      from.on('error', breakOff);
      from.once('close', () => {
        if (!from.readableEnded) breakOff();
        onClose();
      });
      from.pipe(to);
    }
    if (a.destroyed || b.destroyed) breakOff();
  });
}
